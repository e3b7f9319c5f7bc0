//! What a plan holds and what judging it costs, for people and for `--json`.

use serde::Serialize;

use crate::{
    cost::{self, Cost},
    ir::elements,
    plan::Plan,
    quote::{self, Way},
    size::{self, Size},
};
use touchstone_protocol::{
    descriptor::{Dtype, Place},
    model::MAX_INLINE_BYTES,
};

/// Summary of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Graph inputs: name, dtype, shape.
    pub inputs: Vec<TensorInfo>,
    /// Graph outputs: name, dtype, shape.
    pub outputs: Vec<TensorInfo>,
    /// Bytes of all inputs together: what a request carries.
    pub input_bytes: u64,
    /// Bytes of all outputs together: what a claim carries.
    pub output_bytes: u64,
    /// Whether the registry takes the model: inputs and outputs fit inline, each way.
    pub publishable: bool,
    /// Number of weights.
    pub weights: usize,
    /// What a run takes: bytes of values and of weights, terms.
    #[serde(flatten)]
    pub size: Size,
    /// Number of values placed in the trace.
    pub trace_values: u32,
    /// Bytes committed with every claim: trace values and outputs.
    pub boundary_bytes: u64,
    /// Bytes of all inner values; those of one layer are committed when it is disputed.
    pub inner_bytes: u64,
    /// Greatest witness of any operator, in bytes, from above.
    pub worst_witness_bytes: u64,
    /// Greatest verdict of any operator, in gas, from above.
    pub worst_verdict_gas: u64,
    /// The most that the shortest way to a conviction takes, number by number, over all operators.
    pub worst_conviction: Way,
    /// The most that the longest walk without detours takes, number by number, over all operators.
    pub worst_dispute: Way,
    /// Layers in order.
    pub layers: Vec<LayerInfo>,
    /// Operators in order.
    pub operators: Vec<OperatorInfo>,
}

/// Name, dtype and shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// ONNX name.
    pub name: String,
    /// Element type, as ONNX spells it.
    pub dtype: &'static str,
    /// Shape.
    pub dims: Vec<u32>,
}

/// Why the registry would refuse a model, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// Every input is bound, so that there is nothing to ask.
    #[error("the model has no inputs: bind fewer of them")]
    NoInputs,
    /// The inputs, of so many bytes, do not fit inline.
    #[error(
        "the model's inputs take {0} bytes, a request carries at most {MAX_INLINE_BYTES}: export it with a smaller batch, or \
         with smaller or shorter inputs"
    )]
    Inputs(u64),
    /// The outputs, of so many bytes, do not fit inline.
    #[error(
        "the model's outputs take {0} bytes, a claim carries at most {MAX_INLINE_BYTES}: export it with a smaller batch, or let \
         it give less, say a label instead of all scores"
    )]
    Outputs(u64),
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerInfo {
    /// First operator.
    pub first: u32,
    /// Number of operators.
    pub operators: u32,
    /// Number of inner values.
    pub inner_values: u32,
    /// Bytes of its inner values.
    pub inner_bytes: u64,
    /// Bytes of its boundary values.
    pub boundary_bytes: u64,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorInfo {
    /// ONNX name of the output.
    pub name: String,
    /// Name of the code, as in PROTOCOL.md section 5.
    pub code: String,
    /// Layer.
    pub layer: u32,
    /// Where the output is committed: `trace`, `output` or `inner`, with its number.
    pub place: String,
    /// Element type of the output.
    pub dtype: &'static str,
    /// Shape of the output.
    pub dims: Vec<u32>,
    /// Terms of the reduction, 1 if there is none.
    pub terms: u64,
    /// Bytes of the output.
    pub bytes: u64,
    /// Bytes of the descriptor.
    pub descriptor_bytes: usize,
    /// Worst cost of judging an element.
    #[serde(flatten)]
    pub cost: Cost,
    /// The shortest way to convict an element.
    pub conviction: Way,
    /// The longest walk to an element without detours.
    pub dispute: Way,
}

/// The name of a dtype, as ONNX spells it.
pub const fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        Dtype::U8 => "uint8",
        Dtype::I32 => "int32",
        Dtype::I64 => "int64",
        Dtype::Bool => "bool",
        Dtype::F16 => "float16",
        Dtype::Bf16 => "bfloat16",
    }
}

