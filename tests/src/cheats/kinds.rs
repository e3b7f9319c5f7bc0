//! The cheats, each with a size: 0 is honest work.

use anyhow::{Context as _, Result, ensure};
use touchstone_engine::{Family, Value};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use super::{Subject, subject::Source};

/// What a cheating engine does otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Weight matrices rounded to so many significant bits; what is below 2^`least` in magnitude to multiples of 2^(least − bits + 1).
    RoundedWeights {
        /// The exponent of the format's least normal number.
        least: i32,
    },
    /// Weight matrices quantized, each with one scale, to integers of so many bits.
    QuantizedWeights,
    /// Both factors of every contraction rounded to so many significant bits.
    RoundedInputs,
    /// One weight matrix times 1 + size.
    ScaledMatrix {
        /// The contraction that reads it.
        operator: usize,
    },
    /// What these contractions add to their residual times 1 − size: with 1 they are skipped.
    Skipped {
        /// The contractions.
        operators: Vec<usize>,
    },
    /// The model's last hidden value is the one of an earlier block, by this share of the way.
    EarlyExit {
        /// Whose result is replaced.
        last: usize,
        /// By whose.
        earlier: usize,
    },
    /// Another input: whatever reads one gives what it gives for the other.
    OtherInput,
    /// Copies are kept right, but the first operator that rounds reads a blend with the other input, by this share of the way.
    BlendedInput {
        /// That operator.
        operator: usize,
    },
    /// One attention head's result times 1 − size: with 1 it is pruned.
    PrunedHead {
        /// The contraction of probabilities and values.
        operator: usize,
        /// The head.
        head: usize,
    },
    /// One layer norm's epsilon larger (or, where negative, smaller) by the size.
    OtherEpsilon {
        /// The layer norm.
        operator: usize,
        /// 1 or −1.
        sign: f64,
    },
    /// One element with this bit of it flipped: the size is the bit's number.
    FlippedBit {
        /// Whose result.
        operator: usize,
        /// Which element.
        element: usize,
    },
    /// One element replaced.
    Injected {
        /// Whose result.
        operator: usize,
        /// By what.
        value: f32,
    },
    /// All elements of the last operator's result in the opposite order.
    Reversed,
    /// Two elements of the last operator's result swapped: the size is the pair's place among all pairs, the most alike first.
    Swapped {
        /// The pairs.
        pairs: Vec<(usize, usize)>,
    },
}

impl Kind {
    /// Whether this operator's result is not what an honest engine would give for its operands.
    pub fn touches(&self, subject: &Subject<'_>, operator: usize) -> bool {
        let Ok(d) = subject.operator(operator) else {
            return false;
        };
        match self {
            Self::RoundedWeights { .. } | Self::QuantizedWeights => has_matrix(subject, operator, d),
            Self::RoundedInputs => d.code == Code::Contract,
            Self::Skipped { operators } => operators.contains(&operator),
            Self::EarlyExit { last, .. } => *last == operator,
            Self::OtherInput => subject
                .sources
                .get(operator)
                .is_some_and(|sources| sources.iter().any(|source| matches!(source, Source::Input(_)))),
            Self::ScaledMatrix { operator: one }
            | Self::BlendedInput { operator: one }
            | Self::PrunedHead { operator: one, .. }
            | Self::OtherEpsilon { operator: one, .. }
            | Self::FlippedBit { operator: one, .. }
            | Self::Injected { operator: one, .. } => *one == operator,
            Self::Reversed | Self::Swapped { .. } => operator + 1 == subject.values.len(),
        }
    }

