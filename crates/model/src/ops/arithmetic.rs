//! Operators that the plan has one for one, element by element.
//!
//! <https://onnx.ai/onnx/operators/onnx__Add.html> and its neighbours of the same names.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{MANY, Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    lower::Call,
    view::View,
};

const fn unary(name: &'static str, since: i64, lower: fn(&mut Build, &Call) -> Outcome) -> Operator {
    Operator {
        name,
        since,
        inputs: 1..=1,
        outputs: 1,
        attributes: &[],
        lower,
    }
}

const fn binary(name: &'static str, since: i64, lower: fn(&mut Build, &Call) -> Outcome) -> Operator {
    Operator {
        name,
        since,
        inputs: 2..=2,
        outputs: 1,
        attributes: &[],
        lower,
    }
}

pub(super) const OPERATORS: &[Operator] = &[
    binary("Add", 1, |b, c| alike(b, c, Code::Add, NUMBERS)),
    binary("Sub", 1, |b, c| alike(b, c, Code::Sub, NUMBERS)),
    binary("Mul", 1, |b, c| alike(b, c, Code::Mul, NUMBERS)),
    binary("Div", 1, |b, c| alike(b, c, Code::Div, NUMBERS)),
    unary("Neg", 1, |b, c| alike(b, c, Code::Neg, NUMBERS)),
    unary("Abs", 1, |b, c| alike(b, c, Code::Abs, NUMBERS)),
    Operator {
        inputs: MANY,
        ..binary("Min", 1, |b, c| many(b, c, Code::Min))
    },
    Operator {
        inputs: MANY,
        ..binary("Max", 1, |b, c| many(b, c, Code::Max))
    },
    unary("Sqrt", 1, |b, c| alike(b, c, Code::Sqrt, FLOATS)),
    unary("Relu", 1, |b, c| alike(b, c, Code::Relu, FLOATS)),
    unary("Erf", 9, |b, c| alike(b, c, Code::Erf, &[Dtype::F32])),
    unary("Exp", 1, |b, c| alike(b, c, Code::Exp, &[Dtype::F32])),
    unary("Log", 1, |b, c| alike(b, c, Code::Log, &[Dtype::F32])),
    unary("Softplus", 1, |b, c| alike(b, c, Code::Softplus, &[Dtype::F32])),
    unary("Sin", 7, |b, c| alike(b, c, Code::Sin, &[Dtype::F32])),
    unary("Cos", 7, |b, c| alike(b, c, Code::Cos, &[Dtype::F32])),
    unary("Tanh", 1, |b, c| alike(b, c, Code::Tanh, &[Dtype::F32])),
    unary("Sigmoid", 1, |b, c| alike(b, c, Code::Sigmoid, &[Dtype::F32])),
    Operator {
        attributes: &["approximate"],
        ..unary("Gelu", 20, gelu)
    },
    unary("Reciprocal", 1, reciprocal),
    Operator {
        inputs: 1..=3,
        ..unary("Clip", 11, clip)
    },
    Operator {
        inputs: MANY,
        ..binary("Sum", 1, |b, c| many(b, c, Code::Add))
    },
    binary("Equal", 1, |b, c| compare(b, c, Code::Equal)),
    binary("Less", 1, |b, c| compare(b, c, Code::Less)),
    binary("LessOrEqual", 12, |b, c| compare(b, c, Code::LessEq)),
    binary("Greater", 1, |b, c| compare(b, c, Code::Greater)),
    binary("GreaterOrEqual", 12, |b, c| compare(b, c, Code::GreaterEq)),
    binary("And", 1, |b, c| alike(b, c, Code::And, &[Dtype::Bool])),
    binary("Or", 1, |b, c| alike(b, c, Code::Or, &[Dtype::Bool])),
    unary("Not", 1, |b, c| alike(b, c, Code::Not, &[Dtype::Bool])),
    Operator {
        inputs: 3..=3,
        ..binary("Where", 9, choose)
    },
];

/// Refuses operands of different dtypes, or of dtypes not listed.
pub(super) fn same(views: &[&View], allowed: &[Dtype]) -> Result<Dtype, Refusal> {
    let dtype = views.first().map_or(Dtype::F32, |view| view.dtype);
    if let Some(other) = views.iter().find(|view| view.dtype != dtype) {
        refuse!("operands of dtypes {dtype:?} and {:?}", other.dtype);
    }
    if !allowed.contains(&dtype) {
        refuse!("dtype {dtype:?} is not supported here");
    }
    Ok(dtype)
}

/// What correctly rounded operators take.
const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::F16, Dtype::Bf16];
const NUMBERS: &[Dtype] = &[Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::I32, Dtype::I64];

/// Operands and result of one dtype.
fn alike(build: &mut Build, call: &Call, code: Code, allowed: &[Dtype]) -> Outcome {
    let views = call.all()?;
    let dtype = same(&views, allowed)?;
    Ok(vec![build.elementwise(code, dtype, &views)?])
}

fn compare(build: &mut Build, call: &Call, code: Code) -> Outcome {
    let views = call.all()?;
    same(&views, &Dtype::ALL)?;
    Ok(vec![build.elementwise(code, Dtype::Bool, &views)?])
}

/// `Min`, `Max` and `Sum` of any number of operands, folded from the left.
fn many(build: &mut Build, call: &Call, code: Code) -> Outcome {
    let views = call.all()?;
    let dtype = same(&views, NUMBERS)?;
    let mut result = call.input(0)?.clone();
    for view in &views[1..] {
        result = build.elementwise(code, dtype, &[&result, view])?;
    }
    Ok(vec![result])
}

fn gelu(build: &mut Build, call: &Call) -> Outcome {
    let code = match call.string_or("approximate", "none")? {
        "none" => Code::Gelu,
        "tanh" => Code::GeluTanh,
        other => refuse!("approximate `{other}` is not known"),
    };
    alike(build, call, code, &[Dtype::F32])
}

/// `1 / x`, correctly rounded.
fn reciprocal(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    same(&[x], &[Dtype::F32])?;
    let one = build.scalar(0x3f80_0000);
    Ok(vec![build.elementwise(Code::Div, Dtype::F32, &[&one, x])?])
}

/// `Min(Max(x, low), high)`.
fn clip(build: &mut Build, call: &Call) -> Outcome {
    let mut result = call.input(0)?.clone();
    for (index, code) in [(1, Code::Max), (2, Code::Min)] {
        if let Some(limit) = call.optional(index) {
            if limit.elements() != 1 {
                refuse!("limit of shape {:?}, a scalar is expected", limit.dims);
            }
            let dtype = same(&[&result, limit], NUMBERS)?;
            let limit = build.reshape(limit, &[])?;
            result = build.elementwise(code, dtype, &[&result, &limit])?;
        }
    }
    Ok(vec![result])
}

fn choose(build: &mut Build, call: &Call) -> Outcome {
    let (condition, a, b) = (call.input(0)?, call.input(1)?, call.input(2)?);
    same(&[condition], &[Dtype::Bool])?;
    if a.dtype != b.dtype {
        refuse!("operands of dtypes {:?} and {:?}", a.dtype, b.dtype);
    }
    Ok(vec![build.elementwise(Code::Where, a.dtype, &[condition, a, b])?])
}
