//! The binary as people use it: help, exit status, closed pipes, what is refused before anything is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../crates/chain/tests/common/anvil.rs"]
mod anvil;
mod audit;
mod chain;
mod files;
#[path = "../../../crates/model/tests/common/zip.rs"]
mod zip;

use std::{
    io::pipe,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn touchstone(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(arguments).current_dir(models()).stdin(Stdio::null());
    for name in ["TOUCHSTONE_RPC_URL", "TOUCHSTONE_MARKET", "TOUCHSTONE_KEY_FILE"] {
        command.env_remove(name);
    }
    command
}

fn output(arguments: &[&str]) -> Output {
    touchstone(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command says on standard error when nobody reads its output.
fn with_closed_output(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = touchstone(arguments).stdout(writer).output().unwrap();
    (output.status.code(), text(&output.stderr))
}
