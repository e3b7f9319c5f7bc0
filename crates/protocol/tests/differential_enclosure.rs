//! The Rust and the Solidity rules of bounded functions, softmax and normalize give the same verdicts, near the edge above all.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "support/harness.rs"]
mod harness;
mod support;

use harness::{Argument, Harness, word};
use support::{PROFILES, Stream};
use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{LayerNormRow, SoftmaxRow, batch_norm, bounded, power};

/// Cases a family and kind of profile, unless `TOUCHSTONE_CASES` says otherwise.
fn count() -> usize {
    support::cases(12_000) as usize
}

/// The last bits of the envelope that contains `start`, on the way to larger or smaller numbers; and the first beyond.
fn edge(start: u32, up: bool, mut check: impl FnMut(u32) -> bool) -> [u32; 2] {
    // Bits ordered as numbers.
    let ordered = |bits: u32| {
        if bits >> 31 == 1 {
            -i64::from(bits & 0x7fff_ffff)
        } else {
            i64::from(bits)
        }
    };
    let bits = |order: i64| {
        if order < 0 {
            (order.unsigned_abs() as u32) | 1 << 31
        } else {
            order as u32
        }
    };
    let direction = if up { 1 } else { -1 };
    let (mut inside, mut step) = (ordered(start), 1);
    while (inside + direction * step).abs() < 0x7f80_0000 && check(bits(inside + direction * step)) {
        inside += direction * step;
        step *= 2;
    }
    while step > 0 {
        if (inside + direction * step).abs() < 0x7f80_0000 && check(bits(inside + direction * step)) {
            inside += direction * step;
        }
        step /= 2;
    }
    [
        bits(inside),
        bits((inside + direction).clamp(-0x7f80_0000, 0x7f80_0000)),
    ]
}

/// A result to hold: near an edge of the envelope, or some number.
fn candidate(stream: &mut Stream, centre: f64, mut check: impl FnMut(u32) -> bool) -> u32 {
    let start = (centre as f32).to_bits();
    match stream.below(8) {
        0 => stream.pattern(),
        1 => start.wrapping_add(stream.below(65) as u32).wrapping_sub(32),
        way if check(start) => {
            let edges = edge(start, way % 2 == 0, &mut check);
            edges[(way / 4) as usize]
        }
        _ => start,
    }
}

fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

/// One number a case from the contract, beside the Rust verdicts.
fn compare(name: &str, data: &[u8], cases: &[(bool, String)]) -> u64 {
    let verdicts = &data[96..96 + word(data, 2) as usize];
    assert_eq!(verdicts.len(), cases.len(), "{name}");
    for (verdict, (inside, case)) in verdicts.iter().zip(cases) {
        assert_eq!(*verdict == 1, *inside, "{name}: {case}");
    }
    word(data, 1)
}

fn report(name: &str, profile: u64, inside: usize, all: usize, gas: u64) {
    println!(
        "{name}, kind {}: {all} cases, {inside} inside, most gas {gas}",
        profile >> 56
    );
    assert!(
        inside > all / 5 && inside < all * 9 / 10,
        "{name}: {inside} of {all} inside"
    );
}

/// An argument where the functions do something: moderate, with every exponent and the special numbers among them.
fn argument(stream: &mut Stream) -> u32 {
    match stream.below(4) {
        0 => stream.pattern(),
        1 => ((stream.below(40_000) as f32 - 20_000.0) / 1000.0).to_bits(),
        2 => (((stream.word() >> 40) as f32 / (1 << 24) as f32) * 200.0 - 108.0).to_bits(),
        _ => stream.number(),
    }
}

fn estimate(code: Code, x: f64) -> f64 {
    let w = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    match code {
        Code::Erf => erf(x),
        Code::Gelu => x * 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Code::GeluTanh => x / (1.0 + (-2.0 * w).exp()),
        Code::Tanh => x.tanh(),
        Code::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Code::Log => x.ln(),
        Code::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Code::Sin => x.sin(),
        Code::Cos => x.cos(),
        _ => x.exp(),
    }
}

