//! Verdicts and shares under `fast` stay what they were, bit for bit, whatever other profiles come: a digest over many cases.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::digest::hash;
use touchstone_protocol::enclosure::{LayerNormRow, SoftmaxRow, batch_norm, bounded};
use touchstone_protocol::leaf::contraction::Sums;
use touchstone_protocol::model::Profile;

const FAST: u64 = Profile::FAST.encode();

/// Results around `centre`, near and far, on both sides, and the special ones.
fn results(stream: &mut Stream, centre: f64) -> Vec<u32> {
    // The bits of a computed NaN are the machine's.
    let near = if centre.is_nan() {
        0x7fc0_0000
    } else {
        (centre as f32).to_bits()
    };
    let mut all = vec![
        near,
        stream.pattern(),
        0,
        0x8000_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
    ];
    for bits in [2, 5, 9, 14, 20] {
        let step = stream.below(1 << bits) as u32;
        all.extend([near.wrapping_add(step), near.wrapping_sub(step)]);
    }
    all
}

fn take(bytes: &mut Vec<u8>, check: Check) {
    bytes.push(u8::from(check.inside));
    bytes.extend(check.share.to_be_bytes());
}

fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

/// e^x by its series: the same on every machine, as a library's is not.
fn exp(x: f64) -> f64 {
    if !(-740.0..740.0).contains(&x) {
        return if x < 0.0 { 0.0 } else { x * f64::MAX };
    }
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = x - k * std::f64::consts::LN_2;
    let series = (1..30).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    let half = (k / 2.0).floor();
    series * 2f64.powi(half as i32) * 2f64.powi((k - half) as i32)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// Numbers of one size, of many sizes, or any patterns.
fn numbers(stream: &mut Stream, n: usize) -> Vec<u32> {
    let kind = stream.below(6);
    let exponent = 60 + stream.below(140) as u32;
    (0..n)
        .map(|_| match kind {
            0 => stream.pattern(),
            1 => stream.word() as u32 & 0x83ff_ffff,
            2 => (stream.word() as u32 & 0x80ff_ffff) | 0x7e00_0000,
            3 => (stream.word() as u32 & 0x80ff_ffff) | exponent << 23,
            _ => stream.number(),
        })
        .collect()
}

#[test]
fn verdicts_and_shares_under_fast_are_unchanged() {
    let mut stream = Stream(0xfa57);
    let mut bytes = Vec::new();
    for _ in 0..4000 {
        let (n, m) = (stream.below(12) as usize, stream.below(4) as usize);
        let (a, b, c) = (
            numbers(&mut stream, n),
            numbers(&mut stream, n),
            numbers(&mut stream, m),
        );
        let mut products = Sums::new();
        let mut values = Sums::new();
        a.iter().zip(&b).for_each(|(a, b)| products.product(*a, *b));
        c.iter().for_each(|c| products.value(*c));
        a.iter().for_each(|a| values.value(*a));
        let dot: f64 = a.iter().zip(&b).map(|(a, b)| value(*a) * value(*b)).sum();
        for y in results(&mut stream, dot + c.iter().map(|c| value(*c)).sum::<f64>()) {
            take(&mut bytes, products.check_contraction(n as u64, m as u64, y));
        }
        let sum: f64 = a.iter().map(|a| value(*a)).sum();
        for y in results(&mut stream, sum) {
            take(&mut bytes, values.check_sum(n as u64, y));
        }
        let divisor = n as u64 + stream.below(3);
        for y in results(&mut stream, sum / divisor as f64) {
            take(&mut bytes, values.check_mean(n as u64, divisor, y));
        }
    }
    for _ in 0..3000 {
        let x = if stream.below(2) == 0 {
            stream.pattern()
        } else {
            (((stream.word() >> 40) as f32 / (1 << 24) as f32) * 40.0 - 20.0).to_bits()
        };
        let wide = value(x);
        for (code, centre) in [
            (Code::Erf, 2.0 * sigmoid(2.2566 * wide + 0.2 * wide * wide * wide) - 1.0),
            (Code::Gelu, wide * sigmoid(1.702 * wide)),
            (
                Code::GeluTanh,
                wide * sigmoid(1.595_769_121_605_731 * (wide + 0.044_715 * wide * wide * wide)),
            ),
            (Code::Tanh, 2.0 * sigmoid(2.0 * wide) - 1.0),
            (Code::Sigmoid, sigmoid(wide)),
            (Code::Exp, exp(wide)),
        ] {
            for y in results(&mut stream, centre) {
                take(&mut bytes, bounded(code, FAST, x, y));
            }
        }
    }
    for _ in 0..1200 {
        let n = 1 + stream.below(20) as usize;
        let row: Vec<u32> = numbers(&mut stream, n);
        let most = row.iter().map(|x| value(*x)).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| exp(value(*x) - most)).sum();
        let prepared = SoftmaxRow::new(FAST, &row);
        let place = stream.below(n as u64) as usize;
        for y in results(&mut stream, exp(value(row[place]) - most) / sum) {
            take(&mut bytes, prepared.check(place, y));
        }
        let eps = stream.pick(&[1e-5f32, 1e-12, 1.0, 0.0]).to_bits();
        let prepared = LayerNormRow::new(FAST, &row, eps);
        let mean = row.iter().map(|x| value(*x)).sum::<f64>() / n as f64;
        let variance = row.iter().map(|x| (value(*x) - mean) * (value(*x) - mean)).sum::<f64>() / n as f64;
        let (g, b) = (numbers(&mut stream, 1)[0], numbers(&mut stream, 1)[0]);
        let centre = (value(row[place]) - mean) / (variance + value(eps)).sqrt() * value(g) + value(b);
        for y in results(&mut stream, centre) {
            take(&mut bytes, prepared.check(place, g, b, y));
        }
        let (x, mean, var) = (
            row[0],
            numbers(&mut stream, 1)[0],
            numbers(&mut stream, 1)[0] & 0x7fff_ffff,
        );
        let centre = (value(x) - value(mean)) * value(g) / (value(var) + value(eps)).sqrt() + value(b);
        for y in results(&mut stream, centre) {
            take(&mut bytes, batch_norm(FAST, x, g, b, mean, var, eps, y));
        }
    }
    let inside = bytes.chunks(9).filter(|case| case[0] == 1).count();
    let all = bytes.len() / 9;
    println!("fast: {all} cases, {inside} inside");
    assert!(inside > all / 5 && inside < all * 4 / 5);
    assert_eq!(
        hash(&bytes).to_string(),
        "0x5c6f9c2d2baa66942fce814cc0578dd47ffbd2b9c533a02a473371e3e232f69a"
    );
}
