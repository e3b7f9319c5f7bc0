//! Inlining of the local functions that the dynamo exporter may leave in a model.

use std::collections::BTreeMap;

use crate::{
    error::CompileError,
    graph::{Node, is_default, opset},
    limits,
    proto::{AttributeProto, FunctionProto, NodeProto},
};

type Functions = BTreeMap<(String, String, String), FunctionProto>;

/// The nodes of a graph with every call of a local function replaced by the function's nodes, in order.
///
/// Values inside a call are renamed to `<call>/<n>/<name>`, where `n` counts the calls.
pub(crate) fn inline(
    nodes: Vec<NodeProto>,
    functions: Vec<FunctionProto>,
    opset: i64,
) -> Result<Vec<Node>, CompileError> {
    let mut table = Functions::new();
    for function in functions {
        let (values, attributes) = (
            function.input.len().max(function.output.len()),
            function.attribute_proto.len(),
        );
        check_count("values of a local function", values)?;
        check_count("attributes of a local function", attributes)?;
        let key = (
            function.domain.clone(),
            function.name.clone(),
            function.overload.clone(),
        );
        if table.insert(key, function).is_some() {
            return Err(CompileError::Malformed("two local functions of one name".into()));
        }
    }
    let mut inliner = Inliner {
        functions: &table,
        calls: 0,
        bytes: 0,
        nodes: Vec::new(),
    };
    for node in nodes {
        inliner.node(node, opset, 0)?;
    }
    Ok(inliner.nodes)
}

fn check_count(what: &str, count: usize) -> Result<(), CompileError> {
    if count > limits::NODE_VALUES {
        return Err(CompileError::limit(what, count as u64, limits::NODE_VALUES as u64));
    }
    Ok(())
}

struct Inliner<'a> {
    functions: &'a Functions,
    calls: usize,
    bytes: u64,
    nodes: Vec<Node>,
}

impl Inliner<'_> {
    fn node(&mut self, node: NodeProto, version: i64, depth: usize) -> Result<(), CompileError> {
        check_count("values of a node", node.input.len().max(node.output.len()))?;
        check_count("attributes of a node", node.attribute.len())?;
        let functions = self.functions;
        let key = (node.domain, node.op_type, node.overload);
        let Some(function) = functions.get(&key) else {
            if self.nodes.len() >= limits::NODES {
                return Err(CompileError::limit(
                    "nodes",
                    self.nodes.len() as u64 + 1,
                    limits::NODES as u64,
                ));
            }
            self.nodes.push(Node {
                name: node.name,
                op_type: key.1,
                domain: if is_default(&key.0) { String::new() } else { key.0 },
                opset: version,
                inputs: node.input,
                outputs: node.output,
                attributes: node.attribute,
            });
            return Ok(());
        };
        self.calls += 1;
        if self.calls > limits::NODES {
            return Err(CompileError::limit(
                "calls of functions",
                self.calls as u64,
                limits::NODES as u64,
            ));
        }
        if depth >= limits::FUNCTION_DEPTH {
            return Err(CompileError::limit(
                "nesting of functions",
                depth as u64 + 1,
                limits::FUNCTION_DEPTH as u64,
            ));
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(CompileError::Malformed(format!(
                "call of `{}` with too many values",
                function.name
            )));
        }
        let label = if node.name.is_empty() {
            function.name.as_str()
        } else {
            node.name.as_str()
        };
        let prefix = format!("{label}/{}/", self.calls);
        let names = function
            .input
            .iter()
            .chain(&function.output)
            .chain(&node.input)
            .chain(&node.output);
        self.spend(names.map(|name| name_bytes(name)).sum())?;
        // Formal names map to the caller's; an operand left out maps to the empty name.
        let padded = |names: &[String], index: usize| names.get(index).cloned().unwrap_or_default();
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for (index, formal) in function.input.iter().enumerate() {
            names.insert(formal, padded(&node.input, index));
        }
        for (index, formal) in function.output.iter().enumerate() {
            let actual = padded(&node.output, index);
            if !actual.is_empty() && names.insert(formal, actual).is_some() {
                return Err(CompileError::Malformed(format!(
                    "function `{}` returns its own input `{formal}`",
                    function.name
                )));
            }
        }
        let version = if function.opset_import.iter().any(|import| is_default(&import.domain)) {
            opset(&function.opset_import, &format!("function `{}`", function.name))?
        } else {
            version
        };
        let rename = |name: &String| match names.get(name.as_str()) {
            Some(actual) => actual.clone(),
            None if name.is_empty() => String::new(),
            None => format!("{prefix}{name}"),
        };
        for inner in &function.node {
            let attribute = inner
                .attribute
                .iter()
                .filter_map(|a| resolve(a, &node.attribute, function))
                .collect();
            let inner = NodeProto {
                name: format!("{prefix}{}", inner.name),
                input: inner.input.iter().map(rename).collect(),
                output: inner.output.iter().map(rename).collect(),
                op_type: inner.op_type.clone(),
                domain: inner.domain.clone(),
                overload: inner.overload.clone(),
                attribute,
            };
            self.spend(node_bytes(&inner))?;
            self.node(inner, version, depth + 1)?;
        }
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), CompileError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits::INLINED_BYTES {
            return Err(CompileError::limit(
                "bytes of inlined nodes",
                self.bytes,
                limits::INLINED_BYTES,
            ));
        }
        Ok(())
    }
}

