//! Where the plan is cut into layers, and which values are committed with a claim.
//!
//! The values of a plan fall into *boundary* values, committed with every claim, and *inner* values, committed for one layer
//! when that layer is disputed. A value may be a boundary value iff
//!
//! - (a) every operand of its operator that is computed is a boundary value; or
//! - (b) it is a contraction of at least [`CONTRACTION_TERMS`] terms, and no discontinuous operator of the layer reads an
//!   inexact inner value (*inexact*: an operator whose result engines may round differently stands on its way from an input;
//!   *discontinuous*: compares, ArgMax, casts of f32 to integers or bool).
//!
//! # Rule
//!
//! 1. *Required* are the graph outputs and every inexact operand of a discontinuous operator; with each, unless it is a
//!    contraction by (b), its computed operands, and so on. Thus every required value is a boundary value by (a) or (b), and
//!    discontinuous operators read boundary values or exact ones, so that (b) holds everywhere.
//! 2. Operators are walked in order. After a contraction by (b) that a later operator reads there is a cut iff every other value
//!    that is *live* there (computed before, read after) is required or exact, and all that is newly committed besides the
//!    contraction (themselves and what (a) needs for them) has at most [`EXACT_FACTOR`] times its bytes. In a transformer these are the places after the attention's and the
//!    perceptron's last product, each with its residual: one value crosses.
//! 3. If no such place comes for [`LONG_LAYER`] operators (networks with skip connections), a cut is also made where all that is
//!    newly committed besides the contraction has at most as many bytes as it.
//! 4. What crosses a cut is a boundary value, with all that (a) needs for it.
//!
//! Everything depends on the order of operators and on shapes alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use touchstone_protocol::descriptor::{Code, Dtype};

use crate::ir::{Op, Program, ValueId};

/// Terms from which on a contraction's envelope absorbs the rounding of redoing its layer elsewhere.
pub(crate) const CONTRACTION_TERMS: u64 = 64;
/// An attention mask and what it is computed from cross every cut, and are committed once: worth some times a layer's result.
const EXACT_FACTOR: u64 = 4;
/// Operators after which a layer takes a less perfect cut.
const LONG_LAYER: usize = 64;
/// Live values, and values that a cut may make boundary values: beyond, there is no cut.
const MOST_LIVE: usize = 64;

/// The cut program.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Operators of each layer.
    pub(crate) ranges: Vec<Range<usize>>,
    /// For each value whether it is a boundary value.
    pub(crate) boundary: Vec<bool>,
}

/// Cuts a program.
pub(crate) fn cut(program: &Program) -> Layers {
    let producers = program.producers();
    let graph = Values {
        program,
        producers: &producers,
    };
    let mut boundary = graph.required();
    let required = boundary.clone();
    let exact = graph.exact();
    let mut last_read = vec![0; program.values.len()];
    for (index, map) in program
        .ops
        .iter()
        .enumerate()
        .flat_map(|(i, op)| op.operands.iter().map(move |map| (i, map)))
    {
        last_read[map.value] = index;
    }
    let (mut ranges, mut start) = (Vec::new(), 0);
    let mut live: BTreeSet<ValueId> = BTreeSet::new();
    for (index, op) in program.ops.iter().enumerate() {
        for map in &op.operands {
            if last_read[map.value] == index {
                live.remove(&map.value);
            }
        }
        if last_read[op.output] <= index {
            continue;
        }
        live.insert(op.output);
        if !is_anchor(op) || live.len() > MOST_LIVE {
            continue;
        }
        let own = program.values[op.output].bytes();
        let others: Vec<ValueId> = live.iter().copied().filter(|value| *value != op.output).collect();
        let Some(added) = graph.needed(&others, &boundary) else {
            continue;
        };
        let bytes: u64 = added.iter().map(|value| program.values[*value].bytes()).sum();
        let alone = others.iter().all(|value| required[*value] || exact[*value]) && bytes <= EXACT_FACTOR * own;
        if alone || (index + 1 - start >= LONG_LAYER && bytes <= own) {
            added
                .into_iter()
                .chain([op.output])
                .for_each(|value| boundary[value] = true);
            ranges.push(start..index + 1);
            start = index + 1;
        }
    }
    if start < program.ops.len() {
        ranges.push(start..program.ops.len());
    }
    Layers { ranges, boundary }
}

/// Whether (b) lets the operator's output be a boundary value.
fn is_anchor(op: &Op) -> bool {
    op.code == Code::Contract && op.terms() >= CONTRACTION_TERMS
}

/// Whether engines may give other bits.
fn is_inexact(code: Code) -> bool {
    code as u8 >= Code::Erf as u8
}

struct Values<'a> {
    program: &'a Program,
    producers: &'a [Option<usize>],
}

