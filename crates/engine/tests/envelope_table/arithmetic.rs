//! Engines in native floats: every order of summation, fused or not, in fp32 and fp64; and the data that is hard for them.

use crate::common::Noise;

/// Ways of adding up.
pub const SUMS: [fn(&[f32]) -> f32; 5] = [
    |x| x.iter().fold(0.0, |sum, x| sum + x),
    |x| x.iter().rev().fold(0.0, |sum, x| sum + x),
    pairwise,
    |x| {
        let mut lanes = [0.0f32; 8];
        x.iter().enumerate().for_each(|(i, x)| lanes[i % 8] += x);
        pairwise(&lanes)
    },
    |x| x.iter().fold(0.0f64, |sum, x| sum + f64::from(*x)) as f32,
];

fn pairwise(x: &[f32]) -> f32 {
    match x {
        [] => 0.0,
        [x] => *x,
        _ => pairwise(&x[..x.len() / 2]) + pairwise(&x[x.len() / 2..]),
    }
}

/// Σab + c in every order of [`SUMS`], then fused from either end, then in fp64.
pub fn contractions(a: &[f32], b: &[f32], c: f32) -> Vec<f32> {
    let products: Vec<f32> = a.iter().zip(b).map(|(a, b)| a * b).collect();
    let fused = |sum: f32, (a, b): (&f32, &f32)| a.mul_add(*b, sum);
    let wide = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    let mut all: Vec<f32> = SUMS[..4].iter().map(|sum| sum(&products) + c).collect();
    all.extend([
        a.iter().zip(b).fold(c, fused),
        a.iter().rev().zip(b.iter().rev()).fold(c, fused),
        (wide.sum::<f64>() + f64::from(c)) as f32,
    ]);
    all
}

/// Sums in every order, by the divisor or by its rounded reciprocal.
pub fn means(x: &[f32], divisor: f32) -> Vec<f32> {
    SUMS.iter()
        .flat_map(|sum| [sum(x) / divisor, sum(x) * (1.0 / divisor)])
        .collect()
}

/// Softmax of a row: two exponentials, every order, quotient or reciprocal. One row of results an engine.
pub fn softmaxes(row: &[f32]) -> Vec<Vec<f32>> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: [fn(f32) -> f32; 2] = [f32::exp, |x| libm::exp(f64::from(x)) as f32];
    let mut all = Vec::new();
    for exponential in exponentials {
        let terms: Vec<f32> = row.iter().map(|x| exponential(x - most)).collect();
        for sum in SUMS {
            let sum = sum(&terms);
            all.push(terms.iter().map(|term| term / sum).collect());
            all.push(terms.iter().map(|term| term * (1.0 / sum)).collect());
        }
    }
    all
}

/// Mean and variance by two passes in every order, and by Welford's steps.
fn moments(row: &[f32]) -> Vec<(f32, f32)> {
    let n = row.len() as f32;
    let mut all: Vec<(f32, f32)> = SUMS
        .iter()
        .flat_map(|sum| {
            [sum(row) / n, sum(row) * (1.0 / n)].map(|mean| {
                let squares: Vec<f32> = row.iter().map(|x| (x - mean) * (x - mean)).collect();
                (mean, sum(&squares) / n)
            })
        })
        .collect();
    let (mut mean, mut squares) = (0.0f32, 0.0f32);
    for (i, x) in row.iter().enumerate() {
        let delta = x - mean;
        mean += delta / (i + 1) as f32;
        squares += delta * (x - mean);
    }
    all.push((mean, squares / n));
    all
}

/// Layer norm of a row; one row of results an engine.
pub fn layer_norms(row: &[f32], scale: &[f32], bias: &[f32], epsilon: f32) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for (mean, variance) in moments(row) {
        let root = (variance + epsilon).sqrt();
        let inverse = 1.0 / root;
        let forms: [&dyn Fn(f32, f32, f32) -> f32; 4] = [
            &|x, g, b| (x - mean) / root * g + b,
            &|x, g, b| (x - mean) * inverse * g + b,
            &|x, g, b| (x - mean) * (inverse * g) + b,
            &|x, g, b| (x * inverse + -mean * inverse).mul_add(g, b),
        ];
        for form in forms {
            all.push((0..row.len()).map(|i| form(row[i], scale[i], bias[i])).collect());
        }
    }
    all
}

