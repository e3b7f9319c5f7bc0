//! From the nodes of the graph to the program, one node at a time in graph order.

use std::collections::BTreeMap;

use touchstone_protocol::descriptor::Dtype;

use crate::{
    build::Build,
    error::{CompileError, Refusal, Unsupported, refuse},
    graph::{Graph, GraphOutput, Node},
    ir::{Program, Source},
    ops,
    proto::{AttributeProto, TensorProto, attribute},
    view::View,
};

/// What a name stands for.
enum Bound {
    View(View),
    /// Known, but plans cannot have it; the reason is reported where it is read.
    Missing(String),
    /// Given by a node that is reported already.
    Reported,
}

/// A node with its operands, as the operators of `ops/` see it.
pub(crate) struct Call<'a> {
    node: &'a Node,
    inputs: Vec<Option<View>>,
}

impl Call<'_> {
    pub(crate) fn opset(&self) -> i64 {
        self.node.opset
    }

    /// Number of operands, those left out included.
    pub(crate) fn arity(&self) -> usize {
        self.inputs.len()
    }

    /// Number of outputs that the node names.
    pub(crate) fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// A required operand.
    pub(crate) fn input(&self, index: usize) -> Result<&View, Refusal> {
        self.optional(index)
            .ok_or_else(|| Refusal::new(format!("operand {index} is missing")))
    }

    pub(crate) fn optional(&self, index: usize) -> Option<&View> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// All operands, none left out.
    pub(crate) fn all(&self) -> Result<Vec<&View>, Refusal> {
        (0..self.arity()).map(|index| self.input(index)).collect()
    }

    fn attribute(&self, name: &str, kind: i32) -> Result<Option<&AttributeProto>, Refusal> {
        let Some(attribute) = self.node.attributes.iter().find(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        if attribute.kind != kind {
            refuse!(
                "attribute `{name}` has type {} where {kind} is expected",
                attribute.kind
            );
        }
        Ok(Some(attribute))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.node.attributes.iter().any(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        Ok(self.attribute(name, attribute::INT)?.map(|attribute| attribute.i))
    }

    pub(crate) fn int_or(&self, name: &str, default: i64) -> Result<i64, Refusal> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A flag: 0 or not.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// The bits of a float attribute.
    pub(crate) fn float_or(&self, name: &str, default: u32) -> Result<u32, Refusal> {
        Ok(self
            .attribute(name, attribute::FLOAT)?
            .map_or(default, |attribute| attribute.f.to_bits()))
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Option<&[f32]>, Refusal> {
        Ok(self
            .attribute(name, attribute::FLOATS)?
            .map(|attribute| attribute.floats.as_slice()))
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<&[i64]>, Refusal> {
        Ok(self
            .attribute(name, attribute::INTS)?
            .map(|attribute| attribute.ints.as_slice()))
    }

    pub(crate) fn string_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, Refusal> {
        match self.attribute(name, attribute::STRING)? {
            Some(attribute) => {
                std::str::from_utf8(&attribute.s).map_err(|_| Refusal::new(format!("attribute `{name}` is not text")))
            }
            None => Ok(default),
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<&TensorProto>, Refusal> {
        Ok(self
            .attribute(name, attribute::TENSOR)?
            .and_then(|attribute| attribute.t.as_ref()))
    }
}

/// Compiles all nodes. Errors list every node that is not supported.
pub(crate) fn lower(graph: Graph) -> Result<Program, CompileError> {
    let mut build = Build::default();
    let mut bound = BTreeMap::new();
    for (number, input) in graph.inputs.iter().enumerate() {
        let view = build.value(&input.name, input.dtype, &input.dims, Source::Input(number as u32));
        build.program.inputs.push(view.value);
        build.note(&input.name, "", &view);
        bound.insert(input.name.clone(), Bound::View(view));
    }
    for (name, constant) in graph.constants {
        let entry = match constant {
            Ok(tensor) => Bound::View(build.value(&name, tensor.dtype, &tensor.dims, Source::Constant(tensor.bytes))),
            Err(reason) => Bound::Missing(reason),
        };
        bound.insert(name, entry);
    }
    let mut unsupported = Vec::new();
    for (index, node) in &graph.nodes {
        let reason = match node_outputs(&mut build, &bound, node) {
            Ok(views) => {
                for (name, view) in node.outputs.iter().zip(&views).filter(|(name, _)| !name.is_empty()) {
                    build.note(name, &node.name, view);
                }
                bind_outputs(&mut bound, node, views);
                continue;
            }
            Err(Stop::Malformed(reason)) => return Err(CompileError::Malformed(format!("node {index}: {reason}"))),
            Err(Stop::Refused(Refusal(reason))) => Some(reason),
            Err(Stop::Reported) => None,
        };
        for output in &node.outputs {
            bound.insert(output.clone(), Bound::Reported);
        }
        unsupported.extend(reason.map(|reason| Unsupported {
            index: *index,
            node: if node.name.is_empty() {
                node.outputs.first().cloned().unwrap_or_default()
            } else {
                node.name.clone()
            },
            op_type: node.op_type.clone(),
            domain: node.domain.clone(),
            reason,
        }));
    }
    if !unsupported.is_empty() {
        return Err(CompileError::Unsupported(unsupported));
    }
    for output in &graph.outputs {
        let view = match bound.get(&output.name) {
            Some(Bound::View(view)) => view.clone(),
            Some(Bound::Missing(reason)) => {
                return Err(CompileError::Malformed(format!("output `{}`: {reason}", output.name)));
            }
            Some(Bound::Reported) | None => {
                return Err(CompileError::Malformed(format!(
                    "output `{}` is given by nothing",
                    output.name
                )));
            }
        };
        place_output(&mut build, output, &view)
            .map_err(|reason| CompileError::Malformed(format!("output `{}`: {reason}", output.name)))?;
    }
    build.note_copies();
    Ok(build.program)
}

/// Why a node has no outputs.
enum Stop {
    /// The file contradicts itself.
    Malformed(String),
    Refused(Refusal),
    /// It reads a value of a node that is reported already.
    Reported,
}

fn node_outputs(build: &mut Build, bound: &BTreeMap<String, Bound>, node: &Node) -> Result<Vec<View>, Stop> {
    let mut inputs = Vec::with_capacity(node.inputs.len());
    let mut reported = false;
    let mut missing = None;
    for name in &node.inputs {
        inputs.push(match bound.get(name) {
            _ if name.is_empty() => None,
            Some(Bound::View(view)) => Some(view.clone()),
            Some(Bound::Missing(reason)) => {
                missing = Some(Refusal::new(reason.as_str()));
                None
            }
            Some(Bound::Reported) => {
                reported = true;
                None
            }
            None => {
                return Err(Stop::Malformed(format!(
                    "{} reads `{name}`, which nothing before it gives",
                    node.op_type
                )));
            }
        });
    }
    let operator = ops::find(node).map_err(Stop::Refused)?;
    if let Some(missing) = missing {
        return Err(Stop::Refused(missing));
    }
    if reported {
        return Err(Stop::Reported);
    }
    while inputs.last().is_some_and(Option::is_none) {
        inputs.pop();
    }
    build.name = node
        .outputs
        .iter()
        .find(|name| !name.is_empty())
        .cloned()
        .unwrap_or_default();
    let call = Call { node, inputs };
    ops::check(operator, node, call.arity())
        .and_then(|()| (operator.lower)(build, &call))
        .map_err(|refusal| Stop::Refused(with_remedy(refusal, &call)))
}

/// Adds what helps where an operator is refused for an operand of two bytes.
fn with_remedy(refusal: Refusal, call: &Call) -> Refusal {
    let half = call.inputs.iter().flatten().map(|view| view.dtype).find(|dtype| {
        // The reason names the dtype if that is what it is about.
        dtype.is_half() && refusal.0.contains(&format!("{dtype:?}"))
    });
    match half {
        Some(dtype) => Refusal::new(format!(
            "{}; compute it in float32 between two Casts ({dtype:?} is taken by copies, casts, comparisons and exact arithmetic)",
            refusal.0
        )),
        None => refusal,
    }
}

fn bind_outputs(bound: &mut BTreeMap<String, Bound>, node: &Node, views: Vec<View>) {
    let mut views = views.into_iter();
    for (index, name) in node.outputs.iter().enumerate() {
        let entry = match views.next() {
            Some(view) => Bound::View(View {
                name: name.clone(),
                ..view
            }),
            None => Bound::Missing(format!("output {index} of {} is not supported", node.op_type)),
        };
        if !name.is_empty() {
            bound.insert(name.clone(), entry);
        }
    }
}

/// Makes a view the whole of an operator's output, with a copy where it is not yet.
fn place_output(build: &mut Build, output: &GraphOutput, view: &View) -> Result<(), String> {
    let declared = |dtype: Dtype| output.dtype.is_none_or(|declared| declared == dtype);
    let fits = output.dims.as_ref().is_none_or(|dims| {
        dims.len() == view.rank() && dims.iter().zip(&view.dims).all(|(a, b)| a.is_none_or(|a| a == *b))
    });
    if !declared(view.dtype) || !fits {
        return Err(format!(
            "declared {:?} {:?}, computed {:?} {:?}",
            output.dtype, output.dims, view.dtype, view.dims
        ));
    }
    if view.elements() == 0 {
        return Err(format!("shape {:?} has no elements", view.dims));
    }
    let value = &build.program.values[view.value];
    let own = value.source == Source::Operator
        && crate::ir::elements(&value.dims) == view.elements()
        && view.base == 0
        && view.is_row_major()
        && !build.program.outputs.contains(&view.value);
    let value = if own {
        build.program.values[view.value].dims = view.dims.clone();
        view.value
    } else {
        let copy = build.output_copy(&output.name, view).map_err(|refusal| refusal.0)?;
        build.note(
            &output.name,
            "",
            &View::whole(copy, &output.name, view.dtype, &view.dims),
        );
        copy
    };
    build.program.outputs.push(value);
    build.program.output_names.push(output.name.clone());
    Ok(())
}
