//! Measures how tightly cheats are held on a model, and prints it as JSON: `cheats MODEL PROFILE INPUT… -- OTHER_INPUT…`, tensors as .npy
//! files in the order of the graph inputs.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use touchstone_engine::{Device, Options, Torch, Value};
use touchstone_model::{CompileOptions, compile, tensor_file::read_npy};
use touchstone_protocol::model::Profile;
use touchstone_tests::cheats::{Subject, measure, measure::cheats};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "cheats MODEL PROFILE INPUT… -- OTHER_INPUT…";
    let [model, profile, rest @ ..] = arguments.as_slice() else {
        bail!("{usage}")
    };
    let (inputs, other) = rest
        .iter()
        .position(|argument| argument == "--")
        .map(|at| (&rest[..at], &rest[at + 1..]))
        .context(usage)?;
    let profile = match profile.as_str() {
        "fast" => Profile::FAST,
        "wide" => Profile::WIDE,
        other => bail!("no profile {other:?}: fast or wide"),
    };
    let options = CompileOptions {
        profile: profile.encode(),
        ..CompileOptions::default()
    };
    let bytes = fs::read(model).with_context(|| format!("read {model}"))?;
    let plan = Arc::new(compile(&bytes, &options)?);
    let engine = Torch::new(Options {
        device: Device::Cpu,
        threads: 2,
    })?;
    let subject = Subject::new(&engine, &plan, &tensors(inputs)?, &tensors(other)?)?;
    let mut found = BTreeMap::new();
    for (place, cheat) in cheats(&subject)?.iter().enumerate() {
        let m = measure(&subject, cheat)?;
        eprintln!("{m:?}");
        let smallest = m
            .smallest
            .map(|(words, relative)| json!({ "size": words, "relative": relative, "share": m.smallest_share }));
        let row = json!({ "place": place, "outside": m.outside, "elements": m.elements, "share": m.share, "smallest": smallest });
        found.insert(m.name, row);
    }
    println!("{}", serde_json::to_string_pretty(&found)?);
    Ok(())
}

fn tensors(files: &[String]) -> Result<Vec<Value>> {
    let read = |file: &String| -> Result<Value> {
        let bytes = fs::read(Path::new(file)).with_context(|| format!("read {file}"))?;
        let tensor = read_npy(&bytes).with_context(|| file.clone())?;
        Ok(Value::new(tensor.dtype, tensor.dims.clone(), tensor.bytes.to_vec())?)
    };
    files.iter().map(read).collect()
}
