//! The four verdicts on a claim, and what an opened layer shows.
//!
//! *Valid*, *invalid*, *unverifiable yet*, *foreign*: only *invalid* disputes. What is said to be wrong for sure was judged by the judge's own code on
//! the very witness that will be sent.

use std::num::NonZero;

use touchstone_engine::{Engine, LayerTrace, Long, Trace, Value, judge_layer};
use touchstone_protocol::{
    descriptor::Place,
    judge::JudgeError,
    parts,
    tensor::TensorTree,
    witness::{self, WitnessError},
};

use crate::{
    examine::{self, Examination, ExamineError, Spot},
    gather::Own,
    model::Model,
    strategy::{At, Finding},
    tolerance::{Suspect, Tolerance, suspects},
};

/// How far from our own operands' envelope an output may be while the worker's values are withheld, in envelopes: engines drift apart
/// over a whole run. With two engines at least [`Tolerance::factor`] times what they differ by. The test `honest_distances` prints the greatest
/// honest distance beside it.
pub const WITHHELD_TOLERANCE: f64 = 1.0;

/// The worst of the claimed outputs, against our own runs alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apart {
    /// The output's element, as the nearest engine sees it.
    pub spot: Spot,
    /// What is tolerated.
    pub tolerated: f64,
}

/// What we think of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A conforming engine gives it. The share is the worst distance seen, of proof or of replay.
    Valid {
        /// Error by bound.
        worst: f64,
    },
    /// This element is wrong, and all that it was made from is committed.
    Wrong(Spot),
    /// These layers are not what our engines give.
    Suspect(Vec<Suspect>),
    /// We cannot tell yet.
    Unverifiable {
        /// Why.
        why: String,
    },
    /// The model is not what its file is here.
    Foreign {
        /// Why.
        why: String,
    },
}

/// A witness that our own judge does not convict by: nothing is sent then.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    /// It cannot be made.
    #[error("witness: {0}")]
    Witness(#[from] WitnessError),
    /// The sums of a long operator cannot be made.
    #[error("sums: {0}")]
    Sums(#[from] JudgeError),
    /// The judge says something else.
    #[error("our own judge says {0:?}")]
    Verdict(witness::Verdict),
}

impl Verdict {
    /// In one word, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Valid { .. } => "valid",
            Verdict::Wrong(_) | Verdict::Suspect(_) => "invalid",
            Verdict::Unverifiable { .. } => "unverifiable",
            Verdict::Foreign { .. } => "foreign",
        }
    }
}

/// The verdict on a claim whose boundary values are at hand. Blocks.
///
/// # Errors
/// Nothing is found wrong, and something could not be looked at.
pub fn judge(
    model: &Model,
    trace: &Trace,
    engines: &[&dyn Engine],
    tolerance: &Tolerance,
) -> Result<Verdict, ExamineError> {
    decide(examine::examine(model, trace, engines), tolerance)
}

/// What is found wrong or suspect counts, whatever else could not be looked at; only to acquit, all must have been.
fn decide(examination: Examination, tolerance: &Tolerance) -> Result<Verdict, ExamineError> {
    if let Some(spot) = examination.proven {
        return Ok(Verdict::Wrong(spot));
    }
    let suspects = suspects(&examination.looks, tolerance);
    if !suspects.is_empty() {
        return Ok(Verdict::Suspect(suspects));
    }
    if let Some(error) = examination.failed {
        return Err(error);
    }
    let replayed = examination.looks.iter().filter_map(|look| look.worst);
    let worst = replayed
        .chain(examination.direct)
        .map(|spot| spot.share)
        .fold(0.0, f64::max);
    Ok(Verdict::Valid { worst })
}

/// The worst of the claimed outputs, held against the envelopes around our own operands: all that can be said without the worker's
/// values. Blocks.
///
/// # Errors
/// An engine failed.
pub fn outputs_alone(
    model: &Model,
    outputs: &[Value],
    own: &[Own],
    engines: &[&dyn Engine],
) -> Result<Option<Apart>, ExamineError> {
    let (mut nearest, mut tolerated): (Option<Spot>, f64) = (None, WITHHELD_TOLERANCE);
    for (number, (mine, engine)) in own.iter().zip(engines).enumerate() {
        let Some(worst) = worst_output(model, outputs, mine, *engine)? else {
            continue;
        };
        if nearest.is_none_or(|best| worst.share < best.share) {
            nearest = Some(worst);
        }
        for other in own.iter().skip(number + 1) {
            let mutual = worst_output(model, &other.run.outputs, mine, *engine)?.map_or(0.0, |spot| spot.share);
            tolerated = tolerated.max(Tolerance::USUAL.factor * mutual);
        }
    }
    Ok(nearest.map(|spot| Apart { spot, tolerated }))
}

