//! From the bytes of a model file to a checked, flat list of nodes.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use touchstone_protocol::{descriptor::Dtype, tensor::byte_length};

use crate::{
    CompileOptions,
    error::CompileError,
    functions, limits,
    proto::{AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TypeProto, ValueInfoProto},
    scan,
    tensor::{Tensor, TensorProtoError, dims_of, dtype_of},
};

/// A node of the flat graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The node's name, for messages.
    pub(crate) name: String,
    pub(crate) op_type: String,
    /// Empty for the default domain.
    pub(crate) domain: String,
    /// Version of the default operator set where the node stands.
    pub(crate) opset: i64,
    /// Value names; empty for an operand left out.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) attributes: Vec<AttributeProto>,
}

/// A graph input with its fixed shape.
#[derive(Clone, Debug)]
pub(crate) struct GraphInput {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) dims: Vec<u32>,
}

/// A graph output as declared: `None` where the file does not say.
#[derive(Clone, Debug)]
pub(crate) struct GraphOutput {
    pub(crate) name: String,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) dims: Option<Vec<Option<u32>>>,
}

/// A constant, or why plans cannot hold it.
pub(crate) type Constant = Result<Tensor, String>;

/// A checked graph: names are unique, shapes fixed, functions inlined, dead nodes dropped.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<GraphInput>,
    pub(crate) outputs: Vec<GraphOutput>,
    pub(crate) constants: BTreeMap<String, Constant>,
    /// With their position before dead nodes were dropped.
    pub(crate) nodes: Vec<(usize, Node)>,
}

impl Graph {
    /// Reads a model file.
    pub(crate) fn read(bytes: &[u8], options: &CompileOptions) -> Result<Self, CompileError> {
        scan::check_model(bytes)?;
        let model = ModelProto::decode(bytes).map_err(|error| CompileError::Decode(error.to_string()))?;
        let mut proto = model
            .graph
            .ok_or_else(|| CompileError::Decode("the file has no graph".into()))?;
        let opset = opset(&model.opset_import, "the model")?;
        if !proto.sparse_initializer.is_empty() {
            return Err(CompileError::Malformed(
                "sparse weights are not supported; embed them dense".into(),
            ));
        }
        let mut constants = constants(&mut proto)?;
        let inputs = inputs(&proto.input, &mut constants, options)?;
        let outputs = outputs(&proto.output)?;
        let nodes = functions::inline(proto.node, model.functions, opset)?;
        let given = inputs.iter().map(|input| &input.name).chain(constants.keys());
        check_names(given, &nodes)?;
        Ok(Self {
            nodes: drop_dead(nodes, &outputs),
            inputs,
            outputs,
            constants,
        })
    }
}

/// The version of the default operator set that a list of imports names.
pub(crate) fn opset(imports: &[OperatorSetIdProto], whose: &str) -> Result<i64, CompileError> {
    let mut versions = imports
        .iter()
        .filter(|import| is_default(&import.domain))
        .map(|import| import.version);
    let version = versions
        .next()
        .ok_or_else(|| CompileError::Malformed(format!("{whose} imports no version of the default operator set")))?;
    if versions.next().is_some() {
        return Err(CompileError::Malformed(format!(
            "{whose} imports the default operator set twice"
        )));
    }
    if !limits::OPSETS.contains(&version) {
        let (first, last) = (limits::OPSETS.start(), limits::OPSETS.end());
        return Err(CompileError::Malformed(format!(
            "{whose} imports version {version} of the default operator set; {first} to {last} are supported"
        )));
    }
    Ok(version)
}

