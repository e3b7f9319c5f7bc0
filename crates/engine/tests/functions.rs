//! Functions, rows and norms against fp64, over ranges that include the tails and special values.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Noise, U, both, f32s, operand, plan, vector};
use touchstone_engine::Value;
use touchstone_protocol::descriptor::{Code, Dtype};

fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / 2f64.sqrt())
}

#[test]
fn functions_stay_inside_the_profile() {
    let mut xs: Vec<f32> = (-4000..=4000).map(|k| k as f32 * 0.026).collect();
    xs.extend((-3000..=3000).map(|k| k as f32 * 0.0021));
    xs.extend((0..30).flat_map(|k| [2f32.powi(-k * 5), -2f32.powi(-k * 5)]));
    xs.extend([
        0.0,
        -0.0,
        1e30,
        -1e30,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ]);
    type F = fn(f64) -> f64;
    // The function, and what its absolute constant is relative to.
    let table: [(Code, F, F); 10] = [
        (Code::Erf, libm::erf, |_| 1.0),
        (Code::Gelu, gelu, |x| 0.5 * x.abs()),
        (
            Code::GeluTanh,
            |x| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
            |x| 0.5 * x.abs(),
        ),
        (Code::Tanh, f64::tanh, |_| 1.0),
        (Code::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), |_| 1.0),
        (Code::Exp, f64::exp, |_| 0.0),
        (Code::Log, f64::ln, |_| 0.0),
        (Code::Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), |_| 1.0),
        (Code::Sin, f64::sin, |x| x.abs().min(1.0)),
        (Code::Cos, f64::cos, |_| 1.0),
    ];
    for (code, f, unit) in table {
        let (torch, reference) = both(&plan(
            code,
            Dtype::F32,
            &[xs.len() as u32],
            &[],
            &[],
            vec![operand(vector(&xs), 0, &[1])],
        ));
        let (torch, reference) = (torch.to_f32().unwrap(), reference.to_f32().unwrap());
        let mut worst = [0.0f64; 2];
        for (k, x) in xs.iter().enumerate() {
            let x = f64::from(*x);
            let y = f(x);
            for (side, got) in [(0, torch[k]), (1, reference[k])] {
                if y as f32 == got || y.is_nan() || x.is_infinite() || (y.abs() >= 3.4028235e38 && got.is_infinite()) {
                    continue;
                }
                let bound = 16.0 * U * y.abs() + 4.0 * U * unit(x) + 1.5e-45;
                let share = (f64::from(got) - y).abs() / bound;
                assert!(share <= 1.0, "{code:?}({x}) = {got}, {y}: share {share}");
                worst[side] = worst[side].max(share);
            }
        }
        println!(
            "{code:?}: largest share libtorch {:.4}, reference {:.4}",
            worst[0], worst[1]
        );
    }
}

fn rows(value: &Value, length: usize) -> Vec<Vec<f64>> {
    value
        .to_f32()
        .unwrap()
        .chunks(length)
        .map(|row| row.iter().map(|x| f64::from(*x)).collect())
        .collect()
}

#[test]
fn softmax_over_either_axis() {
    let mut noise = Noise(10);
    let spread: Vec<f32> = noise
        .floats(6 * 40)
        .iter()
        .enumerate()
        .map(|(k, x)| x * 10f32.powi((k / 40) as i32 - 2))
        .collect();
    let x = Value::from_f32([6, 40], &spread).unwrap();
    let (torch, reference) = both(&plan(
        Code::Softmax,
        Dtype::F32,
        &[6, 40],
        &[40],
        &[1],
        vec![operand(x.clone(), 0, &[40, 0, 1])],
    ));
    // The same rows as columns of a transposed output.
    let across = plan(
        Code::Softmax,
        Dtype::F32,
        &[40, 6],
        &[40],
        &[0],
        vec![operand(x.clone(), 0, &[0, 40, 1])],
    );
    let (torch_across, reference_across) = both(&across);
    for (r, row) in rows(&x, 40).iter().enumerate() {
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = row.iter().map(|x| (x - most).exp()).sum();
        for (c, x) in row.iter().enumerate() {
            let y = (x - most).exp() / sum;
            let at = |v: &Value, k: usize| f64::from(v.to_f32().unwrap()[k]);
            // x − m rounds: |t|·u in the exponent; then a few roundings, the sum's among them.
            let bound = ((x - most).abs() + 60.0) * U * y + 1.5e-45;
            for got in [at(&torch, r * 40 + c), at(&torch_across, c * 6 + r)] {
                assert!((got - y).abs() <= bound, "{got} for {y}");
            }
            for got in [at(&reference, r * 40 + c), at(&reference_across, c * 6 + r)] {
                assert!((got - y).abs() <= U * y + 1.5e-45, "{got} for {y}");
            }
        }
    }
}