/// Bytes of a name in memory: an empty one is two bytes in the file.
fn name_bytes(name: &str) -> u64 {
    (size_of::<String>() + name.len()) as u64
}

/// Bytes of a node in memory; in the file an empty message or a small number takes one or two.
fn node_bytes(node: &NodeProto) -> u64 {
    let own = [&node.name, &node.op_type, &node.domain, &node.overload];
    let names = own
        .into_iter()
        .chain(&node.input)
        .chain(&node.output)
        .map(|name| name_bytes(name));
    let attributes = node.attribute.iter().map(attribute_bytes);
    size_of::<NodeProto>() as u64 + names.sum::<u64>() + attributes.sum::<u64>()
}

fn attribute_bytes(attribute: &AttributeProto) -> u64 {
    let tensor = attribute.t.as_ref().map_or(0, |t| {
        let raw = t.raw_data.as_ref().map_or(0, Vec::len);
        let lists = 8 * (t.dims.len() + t.int64_data.len()) + 4 * (t.float_data.len() + t.int32_data.len());
        raw + lists + t.name.len()
    });
    let lists = 4 * attribute.floats.len() + 8 * attribute.ints.len();
    let text = attribute.name.len() + attribute.s.len() + attribute.ref_attr_name.len();
    (size_of::<AttributeProto>() + tensor + lists + text) as u64
}

