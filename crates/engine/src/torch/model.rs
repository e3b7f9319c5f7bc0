//! A plan prepared for libtorch: weights as tensors, one kernel per operator with its index tensors made.

use std::{collections::HashMap, sync::Arc};

use tch::{Kind, TchError, Tensor};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Place},
    model::{self, Format, Profile},
    tensor::element_count,
};

use super::{contract, copy, exact, reduce, rows};
use crate::{
    engine::{EngineError, Keep, LayerValues, Run, layer_of},
    judge::Family,
    layout::{self, operator_error},
    map::MapError,
    value::Value,
};

/// Takes the operands, flat; gives the output in the shape of the output axes or flat.
pub(super) type Kernel = Box<dyn Fn(&[&Tensor]) -> Result<Tensor, TchError>>;

/// Why an operator cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
    #[error("{0}")]
    Unsupported(&'static str),
}

/// libtorch's name of a dtype.
pub(super) fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::U8 => Kind::Uint8,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::Bool => Kind::Bool,
        Dtype::F16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
    }
}

/// What a profile asks of kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numerics {
    /// What an operator computes in, unless it is exact.
    pub(super) kind: Kind,
    /// Sums are made in blocks of this many terms.
    pub(super) block: Option<i64>,
    /// What the factors of contractions are rounded to before they are multiplied.
    factors: Option<Kind>,
    /// Whether products may be made in TF32: factors may be rounded to it, or are in a format that it holds, or products are fp64.
    tf32: bool,
    pub(super) device: tch::Device,
}

/// How libtorch multiplies fp32 matrices on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// Correctly rounded products and sums.
    Fp32,
    /// Tensor cores that read TF32, where libtorch was told to allow them.
    Tf32,
}

impl Numerics {
    pub(super) fn of(profile: Profile, device: tch::Device) -> Self {
        let (kind, block, factors, tf32) = match profile.kind {
            model::Kind::Fast => (Kind::Float, None, None, false),
            model::Kind::Blocked(block) => (Kind::Float, Some(block.into()), None, false),
            model::Kind::Wide => (Kind::Double, None, None, true),
            model::Kind::Tensor(Format::Tf32) => (Kind::Float, None, None, true),
            model::Kind::Tensor(Format::Bf16) => (Kind::Float, None, Some(Kind::BFloat16), true),
            model::Kind::Tensor(Format::Fp16) => (Kind::Float, None, Some(Kind::Half), true),
        };
        Self {
            kind,
            block,
            factors,
            tf32,
            device,
        }
    }

    /// Whether an operator's operand is converted before its kernel reads it.
    fn converts(&self, code: Code, operand: usize) -> bool {
        match self.factors {
            Some(_) => code == Code::Contract && operand < 2,
            None => self.kind == Kind::Double && !matches!(Family::of(code), Family::Copy | Family::Exact),
        }
    }

    /// The operand as kernels read it: widened, or the numbers of the format in fp32.
    fn convert(&self, operand: &Tensor) -> Result<Tensor, TchError> {
        match self.factors {
            Some(format) => operand.f_to_kind(format)?.f_to_kind(Kind::Float),
            None => operand.f_to_kind(self.kind),
        }
    }

    /// The sum over the last axis, block by block where the profile says so.
    pub(super) fn sum(&self, terms: &Tensor) -> Result<Tensor, TchError> {
        let all = |part: &Tensor| part.f_sum_dim_intlist(&[-1i64][..], false, self.kind);
        let length = terms.size().last().copied().unwrap_or(0);
        match self.block {
            Some(block) if length > block => {
                let mut sum = all(&terms.f_narrow(-1, 0, block)?)?;
                for start in (block..length).step_by(block as usize) {
                    sum = sum.f_add(&all(&terms.f_narrow(-1, start, block.min(length - start))?)?)?;
                }
                Ok(sum)
            }
            _ => all(terms),
        }
    }
}

/// Output and reduction axes as libtorch's sizes.
pub(super) fn sizes(axes: &[u32]) -> Vec<i64> {
    axes.iter().map(|axis| i64::from(*axis)).collect()
}

/// A prepared plan.
pub(super) struct Model {
    plan: Arc<Plan>,
    device: tch::Device,
    weights: Vec<Tensor>,
    /// Those that an operator reads converted, as it reads them.
    converted: HashMap<u32, Tensor>,
    numerics: Numerics,
    kernels: Vec<Kernel>,
}

