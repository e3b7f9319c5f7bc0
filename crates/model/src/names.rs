//! Where the plan has the values of the ONNX file, so that what another engine computed under those names can be held against it.
//!
//! A plan keeps fewer values than the file: rewrites take some in, views (Reshape, Transpose …) cost no operator. A value of the
//! file is *at home* in a value of the plan whose elements it has, each once, in this or another order.

use std::collections::BTreeMap;

use touchstone_protocol::descriptor::Dtype;

use crate::{
    ir::{Program, ValueId, elements, row_major},
    view::View,
};

/// A value of the ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedValue {
    /// Its ONNX name.
    pub name: String,
    /// Name of the node that gives it; empty for graph inputs and for nodes without a name.
    pub node: String,
    /// Element type.
    pub dtype: Dtype,
    /// Its shape in the ONNX file.
    pub dims: Vec<u32>,
    /// Where the plan has it. Nowhere: it is constant, taken into another operator, part of another value, or not needed.
    pub homes: Vec<Home>,
}

/// A value of the plan that has exactly the elements of a value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Which value of the plan.
    pub origin: Origin,
    /// For each axis of the file's value the distance of neighbours in the plan's, in elements.
    pub strides: Vec<u64>,
}

/// What gives a value of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The graph input with this number.
    Input(u32),
    /// The operator with this number.
    Operator(u32),
}

impl Home {
    /// Whether both have their elements in the same order.
    pub fn in_order(&self, dims: &[u32]) -> bool {
        let expected = row_major(dims);
        let mut axes = dims.iter().zip(&self.strides).zip(expected);
        axes.all(|((dim, stride), expected)| *dim == 1 || i64::try_from(*stride) == Ok(expected))
    }

    /// The plan's value out of the bytes of the file's, which has these dims and elements of `size` bytes.
    pub fn bytes(&self, dims: &[u32], size: usize, bytes: &[u8]) -> Vec<u8> {
        let mut result = vec![0; bytes.len()];
        let mut index = vec![0u32; dims.len()];
        for element in bytes.chunks_exact(size) {
            let offset: u64 = index.iter().zip(&self.strides).map(|(i, s)| u64::from(*i) * s).sum();
            let at = offset as usize * size;
            // Each offset is one of the value's: strides are a permutation of its row-major ones.
            if let Some(target) = result.get_mut(at..at + size) {
                target.copy_from_slice(element);
            }
            for (i, dim) in index.iter_mut().zip(dims).rev() {
                *i += 1;
                if *i < *dim {
                    break;
                }
                *i = 0;
            }
        }
        result
    }

    /// Coordinates in the file's value of an element of the plan's.
    pub fn index(&self, dims: &[u32], element: u64) -> Vec<u32> {
        let axes = dims.iter().zip(&self.strides);
        axes.map(|(dim, stride)| ((element / (*stride).max(1)) % u64::from(*dim).max(1)) as u32)
            .collect()
    }
}

/// A value of the file as lowering found it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) view: View,
}

/// Finds the homes once the operators stand.
pub(crate) fn resolve(program: &Program) -> Vec<NamedValue> {
    let mut origins: BTreeMap<ValueId, Origin> = BTreeMap::new();
    let inputs = program
        .inputs
        .iter()
        .zip(0..)
        .map(|(value, n)| (*value, Origin::Input(n)));
    let operators = program
        .ops
        .iter()
        .zip(0..)
        .map(|(op, n)| (op.output, Origin::Operator(n)));
    origins.extend(inputs.chain(operators));
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut values: Vec<NamedValue> = Vec::new();
    for Named { name, node, view } in &program.named {
        let number = *numbers.entry(name).or_insert_with(|| {
            values.push(NamedValue {
                name: name.clone(),
                node: node.clone(),
                dtype: view.dtype,
                dims: view.dims.clone(),
                homes: Vec::new(),
            });
            values.len() - 1
        });
        let home = origins
            .get(&view.value)
            .zip(permutation(view, elements(&program.values[view.value].dims)))
            .map(|(origin, strides)| Home {
                origin: *origin,
                strides,
            });
        let homes = &mut values[number].homes;
        homes.extend(home.filter(|home| !homes.contains(home)));
    }
    values
}