impl Values<'_> {
    fn is_discontinuous(&self, op: &Op) -> bool {
        match op.code {
            Code::Equal | Code::Less | Code::LessEq | Code::Greater | Code::GreaterEq | Code::ArgMax => true,
            Code::Cast => {
                self.program.values[op.operands[0].value].dtype == Dtype::F32
                    && self.program.values[op.output].dtype != Dtype::F32
            }
            _ => false,
        }
    }

    /// For each value whether only exact operators stand between it and inputs, weights and operands that rule 1 commits.
    fn exact(&self) -> Vec<bool> {
        let mut exact = vec![true; self.program.values.len()];
        for op in &self.program.ops {
            let operands = op.operands.iter().all(|map| exact[map.value]);
            exact[op.output] = self.is_discontinuous(op) || (operands && !is_inexact(op.code));
        }
        exact
    }

    /// Rule 1.
    fn required(&self) -> Vec<bool> {
        let exact = self.exact();
        let discontinuous = self.program.ops.iter().filter(|op| self.is_discontinuous(op));
        let read = discontinuous
            .flat_map(|op| &op.operands)
            .map(|map| map.value)
            .filter(|value| !exact[*value]);
        let mut stack: Vec<ValueId> = self.program.outputs.iter().copied().chain(read).collect();
        let mut required = vec![false; self.program.values.len()];
        while let Some(value) = stack.pop() {
            let Some(producer) = self.producers[value] else {
                continue;
            };
            if std::mem::replace(&mut required[value], true) {
                continue;
            }
            let op = &self.program.ops[producer];
            if !is_anchor(op) {
                stack.extend(op.operands.iter().map(|map| map.value));
            }
        }
        required
    }

    /// The values that become boundary values if these do; `None` if they are too many.
    fn needed(&self, values: &[ValueId], boundary: &[bool]) -> Option<BTreeSet<ValueId>> {
        let mut stack = values.to_vec();
        let mut needed = BTreeSet::new();
        while let Some(value) = stack.pop() {
            let Some(producer) = self.producers[value] else {
                continue;
            };
            if boundary[value] || !needed.insert(value) {
                continue;
            }
            if needed.len() > MOST_LIVE {
                return None;
            }
            let op = &self.program.ops[producer];
            if !is_anchor(op) {
                stack.extend(op.operands.iter().map(|map| map.value));
            }
        }
        Some(needed)
    }
}

/// Drops copies that equal an earlier one: of the same layer, or a boundary value, which every later layer may read.
pub(crate) fn merge_copies(program: &mut Program, layers: &mut Layers) {
    let mut instead: Vec<ValueId> = (0..program.values.len()).collect();
    let mut ops = Vec::with_capacity(program.ops.len());
    let mut old = std::mem::take(&mut program.ops).into_iter();
    let mut boundary = BTreeMap::new();
    for range in &mut layers.ranges {
        let start = ops.len();
        let mut inner = BTreeMap::new();
        for mut op in old.by_ref().take(range.len()) {
            op.operands.iter_mut().for_each(|map| map.value = instead[map.value]);
            if op.code == Code::Copy && !program.outputs.contains(&op.output) {
                let dims = program.values[op.output].dims.clone();
                let key = (op.axes.clone(), op.params.clone(), op.operands.clone(), dims);
                let committed = layers.boundary[op.output];
                let equal = boundary.get(&key).or_else(|| inner.get(&key).filter(|_| !committed));
                if let Some(equal) = equal {
                    instead[op.output] = *equal;
                    continue;
                }
                if committed { &mut boundary } else { &mut inner }.insert(key, op.output);
            }
            ops.push(op);
        }
        *range = start..ops.len();
    }
    program.ops = ops;
    program
        .named
        .iter_mut()
        .for_each(|named| named.view.value = instead[named.view.value]);
}

#[cfg(test)]
mod tests {
    use touchstone_protocol::descriptor::{Code, Place};

    use crate::{
        plan::Plan,
        testing::{Model, codes},
    };

    fn starts(plan: &Plan) -> Vec<u32> {
        plan.layers.iter().map(|layer| layer.operators.start).collect()
    }

    /// Every boundary value is one by (a) or (b), and discontinuous operators read no inexact inner value.
    fn check_rule(plan: &Plan) {
        let outside = |place: Place| !matches!(place, Place::Inner(_));
        for d in &plan.operators {
            let a = d.operands.iter().all(|o| outside(o.place));
            let b = d.code == Code::Contract && d.terms() >= super::CONTRACTION_TERMS;
            assert!(!outside(d.place) || a || b, "{d:?}");
        }
    }

    /// Products and Relus in turn, and a last product `y`.
    fn perceptron(layers: usize) -> Model {
        let mut model = Model::new().input("x", 1, &[1, 64]).weight("w", &[64, 64]);
        for k in 0..layers {
            let (from, to) = (if k == 0 { "x".into() } else { format!("r{k}") }, format!("m{}", k + 1));
            model = model
                .node("MatMul", &format!("{from} w"), &to)
                .node("Relu", &to, &format!("r{}", k + 1));
        }
        model.node("MatMul", &format!("r{layers} w"), "y")
    }

