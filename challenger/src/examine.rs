//! Holds a claim's values against the judge and against own replays: what is wrong, what looks wrong, what is right.
//!
//! Two kinds of operators:
//!
//! - All operands and the output are committed: the judge's code decides on the worker's own bytes, every element. Outside is
//!   proof.
//! - Inner values stand in between. They are not committed yet, so each of our engines replays the layer from the worker's own
//!   boundary inputs, and the layer's boundary outputs are compared (see [`crate::tolerance`]). What differs too much is a reason
//!   to ask for the layer, and never proof.

use std::collections::BTreeMap;

use touchstone_engine::{Engine, EngineError, LayerValues, Trace, Value, ValueSource};
use touchstone_protocol::{
    check::Check,
    descriptor::{Descriptor, Dtype, Place},
    judge::{self, JudgeError, Report},
};

use crate::model::Model;

/// One element, and how far it is from the centre of its envelope: 1 is the edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// The operator that wrote it.
    pub operator: u32,
    /// The element.
    pub element: u64,
    /// Error by bound.
    pub share: f64,
}

/// A layer with inner values, replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The layer.
    pub layer: u32,
    /// Which engines gave the worker's boundary outputs bit for bit.
    pub reproduced: Vec<bool>,
    /// The worker's worst boundary element, held against the envelope around the nearest engine's operands. `None` where no
    /// boundary output depends on an inner value.
    pub worst: Option<Spot>,
    /// The same of our engines against each other: what honest engines differ by on this very input. `None` with one engine.
    pub mutual: Option<f64>,
}

/// Everything that can be said about a claim whose boundary values are at hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examination {
    /// The element farthest outside among operators whose operands are all committed.
    pub proven: Option<Spot>,
    /// The greatest share among them, inside or not.
    pub direct: Option<Spot>,
    /// Layers with inner values. None where something is proven: nothing else is needed then.
    pub looks: Vec<Look>,
    /// The first thing that could not be looked at. What was found elsewhere counts all the same.
    pub failed: Option<ExamineError>,
}

/// Why a claim could not be examined; never the worker's fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExamineError {
    /// An engine failed.
    #[error("replay layer {layer}: {source}")]
    Engine {
        /// The layer.
        layer: u32,
        /// Why.
        source: EngineError,
    },
    /// The judge refuses the bytes.
    #[error("judge operator {operator}: {source}")]
    Judge {
        /// The operator.
        operator: u32,
        /// Why.
        source: JudgeError,
    },
    /// A value that should be there is not.
    #[error("operator {operator}: value at {place:?} is not there")]
    Missing {
        /// The operator.
        operator: u32,
        /// The place.
        place: Place,
    },
}

/// Examines a claim. Blocks. What fails for one operator or layer says nothing about the others.
pub fn examine(model: &Model, trace: &Trace, engines: &[&dyn Engine]) -> Examination {
    let mut examination = Examination::default();
    for (operator, d) in (0u32..).zip(&model.plan.operators) {
        if d.touches_inner() {
            continue;
        }
        match judge_with(model, operator, trace, None, None) {
            Ok(report) => {
                if let Some(spot) = spot(operator, &report) {
                    raise(&mut examination.direct, spot);
                    if report.outside > 0 {
                        raise(&mut examination.proven, spot);
                    }
                }
            }
            Err(error) => fail(&mut examination, error),
        }
    }
    if examination.proven.is_some() {
        return examination;
    }
    for layer in 0..model.plan.layers.len() as u32 {
        if model.plan.layers[layer as usize].inner_count > 0 {
            match look(model, layer, trace, engines) {
                Ok(look) => examination.looks.push(look),
                Err(error) => fail(&mut examination, error),
            }
        }
    }
    examination
}

fn fail(examination: &mut Examination, error: ExamineError) {
    tracing::warn!(%error, "not everything of the claim could be examined");
    examination.failed.get_or_insert(error);
}

/// Committed values as engines take them: a bool that is neither 0 nor 1 is true to every operator that computes with it (PROTOCOL.md
/// section 5), and engines take no other.
struct Truths<'a>(&'a Trace);

impl ValueSource for Truths<'_> {
    fn value(&self, place: Place) -> Option<Value> {
        let mut value = self.0.value(place)?;
        if value.dtype == Dtype::Bool && value.bytes.iter().any(|byte| *byte > 1) {
            value.bytes = value.bytes.iter().map(|byte| u8::from(*byte != 0)).collect();
        }
        Some(value)
    }
}

/// A layer as one engine replays it from committed boundary values.
///
/// # Errors
/// The engine failed.
pub(crate) fn replay(
    engine: &dyn Engine,
    model: &Model,
    layer: u32,
    trace: &Trace,
) -> Result<LayerValues, ExamineError> {
    engine
        .replay_layer(&model.plan, layer, &Truths(trace))
        .map_err(|source| ExamineError::Engine { layer, source })
}