/// `kind number`, for people.
pub fn place_name(place: Place) -> String {
    match place {
        Place::Input(n) => format!("input {n}"),
        Place::Weight(n) => format!("weight {n}"),
        Place::Trace(n) => format!("trace {n}"),
        Place::Output(n) => format!("output {n}"),
        Place::Inner(n) => format!("inner {n}"),
    }
}

impl Plan {
    /// Whether the registry takes the model: inputs and outputs travel inline, at most 16 KiB each way.
    ///
    /// # Errors
    /// See [`Unpublishable`].
    pub fn check_publishable(&self) -> Result<(), Unpublishable> {
        if self.inputs.is_empty() {
            return Err(Unpublishable::NoInputs);
        }
        let beyond = |list| Some(size::total(list)).filter(|bytes| *bytes > MAX_INLINE_BYTES as u64);
        if let Some(bytes) = beyond(&self.inputs) {
            return Err(Unpublishable::Inputs(bytes));
        }
        match beyond(&self.outputs) {
            Some(bytes) => Err(Unpublishable::Outputs(bytes)),
            None => Ok(()),
        }
    }

    /// Summarizes the plan.
    pub fn inspect(&self) -> Inspection {
        let io = |io: &crate::plan::Io| TensorInfo {
            name: io.name.clone(),
            dtype: dtype_name(io.dtype),
            dims: io.dims.clone(),
        };
        let operators: Vec<OperatorInfo> = self
            .operators
            .iter()
            .zip(&self.names)
            .map(|(d, name)| {
                // Compile has encoded every descriptor before.
                let descriptor_bytes = d.encode().map_or(0, |bytes| bytes.len());
                let cost = cost::cost(self, d, descriptor_bytes);
                OperatorInfo {
                    name: name.clone(),
                    code: format!("{:?}", d.code),
                    layer: d.layer,
                    place: place_name(d.place),
                    dtype: dtype_name(d.dtype),
                    dims: d.dims.clone(),
                    terms: d.terms(),
                    bytes: elements(&d.dims) * d.dtype.size() as u64,
                    descriptor_bytes,
                    cost,
                    conviction: quote::conviction(self, d, descriptor_bytes, cost),
                    dispute: quote::dispute(self, d, descriptor_bytes, cost),
                }
            })
            .collect();
        let layers: Vec<LayerInfo> = self
            .layers
            .iter()
            .map(|layer| {
                let range = layer.operators.start as usize..layer.operators.end as usize;
                let sum = |inner: bool| {
                    let of_kind = range
                        .clone()
                        .filter(|i| matches!(self.operators[*i].place, Place::Inner(_)) == inner);
                    of_kind.map(|i| operators[i].bytes).sum()
                };
                LayerInfo {
                    first: layer.operators.start,
                    operators: layer.operators.end - layer.operators.start,
                    inner_values: layer.inner_count,
                    inner_bytes: sum(true),
                    boundary_bytes: sum(false),
                }
            })
            .collect();
        let (input_bytes, output_bytes) = (size::total(&self.inputs), size::total(&self.outputs));
        Inspection {
            inputs: self.inputs.iter().map(io).collect(),
            outputs: self.outputs.iter().map(io).collect(),
            input_bytes,
            output_bytes,
            publishable: self.check_publishable().is_ok(),
            weights: self.weights.len(),
            size: self.size(),
            trace_values: self.trace_count,
            boundary_bytes: layers.iter().map(|layer| layer.boundary_bytes).sum(),
            inner_bytes: layers.iter().map(|layer| layer.inner_bytes).sum(),
            worst_witness_bytes: operators.iter().map(|o| o.cost.witness_bytes).max().unwrap_or(0),
            worst_verdict_gas: operators.iter().map(|o| o.cost.verdict_gas).max().unwrap_or(0),
            worst_conviction: operators.iter().map(|o| o.conviction).fold(Way::default(), Way::max),
            worst_dispute: operators.iter().map(|o| o.dispute).fold(Way::default(), Way::max),
            layers,
            operators,
        }
    }
}
