//! Workers that cheat. Each does the smallest thing that the judge convicts, twice over: the size is found by asking the judge's own code.
//!
//! A cheat runs the honest plan with something added: an extra addend in one contraction that is zero everywhere but at one element,
//! or other weights, or the plan with less precision than its profile asks for. So everything downstream is consistent with the lie, and the
//! claim would pass any check of the output's shape.

use std::{num::NonZero, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use touchstone_engine::{Engine, Keep, LayerValues, Long, Report, Run, Value, ValueSource, judge_run};
use touchstone_model::plan::{Plan, Weight};
use touchstone_protocol::{
    descriptor::{Code, Dtype, Operand, Place},
    half,
    model::Profile,
};
use touchstone_wire::worker::{Ask, Reply};
use touchstone_worker::{
    Honest, Runner,
    answer::{AnswerError, Case, Responder},
    model::Model,
    runner::RunError,
};

/// What a dishonest worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheat {
    /// Another model's weights: every weight matrix scaled.
    Weights,
    /// One inner value moved, everything downstream consistent with it.
    InnerValue,
    /// A right trace, and another output.
    Output,
    /// As `InnerValue`, and no answer in a dispute.
    Silent,
    /// The plan run as under `fast`, whatever its numerics profile asks for.
    Narrow,
    /// As `Output`, of a long operator; its totals are right, and say that the output is not.
    LongOutput,
    /// As `LongOutput`, with sums in the dispute that give the output.
    LongSums,
}

impl std::str::FromStr for Cheat {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "weights" => Self::Weights,
            "inner-value" => Self::InnerValue,
            "output" => Self::Output,
            "silent" => Self::Silent,
            "narrow" => Self::Narrow,
            "long-output" => Self::LongOutput,
            "long-sums" => Self::LongSums,
            other => bail!(
                "no cheat is called {other:?}: weights, inner-value, output, silent, narrow, long-output or long-sums"
            ),
        })
    }
}

/// Powers of two that sizes are searched in: from far below any envelope to far above.
const SIZES: std::ops::RangeInclusive<i32> = -30..=20;

/// The least power of two for which `wrong` holds, twice over.
fn twice_the_smallest(mut wrong: impl FnMut(f32) -> Result<bool>) -> Result<f32> {
    for exponent in SIZES {
        let size = 2f32.powi(exponent);
        if wrong(size)? {
            return Ok(2.0 * size);
        }
    }
    bail!("no size of this cheat is convicted")
}

fn judged(plan: &Plan, run: &Run) -> Result<Report> {
    Ok(judge_run(plan, run, NonZero::<usize>::MIN)?)
}

/// A plan that computes the same, but adds `size` to one element of one contraction.
///
/// # Errors
/// The operator is not a contraction of fp32.
pub fn with_moved_element(plan: &Plan, operator: usize, element: usize, size: f32) -> Result<Plan> {
    let mut plan = plan.clone();
    let number = u32::try_from(plan.weights.len())?;
    let descriptor = plan.operators.get_mut(operator).context("no such operator")?;
    ensure!(
        descriptor.code == Code::Contract && descriptor.dtype == Dtype::F32,
        "not a contraction of fp32"
    );
    let elements = descriptor
        .output_axes
        .iter()
        .map(|axis| *axis as usize)
        .product::<usize>();
    ensure!(element < elements, "element {element} of {elements}");
    let mut strides: Vec<i64> = Vec::new();
    let mut stride = 1;
    for axis in descriptor.output_axes.iter().rev() {
        strides.insert(0, stride);
        stride *= i64::from(*axis);
    }
    strides.extend(descriptor.reduction_axes.iter().map(|_| 0));
    let mut values = vec![0f32; elements];
    if let Some(value) = values.get_mut(element) {
        *value = size;
    }
    let dims = descriptor.dims.clone();
    descriptor.operands.push(Operand {
        place: Place::Weight(number),
        dtype: Dtype::F32,
        dims: dims.clone(),
        base: 0,
        strides,
        bounds: Vec::new(),
    });
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    plan.weights.push(Weight {
        name: "moved".to_owned(),
        dtype: Dtype::F32,
        dims,
        bytes: bytes.into(),
    });
    Ok(plan)
}

