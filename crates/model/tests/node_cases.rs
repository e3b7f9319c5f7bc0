//! The ONNX project's node tests (`node_cases.zip`, written by `node_cases.py`), through plans and the naive evaluator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Numbers, check_offsets, damaged, distance, evaluate, zip};
use touchstone_model::{CompileError, CompileOptions, Plan, Tensor, compile, tensor_file};
use touchstone_protocol::descriptor::Dtype;

/// Beginnings of the reasons for which a case may be refused.
const REFUSALS: &str = include_str!("node_cases_refused.tsv");

/// Damaged copies of each case's model.
const DAMAGES: usize = 20;

struct Case<'a> {
    model: &'a [u8],
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

fn cases(bytes: &[u8]) -> BTreeMap<String, Case<'_>> {
    let members = zip(bytes);
    let names: BTreeSet<&str> = members.keys().map(|member| member.split_once('/').unwrap().0).collect();
    let tensors = |name: &str, kind: &str| -> Vec<Tensor> {
        let files = (0..).map_while(|k| members.get(&format!("{name}/{kind}_{k}.pb")));
        files.map(|file| tensor_file::read_pb(file).unwrap()).collect()
    };
    let case = |name: &str| Case {
        model: members[&format!("{name}/model.onnx")],
        inputs: tensors(name, "input"),
        outputs: tensors(name, "output"),
    };
    names.into_iter().map(|name| (name.to_string(), case(name))).collect()
}

/// Compiles a case with its inputs bound except those that are `free`, and gives the tensors of those.
fn compile_bound(
    case: &Case<'_>,
    names: &[String],
    free: impl Fn(usize) -> bool,
) -> Result<(Plan, Vec<Tensor>), CompileError> {
    let mut options = CompileOptions::default();
    let mut left = Vec::new();
    for (k, (name, tensor)) in names.iter().zip(&case.inputs).enumerate() {
        if free(k) {
            left.push(tensor.clone());
        } else {
            options.binds.insert(name.clone(), tensor.clone());
        }
    }
    Ok((compile(case.model, &options)?, left))
}

/// Names of the graph inputs, read from the file by the field numbers of onnx.proto.
fn input_names(model: &[u8]) -> Vec<String> {
    let fields = |bytes: &[u8], number: u64| -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut rest = bytes;
        let varint = |rest: &mut &[u8]| {
            let (mut value, mut shift) = (0u64, 0);
            loop {
                let byte = rest[0];
                *rest = &rest[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        };
        while !rest.is_empty() {
            let key = varint(&mut rest);
            match key & 7 {
                0 => {
                    varint(&mut rest);
                }
                5 => rest = &rest[4..],
                1 => rest = &rest[8..],
                _ => {
                    let length = varint(&mut rest) as usize;
                    if key >> 3 == number {
                        found.push(rest[..length].to_vec());
                    }
                    rest = &rest[length..];
                }
            }
        }
        found
    };
    let graph = &fields(model, 7)[0];
    fields(graph, 11)
        .iter()
        .map(|info| String::from_utf8(fields(info, 1)[0].clone()).unwrap())
        .collect()
}

fn check(name: &str, case: &Case<'_>, plan: &Plan, inputs: &[Tensor]) -> Result<(), String> {
    let run = evaluate::run(plan, inputs);
    for (k, (expected, actual)) in case.outputs.iter().zip(&run.outputs).enumerate() {
        if plan.outputs[k].dims != expected.dims || plan.outputs[k].dtype != expected.dtype {
            return Err(format!(
                "{name}: output {k} is {:?} {:?}",
                plan.outputs[k].dtype, plan.outputs[k].dims
            ));
        }
        let expected = evaluate::numbers(expected.dtype, &expected.bytes);
        let distance = distance(actual, &expected);
        // The specification gives this one's values to four digits.
        let allowed = if name == "test_averagepool_2d_ceil_last_window_starts_on_pad" {
            2e-4
        } else {
            1e-6
        };
        if distance > allowed {
            return Err(format!("{name}: output {k} is off by {distance}"));
        }
    }
    Ok(())
}

#[test]
fn plans_compute_what_the_specification_says() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_cases.zip")).unwrap();
    let refusals: Vec<(&str, &str)> = REFUSALS.lines().filter_map(|line| line.split_once('\t')).collect();
    let (mut ran, mut folded, mut wrong, mut used) = (0, 0, Vec::new(), BTreeSet::new());
    for (name, case) in cases(&bytes) {
        let names = input_names(case.model);
        let mut plans = Vec::new();
        // As it is; with integer operands bound, which shapes and axes must be; all but the first bound, which folds.
        let first = compile_bound(&case, &names, |_| true);
        let error = first.as_ref().err().map(ToString::to_string);
        plans.extend(first);
        plans.extend(compile_bound(&case, &names, |k| {
            k == 0 && case.inputs[k].dtype == Dtype::F32
        }));
        plans.extend(compile_bound(&case, &names, |_| false));
        if plans.is_empty() {
            let error = error.unwrap();
            let refusal = refusals
                .iter()
                .find(|(prefix, reason)| name.starts_with(prefix) && error.contains(reason));
            match refusal {
                Some(refusal) => drop(used.insert(*refusal)),
                None => wrong.push(format!("{name}: {error}")),
            }
            continue;
        }
        ran += 1;
        folded += plans.len() - 1;
        for (plan, inputs) in plans {
            wrong.extend(check(&name, &case, &plan, &inputs).err());
        }
    }
    println!("{ran} cases and {folded} variants with bound inputs computed");
    for refusal in refusals {
        if !used.contains(&refusal) {
            wrong.push(format!("no case is refused as {refusal:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran > 300);
}

#[test]
fn damaged_cases_do_not_panic() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_cases.zip")).unwrap();
    let mut numbers = Numbers(0x0dd5_eed5_0f0f_1234);
    let mut compiled = 0;
    for case in cases(&bytes).into_values() {
        let names = input_names(case.model);
        for _ in 0..DAMAGES {
            let model = damaged(case.model, &mut numbers);
            let damaged_case = Case {
                model: &model,
                inputs: case.inputs.clone(),
                outputs: Vec::new(),
            };
            for free in [true, false] {
                if let Ok((plan, _)) = compile_bound(&damaged_case, &names, |k| k == 0 && free) {
                    check_offsets(&plan);
                    compiled += 1;
                }
            }
        }
    }
    println!("{compiled} damaged models compiled");
    assert!(compiled > 300, "damage that nothing survives tests little: {compiled}");
}
