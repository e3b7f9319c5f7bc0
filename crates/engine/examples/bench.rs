//! What a run under each numerics profile, its commitments, a replay and a whole judgement cost: `cargo run -p touchstone-engine --example bench [MODEL.onnx]`.
//! The model takes float32 inputs; they are filled with numbers between 0 and 1. Durations are the least and the median.

use std::{
    error::Error,
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use touchstone_engine::{Engine, Keep, ModelTrees, Options, Reference, Torch, Trace, Value, judge_run};
use touchstone_model::{CompileOptions, compile, plan::Plan};
use touchstone_protocol::model::Profile;

fn main() -> Result<(), Box<dyn Error>> {
    let digits = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/digits_vit/model.onnx");
    let path = std::env::args_os().nth(1).map_or(digits, PathBuf::from);
    let plan = Arc::new(compile(&std::fs::read(&path)?, &CompileOptions::default())?);
    let weights: usize = plan.weights.iter().map(|w| w.bytes.len()).sum();
    println!(
        "{} operators, {} layers, {} trace values, {weights} bytes of weights",
        plan.operators.len(),
        plan.layers.len(),
        plan.trace_count
    );
    let inputs = plan
        .inputs
        .iter()
        .map(|io| {
            let count: u32 = io.dims.iter().product();
            let numbers: Vec<f32> = (0..count).map(|k| (k * 37 % 101) as f32 / 100.0).collect();
            Value::from_f32(io.dims.clone(), &numbers)
        })
        .collect::<Result<Vec<_>, _>>()?;

    let started = Instant::now();
    let trees = ModelTrees::new(&plan)?;
    println!(
        "weights hashed in {:?} (root {})",
        started.elapsed(),
        trees.weights.root()
    );
    let engine = |threads| {
        Torch::new(Options {
            device: Default::default(),
            threads,
        })
    };
    let engines: [Box<dyn Engine>; 3] = [Box::new(engine(1)?), Box::new(engine(2)?), Box::new(Reference)];
    for engine in &engines {
        let boundary = time(50, || engine.run(&plan, &inputs, Keep::Boundary))?;
        let all = time(50, || engine.run(&plan, &inputs, Keep::All))?;
        println!("{}: run {boundary:?}, keeping inner values {all:?}", engine.name());
    }
    for profile in [
        Profile::FAST,
        Profile::blocked(256)?,
        Profile::WIDE,
        Profile::TF32,
        Profile::BF16,
        Profile::FP16,
    ] {
        let plan = Arc::new(Plan {
            profile: profile.encode(),
            ..plan.as_ref().clone()
        });
        let boundary = time(50, || engines[0].run(&plan, &inputs, Keep::Boundary))?;
        println!("{}: run under {:?} {boundary:?}", engines[0].name(), profile.kind);
    }
    let run = engines[0].run(&plan, &inputs, Keep::All)?;
    println!("commit the trace: {:?}", time(50, || Trace::commit(&run))?);
    let layers = plan.layers.len() as u32;
    let replays = time(5, || {
        (0..layers).try_for_each(|layer| engines[0].replay_layer(&plan, layer, &run).map(drop))
    })?;
    println!("replay every layer: {replays:?}");
    for threads in [1, 2] {
        let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
        let judged = time(3, || judge_run(&plan, &run, threads))?;
        println!("judge every element on {threads} threads: {judged:?}");
    }
    Ok(())
}

/// The least and the median duration of `count` calls.
fn time<T, E>(count: usize, mut call: impl FnMut() -> Result<T, E>) -> Result<(Duration, Duration), E> {
    call()?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        call()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok((times[0], times[count / 2]))
}