pub(crate) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn constants(proto: &mut GraphProto) -> Result<BTreeMap<String, Constant>, CompileError> {
    let mut constants = BTreeMap::new();
    for mut tensor in std::mem::take(&mut proto.initializer) {
        let name = std::mem::take(&mut tensor.name);
        check_name(&name)?;
        let constant = match Tensor::from_proto(tensor) {
            Ok(tensor) => Ok(tensor),
            Err(TensorProtoError::Unsupported(reason)) => Err(format!("weight `{name}`: {reason}")),
            Err(TensorProtoError::Malformed(reason)) => {
                return Err(CompileError::Malformed(format!("weight `{name}`: {reason}")));
            }
        };
        if constants.insert(name.clone(), constant).is_some() {
            return Err(CompileError::Malformed(format!("two weights are named `{name}`")));
        }
    }
    Ok(constants)
}

fn inputs(
    infos: &[ValueInfoProto],
    constants: &mut BTreeMap<String, Constant>,
    options: &CompileOptions,
) -> Result<Vec<GraphInput>, CompileError> {
    for name in options.shapes.keys().chain(options.binds.keys()) {
        if !infos.iter().any(|info| info.name == *name) {
            return Err(CompileError::Option {
                name: name.clone(),
                reason: "the model has no such input".into(),
            });
        }
    }
    let mut seen = BTreeSet::new();
    let mut inputs = Vec::new();
    for info in infos {
        check_name(&info.name)?;
        if !seen.insert(info.name.as_str()) {
            return Err(CompileError::Malformed(format!(
                "two graph inputs are named `{}`",
                info.name
            )));
        }
        // Up to IR version 3 every weight is listed as an input; later such an entry means a default.
        if constants.contains_key(&info.name) {
            continue;
        }
        let input = input(info, options)?;
        match options.binds.get(&info.name) {
            Some(tensor) if tensor.dtype == input.dtype && tensor.dims == input.dims => {
                constants.insert(input.name, Ok(tensor.clone()));
            }
            Some(tensor) => {
                return Err(CompileError::Option {
                    name: input.name,
                    reason: format!(
                        "the bound tensor is {:?} {:?}, the input is {:?} {:?}",
                        tensor.dtype, tensor.dims, input.dtype, input.dims
                    ),
                });
            }
            None => inputs.push(input),
        }
    }
    // A plan whose inputs are all bound may be run, and has no model id; a file without inputs is of no use to anybody.
    if inputs.is_empty() && options.binds.is_empty() {
        return Err(CompileError::Malformed(
            "the graph has no inputs; a network's models take 1 to 32".into(),
        ));
    }
    if inputs.len() > limits::IO_VALUES {
        return Err(CompileError::limit(
            "graph inputs",
            inputs.len() as u64,
            limits::IO_VALUES as u64,
        ));
    }
    Ok(inputs)
}

fn input(info: &ValueInfoProto, options: &CompileOptions) -> Result<GraphInput, CompileError> {
    let name = info.name.clone();
    let malformed = |reason: String| CompileError::Malformed(format!("input `{}`: {reason}", info.name));
    let (dtype, declared) = declared(&info.kind).map_err(malformed)?;
    let dtype = dtype.ok_or_else(|| malformed("it is not a tensor of a known type".into()))?;
    // A bound input takes the shape of its tensor where no shape is given.
    let fixed = options
        .shapes
        .get(&name)
        .or_else(|| options.binds.get(&name).map(|tensor| &tensor.dims));
    let dims = match (fixed, declared) {
        (Some(dims), declared) => {
            let fits = declared.is_none_or(|declared| {
                declared.len() == dims.len() && declared.iter().zip(dims).all(|(a, b)| a.is_none_or(|a| a == *b))
            });
            if !fits {
                return Err(CompileError::Option {
                    name,
                    reason: format!("shape {dims:?} contradicts the model's"),
                });
            }
            dims.clone()
        }
        (None, None) => {
            return Err(CompileError::SymbolicShape {
                input: name,
                shape: "of unknown rank".into(),
            });
        }
        (None, Some(declared)) => match declared.iter().copied().collect::<Option<Vec<u32>>>() {
            Some(dims) => dims,
            None => {
                let text = declared.iter().map(|dim| dim.map_or("?".into(), |dim| dim.to_string()));
                let shape = format!("[{}]", text.collect::<Vec<_>>().join(", "));
                return Err(CompileError::SymbolicShape { input: name, shape });
            }
        },
    };
    byte_length(dtype, &dims).map_err(|error| malformed(error.to_string()))?;
    if dims.contains(&0) && !options.binds.contains_key(&name) {
        return Err(malformed(format!("shape {dims:?} has no elements")));
    }
    Ok(GraphInput { name, dtype, dims })
}