/// erf by its series of positive terms.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-20 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * k + 1.0);
        sum += term;
        k += 1.0;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}

/// Nearest inside value to an estimate that may itself be outside.
fn settle(start: f64, check: impl Fn(u32) -> Check) -> f64 {
    let mut best = (start, check((start as f32).to_bits()).share);
    for step in 0..60 {
        if best.1 <= Check::EDGE {
            break;
        }
        for sign in [1.0, -1.0] {
            let at = start * (1.0 + sign * 1e-7 * 1.3f64.powi(step));
            let share = check((at as f32).to_bits()).share;
            if share < best.1 {
                best = (at, share);
            }
        }
    }
    best.0
}

#[test]
fn bounded_functions_agree() {
    PROFILES.into_iter().for_each(bounded_functions);
}

fn bounded_functions(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let mut stream = Stream(40);
    let (mut packed, mut cases) = (Vec::new(), Vec::new());
    for code in [
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::Log,
        Code::Softplus,
        Code::Sin,
        Code::Cos,
    ] {
        for _ in 0..count() / 10 {
            let x = argument(&mut stream);
            let check = |y: u32| bounded(code, profile, x, y);
            let centre = settle(estimate(code, value(x)), check);
            let y = candidate(&mut stream, centre, |y| check(y).inside);
            for number in [code as u32, x, y] {
                packed.extend(number.to_be_bytes());
            }
            cases.push((check(y).inside, format!("{code:?} {x:#x} {y:#x}")));
        }
    }
    let mut most = 0;
    for (packed, cases) in packed.chunks(12 * 500).zip(cases.chunks(500)) {
        let data = harness.call(
            "bounded(uint256,bytes)",
            &[Argument::Number(profile), Argument::Bytes(packed)],
        );
        most = most.max(compare("bounded", &data, cases));
    }
    report(
        "bounded",
        profile,
        cases.iter().filter(|case| case.0).count(),
        cases.len(),
        most,
    );
    assert!(most <= 200_000, "bounded: {most} gas");
}

#[test]
fn powers_agree() {
    PROFILES.into_iter().for_each(powers);
}

fn powers(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let mut stream = Stream(0x4a);
    let (mut packed, mut cases) = (Vec::new(), Vec::new());
    for _ in 0..count() {
        let x = argument(&mut stream);
        let moderate = (stream.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0) * 100.0 / value(x).abs().ln();
        let exponent = match stream.below(3) {
            0 => stream.pattern(),
            1 => (stream.below(41) as f32 - 20.0).to_bits(),
            _ => (moderate as f32).to_bits(),
        };
        let check = |y: u32| power(profile, x, exponent, y);
        let centre = settle(value(x).powf(value(exponent)), check);
        let y = candidate(&mut stream, centre, |y| check(y).inside);
        packed.extend(bytes(&[x, exponent, y]));
        cases.push((check(y).inside, format!("{x:#x} {exponent:#x} {y:#x}")));
    }
    let mut most = 0;
    for (packed, cases) in packed.chunks(12 * 500).zip(cases.chunks(500)) {
        let arguments = [Argument::Number(profile), Argument::Bytes(packed)];
        most = most.max(compare(
            "power",
            &harness.call("power(uint256,bytes)", &arguments),
            cases,
        ));
    }
    let inside = cases.iter().filter(|case| case.0).count();
    report("power", profile, inside, cases.len(), most);
    assert!(most <= 200_000, "power: {most} gas");
}