impl Model {
    /// Checks the plan and prepares all operators.
    pub(super) fn prepare(plan: Arc<Plan>, device: tch::Device, products: Products) -> Result<Self, EngineError> {
        layout::check(&plan)?;
        let profile = Profile::decode(plan.profile).map_err(|error| EngineError::Plan(error.to_string()))?;
        let numerics = Numerics::of(profile, device);
        if products == Products::Tf32 && !numerics.tf32 {
            return Err(EngineError::Library {
                library: "libtorch",
                what: format!(
                    "multiplies in TF32, which numerics profile {:#018x} does not allow: unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and \
                     NVIDIA_TF32_OVERRIDE",
                    plan.profile
                ),
            });
        }
        let weights: Vec<Tensor> = plan
            .weights
            .iter()
            .map(|weight| load(&Value::from(weight), device))
            .collect::<Result<_, _>>()
            .map_err(library)?;
        let mut converted = HashMap::new();
        for d in &plan.operators {
            for (number, operand) in d.operands.iter().enumerate() {
                if let Place::Weight(weight) = operand.place
                    && numerics.converts(d.code, number)
                    && let Some(tensor) = weights.get(weight as usize)
                    && !converted.contains_key(&weight)
                {
                    converted.insert(weight, numerics.convert(tensor).map_err(library)?);
                }
            }
        }
        let kernels = plan
            .operators
            .iter()
            .enumerate()
            .map(|(operator, d)| prepare(d, &numerics).map_err(|error| operator_error(&plan, operator, error)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            device,
            weights,
            converted,
            numerics,
            kernels,
        })
    }

    /// Runs all layers.
    pub(super) fn run(&self, inputs: &[Value], keep: Keep) -> Result<Run, EngineError> {
        let mut memory = HashMap::new();
        for (number, value) in inputs.iter().enumerate() {
            memory.insert(Place::Input(number as u32), load(value, self.device).map_err(library)?);
        }
        let mut kept = Vec::new();
        for (number, layer) in self.plan.layers.iter().enumerate() {
            self.run_layer(number as u32, &mut memory)?;
            if keep == Keep::All {
                kept.push(self.take(&memory, number as u32, |place| matches!(place, Place::Inner(_)))?);
            }
            (0..layer.inner_count).for_each(|n| drop(memory.remove(&Place::Inner(n))));
        }
        let mut boundary = HashMap::new();
        for layer in 0..self.plan.layers.len() as u32 {
            boundary.extend(self.take(&memory, layer, |place| !matches!(place, Place::Inner(_)))?);
        }
        let mut all = |place: fn(u32) -> Place, count: u32| {
            let values = (0..count).map(|n| boundary.remove(&place(n)));
            values
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| EngineError::Plan("a boundary value is not written".into()))
        };
        let outputs = all(Place::Output, self.plan.outputs.len() as u32)?;
        let trace = all(Place::Trace, self.plan.trace_count)?;
        let inner = (keep == Keep::All).then(|| kept.into_iter().map(numbered).collect());
        Ok(Run {
            inputs: inputs.to_vec(),
            outputs,
            trace,
            inner,
        })
    }

    /// Runs one layer from its boundary inputs.
    pub(super) fn replay(&self, layer: u32, boundary: &[(Place, Value)]) -> Result<LayerValues, EngineError> {
        let mut memory = HashMap::new();
        for (place, value) in boundary {
            memory.insert(*place, load(value, self.device).map_err(library)?);
        }
        self.run_layer(layer, &mut memory)?;
        let inner = numbered(self.take(&memory, layer, |place| matches!(place, Place::Inner(_)))?);
        let boundary = self.take(&memory, layer, |place| !matches!(place, Place::Inner(_)))?;
        Ok(LayerValues { layer, inner, boundary })
    }

    fn run_layer(&self, layer: u32, memory: &mut HashMap<Place, Tensor>) -> Result<(), EngineError> {
        for operator in layer_of(&self.plan, layer)?.operators.clone() {
            let operator = operator as usize;
            let d = &self.plan.operators[operator];
            let operands = d.operands.iter().map(|operand| match operand.place {
                Place::Weight(n) => self.weights.get(n as usize),
                place => memory.get(&place),
            });
            let operands: Vec<&Tensor> = operands
                .collect::<Option<_>>()
                .ok_or_else(|| operator_error(&self.plan, operator, "an operand is not there"))?;
            let output = if (0..operands.len()).any(|operand| self.numerics.converts(d.code, operand)) {
                self.run_converted(operator, &operands)
            } else {
                self.kernels[operator](&operands)
            };
            let output = output
                .and_then(|output| flatten(d, output))
                .map_err(|error| operator_error(&self.plan, operator, error))?;
            memory.insert(d.place, output);
        }
        Ok(())
    }

    /// The kernel on converted operands, its result rounded once where it is wider than fp32.
    fn run_converted(&self, operator: usize, operands: &[&Tensor]) -> Result<Tensor, TchError> {
        let d = &self.plan.operators[operator];
        let converted = d
            .operands
            .iter()
            .zip(operands)
            .enumerate()
            .map(|(number, (operand, tensor))| {
                let known = match operand.place {
                    Place::Weight(weight) => self.converted.get(&weight),
                    _ => None,
                };
                match known {
                    _ if !self.numerics.converts(d.code, number) => Ok(tensor.shallow_clone()),
                    Some(known) => Ok(known.shallow_clone()),
                    None => self.numerics.convert(tensor),
                }
            })
            .collect::<Result<Vec<_>, TchError>>()?;
        let converted: Vec<&Tensor> = converted.iter().collect();
        self.kernels[operator](&converted)?.f_to_kind(Kind::Float)
    }

    /// The values that a layer's operators wrote to the places that `wanted` names, in operator order.
    fn take(
        &self,
        memory: &HashMap<Place, Tensor>,
        layer: u32,
        wanted: fn(Place) -> bool,
    ) -> Result<Vec<(Place, Value)>, EngineError> {
        layer_of(&self.plan, layer)?
            .operators
            .clone()
            .map(|operator| (operator as usize, &self.plan.operators[operator as usize]))
            .filter(|(_, d)| wanted(d.place))
            .map(|(operator, d)| {
                let tensor = memory
                    .get(&d.place)
                    .ok_or_else(|| operator_error(&self.plan, operator, "its value is not there"))?;
                let value = store(tensor, d).map_err(|error| operator_error(&self.plan, operator, error))?;
                Ok((d.place, value))
            })
            .collect()
    }
}

