//! The libtorch engine.
//!
//! Conforming by construction: each operator of the plan is one or more kernels of libtorch run one by one, with no fusion across
//! operators, no convolution kernels (the plan has im2col copies and contractions instead) and no reduced precision. Kernels are fp32;
//! under the profile `blocked(b)` sums are made block by block, under `wide` operands are widened to fp64 and results rounded once, under
//! `bf16` and `fp16` the factors of contractions are rounded to the format. [`self_test`] proves what cannot be read off the code.
//!
//! On a CUDA device matrix products are fp32 too, which every profile but `wide` takes, unless `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1` is set when
//! the process starts. Then tensor cores make them from TF32 factors, which hold bf16 and fp16 exactly, and plans under `fast` and `blocked(b)`
//! are refused.
//!
//! Everything runs on one thread of its own. The number of threads that libtorch's kernels use is a setting of the calling
//! thread, and it decides how sums are split; callers come from thread pools, so a run and its replay would otherwise disagree.
//!
//! # Layout
//! - `executor`: the thread, its settings, prepared models
//! - `model`: a plan prepared: weights and steps
//! - `view`: operands as strided or gathered tensors
//! - `copy`, `exact`, `contract`, `reduce`, `rows`: kernels by family
//! - [`self_test`]: start-up checks
//! - `slack`: half-widths of envelopes, and derivatives through the kernels

mod contract;
mod copy;
mod exact;
mod executor;
mod model;
mod reduce;
mod rows;
pub mod self_test;
mod slack;
mod view;

use std::sync::Arc;

use touchstone_model::plan::Plan;
use touchstone_protocol::model::Profile;

use self::{executor::Executor, model::Products};
use crate::{
    engine::{Engine, EngineError, Keep, LayerValues, Run, ValueSource, boundary_inputs, check_inputs},
    slack::{Answer, Question},
    value::Value,
};

/// Where kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device with this number; needs a libtorch that was built with CUDA.
    Cuda(usize),
}

/// Why a device name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {0:?} is none of `cpu`, `cuda`, `cuda:N`")]
pub struct DeviceError(String);

impl std::str::FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Device::Cuda).map_err(|_| DeviceError(name.into())),
            _ => Err(DeviceError(name.into())),
        }
    }
}

impl From<Device> for tch::Device {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(number) => tch::Device::Cuda(number),
        }
    }
}

/// How the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where kernels run.
    pub device: Device,
    /// Threads of libtorch's kernels, at least 1. Part of what makes a replay the same bits.
    pub threads: u16,
}

/// The libtorch engine. Calls are run one after the other on its own thread.
#[derive(Debug)]
pub struct Torch {
    name: String,
    executor: Executor,
}

impl Torch {
    /// Starts the engine and runs [`self_test::numerics`].
    ///
    /// # Errors
    /// The device is not there, the thread does not start, or the numerics are not conforming.
    pub fn new(options: Options) -> Result<Self, EngineError> {
        let executor = Executor::start(options)?;
        let products = executor.call(|worker| worker.self_test())?;
        let device = match options.device {
            Device::Cpu => "cpu".to_owned(),
            Device::Cuda(number) => format!("cuda:{number}"),
        };
        let products = match products {
            Products::Fp32 => "",
            Products::Tf32 => " in TF32",
        };
        Ok(Self {
            name: format!("libtorch on {device}{products}, {} threads", options.threads),
            executor,
        })
    }
}

impl Torch {
    /// What [`crate::slack`] asks: numbers made of a run's values, and how far an undetectable cheat can move each under each of the
    /// profiles, to first order.
    ///
    /// # Errors
    /// The run lacks inner values or is not of the plan, a question asks for what is not there, or a failure of the library.
    pub fn slack(
        &self,
        plan: &Arc<Plan>,
        run: &Run,
        profiles: &[Profile],
        questions: &[Question],
    ) -> Result<Vec<Answer>, EngineError> {
        let (plan, run, profiles) = (plan.clone(), run.clone(), profiles.to_vec());
        let questions = questions.to_vec();
        self.executor
            .call(move |worker| slack::answers(&plan, &run, &profiles, &questions, worker.device()))
    }

    /// The half-widths of the envelopes of an operator's elements under each of the profiles, that [`Torch::slack`] weighs derivatives
    /// with: how far a result may lie from the exact one of the run's own operands. None where a result has one right answer.
    ///
    /// # Errors
    /// As [`Torch::slack`].
    pub fn half_widths(
        &self,
        plan: &Arc<Plan>,
        run: &Run,
        profiles: &[Profile],
        operator: u32,
    ) -> Result<Option<Vec<Vec<f64>>>, EngineError> {
        let (plan, run, profiles) = (plan.clone(), run.clone(), profiles.to_vec());
        self.executor
            .call(move |worker| slack::widths(&plan, &run, &profiles, operator, worker.device()))
    }

    /// The derivatives of a weighted sum of an operator's elements, (element, weight), by the elements of each operator: those that
    /// [`Torch::slack`] takes. None where it does not depend on the operator, or the operator's results have no width.
    ///
    /// # Errors
    /// As [`Torch::slack`].
    pub fn derivatives(
        &self,
        plan: &Arc<Plan>,
        run: &Run,
        operator: u32,
        weights: &[(u64, f64)],
    ) -> Result<Vec<Option<Vec<f64>>>, EngineError> {
        let (plan, run, weights) = (plan.clone(), run.clone(), weights.to_vec());
        self.executor
            .call(move |worker| slack::gradient(&plan, &run, operator, &weights, worker.device()))
    }
}

impl Engine for Torch {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, plan: &Arc<Plan>, inputs: &[Value], keep: Keep) -> Result<Run, EngineError> {
        check_inputs(plan, inputs)?;
        let (plan, inputs) = (plan.clone(), inputs.to_vec());
        self.executor
            .call(move |worker| worker.model(&plan)?.run(&inputs, keep))
    }

    fn replay_layer(&self, plan: &Arc<Plan>, layer: u32, values: &dyn ValueSource) -> Result<LayerValues, EngineError> {
        let read = boundary_inputs(plan, layer, values)?;
        let plan = plan.clone();
        self.executor
            .call(move |worker| worker.model(&plan)?.replay(layer, &read))
    }
}
