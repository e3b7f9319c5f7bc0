//! How plans are run: the part of a worker that another engine, or an adversary of the tests, replaces.

use std::{num::NonZero, sync::Arc};

use touchstone_engine::{
    Engine, EngineError, Keep, LayerValues, Run, Value, ValueSource,
    judge::{At, JudgeRunError, judge_run},
};
use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::Place;

use crate::model::Model;

/// Why there is no run, or no layer, that this worker would defend.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs do not fit the model: the requester's fault.
    #[error("input: {0}")]
    Input(#[source] EngineError),
    /// The engine failed.
    #[error("engine: {0}")]
    Engine(#[source] EngineError),
    /// The judge would not accept the engine's own result.
    #[error("operator {operator} ({name}): element {element} is outside its envelope")]
    Outside {
        /// Its number.
        operator: u32,
        /// Its name in the plan.
        name: String,
        /// Element of its output.
        element: u64,
    },
    /// The judge could not be asked.
    #[error(transparent)]
    Judge(#[from] JudgeRunError),
    /// A descriptor of the plan has no meaning at an element.
    #[error("operator {0} has no meaning at an element")]
    Undecodable(u32),
    /// Running again gave other bits.
    #[error("layer {layer}: replaying gives other bits at {place:?}")]
    NotReproducible {
        /// The layer.
        layer: u32,
        /// The boundary value that differs.
        place: Place,
    },
    /// The same input gave different values in two runs.
    #[error("the same input gives different values at {0:?}")]
    NotDeterministic(Place),
}

/// Runs plans and reopens layers. Calls block; they are made on threads of their own.
pub trait Runner: Send + Sync + 'static {
    /// What it is, for logs.
    fn name(&self) -> String;

    /// What decides the bits that it computes, as far as it can be told: runs can be replayed by a runner that says the same.
    fn fingerprint(&self) -> String {
        format!("{} on {}, {}", self.name(), processor(), library())
    }

    /// Runs a plan on inputs in graph order. All values are kept, inner ones too.
    fn run(&self, model: &Model, inputs: &[Value]) -> Result<Run, RunError>;

    /// Asks the judge about every element of every operator: what is outside is never claimed.
    fn judge(&self, model: &Model, run: &Run) -> Result<(), RunError>;

    /// A layer's inner values, from boundary values that were claimed; they explain the layer's boundary values bit for bit.
    fn reopen(&self, model: &Model, layer: u32, values: &dyn ValueSource) -> Result<Vec<Value>, RunError>;

    /// Whether runs of this model on this machine can be defended: the same input twice gives the same values, and every layer
    /// replays bit for bit. Done once for each model before its first job.
    fn self_test(&self, model: &Model) -> Result<(), RunError> {
        let inputs = probe(&model.plan);
        let first = self.run(model, &inputs)?;
        let second = self.run(model, &inputs)?;
        if let Some(place) = first_difference(&first, &second) {
            return Err(RunError::NotDeterministic(place));
        }
        for layer in 0..model.plan.layers.len() as u32 {
            let inner = self.reopen(model, layer, &first)?;
            let same = first
                .inner
                .as_ref()
                .and_then(|all| all.get(layer as usize))
                .is_none_or(|kept| *kept == inner);
            if !same {
                return Err(RunError::NotReproducible {
                    layer,
                    place: Place::Inner(0),
                });
            }
        }
        Ok(())
    }
}

/// The honest runner.
pub struct EngineRunner {
    engine: Arc<dyn Engine>,
    judge_threads: NonZero<usize>,
}

impl EngineRunner {
    /// Runs on this engine, and judges operators side by side on so many threads.
    pub fn new(engine: Arc<dyn Engine>, judge_threads: NonZero<usize>) -> Self {
        Self { engine, judge_threads }
    }
}

impl Runner for EngineRunner {
    fn name(&self) -> String {
        self.engine.name().to_owned()
    }

    fn run(&self, model: &Model, inputs: &[Value]) -> Result<Run, RunError> {
        self.engine
            .run(&model.plan, inputs, Keep::All)
            .map_err(|error| match error {
                EngineError::InputCount { .. } | EngineError::Input { .. } => RunError::Input(error),
                error => RunError::Engine(error),
            })
    }

    fn judge(&self, model: &Model, run: &Run) -> Result<(), RunError> {
        let report = judge_run(&model.plan, run, self.judge_threads)?;
        if let Some(At { operator, .. }) = report.first_undecodable {
            return Err(RunError::Undecodable(operator));
        }
        match report.first_outside {
            None => Ok(()),
            Some(At { operator, element }) => {
                let name = model.plan.names.get(operator as usize).cloned().unwrap_or_default();
                Err(RunError::Outside {
                    operator,
                    name,
                    element,
                })
            }
        }
    }

    fn reopen(&self, model: &Model, layer: u32, values: &dyn ValueSource) -> Result<Vec<Value>, RunError> {
        let LayerValues { inner, boundary, .. } = self
            .engine
            .replay_layer(&model.plan, layer, values)
            .map_err(RunError::Engine)?;
        for (place, value) in boundary {
            if values.value(place).is_none_or(|claimed| claimed != value) {
                return Err(RunError::NotReproducible { layer, place });
            }
        }
        Ok(inner)
    }
}

/// The processor, by its name: libraries choose their kernels by it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name).to_owned()
}

/// The numeric library that is loaded, by its length: another release has another.
fn library() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let length = path
        .filter(|path| path.ends_with("libtorch_cpu.so"))
        .find_map(|path| std::fs::metadata(path).ok());
    length.map_or("no libtorch".to_owned(), |file| {
        format!("libtorch of {} bytes", file.len())
    })
}

/// Inputs for the self-test: any will do that exercise arithmetic; these are small fractions, and small numbers for integers.
fn probe(plan: &Plan) -> Vec<Value> {
    use touchstone_protocol::{descriptor::Dtype, half};
    let small = |i: usize| ((i * 7919) % 257) as f32 / 257.0 - 0.25;
    plan.inputs
        .iter()
        .map(|io| {
            let elements = io.dims.iter().map(|dim| *dim as usize).product::<usize>();
            let bytes: Vec<u8> = (0..elements)
                .flat_map(|i| match io.dtype {
                    Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
                        let bits = half::encode(io.dtype, small(i).to_bits());
                        bits.to_le_bytes()[..io.dtype.size()].to_vec()
                    }
                    Dtype::I32 => ((i % 2) as i32).to_le_bytes().to_vec(),
                    Dtype::I64 => ((i % 2) as i64).to_le_bytes().to_vec(),
                    Dtype::U8 | Dtype::Bool => vec![(i % 2) as u8],
                })
                .collect();
            Value {
                dtype: io.dtype,
                dims: io.dims.clone(),
                bytes: bytes.into(),
            }
        })
        .collect()
}

fn first_difference(a: &Run, b: &Run) -> Option<Place> {
    let pairs = |a: &[Value], b: &[Value]| {
        (0..a.len().max(b.len()))
            .find(|&number| a.get(number) != b.get(number))
            .map(|number| number as u32)
    };
    pairs(&a.trace, &b.trace)
        .map(Place::Trace)
        .or_else(|| pairs(&a.outputs, &b.outputs).map(Place::Output))
}
