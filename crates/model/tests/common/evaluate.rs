//! A naive evaluator of descriptors in f64, each result rounded to its dtype: the index maps read literally.

use std::collections::BTreeMap;

use touchstone_model::{Plan, Tensor};
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Operand, Place},
    half,
    tensor::element_bits,
};

/// Values of all operators, in operator order, elements as f64.
pub struct Run {
    pub operators: Vec<Vec<f64>>,
    pub outputs: Vec<Vec<f64>>,
}

pub fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks(dtype.size())
        .map(|b| match dtype {
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
                f64::from(f32::from_bits(half::decode(dtype, element_bits(b) as u32)))
            }
            Dtype::I32 => f64::from(i32::from_le_bytes(b.try_into().unwrap())),
            Dtype::I64 => i64::from_le_bytes(b.try_into().unwrap()) as f64,
            Dtype::U8 | Dtype::Bool => f64::from(b[0]),
        })
        .collect()
}

/// Runs a plan on its inputs.
pub fn run(plan: &Plan, inputs: &[Tensor]) -> Run {
    let weights: Vec<Vec<f64>> = plan.weights.iter().map(|w| numbers(w.dtype, &w.bytes)).collect();
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|t| numbers(t.dtype, &t.bytes)).collect();
    let mut values: BTreeMap<(Place, u32), usize> = BTreeMap::new();
    let mut operators: Vec<Vec<f64>> = Vec::new();
    for d in &plan.operators {
        let result = {
            let operands: Vec<&[f64]> = d
                .operands
                .iter()
                .map(|o| match o.place {
                    Place::Input(n) => inputs[n as usize].as_slice(),
                    Place::Weight(n) => weights[n as usize].as_slice(),
                    place => operators[values[&(place, scope(place, d.layer))]].as_slice(),
                })
                .collect();
            operator(d, &operands)
        };
        values.insert((d.place, scope(d.place, d.layer)), operators.len());
        operators.push(result);
    }
    let outputs = (0..plan.outputs.len() as u32)
        .map(|n| operators[values[&(Place::Output(n), 0)]].clone())
        .collect();
    Run { operators, outputs }
}

/// Inner values are numbered by layer.
fn scope(place: Place, layer: u32) -> u32 {
    if matches!(place, Place::Inner(_)) { layer } else { 0 }
}

fn offset(o: &Operand, index: &[i64], operand: &[f64]) -> Option<usize> {
    let inside = o.bounds.iter().all(|b| {
        let c = b
            .terms
            .iter()
            .fold(b.constant, |c, (axis, k)| c + k * index[*axis as usize]);
        (0..i64::from(b.extent)).contains(&c)
    });
    let offset = o.strides.iter().zip(index).fold(o.base, |sum, (s, i)| sum + s * i);
    inside.then(|| {
        assert!(
            offset >= 0 && (offset as usize) < operand.len(),
            "offset {offset} of {}",
            operand.len()
        );
        offset as usize
    })
}

fn indices(axes: &[u32]) -> Vec<Vec<i64>> {
    let mut all = vec![vec![]];
    for axis in axes {
        all = all
            .into_iter()
            .flat_map(|i: Vec<i64>| (0..i64::from(*axis)).map(move |k| [&i[..], &[k]].concat()))
            .collect();
    }
    all
}

