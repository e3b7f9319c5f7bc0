//! What needs no network.

use std::{fs, io::pipe, path::Path};

use crate::{output, text, touchstone, with_closed_output};

#[test]
fn every_help_documents_the_exit_status() {
    for command in [
        &["--help"][..],
        &["model", "--help"],
        &["model", "inspect", "--help"],
        &["model", "publish", "--help"],
        &["run", "--help"],
        &["audit", "--help"],
        &["request", "--help"],
        &["status", "--help"],
        &["withdraw", "--help"],
    ] {
        let output = output(command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        let help = text(&output.stdout);
        assert!(
            help.contains("Exit status:") && help.contains("2  the command line is wrong"),
            "{command:?}"
        );
    }
}

#[test]
fn the_exit_status_is_as_documented() {
    assert_eq!(
        output(&["model", "inspect", "digits_vit/model.onnx"]).status.code(),
        Some(0)
    );
    let failed = output(&["model", "inspect", "hostile/empty.onnx"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).starts_with("touchstone: compile hostile/empty.onnx"));
    assert_eq!(output(&["model", "inspect"]).status.code(), Some(2));
    assert_eq!(output(&["nothing"]).status.code(), Some(2));
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let inspect = ["model", "inspect", "digits_vit/model.onnx"];
    assert_eq!(with_closed_output(&inspect), (Some(0), String::new()));
    assert_eq!(
        with_closed_output(&[&inspect[..], &["--json"]].concat()),
        (Some(0), String::new())
    );
    // Help is printed by the parser.
    assert_eq!(with_closed_output(&["--help"]), (Some(0), String::new()));
}

#[test]
fn a_closed_pipe_costs_no_output_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("closed-pipe-{}", std::process::id()));
    let dir = folder.to_str().unwrap();
    let run = [
        "run",
        "suite/reader_torchscript.onnx",
        "--input",
        "digits_vit/inputs/digit_0_label_7.npy",
        "--output-dir",
        dir,
    ];
    assert_eq!(with_closed_output(&run), (Some(0), String::new()));
    // The reader has three outputs.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_error_is_an_error_though_nobody_reads_it() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let status = touchstone(&["model", "inspect", "hostile/empty.onnx"])
        .stderr(writer)
        .status();
    assert_eq!(status.unwrap().code(), Some(1));
}

#[test]
fn inspection_says_whether_a_model_can_be_published() {
    let inspect = |file| text(&output(&["model", "inspect", file]).stdout);
    let small = inspect("digits_vit/model.onnx");
    assert!(
        small.contains("inputs 256, outputs 40 of 16384 bytes each: publishable"),
        "{small}"
    );
    let large = inspect("hostile/outputs_beyond_inline.onnx");
    assert!(
        large.contains("inputs 16384, outputs 16388 of 16384 bytes each: not publishable"),
        "{large}"
    );
    let json = output(&["model", "inspect", "--json", "hostile/inputs_beyond_inline.onnx"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["input_bytes"], &json["output_bytes"], &json["publishable"]),
        (&16_388.into(), &4.into(), &false.into())
    );
}

/// No node answers at this address and no key is in the file: what is refused is refused before either is looked at.
#[test]
fn a_model_too_large_to_ask_for_is_not_sent() {
    let publish = |file: &str| {
        let market = format!("0x{}", "11".repeat(20));
        let arguments = [
            "--rpc",
            "http://127.0.0.1:1",
            "--market",
            &market,
            "--key-file",
            "no such file",
        ];
        let failed = output(&[&["model", "publish", file][..], &arguments].concat());
        assert_eq!(failed.status.code(), Some(1));
        text(&failed.stderr)
    };
    let error = publish("hostile/inputs_beyond_inline.onnx");
    assert!(
        error.contains("inputs take 16388 bytes") && error.contains("smaller batch"),
        "{error}"
    );
    let error = publish("hostile/outputs_beyond_inline.onnx");
    assert!(
        error.contains("outputs take 16388 bytes") && error.contains("a label"),
        "{error}"
    );
    // One that fits goes on to the key.
    assert!(publish("digits_vit/model.onnx").contains("read the key file"));
}

#[test]
fn limits_on_a_run_are_raised_and_lowered_by_flag() {
    let error = text(&output(&["model", "inspect", "hostile/run_bytes_bomb.onnx"]).stderr);
    assert!(
        error.contains("the plan is too large") && error.contains("--max-run-bytes"),
        "{error}"
    );
    let raised = ["--max-run-bytes", "200000000000"];
    let arguments = [&["model", "inspect", "hostile/run_bytes_bomb.onnx"][..], &raised].concat();
    assert_eq!(output(&arguments).status.code(), Some(0));
    let lowered = ["model", "inspect", "digits_vit/model.onnx", "--max-run-terms", "1000"];
    assert_eq!(output(&lowered).status.code(), Some(1));
}