    /// What the cheat gives for these operands.
    ///
    /// # Errors
    /// The engine fails, or the operator is not one that this cheat can touch.
    pub fn output(&self, subject: &Subject<'_>, size: f64, operator: usize, operands: &[Value]) -> Result<Value> {
        let d = subject.operator(operator)?;
        let honest = || subject.step(operator, operands);
        let with = |change: &dyn Fn(usize, &Value) -> Result<Value>| {
            let changed = operands.iter().enumerate().map(|(n, value)| change(n, value));
            subject.step(operator, &changed.collect::<Result<Vec<_>>>()?)
        };
        let matrix = |n: usize| n < 2 && subject.reads_weight(operator, n);
        match self {
            Self::RoundedWeights { least } => with(&|n, value| match matrix(n) {
                true => mapped(value, |x| rounded(x, size as i32, *least)),
                false => Ok(value.clone()),
            }),
            Self::QuantizedWeights => with(&|n, value| match matrix(n) {
                true => quantized(value, size as i32),
                false => Ok(value.clone()),
            }),
            Self::RoundedInputs => with(&|n, value| match n < 2 {
                true => mapped(value, |x| rounded(x, size as i32, -126)),
                false => Ok(value.clone()),
            }),
            Self::ScaledMatrix { .. } => with(&|n, value| match matrix(n) {
                true => mapped(value, |x| (f64::from(x) * (1.0 + size)) as f32),
                false => Ok(value.clone()),
            }),
            Self::Skipped { .. } => {
                let (residual, _) = residual(subject, operator, d).context("no residual")?;
                blended(&honest()?, operands.get(residual).context("no residual")?, size)
            }
            Self::EarlyExit { earlier, .. } => {
                blended(&honest()?, subject.values.get(*earlier).context("no such block")?, size)
            }
            Self::OtherInput => subject.other.get(operator).cloned().context("no such operator"),
            Self::BlendedInput { .. } => with(&|n, value| {
                let other = match subject.sources.get(operator).and_then(|sources| sources.get(n)) {
                    Some(Source::Operator(maker)) => subject.other.get(*maker),
                    _ => None,
                };
                match other {
                    Some(other) if value.dtype == Dtype::F32 => blended(value, other, size),
                    _ => Ok(value.clone()),
                }
            }),
            Self::PrunedHead { head, .. } => {
                let heads = *d.dims.get(1).context("no heads")? as usize;
                let each = d.dims.iter().skip(2).product::<u32>() as usize;
                let mut place = 0;
                mapped(&honest()?, |x| {
                    let own = (place / each) % heads == *head;
                    place += 1;
                    if own { (f64::from(x) * (1.0 - size)) as f32 } else { x }
                })
            }
            Self::OtherEpsilon { sign, .. } => {
                let mut params = d.params.clone();
                let epsilon = params.first_mut().context("no epsilon")?;
                *epsilon = ((f64::from(f32::from_bits(*epsilon)) + sign * size) as f32).to_bits();
                subject.step_with(operator, params, operands)
            }
            Self::FlippedBit { element, .. } => {
                let value = honest()?;
                let mut numbers = floats(&value)?;
                let number = numbers.get_mut(*element).context("no such element")?;
                *number = f32::from_bits(number.to_bits() ^ (1 << size as u32));
                Ok(Value::from_f32(value.dims, &numbers)?)
            }
            Self::Injected { value: number, .. } => {
                let value = honest()?;
                let mut numbers = floats(&value)?;
                let middle = numbers.len() / 2;
                *numbers.get_mut(middle).context("no elements")? = *number;
                Ok(Value::from_f32(value.dims, &numbers)?)
            }
            Self::Reversed => {
                let value = honest()?;
                let mut numbers = floats(&value)?;
                numbers.reverse();
                Ok(Value::from_f32(value.dims, &numbers)?)
            }
            Self::Swapped { pairs } => {
                let value = honest()?;
                let mut numbers = floats(&value)?;
                let (a, b) = *pairs.get(size as usize).context("no such pair")?;
                ensure!(a < numbers.len() && b < numbers.len(), "no such element");
                numbers.swap(a, b);
                Ok(Value::from_f32(value.dims, &numbers)?)
            }
        }
    }
}

/// Whether this is a contraction with a weight as a factor.
pub(super) fn has_matrix(subject: &Subject<'_>, operator: usize, d: &Descriptor) -> bool {
    d.code == Code::Contract && (0..2).any(|factor| subject.reads_weight(operator, factor))
}

/// The addend of a contraction that is a computed value of the output's own shape and order, with who made it.
pub(super) fn residual(subject: &Subject<'_>, operator: usize, d: &Descriptor) -> Option<(usize, usize)> {
    let mut strides = vec![1i64];
    for axis in d.output_axes.iter().skip(1).rev() {
        strides.insert(0, strides.first()? * i64::from(*axis));
    }
    let sources = subject.sources.get(operator)?;
    (2..d.operands.len()).find_map(|n| {
        let operand = d.operands.get(n)?;
        let own = (0..d.output_axes.len())
            .all(|a| d.output_axes.get(a) == Some(&1) || operand.strides.get(a) == strides.get(a));
        match sources.get(n) {
            Some(Source::Operator(maker)) if own && has_matrix(subject, operator, d) => Some((n, *maker)),
            _ => None,
        }
    })
}

/// The first operator that rounds.
pub(super) fn first_with_width(subject: &Subject<'_>) -> Option<usize> {
    let codes = subject.plan.operators.iter();
    codes
        .map(|d| Family::of(d.code))
        .position(|family| !matches!(family, Family::Copy | Family::Exact))
}

/// The elements of a value, which is float32.
fn floats(value: &Value) -> Result<Vec<f32>> {
    ensure!(value.dtype == Dtype::F32, "not fp32");
    value.to_f32().context("not fp32")
}

fn mapped(value: &Value, change: impl FnMut(f32) -> f32) -> Result<Value> {
    let numbers = floats(value)?;
    let changed: Vec<f32> = numbers.into_iter().map(change).collect();
    Ok(Value::from_f32(value.dims.clone(), &changed)?)
}

/// From `a` to `b` by `share` of the way.
fn blended(a: &Value, b: &Value, share: f64) -> Result<Value> {
    let (to, mut n) = (floats(b)?, 0);
    mapped(a, |x| {
        let y = to.get(n).copied().unwrap_or(x);
        n += 1;
        (f64::from(x) + share * (f64::from(y) - f64::from(x))) as f32
    })
}

/// The nearest number of `bits` significant bits, above a least normal exponent.
fn rounded(x: f32, bits: i32, least: i32) -> f32 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = f64::from(x).abs().log2().floor() as i32;
    let unit = 2f64.powi(exponent.max(least) - bits + 1);
    ((f64::from(x) / unit).round_ties_even() * unit) as f32
}

fn quantized(value: &Value, bits: i32) -> Result<Value> {
    let largest = floats(value)?.iter().fold(0f32, |m, x| m.max(x.abs()));
    let scale = f64::from(largest) / (2f64.powi(bits - 1) - 1.0);
    mapped(value, |x| {
        if scale == 0.0 {
            x
        } else {
            ((f64::from(x) / scale).round_ties_even() * scale) as f32
        }
    })
}