/// A row of scores: moderate, masked, spread, tiny, constant, or any bits.
fn row(stream: &mut Stream, n: usize) -> Vec<u32> {
    let kind = stream.below(12);
    let size = [1.0f32, 10.0, 50.0, 1e-3, 1e-40, 1e19][stream.below(6) as usize];
    let offset = [0.0f32, 0.0, 1.0, 1e4, -3e5][stream.below(5) as usize];
    (0..n)
        .map(|i| {
            let number = ((stream.word() >> 40) as f32 / (1 << 23) as f32 - 1.0) * size;
            match kind {
                0 => stream.pattern(),
                1 => offset.to_bits(),
                2 if i % 2 == 1 => (number - 1e9).to_bits(),
                3 if i >= n / 2 => 0xff80_0000,
                4 if i >= n / 2 => (-3.4e38f32).to_bits(),
                5 if i == 0 => 1e30f32.to_bits(),
                6 => stream.pattern() & 0xbfff_ffff,
                7 => (offset + (i % 3) as f32 * f32::EPSILON * offset.abs()).to_bits(),
                _ => (number + offset).to_bits(),
            }
        })
        .collect()
}

/// Row lengths and how many cases each row gets: short rows in the main, the longest a few times.
fn lengths(stream: &mut Stream, longest: usize) -> usize {
    match stream.below(40) {
        0 => longest,
        1..=6 => 1 + stream.below(longest as u64 / 4) as usize,
        _ => 1 + stream.below(24) as usize,
    }
}

const A_ROW: usize = 12;

#[test]
fn softmax_rows_agree() {
    PROFILES.into_iter().for_each(softmax_rows);
}

fn softmax_rows(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let mut stream = Stream(70);
    let (mut inside, mut all, mut most) = (0, 0, 0);
    let mut gas_at_512 = 0;
    while all < count() {
        let n = lengths(&mut stream, 512);
        let row = row(&mut stream, n);
        let prepared = SoftmaxRow::new(profile, &row);
        let maximum = row.iter().map(|&x| value(x)).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|&x| (value(x) - maximum).exp()).sum();
        let (mut packed, mut cases) = (Vec::new(), Vec::new());
        for _ in 0..A_ROW {
            let beyond = u64::from(stream.below(50) == 0);
            let place = stream.below(n as u64 + beyond) as usize;
            let term = row.get(place).map_or(0.0, |&x| (value(x) - maximum).exp() / sum);
            let y = candidate(&mut stream, term, |y| prepared.check(place, y).inside);
            packed.extend((place as u32).to_be_bytes());
            packed.extend(y.to_be_bytes());
            cases.push((prepared.check(place, y).inside, format!("{place} {y:#x} of {row:x?}")));
        }
        let bits: Vec<u8> = row.iter().flat_map(|x| x.to_be_bytes()).collect();
        let arguments = [
            Argument::Number(profile),
            Argument::Bytes(&bits),
            Argument::Bytes(&packed),
        ];
        let gas = compare(
            "softmax",
            &harness.call("softmax(uint256,bytes,bytes)", &arguments),
            &cases,
        );
        most = most.max(gas);
        if n == 512 {
            gas_at_512 = gas_at_512.max(gas);
        }
        inside += cases.iter().filter(|case| case.0).count();
        all += cases.len();
    }
    report("softmax", profile, inside, all, most);
    assert!(
        gas_at_512 > 0 && gas_at_512 <= 2_000_000,
        "softmax row of 512: {gas_at_512} gas"
    );
}

#[test]
fn layer_norms_agree() {
    PROFILES.into_iter().for_each(layer_norms);
}