/// Batch norm of one element: with and without folding the scale.
pub fn batch_norms([x, g, b, mean, variance]: [f32; 5], epsilon: f32) -> Vec<f32> {
    let root = (variance + epsilon).sqrt();
    let inverse = 1.0 / root;
    let folded = inverse * g;
    let wide = (f64::from(x) - f64::from(mean)) / f64::from(variance + epsilon).sqrt();
    vec![
        (x - mean) / root * g + b,
        (x - mean) * inverse * g + b,
        x * folded + (b - mean * folded),
        x.mul_add(folded, b - mean * folded),
        wide.mul_add(f64::from(g), f64::from(b)) as f32,
    ]
}

/// A function as some engines compute it.
pub type Engines = &'static [fn(f32) -> f32];

/// Library functions in fp32 and from fp64; GELU as engines put it together.
pub const FUNCTIONS: [(&str, Engines); 10] = [
    ("Erf", &[libm::erff, |x| libm::erf(x.into()) as f32]),
    (
        "Gelu",
        &[
            |x| x * 0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
            |x| 0.5 * (x * (1.0 + libm::erff(x / std::f32::consts::SQRT_2))),
            |x| (f64::from(x) * 0.5 * libm::erfc(-f64::from(x) / 2f64.sqrt())) as f32,
        ],
    ),
    (
        "GeluTanh",
        &[
            |x| 0.5 * x * (1.0 + libm::tanhf(0.797_884_6 * (x + 0.044_715 * x * x * x))),
            |x| x * (0.5 * (1.0 + libm::tanhf(0.797_884_6 * x * (1.0 + 0.044_715 * x * x)))),
        ],
    ),
    (
        "Tanh",
        &[
            libm::tanhf,
            |x| 1.0 - 2.0 / (libm::expf(2.0 * x) + 1.0),
            |x| libm::tanh(x.into()) as f32,
        ],
    ),
    (
        "Sigmoid",
        &[
            |x| 1.0 / (1.0 + libm::expf(-x)),
            |x| 0.5 + 0.5 * libm::tanhf(0.5 * x),
            |x| (1.0 / (1.0 + libm::exp(-f64::from(x)))) as f32,
        ],
    ),
    ("Exp", &[libm::expf, |x| libm::exp(x.into()) as f32]),
    ("Log", &[libm::logf, |x| libm::log(x.into()) as f32]),
    (
        "Softplus",
        &[
            |x| x.max(0.0) + libm::log1pf(libm::expf(-x.abs())),
            |x| x.max(0.0) + libm::logf(1.0 + libm::expf(-x.abs())),
            |x| (f64::from(x.max(0.0)) + libm::log1p(libm::exp(-f64::from(x.abs())))) as f32,
        ],
    ),
    ("Sin", &[libm::sinf, |x| libm::sin(x.into()) as f32]),
    ("Cos", &[libm::cosf, |x| libm::cos(x.into()) as f32]),
];

/// Just above half a last place of 1, so that adding it to 1 rounds up.
const JUST_OVER_HALF: f32 = f32::from_bits(0x3380_0001);

/// Rows of `n` numbers that are hard to add up: large means, cancellation, sums near zero, zeros of both signs, equal and growing
/// terms, subnormals, and one on which the first order of summation errs as much as any can.
pub fn rows(noise: &mut Noise, n: usize) -> Vec<Vec<f32>> {
    let mut spread = |mean: f32, size: f32| -> Vec<f32> { (0..n).map(|_| mean + size * noise.float()).collect() };
    let mut all = vec![
        spread(0.0, 1.0),
        spread(0.0, 30.0),
        spread(1e4, 1.0),
        spread(-3e5, 0.5),
        spread(1e-3, 1e-9),
        spread(0.0, 1e-20),
        spread(0.0, 1e-42),
        vec![0.1; n],
        (0..n).map(|i| (i * i) as f32).collect(),
    ];
    // Pairs that cancel but for their last bits; signed zeros; nothing but them.
    let size = spread(1.0, 1e-6);
    all.push(
        (0..n)
            .map(|i| if i % 2 == 0 { size[i] } else { -size[i - 1] })
            .collect(),
    );
    all.push((0..n).map(|i| if i % 2 == 0 { size[i] } else { -size[i] }).collect());
    all.push((0..n).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect());
    all.push(vec![-0.0; n]);
    all.push((0..n).map(|i| if i == 0 { 1.0 } else { JUST_OVER_HALF }).collect());
    all
}