/// An attribute of a function's node: itself, or what it refers to among the call's attributes or the function's defaults.
fn resolve(attribute: &AttributeProto, call: &[AttributeProto], function: &FunctionProto) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let named = |candidate: &&AttributeProto| candidate.name == attribute.ref_attr_name;
    let actual = call
        .iter()
        .find(named)
        .or_else(|| function.attribute_proto.iter().find(named))?;
    Some(AttributeProto {
        name: attribute.name.clone(),
        ..actual.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::OperatorSetIdProto,
        testing::{Model, codes},
    };

    fn node(op_type: &str, domain: &str, input: &[&str], output: &[&str]) -> NodeProto {
        NodeProto {
            op_type: op_type.into(),
            domain: domain.into(),
            input: input.iter().map(|name| name.to_string()).collect(),
            output: output.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        }
    }

    fn int(name: &str, i: i64) -> AttributeProto {
        AttributeProto {
            name: name.into(),
            kind: crate::proto::attribute::INT,
            i,
            ..Default::default()
        }
    }

    /// `f(a, b) = Softmax(a · b, axis)`, with `axis` an attribute of the call.
    fn model() -> Model {
        let mut inner = node("Softmax", "", &["t"], &["r"]);
        inner.attribute.push(AttributeProto {
            name: "axis".into(),
            ref_attr_name: "axis".into(),
            kind: crate::proto::attribute::INT,
            ..Default::default()
        });
        let function = FunctionProto {
            name: "f".into(),
            domain: "local".into(),
            input: vec!["a".into(), "b".into()],
            output: vec!["r".into()],
            node: vec![node("Mul", "", &["a", "b"], &["t"]), inner],
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 18,
            }],
            attribute_proto: vec![int("axis", 1)],
            ..Default::default()
        };
        let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
        model.0.functions.push(function);
        model
    }

    fn with_call(mut call: NodeProto, attributes: Vec<AttributeProto>) -> Model {
        call.attribute = attributes;
        let mut model = model();
        model.0.graph.get_or_insert_default().node.push(call);
        model
    }

    #[test]
    fn calls_become_their_nodes() {
        let plan = with_call(node("f", "local", &["x", "x"], &["y"]), vec![int("axis", 0)]).plan();
        assert_eq!(codes(&plan), "Mul Copy Softmax");
        assert_eq!(plan.names[0], "f/1/t");
        // The function's own default.
        assert_eq!(
            codes(&with_call(node("f", "local", &["x", "x"], &["y"]), vec![]).plan()),
            "Mul Softmax"
        );
    }

    #[test]
    fn two_calls_do_not_share_names() {
        let mut model = with_call(node("f", "local", &["x", "x"], &["z"]), vec![]);
        model
            .0
            .graph
            .get_or_insert_default()
            .node
            .push(node("f", "local", &["z", "x"], &["y"]));
        assert_eq!(codes(&model.plan()), "Mul Softmax Mul Softmax");
    }

    #[test]
    fn weights_in_functions_are_not_multiplied_without_limit() {
        let tensor = crate::proto::TensorProto {
            dims: vec![1 << 20],
            data_type: 1,
            raw_data: Some(vec![0; 1 << 22]),
            ..Default::default()
        };
        let value = AttributeProto {
            name: "value".into(),
            kind: crate::proto::attribute::TENSOR,
            t: Some(tensor),
            ..Default::default()
        };
        let mut constant = node("Constant", "", &[], &["r"]);
        constant.attribute.push(value);
        let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
        model.0.functions.push(FunctionProto {
            name: "f".into(),
            domain: "local".into(),
            output: vec!["r".into()],
            node: vec![constant],
            ..Default::default()
        });
        for k in 0..100 {
            let output = format!("c{k}");
            model
                .0
                .graph
                .get_or_insert_default()
                .node
                .push(node("f", "local", &[], &[&output]));
        }
        let error = model.compile().unwrap_err();
        assert!(
            matches!(&error, CompileError::Limit { what, .. } if what == "bytes of inlined nodes"),
            "{error}"
        );
    }

    /// The error of a model that calls a function of such nodes 256 times.
    fn refused(nodes: usize, inputs: usize, attribute: Option<AttributeProto>) -> CompileError {
        let mut inner = node("Max", "", &vec![""; inputs], &["r"]);
        inner.attribute.extend(attribute);
        let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
        model.0.functions.push(FunctionProto {
            name: "f".into(),
            domain: "local".into(),
            output: vec!["r".into()],
            node: vec![inner; nodes],
            ..Default::default()
        });
        let graph = model.0.graph.get_or_insert_default();
        graph.node = (0..256).map(|k| node("f", "local", &[], &[&format!("c{k}")])).collect();
        model.compile().unwrap_err()
    }

    #[test]
    fn nodes_count_as_they_are_in_memory() {
        // 26 million names of two bytes in the file, 50 MB in all, and 24 in memory.
        let error = refused(100, limits::NODE_VALUES, None);
        assert!(
            matches!(&error, CompileError::Limit { what, .. } if what == "bytes of inlined nodes"),
            "{error}"
        );
        // 300,000 numbers of one byte in the file and 8 in memory.
        let mut list = int("axes", 0);
        list.ints = vec![1; 300_000];
        let error = refused(1, 1, Some(list));
        assert!(
            matches!(&error, CompileError::Limit { what, .. } if what == "bytes of inlined nodes"),
            "{error}"
        );
    }

    #[test]
    fn calls_count_though_nothing_comes_of_them() {
        // 20,000 calls of an empty function that names 1,024 inputs: 20 million names to look up, in a file of 200 KB.
        let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
        model.0.functions.push(FunctionProto {
            name: "f".into(),
            domain: "local".into(),
            input: (0..limits::NODE_VALUES).map(|k| k.to_string()).collect(),
            ..Default::default()
        });
        model.0.graph.get_or_insert_default().node = vec![node("f", "local", &[], &[]); 20_000];
        let error = model.compile().unwrap_err();
        assert!(
            matches!(&error, CompileError::Limit { what, .. } if what == "bytes of inlined nodes"),
            "{error}"
        );
    }

    #[test]
    fn values_and_attributes_are_counted_before_they_are_looked_up() {
        let most = limits::NODE_VALUES;
        let call = |function: FunctionProto, mut call: NodeProto| {
            call.domain = "local".into();
            call.op_type = "f".into();
            let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
            model.0.functions.push(FunctionProto {
                name: "f".into(),
                domain: "local".into(),
                ..function
            });
            model.0.graph.get_or_insert_default().node.push(call);
            match model.compile() {
                Err(CompileError::Limit { what, found, .. }) if found == most as u64 + 1 => what,
                other => panic!("{other:?}"),
            }
        };
        let names = || vec![String::new(); most + 1];
        let attributes = || vec![int("a", 1); most + 1];
        let (f, n) = (FunctionProto::default, NodeProto::default);
        for (function, expected) in [
            (FunctionProto { input: names(), ..f() }, "values of a local function"),
            (FunctionProto { output: names(), ..f() }, "values of a local function"),
            (
                FunctionProto {
                    attribute_proto: attributes(),
                    ..f()
                },
                "attributes of a local function",
            ),
        ] {
            assert_eq!(call(function, n()), expected);
        }
        for (node, expected) in [
            (NodeProto { input: names(), ..n() }, "values of a node"),
            (NodeProto { output: names(), ..n() }, "values of a node"),
            (
                NodeProto {
                    attribute: attributes(),
                    ..n()
                },
                "attributes of a node",
            ),
        ] {
            assert_eq!(call(f(), node), expected);
        }
    }

    #[test]
    fn doubling_functions_end_at_the_limit_of_nodes() {
        // g0 calls g1 twice, g1 calls g2 twice, …: 2^16 nodes of one call, times the calls.
        let mut model = Model::new().input("x", 1, &[2, 3]).output("y");
        for k in 0..15 {
            let (name, next) = (format!("g{k}"), format!("g{}", k + 1));
            let (op, domain) = if k < 14 { (next.as_str(), "local") } else { ("Relu", "") };
            model.0.functions.push(FunctionProto {
                name,
                domain: "local".into(),
                input: vec!["a".into()],
                output: vec!["r".into()],
                node: vec![node(op, domain, &["a"], &["t"]), node(op, domain, &["t"], &["r"])],
                ..Default::default()
            });
        }
        for k in 0..8 {
            let (from, to) = (
                if k == 0 { "x".into() } else { format!("v{k}") },
                if k == 7 { "y".into() } else { format!("v{}", k + 1) },
            );
            model
                .0
                .graph
                .get_or_insert_default()
                .node
                .push(node("g0", "local", &[&from], &[&to]));
        }
        let error = model.compile().unwrap_err();
        assert!(
            matches!(&error, CompileError::Limit { what, .. } if what == "nodes" || what == "calls of functions"),
            "{error}"
        );
    }
}