pub(super) fn library(error: TchError) -> EngineError {
    EngineError::Library {
        library: "libtorch",
        what: error.to_string(),
    }
}

/// Values in the order of their numbers.
fn numbered(mut values: Vec<(Place, Value)>) -> Vec<Value> {
    values.sort_by_key(|(place, _)| *place);
    values.into_iter().map(|(_, value)| value).collect()
}

/// A flat tensor of its own memory: kernels may differ in the last bit with the alignment of what they read, and libtorch aligns
/// what it allocates alike.
pub(super) fn load(value: &Value, device: tch::Device) -> Result<Tensor, TchError> {
    let count = (value.bytes.len() / value.dtype.size()) as i64;
    Tensor::f_from_data_size(&value.bytes, &[count], kind(value.dtype))?.f_to_device(device)
}

fn store(tensor: &Tensor, d: &Descriptor) -> Result<Value, TchError> {
    let count = tensor.numel();
    let mut bytes = vec![0u8; count * d.dtype.size()];
    if count > 0 {
        tensor.f_copy_data_u8(&mut bytes, count)?;
    }
    Ok(Value {
        dtype: d.dtype,
        dims: d.dims.clone(),
        bytes: bytes.into(),
    })
}

/// The output as the flat, contiguous tensor that views of later operators start from. Those count from the start of the memory, so
/// it must begin there.
fn flatten(d: &Descriptor, output: Tensor) -> Result<Tensor, TchError> {
    if output.f_kind()? != kind(d.dtype) {
        return Err(TchError::Kind(format!(
            "gave {:?}, expected {:?}",
            output.f_kind()?,
            d.dtype
        )));
    }
    let flat = flat(d, &output)?;
    if flat.f_storage_offset()? == 0 {
        Ok(flat)
    } else {
        flat.f_as_strided_copy(flat.size(), [1], flat.f_storage_offset()?)
    }
}