fn outputs(infos: &[ValueInfoProto]) -> Result<Vec<GraphOutput>, CompileError> {
    if infos.is_empty() {
        return Err(CompileError::Malformed("the graph has no outputs".into()));
    }
    if infos.len() > limits::IO_VALUES {
        return Err(CompileError::limit(
            "graph outputs",
            infos.len() as u64,
            limits::IO_VALUES as u64,
        ));
    }
    infos
        .iter()
        .map(|info| {
            check_name(&info.name)?;
            let (dtype, dims) = declared(&info.kind)
                .map_err(|reason| CompileError::Malformed(format!("output `{}`: {reason}", info.name)))?;
            Ok(GraphOutput {
                name: info.name.clone(),
                dtype,
                dims,
            })
        })
        .collect()
}

/// A declared dtype, and a shape with `None` for each dimension that is not fixed.
type Declared = (Option<Dtype>, Option<Vec<Option<u32>>>);

fn declared(kind: &Option<TypeProto>) -> Result<Declared, String> {
    let Some(kind) = kind else { return Ok((None, None)) };
    let tensor = kind.tensor_type.as_ref().ok_or("it is not a tensor")?;
    let dtype = if tensor.elem_type == 0 {
        None
    } else {
        Some(dtype_of(tensor.elem_type)?)
    };
    let Some(shape) = &tensor.shape else {
        return Ok((dtype, None));
    };
    let fixed: Vec<i64> = shape.dim.iter().map(|dim| dim.dim_value.unwrap_or(0)).collect();
    let dims = dims_of(&fixed)?;
    let dims = shape
        .dim
        .iter()
        .zip(dims)
        .map(|(dim, fixed)| dim.dim_value.map(|_| fixed))
        .collect();
    Ok((dtype, Some(dims)))
}

fn check_name(name: &str) -> Result<(), CompileError> {
    if name.len() > limits::NAME_BYTES {
        return Err(CompileError::limit(
            "bytes of a name",
            name.len() as u64,
            limits::NAME_BYTES as u64,
        ));
    }
    if name.is_empty() {
        return Err(CompileError::Malformed("a value without a name".into()));
    }
    Ok(())
}

fn check_names<'a>(given: impl Iterator<Item = &'a String>, nodes: &'a [Node]) -> Result<(), CompileError> {
    let mut seen: BTreeSet<&str> = given.map(String::as_str).collect();
    for (index, node) in nodes.iter().enumerate() {
        let count = node.inputs.len().max(node.outputs.len());
        if count > limits::NODE_VALUES {
            return Err(CompileError::limit(
                "values of a node",
                count as u64,
                limits::NODE_VALUES as u64,
            ));
        }
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            check_name(name)?;
            if !seen.insert(name) {
                return Err(CompileError::Malformed(format!(
                    "node {index} gives `{name}`, which is given before"
                )));
            }
        }
    }
    Ok(())
}

/// Keeps the nodes that an output depends on. A value that is read before it is given keeps nothing alive; the reader is
/// refused later.
fn drop_dead(nodes: Vec<Node>, outputs: &[GraphOutput]) -> Vec<(usize, Node)> {
    let mut needed: BTreeSet<String> = outputs.iter().map(|output| output.name.clone()).collect();
    let mut kept: Vec<(usize, Node)> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate().rev() {
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(node.inputs.iter().filter(|input| !input.is_empty()).cloned());
            kept.push((index, node));
        }
    }
    kept.reverse();
    kept
}
