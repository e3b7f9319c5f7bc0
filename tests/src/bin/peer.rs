//! An engine of this project for the Python suite: `peer values MODEL ENGINE THREADS PROFILE FOLDER INPUT…` writes every value of a run as
//! .npy; `peer time MODEL THREADS INPUT…` reads names of profiles from its input, line by line, runs the model once under each on libtorch,
//! and answers with the nanoseconds that took. The engine is `reference` or `libtorch`, the profile `fast`, `blocked:B` or `wide`.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead as _, Write as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use touchstone_engine::{Device, Engine, Keep, Options, Reference, Torch, Value};
use touchstone_model::{CompileOptions, Plan, Tensor, compile, tensor_file};
use touchstone_protocol::model::Profile;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["values", model, engine, threads, profile, folder, inputs @ ..] => {
            let plan = plan(model, profile)?;
            let engine: Box<dyn Engine> = match *engine {
                "reference" => Box::new(Reference),
                "libtorch" => Box::new(libtorch(threads)?),
                other => bail!("no engine {other:?}: reference or libtorch"),
            };
            write_values(&*engine, &plan, &tensors(inputs)?, Path::new(folder))
        }
        ["time", model, threads, inputs @ ..] => time(model, &libtorch(threads)?, &tensors(inputs)?),
        _ => bail!("peer values MODEL ENGINE THREADS PROFILE FOLDER INPUT… | peer time MODEL THREADS INPUT…"),
    }
}

fn libtorch(threads: &str) -> Result<Torch> {
    let options = Options {
        device: Device::Cpu,
        threads: threads.parse().context("threads")?,
    };
    Ok(Torch::new(options)?)
}

fn plan(model: &str, profile: &str) -> Result<Arc<Plan>> {
    let profile = match (profile, profile.strip_prefix("blocked:")) {
        ("fast", _) => Profile::FAST,
        ("wide", _) => Profile::WIDE,
        (_, Some(block)) => Profile::blocked(block.parse()?).with_context(|| format!("no block of {block}"))?,
        _ => bail!("no profile {profile:?}: fast, blocked:B or wide"),
    };
    let options = CompileOptions {
        profile: profile.encode(),
        ..CompileOptions::default()
    };
    let bytes = fs::read(model).with_context(|| format!("read {model}"))?;
    Ok(Arc::new(compile(&bytes, &options)?))
}

fn tensors(files: &[&str]) -> Result<Vec<Value>> {
    let read = |file: &&str| -> Result<Value> {
        let bytes = fs::read(file).with_context(|| format!("read {file}"))?;
        let tensor = tensor_file::read_npy(&bytes).with_context(|| (*file).to_owned())?;
        Ok(Value::new(tensor.dtype, tensor.dims.clone(), tensor.bytes.to_vec())?)
    };
    files.iter().map(read).collect()
}

fn write_values(engine: &dyn Engine, plan: &Arc<Plan>, inputs: &[Value], folder: &Path) -> Result<()> {
    let run = engine.run(plan, inputs, Keep::All)?;
    for (d, name) in plan.operators.iter().zip(&plan.names) {
        let value = run.output_of(d).context("a value was not kept")?;
        let kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let file: String = name.chars().map(|c| if kept(c) { c } else { '_' }).collect();
        let tensor = Tensor::new(value.dtype, value.dims.clone(), value.bytes.to_vec()).map_err(anyhow::Error::msg)?;
        fs::write(folder.join(file + ".npy"), tensor_file::write_npy(&tensor))?;
    }
    Ok(())
}

fn time(model: &str, engine: &Torch, inputs: &[Value]) -> Result<()> {
    let mut plans: HashMap<String, Arc<Plan>> = HashMap::new();
    for line in io::stdin().lock().lines() {
        let profile = line?;
        let plan = match plans.get(&profile) {
            Some(known) => known.clone(),
            None => {
                let made = plan(model, &profile)?;
                engine.run(&made, inputs, Keep::Boundary)?;
                plans.insert(profile, made.clone());
                made
            }
        };
        let started = Instant::now();
        engine.run(&plan, inputs, Keep::Boundary)?;
        writeln!(io::stdout(), "{}", started.elapsed().as_nanos())?;
        io::stdout().flush()?;
    }
    Ok(())
}
