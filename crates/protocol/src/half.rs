//! IEEE-754 binary16 (`f16`) and bfloat16 (`bf16`) on bit patterns, by way of binary32.
//!
//! Every number of either format is one of binary32, so decoding is exact, and what orders the one orders the other. Arithmetic is that of [`crate::fp32`],
//! rounded once more, which is the correctly rounded result: binary32 has 24 bits of significand, and a sum, difference, product, quotient or root
//! of numbers of `p` bits that is rounded to at least `2p + 2` bits and then to `p` is rounded right (Figueroa, *When is double rounding
//! innocuous?*, 1995); `p` is 11 and 8. Where the result is subnormal, see `docs/envelopes.md#f16-and-bf16`.

use crate::descriptor::Dtype;
use crate::fp32;

/// Bits of the format's fraction, and the exponent ([`fp32::parts`]) that its least normal number has as binary32.
const fn format(dtype: Dtype) -> Option<(u32, u32)> {
    match dtype {
        Dtype::F16 => Some((10, 113)),
        Dtype::Bf16 => Some((7, 1)),
        _ => None,
    }
}

/// The binary32 number that an element is; a NaN keeps its sign and payload. Elements of other dtypes stay what they are.
pub const fn decode(dtype: Dtype, bits: u32) -> u32 {
    let Some((fraction, least)) = format(dtype) else {
        return bits;
    };
    let sign = (bits & 0x8000) << 16;
    let exponent = (bits & 0x7fff) >> fraction;
    let significand = bits & ((1 << fraction) - 1);
    if exponent == 0x7fff >> fraction {
        return sign | fp32::INFINITY | (significand << (23 - fraction));
    }
    let (exponent, significand) = if exponent == 0 {
        (1, significand)
    } else {
        (exponent, significand | (1 << fraction))
    };
    let last = (exponent + least) as i32 - (128 + fraction) as i32;
    fp32::round(sign, significand as u128, last, false)
}