/// A plan with every fp32 weight of two axes or more scaled by `1 + size`.
fn with_other_weights(plan: &Plan, size: f32) -> Plan {
    let mut plan = plan.clone();
    for weight in plan
        .weights
        .iter_mut()
        .filter(|weight| weight.dtype == Dtype::F32 && weight.dims.len() >= 2)
    {
        let scaled = weight.bytes.chunks_exact(4).flat_map(|b| {
            let value = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            (value * (1.0 + size)).to_le_bytes()
        });
        weight.bytes = scaled.collect::<Vec<u8>>().into();
    }
    plan
}

/// The contraction that a cheat moves: an inner one from the middle of the model where there is one, else any that is no output.
///
/// # Errors
/// The model has no such contraction.
pub fn victim(plan: &Plan) -> Result<usize> {
    let contractions = |inner: bool| -> Vec<usize> {
        let fits = |place: Place| {
            if inner {
                matches!(place, Place::Inner(_))
            } else {
                matches!(place, Place::Trace(_))
            }
        };
        let operators = plan.operators.iter().enumerate();
        operators
            .filter(|(_, d)| d.code == Code::Contract && d.dtype == Dtype::F32 && fits(d.place))
            .map(|(n, _)| n)
            .collect()
    };
    let found = match contractions(true) {
        inner if inner.is_empty() => contractions(false),
        inner => inner,
    };
    found
        .get(found.len() / 2)
        .copied()
        .context("the model has no contraction inside")
}

/// The plan of an inner-value cheat on these inputs: twice the smallest move of one element that the judge convicts.
///
/// # Errors
/// The model has no contraction inside, or the engine fails.
pub fn inner_value(engine: &dyn Engine, plan: &Arc<Plan>, inputs: &[Value]) -> Result<Arc<Plan>> {
    let operator = victim(plan)?;
    let elements = plan
        .operators
        .get(operator)
        .context("no such operator")?
        .output_axes
        .iter()
        .product::<u32>() as usize;
    let element = elements / 2;
    let size = twice_the_smallest(|size| {
        let hostile = Arc::new(with_moved_element(plan, operator, element, size)?);
        let run = engine.run(&hostile, inputs, Keep::All)?;
        Ok(judged(plan, &run)?.outside > 0)
    })?;
    Ok(Arc::new(with_moved_element(plan, operator, element, size)?))
}

/// An honest run with its last output's first element moved by twice the smallest amount that is convicted.
///
/// # Errors
/// The engine fails, or the output is no floating-point number.
pub fn other_output(engine: &dyn Engine, plan: &Arc<Plan>, inputs: &[Value]) -> Result<Run> {
    let honest = engine.run(plan, inputs, Keep::All)?;
    let moved = |size: f32| -> Result<Run> {
        let mut run = honest.clone();
        let output = run.outputs.last_mut().context("the model has no output")?;
        let values = output.to_f32().context("the output is no floating-point number")?;
        let first = values.first().context("the output is empty")? + size;
        let first = half::encode(output.dtype, first.to_bits()).to_le_bytes();
        let width = output.dtype.size();
        let mut bytes = output.bytes.to_vec();
        bytes
            .get_mut(..width)
            .context("the output is empty")?
            .copy_from_slice(first.get(..width).context("an element of more than four bytes")?);
        *output = Value::new(output.dtype, output.dims.clone(), bytes)?;
        Ok(run)
    };
    let size = twice_the_smallest(|size| Ok(judged(plan, &moved(size)?)?.outside > 0))?;
    moved(size)
}

/// A runner that cheats.
pub struct Hostile {
    cheat: Cheat,
    engine: Arc<dyn Engine>,
    /// The plan that the last run really ran.
    ran: std::sync::Mutex<Option<Arc<Plan>>>,
}

impl Hostile {
    /// Cheats on this engine.
    pub fn new(cheat: Cheat, engine: Arc<dyn Engine>) -> Self {
        Self {
            cheat,
            engine,
            ran: std::sync::Mutex::new(None),
        }
    }