fn layer_norms(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let mut stream = Stream(78);
    let (mut inside, mut all, mut most) = (0, 0, 0);
    let mut gas_at_1024 = 0;
    while all < count() {
        let n = lengths(&mut stream, 1024);
        let row = row(&mut stream, n);
        let eps = match stream.below(8) {
            0 => stream.pattern(),
            1 => 0,
            2 => 1e-12f32.to_bits(),
            _ => 1e-5f32.to_bits(),
        };
        let prepared = LayerNormRow::new(profile, &row, eps);
        let mean = row.iter().map(|&x| value(x)).sum::<f64>() / n as f64;
        let variance = row.iter().map(|&x| (value(x) - mean).powi(2)).sum::<f64>() / n as f64;
        let (mut packed, mut cases) = (Vec::new(), Vec::new());
        for _ in 0..A_ROW {
            let beyond = u64::from(stream.below(50) == 0);
            let place = stream.below(n as u64 + beyond) as usize;
            let any = stream.below(10) == 0;
            let scale = if any { stream.pattern() } else { stream.number() };
            let bias = if any {
                stream.pattern()
            } else {
                stream.number() & 0xfeff_ffff
            };
            let c = row.get(place).map_or(0.0, |&x| value(x) - mean);
            let centre = c / (variance + value(eps)).sqrt() * value(scale) + value(bias);
            let check = |y: u32| prepared.check(place, scale, bias, y).inside;
            let y = candidate(&mut stream, centre, check);
            for number in [place as u32, scale, bias, y] {
                packed.extend(number.to_be_bytes());
            }
            cases.push((
                check(y),
                format!("{place} {scale:#x} {bias:#x} {eps:#x} {y:#x} of {row:x?}"),
            ));
        }
        let bits: Vec<u8> = row.iter().flat_map(|x| x.to_be_bytes()).collect();
        let arguments = [
            Argument::Number(profile),
            Argument::Bytes(&bits),
            Argument::Number(eps.into()),
            Argument::Bytes(&packed),
        ];
        let gas = compare(
            "layer norm",
            &harness.call("layerNorm(uint256,bytes,uint256,bytes)", &arguments),
            &cases,
        );
        most = most.max(gas);
        if n == 1024 {
            gas_at_1024 = gas_at_1024.max(gas);
        }
        inside += cases.iter().filter(|case| case.0).count();
        all += cases.len();
    }
    report("layer norm", profile, inside, all, most);
    assert!(
        gas_at_1024 > 0 && gas_at_1024 <= 1_200_000,
        "layer norm row of 1024: {gas_at_1024} gas"
    );
}

#[test]
fn batch_norms_agree() {
    PROFILES.into_iter().for_each(batch_norms);
}

