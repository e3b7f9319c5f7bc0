//! Files that lie, break rules or are damaged: each is refused with an error, none panics or takes long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{Numbers, check_offsets, damaged, read};
use touchstone_model::{CompileError, CompileOptions, compile, tensor_file};

fn outcome(bytes: &[u8]) -> Result<touchstone_model::Plan, CompileError> {
    let start = Instant::now();
    let result = compile(bytes, &CompileOptions::default());
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "compiling took {:?}",
        start.elapsed()
    );
    result
}

#[test]
fn every_fixture_is_refused_or_accepted_as_its_table_says() {
    let table = String::from_utf8(read("hostile/cases.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in table.lines() {
        let mut columns = line.split('\t');
        let (name, expected, why) = (
            columns.next().unwrap(),
            columns.next().unwrap(),
            columns.next().unwrap(),
        );
        let result = outcome(&read(&format!("hostile/{name}.onnx")));
        let text = result.as_ref().err().map(ToString::to_string);
        println!("{name} ({why}): {}", text.as_deref().unwrap_or("compiles"));
        match (expected, &result) {
            ("refuse", Ok(_)) => wrong.push(format!("{name} compiles: {why}")),
            ("legal", Err(error)) => wrong.push(format!("{name} is legal ({why}) but: {error}")),
            _ => {}
        }
        if text.is_some_and(|text| text.is_empty()) {
            wrong.push(format!("{name}: an empty message"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsupported_operators_are_listed_together() {
    let error = outcome(&read("hostile/unknown_operators.onnx")).unwrap_err();
    let CompileError::Unsupported(list) = error else {
        panic!("{error}")
    };
    assert_eq!(list.len(), 2);
    assert!(list[0].index < list[1].index);
}

#[test]
fn external_data_is_refused_with_the_remedy() {
    let error = outcome(&read("hostile/external_data_parent.onnx"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("embed the weights"), "{error}");
}

#[test]
fn no_truncation_panics() {
    for name in ["suite/mlp_dynamo.onnx", "hostile/outputs_are_aliases.onnx"] {
        let bytes = read(name);
        // Every cut near both ends, where the structure is; the middle is weights.
        let cuts = (0..bytes.len()).filter(|cut| *cut < 4_096 || bytes.len() - cut < 4_096 || cut % 61 == 0);
        for cut in cuts {
            assert!(outcome(&bytes[..cut]).is_err(), "{name} cut to {cut} bytes compiles");
        }
    }
}

#[test]
fn no_damage_panics() {
    let mut numbers = Numbers(0x70c5_1234_9abc_def1);
    let names = [
        "hostile/outputs_are_aliases.onnx",
        "hostile/slice_limits.onnx",
        "hostile/conv_channels.onnx",
        "hostile/pool_pads_too_wide.onnx",
        "hostile/layernorm_epsilon.onnx",
        "hostile/transpose_perm.onnx",
        "hostile/gather_out_of_range.onnx",
        "hostile/reshape_impossible.onnx",
        "hostile/concat_shapes.onnx",
        "hostile/batchnorm_channels.onnx",
        "suite/reader_torchscript.onnx",
    ];
    let mut compiled = 0;
    for name in names {
        let original = read(name);
        for _ in 0..1_500 {
            let bytes = damaged(&original, &mut numbers);
            let Ok(plan) = outcome(&bytes) else { continue };
            compiled += 1;
            check_offsets(&plan);
        }
    }
    println!("{compiled} damaged files compiled");
}

#[test]
fn no_damaged_tensor_file_panics() {
    let mut numbers = Numbers(77);
    let original = &read("suite/inputs.npy")[..256];
    for _ in 0..5_000 {
        let mut bytes = original.to_vec();
        let at = numbers.below(128);
        bytes[at] = numbers.next() as u8;
        let _ = tensor_file::read_npy(&bytes);
        let _ = tensor_file::read_pb(&bytes);
    }
    for cut in 0..original.len() {
        assert!(tensor_file::read_npy(&original[..cut]).is_err());
    }
}
