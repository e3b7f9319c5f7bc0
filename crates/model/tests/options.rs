//! Shapes and values given at compile, and what is refused because no verdict could decide it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{read, zip};
use touchstone_model::{CompileError, CompileOptions, Tensor, compile, supported_operators, tensor_file};

fn shape(name: &str, dims: &[u32]) -> CompileOptions {
    CompileOptions {
        shapes: BTreeMap::from([(name.into(), dims.into())]),
        ..Default::default()
    }
}

#[test]
fn open_shapes_are_fixed_by_name() {
    let bytes = read("hostile/dynamic_axis.onnx");
    let error = compile(&bytes, &CompileOptions::default()).unwrap_err();
    assert!(
        matches!(&error, CompileError::SymbolicShape { input, .. } if input == "x"),
        "{error}"
    );
    let plan = compile(&bytes, &shape("x", &[2, 4])).unwrap();
    assert_eq!(plan.inputs[0].dims, [2, 4]);
    // The file declares an output of two rows.
    assert!(matches!(
        compile(&bytes, &shape("x", &[3, 4])),
        Err(CompileError::Malformed(_))
    ));
}

#[test]
fn options_that_contradict_the_model_are_refused() {
    let bytes = read("hostile/dynamic_axis.onnx");
    for options in [shape("x", &[3, 5]), shape("x", &[3, 4, 1]), shape("z", &[3, 4])] {
        assert!(matches!(compile(&bytes, &options), Err(CompileError::Option { .. })));
    }
    let wrong = Tensor::new(touchstone_protocol::descriptor::Dtype::I64, vec![3, 4], vec![0; 96]).unwrap();
    let options = CompileOptions {
        binds: BTreeMap::from([("x".into(), wrong)]),
        ..Default::default()
    };
    assert!(matches!(compile(&bytes, &options), Err(CompileError::Option { .. })));
    let profile = CompileOptions {
        profile: 1,
        ..Default::default()
    };
    assert!(matches!(compile(&bytes, &profile), Err(CompileError::Option { name, .. }) if name == "profile"));
}

#[test]
fn a_shape_operand_is_bound() {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_cases.zip")).unwrap();
    let members = zip(&file);
    let model = members["test_reshape_negative_dim/model.onnx"];
    let error = compile(model, &CompileOptions::default()).unwrap_err().to_string();
    assert!(error.contains("`shape`") && error.contains("bind it"), "{error}");
    let tensor = tensor_file::read_pb(members["test_reshape_negative_dim/input_1.pb"]).unwrap();
    let options = CompileOptions {
        binds: BTreeMap::from([("shape".into(), tensor)]),
        ..Default::default()
    };
    let plan = compile(model, &options).unwrap();
    assert_eq!(plan.inputs.len(), 1);
    assert_eq!(plan.outputs[0].dims, [2, 6, 2]);
}

#[test]
fn inspection_serializes() {
    let plan = compile(&read("digits_vit/model.onnx"), &CompileOptions::default()).unwrap();
    let inspection = plan.inspect();
    assert_eq!(inspection.operators.len(), plan.operators.len());
    assert_eq!(
        inspection.boundary_bytes + inspection.inner_bytes,
        inspection.operators.iter().map(|o| o.bytes).sum::<u64>()
    );
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["inputs"][0]["name"], "image");
    assert!(json["operators"][0]["witness_bytes"].is_u64());
}

#[test]
fn the_table_of_operators_is_sound() {
    let names = supported_operators();
    assert!(
        names.windows(2).all(|pair| pair[0] < pair[1]),
        "an operator is listed twice"
    );
    for name in ["MatMul", "Conv", "LayerNormalization", "Softmax", "Gather"] {
        assert!(names.contains(&name));
    }
}
