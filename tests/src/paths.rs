//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A program of the workspace, built beside the one that runs.
///
/// # Errors
/// It has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    // target/debug/demo, or target/debug/deps/some_test-0123.
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace`"))
}

/// A tool that set-up fetched.
///
/// # Errors
/// Set-up has not run.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = root().join(".state/bin").join(name);
    ensure!(path.is_file(), "{} is missing: run `make setup`", path.display());
    Ok(path)
}

/// ABI and bytecode of the contracts.
pub fn artifacts() -> PathBuf {
    root().join("contracts/artifacts")
}

/// The digits model.
pub fn digits() -> PathBuf {
    root().join("models/digits_vit/model.onnx")
}