    fn lie(&self, plan: &Arc<Plan>, inputs: &[Value]) -> Result<(Arc<Plan>, Run)> {
        let engine = self.engine.as_ref();
        let hostile = match self.cheat {
            Cheat::Output | Cheat::LongOutput | Cheat::LongSums => {
                return Ok((plan.clone(), other_output(engine, plan, inputs)?));
            }
            Cheat::InnerValue | Cheat::Silent => inner_value(engine, plan, inputs)?,
            Cheat::Weights => {
                let size = twice_the_smallest(|size| {
                    let run = engine.run(&Arc::new(with_other_weights(plan, size)), inputs, Keep::All)?;
                    Ok(judged(plan, &run)?.outside > 0)
                })?;
                Arc::new(with_other_weights(plan, size))
            }
            Cheat::Narrow => Arc::new(Plan {
                profile: Profile::FAST.encode(),
                ..plan.as_ref().clone()
            }),
        };
        let run = engine.run(&hostile, inputs, Keep::All)?;
        Ok((hostile, run))
    }

    fn ran(&self) -> Option<Arc<Plan>> {
        self.ran
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl Runner for Hostile {
    fn name(&self) -> String {
        format!("{:?} cheat on {}", self.cheat, self.engine.name())
    }

    fn run(&self, model: &Model, inputs: &[Value]) -> Result<Run, RunError> {
        let (plan, run) = self.lie(&model.plan, inputs).map_err(|error| {
            RunError::Engine(touchstone_engine::EngineError::Plan(format!(
                "the cheat failed: {error:#}"
            )))
        })?;
        *self.ran.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(plan);
        Ok(run)
    }

    fn judge(&self, _: &Model, _: &Run) -> Result<(), RunError> {
        Ok(())
    }

    fn reopen(&self, model: &Model, layer: u32, values: &dyn ValueSource) -> Result<Vec<Value>, RunError> {
        let plan = self.ran().unwrap_or_else(|| model.plan.clone());
        let LayerValues { inner, .. } = self
            .engine
            .replay_layer(&plan, layer, values)
            .map_err(RunError::Engine)?;
        Ok(inner)
    }

    fn self_test(&self, _: &Model) -> Result<(), RunError> {
        Ok(())
    }
}

/// Gives the totals of a long operator whatever its own judge says of them: as they are, or of operands that give the output.
pub struct Totals {
    /// Whether the sums are those of operands with one term changed so that they give the output.
    pub lies: bool,
}

impl Totals {
    /// What the committed sum lacks of the committed output.
    fn missing(long: &Long<'_>) -> Option<f32> {
        let floats = |bytes: &[u8]| -> Vec<f64> {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|word| f64::from(f32::from_le_bytes(*word))).collect()
        };
        let sum: f64 = floats(long.operands.first()?).iter().sum();
        Some((floats(long.output).first()? - sum) as f32)
    }
}

impl Responder for Totals {
    fn respond(&self, case: &Case<'_>, ask: &Ask) -> Result<Reply, AnswerError> {
        let unable = || AnswerError::Unable("this cheat sums one row of fp32".to_owned());
        let (operator, element) = match *ask {
            Ask::Total { operator, element } | Ask::Split { operator, element, .. } => (operator, element),
            // A leaf can only be opened as it is.
            _ => return Honest.respond(case, ask),
        };
        case.opened(operator, element, |opening| {
            let mut long = opening.long()?;
            let mut changed = long.operands.first().ok_or_else(unable)?.to_vec();
            if self.lies {
                // A term from the middle: the walk goes down to neither end.
                let at = changed.len() / 8 * 4;
                let term = changed.get_mut(at..at + 4).ok_or_else(unable)?;
                let was = f32::from_le_bytes(*term.first_chunk().ok_or_else(unable)?);
                let missing = Self::missing(&long).ok_or_else(unable)?;
                term.copy_from_slice(&(was + missing).to_le_bytes());
                long.operands = vec![&changed];
            }
            match *ask {
                Ask::Split { depth, index, .. } => {
                    let index = u32::try_from(index).map_err(|_| unable())?;
                    case.say_split(opening, &long, depth, index)
                }
                _ => case.say_total(opening, &long),
            }
        })
    }
}

/// Says nothing in a dispute.
pub struct Mute;

impl Responder for Mute {
    fn respond(&self, _: &Case<'_>, _: &Ask) -> Result<Reply, AnswerError> {
        Err(AnswerError::Unable("no answer on purpose".to_owned()))
    }
}
