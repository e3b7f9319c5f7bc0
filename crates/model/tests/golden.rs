//! Model ids: the same file gives the same id, here and everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use alloy_primitives::Address;
use common::{read, suite};
use touchstone_model::{CompileOptions, compile};

/// Model, operators, layers, id under the publisher 0x1111…11. A change of any line changes every published model: say why.
const GOLDEN: &str = include_str!("golden.tsv");

fn line(name: &str) -> String {
    let bytes = read(&format!("{name}.onnx"));
    let plan = compile(&bytes, &CompileOptions::default()).unwrap();
    let id = plan.model_id(Address::repeat_byte(0x11)).unwrap();
    assert_eq!(
        compile(&bytes, &CompileOptions::default()).unwrap(),
        plan,
        "{name} compiles to two plans"
    );
    format!("{name}\t{}\t{}\t{id}", plan.operators.len(), plan.layers.len())
}

#[test]
fn ids_are_as_committed() {
    let names = suite()
        .into_iter()
        .map(|name| format!("suite/{name}"))
        .chain(["digits_vit/model".into()]);
    let actual: Vec<String> = names.map(|name| line(&name)).collect();
    let expected: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(actual, expected, "now:\n{}", actual.join("\n"));
}

#[test]
fn threads_do_not_matter() {
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| line("digits_vit/model"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}