fn operator(d: &Descriptor, operands: &[&[f64]]) -> Vec<f64> {
    let terms = indices(&d.reduction_axes);
    let round = |x: f64| match d.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
            let bits = half::encode(d.dtype, (x as f32).to_bits());
            f64::from(f32::from_bits(half::decode(d.dtype, bits)))
        }
        _ => x,
    };
    let result: Vec<f64> = indices(&d.output_axes)
        .iter()
        .map(|o| {
            let at = |k: usize, r: &[i64]| {
                let index = [o, r].concat();
                offset(&d.operands[k], &index, operands[k]).map(|at| operands[k][at])
            };
            let once = |k: usize| at(k, &vec![0; d.reduction_axes.len()]).unwrap_or(0.0);
            let row: Vec<Option<f64>> = if d.code.term_operands() > 0 {
                terms.iter().map(|r| at(0, r)).collect()
            } else {
                vec![]
            };
            let present = || row.iter().flatten().copied();
            let epsilon = || f64::from(f32::from_bits(d.params[0]));
            round(match d.code {
                Code::Copy => (0..operands.len()).find_map(|k| at(k, &[])).unwrap_or_else(|| {
                    let fill = (u64::from(d.params[0]) << 32) | u64::from(d.params[1]);
                    numbers(d.dtype, &fill.to_le_bytes()[..d.dtype.size()])[0]
                }),
                Code::Gather => {
                    let (extent, stride) = (i64::from(d.params[0]), i64::from(d.params[1]));
                    let k = once(1) as i64;
                    let k = (if k < 0 { k + extent } else { k }).clamp(0, extent - 1);
                    let base = d.operands[0]
                        .strides
                        .iter()
                        .zip(o)
                        .fold(d.operands[0].base, |sum, (s, i)| sum + s * i);
                    operands[0][(base + k * stride) as usize]
                }
                Code::Add => once(0) + once(1),
                Code::Sub => once(0) - once(1),
                Code::Mul => once(0) * once(1),
                Code::Div if matches!(d.dtype, Dtype::I32 | Dtype::I64) => {
                    if once(1) == 0.0 {
                        0.0
                    } else {
                        (once(0) / once(1)).trunc()
                    }
                }
                Code::Div => once(0) / once(1),
                Code::Sqrt => once(0).sqrt(),
                Code::Neg => -once(0),
                Code::Abs => once(0).abs(),
                Code::Min => once(0).min(once(1)),
                Code::Max => once(0).max(once(1)),
                Code::Relu => once(0).max(0.0),
                Code::Cast if d.dtype.is_float() => once(0),
                Code::Cast if d.dtype == Dtype::Bool => f64::from(u8::from(once(0) != 0.0)),
                Code::Cast => once(0).trunc(),
                Code::Where => {
                    if once(0) != 0.0 {
                        once(1)
                    } else {
                        once(2)
                    }
                }
                Code::Equal => f64::from(u8::from(once(0) == once(1))),
                Code::Less => f64::from(u8::from(once(0) < once(1))),
                Code::LessEq => f64::from(u8::from(once(0) <= once(1))),
                Code::Greater => f64::from(u8::from(once(0) > once(1))),
                Code::GreaterEq => f64::from(u8::from(once(0) >= once(1))),
                Code::And => once(0) * once(1),
                Code::Or => once(0).max(once(1)),
                Code::Not => 1.0 - once(0),
                Code::MaxPool => present().fold(f64::NEG_INFINITY, f64::max),
                Code::ArgMax => {
                    let mut best = 0;
                    for (k, x) in row.iter().enumerate() {
                        if *x > row[best] {
                            best = k;
                        }
                    }
                    best as f64
                }
                Code::Erf => erf(once(0)),
                Code::Gelu => 0.5 * once(0) * (1.0 + erf(once(0) / 2f64.sqrt())),
                Code::GeluTanh => {
                    let x = once(0);
                    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
                }
                Code::Tanh => once(0).tanh(),
                Code::Sigmoid => 1.0 / (1.0 + (-once(0)).exp()),
                Code::Exp => once(0).exp(),
                Code::Log => once(0).ln(),
                Code::Softplus => once(0).max(0.0) + (-once(0).abs()).exp().ln_1p(),
                Code::Sin => once(0).sin(),
                Code::Cos => once(0).cos(),
                Code::Pow => once(0).powf(once(1)),
                Code::Contract => {
                    let addends: f64 = (2..operands.len()).map(once).sum();
                    let products: f64 = terms.iter().filter_map(|r| Some(at(0, r)? * at(1, r)?)).sum();
                    products + addends
                }
                Code::Sum => present().sum(),
                Code::Mean if d.params[0] == 1 => present().sum::<f64>() / row.len() as f64,
                Code::Mean => present().sum::<f64>() / present().count() as f64,
                Code::Softmax => {
                    let place = o[d.params[0] as usize] as usize;
                    let max = present().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = present().map(|x| (x - max).exp()).sum();
                    (row[place].unwrap() - max).exp() / sum
                }
                Code::LayerNorm => {
                    let n = row.len() as f64;
                    let mean = present().sum::<f64>() / n;
                    let variance = present().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
                    let x = row[o[d.params[1] as usize] as usize].unwrap();
                    (x - mean) / (variance + epsilon()).sqrt() * once(1) + once(2)
                }
                Code::BatchNorm => (once(0) - once(3)) / (once(4) + epsilon()).sqrt() * once(1) + once(2),
            })
        })
        .collect();
    assert_eq!(result.len() as u64, d.elements());
    result
}

/// The error function by its Taylor series, and by the continued fraction of its complement where that converges faster.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..=60).rev().fold(a, |fraction, k| a + f64::from(k) / 2.0 / fraction);
        1.0 - (-a * a).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}