    #[test]
    fn a_chain_is_cut_after_each_product() {
        let plan = perceptron(3).output("y").plan();
        assert_eq!(codes(&plan), "Contract Relu Contract Relu Contract Relu Contract");
        assert_eq!(starts(&plan), [0, 1, 3, 5]);
        assert_eq!(plan.trace_count, 3);
        assert_eq!(
            plan.layers.iter().map(|layer| layer.inner_count).collect::<Vec<_>>(),
            [0, 1, 1, 1]
        );
        check_rule(&plan);
    }

    #[test]
    fn short_products_end_no_layer() {
        let model = Model::new()
            .input("x", 1, &[1, 63])
            .output("y")
            .weight("v", &[63, 64])
            .weight("w", &[64, 64])
            .node("MatMul", "x v", "a")
            .node("Relu", "a", "b")
            .node("MatMul", "b w", "c")
            .node("Tanh", "c", "y");
        let plan = model.plan();
        assert_eq!(starts(&plan), [0, 3]);
        check_rule(&plan);
    }

    #[test]
    fn outputs_pull_their_operands_down_to_a_product() {
        let plan = perceptron(1)
            .output("y")
            .node("Softmax", "y", "p")
            .node("Tanh", "m1", "q")
            .output("p")
            .output("q")
            .plan();
        check_rule(&plan);
        // r1 stays inner, m1 is read by q and so is committed.
        let places: Vec<_> = plan
            .names
            .iter()
            .map(String::as_str)
            .zip(plan.operators.iter().map(|d| d.place))
            .collect();
        assert!(places.contains(&("m1", Place::Trace(0))));
        assert!(
            places
                .iter()
                .any(|(name, place)| *name == "r1" && matches!(place, Place::Inner(_)))
        );
    }

    #[test]
    fn discontinuous_operators_read_committed_values() {
        let model = Model::new()
            .input("x", 1, &[1, 64])
            .output("y")
            .weight("w", &[64, 64])
            .floats("zero", &[], &[0.0])
            .node("MatMul", "x w", "a")
            .node("Tanh", "a", "t")
            .node("Greater", "t zero", "c")
            .node("Where", "c t zero", "s")
            .node("MatMul", "s w", "y");
        let plan = model.plan();
        check_rule(&plan);
        let at = plan.names.iter().position(|name| name == "t").unwrap();
        assert!(matches!(plan.operators[at].place, Place::Trace(_)));
    }

    /// A last place of fp32 turns a rounding to f16, which moves it by 2^13 of them.
    #[test]
    fn roundings_to_two_bytes_read_committed_values() {
        for to in [10, 16] {
            let model = Model::new()
                .input("x", 1, &[1, 64])
                .output("y")
                .weight("w", &[64, 64])
                .node("MatMul", "x w", "a")
                .node("Tanh", "a", "t")
                .node("Cast", "t", "h")
                .int("to", to)
                .node("Cast", "h", "s")
                .int("to", 1)
                .node("MatMul", "s w", "y");
            let plan = model.plan();
            check_rule(&plan);
            let at = plan.names.iter().position(|name| name == "t").unwrap();
            assert!(matches!(plan.operators[at].place, Place::Trace(_)));
        }
    }

    #[test]
    fn exact_functions_of_inputs_may_cross() {
        let mut model = perceptron(3).input("mask", 7, &[1, 64]);
        // A mask computed before everything and added at the end.
        let graph = model.0.graph.get_or_insert_default();
        let nodes = std::mem::take(&mut graph.node);
        model = model.node("Cast", "mask", "f").int("to", 1).node("Neg", "f", "n");
        model.0.graph.get_or_insert_default().node.extend(nodes);
        let model = model
            .node("Add", "y n", "z")
            .node("Tanh", "z", "t")
            .node("MatMul", "t w", "o")
            .output("o");
        let plan = model.plan();
        check_rule(&plan);
        assert_eq!(starts(&plan), [0, 3, 5, 7, 9]);
        let of = |name: &str| plan.operators[plan.names.iter().position(|n| n == name).unwrap()].place;
        assert!(matches!(of("n"), Place::Trace(_)) && matches!(of("f"), Place::Trace(_)));
    }

    #[test]
    fn long_layers_are_cut_across_skip_connections() {
        // A value from the beginning is read at the end: no place has one live value.
        let model = perceptron(100)
            .node("Tanh", "r1", "s")
            .node("Sub", "y s", "z")
            .node("MatMul", "z w", "o")
            .output("o");
        let plan = model.plan();
        check_rule(&plan);
        let longest = plan.layers.iter().map(|layer| layer.operators.len()).max().unwrap();
        assert!((64..=66).contains(&longest), "{longest}");
    }
}
