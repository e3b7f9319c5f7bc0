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
        &["model", "slack", "--help"],
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

/// A dispute's moves, gas and time: they follow the clocks that are given, and add up as the page of gas says.
#[test]
fn inspection_quotes_disputes() {
    let inspect = |more: &[&str]| {
        let words = [&["model", "inspect", "digits_vit/model.onnx"][..], more].concat();
        let output = output(&words);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let json =
        |more: &[&str]| -> serde_json::Value { serde_json::from_str(&inspect(&[&["--json"], more].concat())).unwrap() };
    let whole = json(&[]);
    for operator in whole["operators"].as_array().unwrap() {
        let number = |of: &str, name: &str| operator[of][name].as_u64().unwrap();
        let verdict = operator["verdict_gas"].as_u64().unwrap();
        for way in ["conviction", "dispute"] {
            assert!(
                number(way, "gas") > verdict && number(way, "gas") > number(way, "worker_gas"),
                "{operator}"
            );
            assert!(number(way, "moves") <= whole[format!("worst_{way}")]["moves"].as_u64().unwrap());
            assert!(number(way, "gas") <= whole[format!("worst_{way}")]["gas"].as_u64().unwrap());
        }
        assert!(number("conviction", "moves") <= 4 && number("conviction", "gas") < number("dispute", "gas"));
    }
    // The devnet: clocks of 60 s, 4 s a move, 10 turns and 5 for parts, a window of 20 s.
    let times = &whole["times"];
    let turns = whole["worst_dispute"]["turns"].as_u64().unwrap();
    assert_eq!(times["walk_seconds"], 2 * 60 + (2 * turns + 1) * 4);
    assert_eq!(times["dispute_seconds"], 2 * 60 + (2 * (10 + 5) + 1) * 4);
    assert_eq!(
        (&times["final_seconds_undisputed"], &times["final_seconds_disputed"]),
        (&20.into(), &(20 + 244).into())
    );
    assert_eq!(times["requests_are_taken"], true);
    let other = json(&[
        "--clock",
        "3600",
        "--extension",
        "600",
        "--window",
        "86400",
        "--max-turns",
        "4",
    ]);
    let times = &other["times"];
    assert_eq!(times["dispute_seconds"], 2 * 3_600 + 19 * 600);
    assert_eq!(times["final_seconds_disputed"], 86_400 + 2 * 3_600 + 19 * 600);
    assert_eq!(times["requests_are_taken"], false);

    let page = inspect(&[]);
    let gas = whole["worst_dispute"]["gas"].as_u64().unwrap();
    let moves = whole["worst_dispute"]["moves"].as_u64().unwrap();
    assert!(
        page.contains(&format!("the longest walk: at most {moves} moves, {gas} gas")),
        "{page}"
    );
    assert!(page.contains("any dispute 244 s at most"), "{page}");
    assert!(inspect(&["--max-turns", "4"]).contains("it refuses requests for this model"));
}

/// The slack of each profile, in words and as JSON, and the margin rule.
#[test]
fn slack_is_told_for_each_profile() {
    let ask = [
        "model",
        "slack",
        "digits_vit/model.onnx",
        "--input",
        "digits_vit/inputs/digit_0_label_7.npy",
    ];
    let run = output(&ask);
    let said = text(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    for words in [
        "all 10 elements",
        "fast ",
        "blocked:256 ",
        "wide ",
        "the greatest is at place 7",
        "is certain to first order",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = output(&[&ask[..], &["--profile", "fast", "wide", "--json", "--output", "logits"]].concat());
    assert_eq!(json.status.code(), Some(2), "one name a flag");
    let json = output(
        &[
            &ask[..],
            &["--profile", "fast", "--profile", "wide", "--json", "--output", "logits"],
        ]
        .concat(),
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["profiles"], serde_json::json!(["fast", "wide"]));
    let logits = &json["outputs"][0];
    assert_eq!(logits["elements"].as_array().unwrap().len(), 10);
    let slack = |profile: &str| logits["elements"][7]["profiles"][profile]["slack"].as_f64().unwrap();
    assert!(slack("wide") > 0.0 && slack("fast") > 20.0 * slack("wide"));
    assert_eq!(logits["margins"][0]["greatest"], 7);
    let nearest = &logits["margins"][0]["profiles"]["fast"];
    assert_eq!(nearest["certain"], true);
    assert!(nearest["nearest"]["margin"].as_f64() > nearest["nearest"]["slack"].as_f64());

    let cosine = text(&output(&[&ask[..], &["--functional", "cosine"]].concat()).stdout);
    assert!(
        cosine.contains("no particular direction") && cosine.contains("with any at most"),
        "{cosine}"
    );
    let sampled = text(&output(&[&ask[..], &["--samples", "3"]].concat()).stdout);
    assert!(
        sampled.contains("of 10 elements: the greatest and some")
            && sampled.contains("(the nearest 3 of 9 asked about)"),
        "{sampled}"
    );
}

#[test]
fn slack_that_cannot_be_told_is_refused_with_the_reason() {
    let input = "digits_vit/inputs/digit_0_label_7.npy";
    let error = |more: &[&str]| {
        let ask = ["model", "slack", "digits_vit/model.onnx", "--input"];
        let failed = output(&[&ask[..], more].concat());
        assert_ne!(failed.status.code(), Some(0));
        text(&failed.stderr)
    };
    assert!(error(&[input, "--output", "nothing"]).contains("has no output \"nothing\", it has logits"));
    assert!(error(&[input, "--against", input]).contains("--against goes with --functional cosine"));
    assert!(error(&[input, "--functional", "cosine", "--against", input]).contains("another length"));
    assert!(error(&["digits_vit/inputs/labels.npy"]).contains("input 0"));
    assert!(error(&[input, "--profile", "narrow"]).contains("none of `fast`"));
    assert!(error(&[input, "--samples", "0"]).contains("no number from 1 on"));
}