/// The number of the format that is nearest to a binary32 number, ties to even; NaN gives the format's quiet NaN. Elements of other
/// dtypes stay what they are.
pub const fn encode(dtype: Dtype, x: u32) -> u32 {
    let Some((fraction, least)) = format(dtype) else {
        return x;
    };
    let infinity = 0x7fff >> fraction << fraction;
    if fp32::is_nan(x) {
        return infinity | (1 << (fraction - 1));
    }
    let (exponent, significand) = fp32::parts(x);
    // A number below the format's normal ones loses as many bits more.
    let (exponent, shift) = if exponent < least {
        (least, 23 - fraction + least - exponent)
    } else {
        (exponent, 23 - fraction)
    };
    let significand = significand as u128;
    let rest = significand & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    let kept = significand >> shift;
    let rounded = kept + (rest > half || (rest == half && kept & 1 == 1)) as u128;
    // A significand that rounds up to a power of two carries into the exponent, and from the greatest number to infinity.
    let bits = ((exponent - least) << fraction) + rounded as u32;
    ((x & fp32::SIGN) >> 16) | if bits > infinity { infinity } else { bits }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::descriptor::Code;
    use crate::leaf::exact;

    const FORMATS: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];

    /// What another library makes of the bits.
    fn theirs(dtype: Dtype, bits: u32) -> f32 {
        match dtype {
            Dtype::F16 => f16::from_bits(bits as u16).to_f32(),
            _ => bf16::from_bits(bits as u16).to_f32(),
        }
    }

    /// An fp64 number in the format, rounded once: of a number near it and its neighbours the nearest, of two the even one.
    fn rounded(dtype: Dtype, x: f64) -> u32 {
        let (infinity, beyond) = match dtype {
            Dtype::F16 => (0x7c00, 65536.0),
            _ => (0x7f80, 2f64.powi(128)),
        };
        let sign = u32::from(x.is_sign_negative()) << 15;
        if x.is_nan() || x.is_infinite() {
            return sign | infinity | u32::from(x.is_nan());
        }
        // Infinity counts as the number that would be next.
        let value = |bits: u32| {
            if bits == infinity {
                beyond
            } else {
                f64::from(theirs(dtype, bits))
            }
        };
        let near = encode(dtype, (x.abs() as f32).to_bits());
        let around = near.saturating_sub(1)..=(near + 1).min(infinity);
        let distance = |bits: &u32| (value(*bits) - x.abs()).abs();
        let nearer = |a: &u32, b: &u32| distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)));
        sign | around.min_by(nearer).unwrap_or(infinity)
    }

    fn is_nan(dtype: Dtype, bits: u32) -> bool {
        fp32::is_nan(decode(dtype, bits))
    }

    #[test]
    fn every_pattern_is_the_number_that_it_is() {
        for dtype in FORMATS {
            for bits in 0..=u32::from(u16::MAX) {
                let x = decode(dtype, bits);
                assert!(fp32::same(x, theirs(dtype, bits).to_bits()), "{dtype:?} {bits:#06x}");
                if fp32::is_nan(x) {
                    // Sign and payload are kept, and given up when it is encoded.
                    let places = if dtype == Dtype::F16 { 13 } else { 16 };
                    assert_eq!(
                        (x >> 31, x << 9 >> 9 >> places),
                        (bits >> 15, bits & (0x7f_ffff >> places))
                    );
                    assert!(is_nan(dtype, encode(dtype, x)));
                } else {
                    assert_eq!(encode(dtype, x), bits, "{dtype:?}");
                }
            }
        }
        assert_eq!(decode(Dtype::I32, 0x3c00), 0x3c00);
        assert_eq!(encode(Dtype::F32, 0x3f80_0001), 0x3f80_0001);
    }

    /// Between two neighbours rounding turns at the middle, which goes to the even one; so it is known for every number.
    #[test]
    fn rounding_turns_halfway_between_neighbours() {
        for (dtype, greatest) in [(Dtype::F16, 0x7bff), (Dtype::Bf16, 0x7f7f)] {
            for below in 0..=greatest {
                let (a, b) = (decode(dtype, below), decode(dtype, below + 1));
                // Infinity counts as the number that would be next.
                let next = match (below == greatest, dtype) {
                    (false, _) => f64::from(f32::from_bits(b)),
                    (true, Dtype::F16) => 65536.0,
                    (true, _) => 2f64.powi(128),
                };
                let middle = ((f64::from(f32::from_bits(a)) + next) / 2.0) as f32;
                for sign in [0, 0x8000] {
                    let at = |bits: u32| encode(dtype, bits | (sign << 16));
                    let even = below + (below & 1);
                    assert_eq!(at(middle.to_bits()), sign | even, "{dtype:?} {below:#06x}");
                    assert_eq!(at(middle.to_bits() - 1), sign | below, "{dtype:?} {below:#06x}");
                    assert_eq!(at(middle.to_bits() + 1), sign | (below + 1), "{dtype:?} {below:#06x}");
                }
            }
        }
    }

    fn words() -> impl FnMut() -> u64 {
        let mut state = 0x6861_6c66_u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn encoding_is_what_another_library_does() {
        let mut word = words();
        for _ in 0..10_000_000 {
            let x = f32::from_bits((word() >> 16) as u32);
            for (dtype, other) in [
                (Dtype::F16, f16::from_f32(x).to_bits()),
                (Dtype::Bf16, bf16::from_f32(x).to_bits()),
            ] {
                let ours = encode(dtype, x.to_bits());
                assert!(
                    ours == other.into() || (x.is_nan() && is_nan(dtype, ours)),
                    "{dtype:?} {x:e}: {ours:#06x}, not {other:#06x}"
                );
            }
        }
    }

    /// In fp64 such sums, products, quotients and roots keep more than 2p + 2 bits, subnormal results too.
    #[test]
    fn arithmetic_is_rounded_once() {
        let mut word = words();
        for round in 0..2_500_000 {
            let bits = word();
            let (mut a, mut b) = ((bits >> 48) as u32, (bits >> 32) as u32 & 0xffff);
            if round % 4 == 0 {
                // Near in magnitude.
                b = (a & 0x7c00) | (b & 0x83ff);
            }
            if round % 4 == 1 {
                // Results among the subnormal numbers.
                (a, b) = (a & 0xbfff, b & 0xbfff);
            }
            for dtype in FORMATS {
                let (x, y) = (f64::from(theirs(dtype, a)), f64::from(theirs(dtype, b)));
                for (code, exact) in [
                    (Code::Add, x + y),
                    (Code::Sub, x - y),
                    (Code::Mul, x * y),
                    (Code::Div, x / y),
                    (Code::Sqrt, x.sqrt()),
                ] {
                    let ours = exact::apply(code, dtype, dtype, a.into(), b.into()).unwrap() as u32;
                    let right = rounded(dtype, exact);
                    assert!(
                        ours == right || (exact.is_nan() && is_nan(dtype, ours)),
                        "{code:?} {dtype:?} {a:#06x} {b:#06x}: {ours:#06x}, not {right:#06x}"
                    );
                }
                assert_eq!(
                    exact::apply(Code::Less, dtype, Dtype::Bool, a.into(), b.into()),
                    Some(u64::from(x < y))
                );
            }
        }
    }
}
