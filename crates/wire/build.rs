//! Generates the protobuf and tonic code from `proto/`, without a system protoc.

use std::{env, error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = protox::compile(
        [
            "touchstone/worker/v1/worker.proto",
            "touchstone/challenger/v1/challenger.proto",
            "touchstone/model/v1/model.proto",
        ],
        [&root],
    )?;
    tonic_prost_build::configure()
        .include_file("proto.rs")
        .compile_fds(files)?;
    Ok(())
}