fn worst_output(
    model: &Model,
    outputs: &[Value],
    own: &Own,
    engine: &dyn Engine,
) -> Result<Option<Spot>, ExamineError> {
    let mut worst = None;
    for (operator, d) in (0u32..).zip(&model.plan.operators) {
        let Place::Output(number) = d.place else { continue };
        let claimed = outputs.get(number as usize).map(|value| &*value.bytes);
        let inner = match d.touches_inner() {
            true => examine::replay(engine, model, d.layer, &own.trace)?.inner,
            false => Vec::new(),
        };
        let report = examine::judge_with(model, operator, &own.trace, Some(&inner), claimed)?;
        if let Some(spot) = examine::spot(operator, &report) {
            examine::raise(&mut worst, spot);
        }
    }
    Ok(worst)
}

/// A layer as each engine replays it from these boundary values, committed. Blocks. An engine that fails is left out: what the worker opens
/// is judged by itself, and own replays only save asking for it.
pub fn replay_layer(model: &Model, layer: u32, trace: &Trace, engines: &[&dyn Engine]) -> Vec<LayerTrace> {
    let replay = |engine: &&dyn Engine| {
        let inner = examine::replay(*engine, model, layer, trace)
            .map_err(|error| error.to_string())?
            .inner;
        LayerTrace::commit(layer, &inner).map_err(|error| format!("commit to layer {layer}: {error}"))
    };
    let report = |error: &String| tracing::warn!(error, "layer not replayed");
    engines
        .iter()
        .filter_map(|engine| replay(engine).inspect_err(report).ok())
        .collect()
}

/// What an opened layer shows: every element of every operator of it, held against its envelope by the judge's own code. Blocks.
///
/// # Errors
/// The values are not the plan's, which their commitments exclude.
pub fn judge_opened(
    model: &Model,
    trace: &Trace,
    layer: &LayerTrace,
    threads: NonZero<usize>,
) -> Result<Finding, String> {
    let inner: Vec<Value> = layer.values.iter().map(value).collect();
    let report = judge_layer(&model.plan, layer.layer, trace, &inner, threads).map_err(|error| error.to_string())?;
    let worst = report.worst_outside.map(|worst| worst.at);
    for at in worst.into_iter().chain(report.first_outside) {
        let at = At {
            operator: at.operator,
            element: at.element,
        };
        match accuse(model, trace, Some(layer), at) {
            Ok(()) => return Ok(Finding::Outside(at)),
            Err(error) => tracing::error!(model = %model.id, ?at, %error, "judges disagree"),
        }
    }
    Ok(Finding::Inside)
}

/// The witness that convicts an element, judged by the same code that the contract mirrors.
///
/// # Errors
/// It does not convict.
pub fn convict(model: &Model, trace: &Trace, layer: Option<&LayerTrace>, at: At) -> Result<Vec<u8>, NoEvidence> {
    let opened = model.opened(trace, layer);
    let witness = opened.witness(at.operator, at.element)?;
    match witness::judge(&opened.context(), &witness).verdict {
        witness::Verdict::Outside => Ok(witness),
        verdict => Err(NoEvidence::Verdict(verdict)),
    }
}

/// Whether our own judge convicts an element: by one witness, or where that does not decide, by its totals.
///
/// # Errors
/// It does not.
pub fn accuse(model: &Model, trace: &Trace, layer: Option<&LayerTrace>, at: At) -> Result<(), NoEvidence> {
    let operators = &model.plan.operators;
    let d = operators
        .get(at.operator as usize)
        .ok_or(WitnessError::Operator(at.operator))?;
    if !parts::is_long(d) {
        return convict(model, trace, layer, at).map(drop);
    }
    let opened = model.opened(trace, layer);
    let long = Long::of(&opened, d, model.plan.profile, at.element)?;
    let header = long.header()?;
    let totals = long.add_up(&long.parts(&header, parts::depth(d), 0)?);
    let witness = opened.head(at.operator, at.element)?;
    match witness::judge_totals(&opened.context(), &witness, header.free, &totals)
        .0
        .verdict
    {
        witness::Verdict::Outside => Ok(()),
        verdict => Err(NoEvidence::Verdict(verdict)),
    }
}

/// A committed tensor as engines take it.
fn value(tensor: &TensorTree) -> Value {
    Value {
        dtype: tensor.dtype(),
        dims: tensor.dims().to_vec(),
        bytes: tensor.bytes().clone(),
    }
}