/// The strides of a view that has each of `count` elements once.
fn permutation(view: &View, count: u64) -> Option<Vec<u64>> {
    let strides = view.strides.iter().map(|stride| u64::try_from(*stride).ok());
    let strides: Vec<u64> = strides.collect::<Option<_>>()?;
    let mut axes: Vec<(u64, u32)> = strides.iter().copied().zip(view.dims.iter().copied()).collect();
    axes.retain(|(_, dim)| *dim != 1);
    axes.sort_unstable();
    let mut next = 1;
    for (stride, dim) in axes {
        if stride != next {
            return None;
        }
        next *= u64::from(dim);
    }
    (view.base == 0 && next == count).then_some(strides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::Plan,
        testing::{Model, codes},
    };

    fn homes<'a>(plan: &'a Plan, name: &str) -> &'a [Home] {
        &plan.values.iter().find(|value| value.name == name).unwrap().homes
    }

    #[test]
    fn values_that_are_taken_in_have_no_home_and_views_have_that_of_what_they_show() {
        let plan = Model::new()
            .input("x", 1, &[2, 3, 64])
            .output("y")
            .weight("w", &[64, 64])
            .weight("bias", &[64])
            .ints("flat", &[6, 64])
            .ints("from", &[0])
            .ints("to", &[1])
            .node("MatMul", "x w", "product")
            .node("Add", "product bias", "sum")
            .node("Reshape", "sum flat", "reshaped")
            .node("Transpose", "sum", "turned")
            .list("perm", &[2, 0, 1])
            .node("Slice", "sum from to", "part")
            .node("Tanh", "reshaped", "t")
            .node("Relu", "turned", "r")
            .node("Tanh", "part", "p")
            .node("ReduceSum", "r", "y")
            .int("keepdims", 0)
            .output("t")
            .output("p")
            .plan();
        let at = |name: &str| plan.names.iter().position(|n| n == name).unwrap() as u32;
        let sum = Origin::Operator(at("sum"));
        assert_eq!(homes(&plan, "x")[0].origin, Origin::Input(0));
        assert!(homes(&plan, "product").is_empty() && homes(&plan, "part").is_empty());
        for name in ["sum", "reshaped", "turned"] {
            assert_eq!(homes(&plan, name)[0].origin, sum, "{name}");
        }
        assert!(homes(&plan, "reshaped")[0].in_order(&[6, 64]));
        let turned = &homes(&plan, "turned")[0];
        assert_eq!(turned.strides, [1, 192, 64]);
        assert!(!turned.in_order(&[64, 2, 3]));
        // Element (1, 2, 5) of the sum is (5, 1, 2) of what is turned.
        assert_eq!(turned.index(&[64, 2, 3], 192 + 128 + 5), [5, 1, 2]);
    }

    #[test]
    fn a_copy_that_a_view_needed_is_its_home_too() {
        // Two outputs of the same elements: the second is a copy.
        let plan = Model::new()
            .input("x", 1, &[2, 3])
            .node("Relu", "x", "y")
            .node("Transpose", "y", "z")
            .output("y")
            .output("z")
            .plan();
        assert_eq!(codes(&plan), "Relu Copy");
        let origins: Vec<Origin> = homes(&plan, "z").iter().map(|home| home.origin).collect();
        assert_eq!(origins, [Origin::Operator(0), Origin::Operator(1)]);
        assert!(homes(&plan, "z")[1].in_order(&[3, 2]));
        let bytes = [0, 3, 1, 4, 2, 5];
        assert_eq!(homes(&plan, "z")[0].bytes(&[3, 2], 1, &bytes), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn nodes_have_the_names_that_the_file_gives_them() {
        let mut model = Model::new().input("x", 1, &[2]).output("y").node("Relu", "x", "y");
        model.0.graph.as_mut().unwrap().node[0].name = "first".into();
        let plan = model.plan();
        let of = |name: &str| {
            plan.values
                .iter()
                .find(|value| value.name == name)
                .unwrap()
                .node
                .as_str()
        };
        assert_eq!((of("x"), of("y")), ("", "first"));
    }
}
