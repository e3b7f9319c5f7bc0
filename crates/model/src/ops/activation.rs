//! Activations that are made of operators that the plan has.
//!
//! <https://onnx.ai/onnx/operators/onnx__LeakyRelu.html> and its neighbours of the same names.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome, arithmetic::same};
use crate::{build::Build, error::Refusal, lower::Call, view::View};

const fn activation(
    name: &'static str,
    since: i64,
    attributes: &'static [&'static str],
    lower: fn(&mut Build, &Call) -> Outcome,
) -> Operator {
    Operator {
        name,
        since,
        inputs: 1..=1,
        outputs: 1,
        attributes,
        lower,
    }
}

pub(super) const OPERATORS: &[Operator] = &[
    activation("LeakyRelu", 6, &["alpha"], |b, c| {
        let alpha = c.float_or("alpha", bits(0.01))?;
        let slope = b.scalar(alpha);
        sloped(b, c, &slope)
    }),
    Operator {
        inputs: 2..=2,
        ..activation("PRelu", 7, &[], |b, c| sloped(b, c, c.input(1)?))
    },
    activation("Elu", 6, &["alpha"], |b, c| {
        let alpha = c.float_or("alpha", bits(1.0))?;
        exponential(b, c, alpha, bits(1.0), bits(1.0))
    }),
    activation("Selu", 6, &["alpha", "gamma"], |b, c| {
        let (alpha, gamma) = (
            c.float_or("alpha", bits(1.673_263_2))?,
            c.float_or("gamma", bits(1.050_701))?,
        );
        exponential(b, c, alpha, bits(1.0), gamma)
    }),
    activation("Celu", 12, &["alpha"], |b, c| {
        let alpha = c.float_or("alpha", bits(1.0))?;
        exponential(b, c, alpha, alpha, bits(1.0))
    }),
    activation("ThresholdedRelu", 10, &["alpha"], thresholded),
    activation("HardSigmoid", 6, &["alpha", "beta"], |b, c| {
        let (alpha, beta) = (c.float_or("alpha", bits(0.2))?, c.float_or("beta", bits(0.5))?);
        Ok(vec![hard_sigmoid(b, operand(c)?, alpha, beta)?])
    }),
    activation("HardSwish", 14, &[], |b, c| {
        let x = operand(c)?;
        let gate = hard_sigmoid(b, x, bits(1.0 / 6.0), bits(0.5))?;
        Ok(vec![float(b, Code::Mul, &[x, &gate])?])
    }),
    activation("Softsign", 1, &[], softsign),
    activation("Mish", 18, &[], mish),
];

const fn bits(value: f32) -> u32 {
    value.to_bits()
}

fn operand<'a>(call: &'a Call) -> Result<&'a View, Refusal> {
    let x = call.input(0)?;
    same(&[x], &[Dtype::F32])?;
    Ok(x)
}

fn float(build: &mut Build, code: Code, operands: &[&View]) -> Result<View, Refusal> {
    build.elementwise(code, Dtype::F32, operands)
}

/// `below` where x < 0, else `x`.
fn where_negative(build: &mut Build, x: &View, below: &View) -> Result<View, Refusal> {
    let zero = build.scalar(0);
    let negative = build.elementwise(Code::Less, Dtype::Bool, &[x, &zero])?;
    float(build, Code::Where, &[&negative, below, x])
}

/// `slope · x` where x < 0, else `x`.
fn sloped(build: &mut Build, call: &Call, slope: &View) -> Outcome {
    let x = operand(call)?;
    same(&[x, slope], &[Dtype::F32])?;
    // The slope broadcasts to the operand, not both to each other.
    let slope = slope.expand(&x.dims)?;
    let below = float(build, Code::Mul, &[&slope, x])?;
    Ok(vec![where_negative(build, x, &below)?])
}

/// `gamma · (alpha · (exp(x / width) − 1) where x < 0, else x)`; bits of f32.
fn exponential(build: &mut Build, call: &Call, alpha: u32, width: u32, gamma: u32) -> Outcome {
    let x = operand(call)?;
    let mut scaled = x.clone();
    if width != bits(1.0) {
        let width = build.scalar(width);
        scaled = float(build, Code::Div, &[x, &width])?;
    }
    let power = float(build, Code::Exp, &[&scaled])?;
    let one = build.scalar(bits(1.0));
    let below = float(build, Code::Sub, &[&power, &one])?;
    let mut times = |view: View, factor: u32| {
        if factor == bits(1.0) {
            return Ok(view);
        }
        let factor = build.scalar(factor);
        float(build, Code::Mul, &[&view, &factor])
    };
    let below = times(below, alpha)?;
    let below = times(below, gamma)?;
    let above = times(x.clone(), gamma)?;
    let zero = build.scalar(0);
    let negative = build.elementwise(Code::Less, Dtype::Bool, &[x, &zero])?;
    Ok(vec![float(build, Code::Where, &[&negative, &below, &above])?])
}

/// `x` where x > alpha, else 0.
fn thresholded(build: &mut Build, call: &Call) -> Outcome {
    let x = operand(call)?;
    let alpha = call.float_or("alpha", bits(1.0))?;
    let (alpha, zero) = (build.scalar(alpha), build.scalar(0));
    let above = build.elementwise(Code::Greater, Dtype::Bool, &[x, &alpha])?;
    Ok(vec![float(build, Code::Where, &[&above, x, &zero])?])
}

/// `min(max(alpha · x + beta, 0), 1)`; bits of f32.
fn hard_sigmoid(build: &mut Build, x: &View, alpha: u32, beta: u32) -> Result<View, Refusal> {
    let [alpha, beta, one] = [alpha, beta, bits(1.0)].map(|bits| build.scalar(bits));
    let line = float(build, Code::Mul, &[x, &alpha])?;
    let line = float(build, Code::Add, &[&line, &beta])?;
    let line = float(build, Code::Relu, &[&line])?;
    float(build, Code::Min, &[&line, &one])
}

/// `x / (1 + |x|)`.
fn softsign(build: &mut Build, call: &Call) -> Outcome {
    let x = operand(call)?;
    let size = float(build, Code::Abs, &[x])?;
    let one = build.scalar(bits(1.0));
    let divisor = float(build, Code::Add, &[&size, &one])?;
    Ok(vec![float(build, Code::Div, &[x, &divisor])?])
}

/// `x · tanh(log(1 + exp x))`.
fn mish(build: &mut Build, call: &Call) -> Outcome {
    let x = operand(call)?;
    let inner = float(build, Code::Softplus, &[x])?;
    let gate = float(build, Code::Tanh, &[&inner])?;
    Ok(vec![float(build, Code::Mul, &[x, &gate])?])
}