/// All elements in a row, those that are alike repeated.
pub(super) fn flat(d: &Descriptor, output: &Tensor) -> Result<Tensor, TchError> {
    let count = element_count(&d.dims).unwrap_or(0) as i64;
    if output.numel() as i64 == count {
        output.f_contiguous()?.f_reshape([count])
    } else {
        output
            .f_expand(sizes(&d.output_axes), false)?
            .f_contiguous()?
            .f_reshape([count])
    }
}

/// The kernel of one operator.
pub(super) fn prepare(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    let device = numerics.device;
    if element_count(&d.dims) == Some(0) {
        let dtype = d.dtype;
        return Ok(Box::new(move |_| Tensor::f_zeros([0], (kind(dtype), device))));
    }
    match d.code {
        Code::Copy => copy::copy(d, device),
        Code::Gather => copy::gather(d, device),
        Code::Contract => contract::contract(d, numerics),
        Code::Sum | Code::Mean | Code::MaxPool | Code::ArgMax => reduce::reduce(d, numerics),
        Code::Softmax => rows::softmax(d, numerics),
        Code::LayerNorm => rows::layer_norm(d, device),
        Code::BatchNorm => rows::batch_norm(d, device),
        Code::Add
        | Code::Sub
        | Code::Mul
        | Code::Div
        | Code::Sqrt
        | Code::Neg
        | Code::Abs
        | Code::Min
        | Code::Max
        | Code::Relu
        | Code::Cast
        | Code::Where
        | Code::Equal
        | Code::Less
        | Code::LessEq
        | Code::Greater
        | Code::GreaterEq
        | Code::And
        | Code::Or
        | Code::Not
        | Code::Erf
        | Code::Gelu
        | Code::GeluTanh
        | Code::Tanh
        | Code::Sigmoid
        | Code::Exp
        | Code::Log
        | Code::Softplus
        | Code::Sin
        | Code::Cos
        | Code::Pow => exact::elementwise(d, device),
    }
}

#[cfg(test)]
mod tests {
    use touchstone_model::{CompileOptions, compile};
    use touchstone_protocol::descriptor::Operand;

    use super::*;

    #[test]
    fn products_in_tf32_are_for_profiles_that_allow_them() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/suite/mlp_dynamo.onnx");
        let plan = compile(&std::fs::read(file).unwrap(), &CompileOptions::default()).unwrap();
        let prepared = |profile: Profile, products| {
            let plan = Plan {
                profile: profile.encode(),
                ..plan.clone()
            };
            let model = Model::prepare(Arc::new(plan), tch::Device::Cpu, products);
            model.map(drop).map_err(|error| error.to_string())
        };
        for profile in [Profile::FAST, Profile::blocked(16).unwrap()] {
            assert_eq!(prepared(profile, Products::Fp32), Ok(()));
            let refused = prepared(profile, Products::Tf32).unwrap_err();
            assert!(refused.contains("unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"), "{refused}");
        }
        for profile in [Profile::WIDE, Profile::TF32, Profile::BF16, Profile::FP16] {
            assert_eq!(prepared(profile, Products::Tf32), Ok(()));
        }
    }

    #[test]
    fn outputs_start_at_the_start_of_their_memory() {
        let place = Place::Input(0);
        let operand = Operand {
            place,
            dtype: Dtype::F32,
            dims: vec![6],
            base: 0,
            strides: vec![1],
            bounds: Vec::new(),
        };
        let d = Descriptor {
            code: Code::Relu,
            layer: 0,
            layer_inner_count: 0,
            place: Place::Output(0),
            dtype: Dtype::F32,
            dims: vec![3],
            output_axes: vec![3],
            reduction_axes: Vec::new(),
            params: Vec::new(),
            operands: vec![operand],
        };
        let memory = Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let flat = flatten(&d, memory.as_strided([3], [1], 2)).unwrap();
        // A view counts from the start of the memory, not of the tensor.
        assert_eq!(
            Vec::<f32>::try_from(flat.as_strided([3], [1], 0)).unwrap(),
            [2.0, 3.0, 4.0]
        );
        assert!(flatten(&d, memory.to_kind(Kind::Double)).is_err());
    }
}