fn batch_norms(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let mut stream = Stream(0x7a);
    let (mut packed, mut cases) = (Vec::new(), Vec::new());
    for _ in 0..count() {
        let mut operands: Vec<u32> = (0..6).map(|_| stream.number()).collect();
        operands[4] &= 0x7fff_ffff;
        operands[5] = 1e-5f32.to_bits();
        if stream.below(3) == 0 {
            let odd = stream.below(6) as usize;
            operands[odd] = stream.pattern();
        }
        if stream.below(6) == 0 {
            operands.iter_mut().for_each(|operand| *operand = stream.pattern());
        }
        let [x, scale, bias, mean, variance, eps] = operands[..] else {
            unreachable!("six operands")
        };
        let root = (value(variance) + value(eps)).sqrt();
        let centre = (value(x) - value(mean)) * value(scale) / root + value(bias);
        let check = |y: u32| batch_norm(profile, x, scale, bias, mean, variance, eps, y).inside;
        let y = candidate(&mut stream, centre, check);
        for number in operands.iter().chain([&y]) {
            packed.extend(number.to_be_bytes());
        }
        cases.push((check(y), format!("{operands:x?} {y:#x}")));
    }
    let mut most = 0;
    for (packed, cases) in packed.chunks(28 * 500).zip(cases.chunks(500)) {
        let data = harness.call(
            "batchNorm(uint256,bytes)",
            &[Argument::Number(profile), Argument::Bytes(packed)],
        );
        most = most.max(compare("batch norm", &data, cases));
    }
    report(
        "batch norm",
        profile,
        cases.iter().filter(|case| case.0).count(),
        cases.len(),
        most,
    );
    assert!(most <= 200_000, "batch norm: {most} gas");
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Where random numbers seldom come: overflow, underflow, the smallest exponentials.
#[test]
fn the_ends_of_ranges_agree() {
    PROFILES.into_iter().for_each(ends_of_ranges);
}

fn ends_of_ranges(profile: u64) {
    let mut harness = Harness::new("EnclosureHarness");
    let (infinity, nan) = (f32::INFINITY.to_bits(), f32::NAN.to_bits());
    let (mut packed, mut cases) = (Vec::new(), Vec::new());
    let near = 88.722_84f32.to_bits();
    let gelu = (0..40).flat_map(|k| [(Code::Gelu, 0x7f00_0000 - k), (Code::GeluTanh, 0x7f00_0000 - k)]);
    let exp = (0..40).map(|k| (Code::Exp, near - 20 + k));
    for (code, x) in gelu.chain(exp) {
        for y in [infinity, infinity | 1 << 31, 0x7f7f_ffff] {
            packed.extend(bytes(&[code as u32, x, y]));
            cases.push((bounded(code, profile, x, y).inside, format!("{code:?} {x:#x} {y:#x}")));
        }
    }
    let arguments = [Argument::Number(profile), Argument::Bytes(&packed)];
    compare("bounded", &harness.call("bounded(uint256,bytes)", &arguments), &cases);

    for step in 0..40 {
        for row in [
            vec![0.0, -(100.0 + 0.11 * step as f32)],
            vec![0.0, 0.0, -(100.0 + 0.11 * step as f32)],
        ] {
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            let prepared = SoftmaxRow::new(profile, &bits);
            let place = row.len() - 1;
            let (mut packed, mut cases) = (Vec::new(), Vec::new());
            for y in 0..60 {
                packed.extend(bytes(&[place as u32, y]));
                cases.push((prepared.check(place, y).inside, format!("{place} {y:#x} of {row:?}")));
            }
            let row = bytes(&bits);
            let arguments = [
                Argument::Number(profile),
                Argument::Bytes(&row),
                Argument::Bytes(&packed),
            ];
            compare(
                "softmax",
                &harness.call("softmax(uint256,bytes,bytes)", &arguments),
                &cases,
            );
        }
    }

    let waves = |n: usize, size: f32| -> Vec<f32> { (0..n).map(|i| if i % 2 == 0 { size } else { -size }).collect() };
    let tiny = f32::from_bits(4000);
    let rows = [
        (waves(4, 2f32.powi(62)), 1e-5, 1.0),
        (waves(8, 2f32.powi(62)), 1e-5, 1.0),
        (vec![2f32.powi(63); 2], 1e-5, 1.0),
        (vec![2f32.powi(63).next_down(); 2], 1e-5, 1.0),
        (vec![tiny, -tiny, 0.0, tiny, 0.0, 0.0, -tiny, 0.0], 1e-5, 1e5),
        (waves(64, 2f32.powi(-71)), 2f32.powi(-145), 1.0),
        (vec![f32::from_bits(900), 0.0], 3.9, 3e5),
        (vec![0.0; 2], f32::MIN_POSITIVE, 2f32.powi(66)),
    ];
    for (row, eps, scale) in rows {
        let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
        let prepared = LayerNormRow::new(profile, &bits, eps.to_bits());
        let wide: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let mean = wide.iter().sum::<f64>() / row.len() as f64;
        let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let centre = ((wide[0] - mean) / (variance + f64::from(eps)).sqrt() * f64::from(scale)) as f32;
        let check = |y: u32| prepared.check(0, scale.to_bits(), 0, y).inside;
        let mut results = vec![nan, infinity, 0, centre.to_bits()];
        results.extend(
            [true, false]
                .into_iter()
                .flat_map(|up| edge(centre.to_bits(), up, check)),
        );
        let (mut packed, mut cases) = (Vec::new(), Vec::new());
        for y in results {
            packed.extend(bytes(&[0, scale.to_bits(), 0, y]));
            cases.push((check(y), format!("{y:#x} of {row:?}")));
        }
        let row = bytes(&bits);
        let arguments = [
            Argument::Number(profile),
            Argument::Bytes(&row),
            Argument::Number(eps.to_bits().into()),
            Argument::Bytes(&packed),
        ];
        let data = harness.call("layerNorm(uint256,bytes,uint256,bytes)", &arguments);
        compare("layer norm", &data, &cases);
    }
}