#[test]
fn softmax_of_masked_rows() {
    let (inf, low) = (f32::NEG_INFINITY, -1e9);
    let x = Value::from_f32(
        [4, 3],
        &[inf, inf, inf, low, low, low, inf, 1.0, inf, 1.0, f32::NAN, 2.0],
    )
    .unwrap();
    let (torch, reference) = both(&plan(
        Code::Softmax,
        Dtype::F32,
        &[4, 3],
        &[3],
        &[1],
        vec![operand(x, 0, &[3, 0, 1])],
    ));
    for got in [torch, reference] {
        let got = got.to_f32().unwrap();
        assert!(got[..3].iter().all(|y| y.is_nan()), "{got:?}");
        assert!(got[3..6].iter().all(|y| (y - 1.0 / 3.0).abs() < 1e-6), "{got:?}");
        assert_eq!(got[6..9], [0.0, 1.0, 0.0]);
        assert!(got[9..].iter().all(|y| y.is_nan()), "{got:?}");
    }
}

#[test]
fn layer_norm_with_either_affine() {
    let mut noise = Noise(11);
    let data: Vec<f32> = noise
        .floats(5 * 64)
        .iter()
        .enumerate()
        .map(|(k, x)| x + [0.0, 1.0, 100.0, -30.0, 0.01][k / 64])
        .collect();
    let x = Value::from_f32([5, 64], &data).unwrap();
    let epsilon = 1e-5f32;
    // Scale and bias by place in the row, then by row.
    for (length, strides) in [(64u32, [0i64, 1, 0]), (5, [1, 0, 0])] {
        let (scale, bias) = (f32s(&[length], &mut noise), f32s(&[length], &mut noise));
        let (torch, reference) = both(&plan(
            Code::LayerNorm,
            Dtype::F32,
            &[5, 64],
            &[64],
            &[epsilon.to_bits(), 1],
            vec![
                operand(x.clone(), 0, &[64, 0, 1]),
                operand(scale.clone(), 0, &strides),
                operand(bias.clone(), 0, &strides),
            ],
        ));
        let (s, b) = (scale.to_f32().unwrap(), bias.to_f32().unwrap());
        for (r, row) in rows(&x, 64).iter().enumerate() {
            let mean = row.iter().sum::<f64>() / 64.0;
            let deviation =
                (row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 64.0 + f64::from(epsilon)).sqrt();
            let size = row.iter().map(|x| x.abs()).sum::<f64>() / 64.0;
            for (c, x) in row.iter().enumerate() {
                let k = if length == 5 { r } else { c };
                let (s, b) = (f64::from(s[k]), f64::from(b[k]));
                let y = (x - mean) / deviation * s + b;
                let (t, g) = (
                    torch.to_f32().unwrap()[r * 64 + c],
                    reference.to_f32().unwrap()[r * 64 + c],
                );
                let bound = 70.0 * U * (s.abs() * (size / deviation + (x - mean).abs() / deviation) + b.abs());
                assert!((f64::from(t) - y).abs() <= bound, "{t} for {y}");
                assert!((f64::from(g) - y).abs() <= U * y.abs() + 1e-12, "{g} for {y}");
            }
        }
    }
}

#[test]
fn batch_norm_by_channel() {
    let mut noise = Noise(12);
    let x = f32s(&[2, 3, 4], &mut noise);
    let mut channel = || f32s(&[3], &mut noise);
    let (scale, bias, mean) = (channel(), channel(), channel());
    let variance = vector(&[0.3, 2.0, 1e-3]);
    let epsilon = 1e-5f32;
    let mut operands = vec![operand(x.clone(), 0, &[12, 4, 1])];
    operands.extend([&scale, &bias, &mean, &variance].map(|v| operand(v.clone(), 0, &[0, 1, 0])));
    let (torch, reference) = both(&plan(
        Code::BatchNorm,
        Dtype::F32,
        &[2, 3, 4],
        &[],
        &[epsilon.to_bits()],
        operands,
    ));
    let at = |v: &Value, k: usize| f64::from(v.to_f32().unwrap()[k]);
    for k in 0..24 {
        let c = k / 4 % 3;
        let alpha = at(&scale, c) / (at(&variance, c) + f64::from(epsilon)).sqrt();
        let y = (at(&x, k) - at(&mean, c)) * alpha + at(&bias, c);
        let size = (at(&x, k) * alpha).abs() + (at(&mean, c) * alpha).abs() + at(&bias, c).abs();
        assert!((at(&torch, k) - y).abs() <= 7.0 * U * size);
        assert!((at(&reference, k) - y).abs() <= U * y.abs());
    }
}
