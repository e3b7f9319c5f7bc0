//! `touchstone run`: a model on libtorch through the plan that workers run; no network.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use clap::Args;
use touchstone_engine::{Device, Engine as _, Keep, Options, Torch};

use crate::{
    model::{Limits, Source},
    output, tensors,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    limits: Limits,
    /// Graph inputs in order: ONNX TensorProto (.pb) or NumPy (.npy) files
    #[arg(long = "input", value_name = "FILE", num_args = 1.., required = true)]
    inputs: Vec<PathBuf>,
    /// Folder for the outputs, as output_0.npy …
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Where to run: cpu, cuda, cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of libtorch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (plan, _) = arguments.source.compile(Some(&arguments.limits))?;
    let inputs = tensors::read_inputs(&arguments.inputs)?;
    let device: Device = arguments.device.parse()?;
    let engine = Torch::new(Options {
        device,
        threads: arguments.threads,
    })?;
    let run = engine.run(&Arc::new(plan), &inputs, Keep::Boundary)?;
    fs::create_dir_all(&arguments.output_dir)
        .with_context(|| format!("make the folder {}", arguments.output_dir.display()))?;
    let path = |number| arguments.output_dir.join(format!("output_{number}.npy"));
    for (number, value) in run.outputs.iter().enumerate() {
        tensors::write(&path(number), value)?;
    }
    // Only now: a reader that has closed the pipe ends the command, and all outputs are there.
    for number in 0..run.outputs.len() {
        output::line(path(number).display())?;
    }
    Ok(())
}