/// What each engine made of something; an engine that failed is left out, unless all did.
///
/// # Errors
/// The last engine's failure.
pub(crate) fn some<T>(each: impl Iterator<Item = Result<T, ExamineError>>) -> Result<Vec<Option<T>>, ExamineError> {
    let mut failed = None;
    let made: Vec<Option<T>> = each
        .map(|made| {
            made.inspect_err(|error| tracing::warn!(%error, "one engine failed"))
                .map_err(|error| failed = Some(error))
                .ok()
        })
        .collect();
    match failed {
        Some(error) if made.iter().all(Option::is_none) => Err(error),
        _ => Ok(made),
    }
}

/// Replays one layer from the worker's boundary inputs and compares its boundary outputs.
fn look(model: &Model, layer: u32, trace: &Trace, engines: &[&dyn Engine]) -> Result<Look, ExamineError> {
    let replays = some(engines.iter().map(|engine| replay(*engine, model, layer, trace)))?;
    let same = |(place, value): &(Place, Value)| {
        trace
            .tensor(*place)
            .is_some_and(|tensor| *tensor.bytes() == value.bytes)
    };
    let reproduced: Vec<bool> = replays
        .iter()
        .map(|own| own.as_ref().is_some_and(|own| own.boundary.iter().all(same)))
        .collect();
    let replays: Vec<LayerValues> = replays.into_iter().flatten().collect();
    let mut nearest: Option<Spot> = None;
    let mut mutual: Option<f64> = None;
    for (number, own) in replays.iter().enumerate() {
        if let Some(worst) = distance(model, layer, trace, own, None)?
            && nearest.is_none_or(|best| worst.share < best.share)
        {
            nearest = Some(worst);
        }
        for other in replays.iter().skip(number + 1) {
            if let Some(between) = distance(model, layer, trace, own, Some(other))? {
                mutual = Some(mutual.map_or(between.share, |most| most.max(between.share)));
            }
        }
    }
    Ok(Look {
        layer,
        reproduced,
        worst: nearest,
        mutual,
    })
}

/// The worst of the layer's boundary outputs that depend on inner values, with `own` inner values as operands: the worker's
/// outputs, or another engine's.
fn distance(
    model: &Model,
    layer: u32,
    trace: &Trace,
    own: &LayerValues,
    other: Option<&LayerValues>,
) -> Result<Option<Spot>, ExamineError> {
    let others: Option<BTreeMap<Place, &Value>> =
        other.map(|other| other.boundary.iter().map(|(place, value)| (*place, value)).collect());
    let mut worst = None;
    for operator in model.operators(layer) {
        let d = &model.plan.operators[operator as usize];
        if !d.touches_inner() || matches!(d.place, Place::Inner(_)) {
            continue;
        }
        let output = others.as_ref().map(|others| others.get(&d.place).copied());
        let output = match output {
            Some(None) => {
                return Err(ExamineError::Missing {
                    operator,
                    place: d.place,
                });
            }
            Some(Some(value)) => Some(&*value.bytes),
            None => None,
        };
        let report = judge_with(model, operator, trace, Some(&own.inner), output)?;
        if let Some(spot) = spot(operator, &report) {
            raise(&mut worst, spot);
        }
    }
    Ok(worst)
}

/// Judges an operator on committed values, on `inner` values of its layer, and on `output` in place of the committed one.
pub(crate) fn judge_with(
    model: &Model,
    operator: u32,
    trace: &Trace,
    inner: Option<&[Value]>,
    output: Option<&[u8]>,
) -> Result<Report, ExamineError> {
    let d: &Descriptor = &model.plan.operators[operator as usize];
    let read = |place: Place| {
        let found = match place {
            Place::Weight(n) => model.plan.weights.get(n as usize).map(|weight| &*weight.bytes),
            Place::Inner(n) => inner.and_then(|inner| inner.get(n as usize)).map(|value| &*value.bytes),
            place => trace.tensor(place).map(|tensor| &**tensor.bytes()),
        };
        found.ok_or(ExamineError::Missing { operator, place })
    };
    let operands = d
        .operands
        .iter()
        .map(|operand| read(operand.place))
        .collect::<Result<Vec<_>, _>>()?;
    let output = match output {
        Some(bytes) => bytes,
        None => read(d.place)?,
    };
    judge::judge_operator(d, model.plan.profile, &operands, output)
        .map_err(|source| ExamineError::Judge { operator, source })
}

pub(crate) fn spot(operator: u32, report: &Report) -> Option<Spot> {
    report.worst.map(|(element, share)| Spot {
        operator,
        element,
        share: share as f64 / Check::EDGE as f64,
    })
}

pub(crate) fn raise(worst: &mut Option<Spot>, spot: Spot) {
    if worst.is_none_or(|known| spot.share > known.share) {
        *worst = Some(spot);
    }
}
