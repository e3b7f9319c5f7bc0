//! The same file gives the same model id whoever compiles it: in another folder, under another name, with another number of threads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use touchstone_tests::paths;

/// The committed models: the digits and the suite.
fn models() -> Result<Vec<PathBuf>> {
    let mut files = vec![paths::digits()];
    for entry in fs::read_dir(paths::root().join("models/suite"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "onnx") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// What `touchstone model inspect --json` says of a file, run from `folder` with so many threads for whoever asks the environment.
fn inspect(file: &Path, folder: &Path, threads: usize) -> Result<serde_json::Value> {
    let mut command = Command::new(paths::binary("touchstone")?);
    command
        .args(["model", "inspect", "--json"])
        .arg(file)
        .current_dir(folder);
    for variable in [
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "TOKIO_WORKER_THREADS",
    ] {
        command.env(variable, threads.to_string());
    }
    let output = command.output().context("run touchstone")?;
    ensure!(
        output.status.success(),
        "inspect {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_copy_elsewhere_with_other_threads_has_the_same_id() -> Result<()> {
    let files = models()?;
    ensure!(files.len() > 10, "only {} models", files.len());
    let elsewhere = TempDir::with_prefix("touchstone-ids-")?;
    for (number, file) in files.iter().enumerate() {
        let here = inspect(file, &paths::root(), 1)?;
        let id = here.get("model_id").and_then(|id| id.as_str()).unwrap_or_default();
        ensure!(id.len() == 66, "{} has the id {id:?}", file.display());
        // A folder and a name of its own, given relative to where the program runs.
        let folder = elsewhere.path().join(number.to_string()).join("a folder, né étrange");
        fs::create_dir_all(&folder)?;
        let copy = Path::new("copied.onnx");
        fs::copy(file, folder.join(copy))?;
        for threads in [1, 2, 7] {
            let there = inspect(copy, &folder, threads)?;
            ensure!(
                there == here,
                "{}: {here} here, {there} elsewhere with {threads} threads",
                file.display()
            );
        }
    }
    Ok(())
}

#[test]
fn both_exporters_give_one_id_and_one_other_weight_another() -> Result<()> {
    let suite = paths::root().join("models/suite");
    let id = |name: &str| -> Result<String> {
        let json = inspect(&suite.join(format!("{name}.onnx")), &suite, 1)?;
        Ok(json["model_id"].to_string())
    };
    for network in ["mlp", "cnn", "reader", "vit"] {
        let (script, dynamo) = (
            id(&format!("{network}_torchscript"))?,
            id(&format!("{network}_dynamo"))?,
        );
        ensure!(script == dynamo, "{network}: {script} and {dynamo}");
    }
    // The last bit of the number in the middle of the file, which is one of a weight.
    let mut bytes = fs::read(suite.join("mlp_dynamo.onnx"))?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the file is empty")? ^= 1;
    let folder = TempDir::with_prefix("touchstone-ids-")?;
    let other = folder.path().join("other.onnx");
    fs::write(&other, bytes)?;
    let (other, one) = (
        inspect(&other, folder.path(), 1)?,
        inspect(&suite.join("mlp_dynamo.onnx"), folder.path(), 1)?,
    );
    for what in ["weights_root", "model_id"] {
        ensure!(
            other[what] != one[what],
            "another weight, the same {what} {}",
            one[what]
        );
    }
    Ok(())
}
