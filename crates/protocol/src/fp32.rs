//! IEEE-754 binary32 on bit patterns, in integers: round to nearest, ties to even, subnormals kept.
//!
//! Every function is total. Results that are NaN are [`NAN`]; whoever compares takes every NaN as equal.

use std::cmp::Ordering;

/// The NaN that these functions give.
pub const NAN: u32 = 0x7fc0_0000;
/// Positive infinity.
pub const INFINITY: u32 = 0x7f80_0000;
/// The sign bit.
pub const SIGN: u32 = 0x8000_0000;

/// Whether the bits are a NaN.
pub const fn is_nan(x: u32) -> bool {
    x & !SIGN > INFINITY
}

/// Whether the bits are an infinity.
pub const fn is_infinite(x: u32) -> bool {
    x & !SIGN == INFINITY
}

/// Whether the bits are neither infinity nor NaN.
pub const fn is_finite(x: u32) -> bool {
    x & !SIGN < INFINITY
}

/// Whether the bits are +0 or −0.
pub const fn is_zero(x: u32) -> bool {
    x & !SIGN == 0
}

/// Whether two results are the same: equal bits, or both NaN.
pub const fn same(x: u32, y: u32) -> bool {
    x == y || (is_nan(x) && is_nan(y))
}

/// As [`same`], with the sign of zero free.
pub const fn same_value(x: u32, y: u32) -> bool {
    same(x, y) || (is_zero(x) && is_zero(y))
}

/// Exponent and significand of a finite number: the magnitude is `significand · 2^(exponent − 150)`, exponent 1 to 254,
/// significand below 2^24.
pub const fn parts(x: u32) -> (u32, u32) {
    let exponent = (x >> 23) & 0xff;
    let fraction = x & 0x007f_ffff;
    if exponent == 0 {
        (1, fraction)
    } else {
        (exponent, fraction | 0x0080_0000)
    }
}

/// The number nearest to `± significand · 2^exponent`. `sticky` says that the exact magnitude is a little above that; the significand
/// must then have at least 26 bits or the result be in the subnormal range's last place or beyond.
pub const fn round(sign: u32, significand: u128, exponent: i32, sticky: bool) -> u32 {
    if significand == 0 {
        return sign;
    }
    let top = 127 - significand.leading_zeros() as i32 + exponent;
    // Exponent of the result's last place.
    let last = if top - 23 < -149 { -149 } else { top - 23 };
    if last > 104 {
        return sign | INFINITY;
    }
    let shift = last - exponent;
    let kept = if shift <= 0 {
        significand << -shift
    } else if shift > 127 {
        // Below half of the least number: `top` is under −150, or the significand would have more than 127 bits.
        0
    } else {
        let kept = significand >> shift;
        let rest = significand & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
        kept + up as u128
    };
    // A significand that rounds up to 2^24 carries into the exponent, and from the greatest number to infinity.
    sign | ((((last + 149) as u32) << 23) + kept as u32)
}

/// `a + b`.
pub const fn add(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    if is_infinite(a) {
        return if is_infinite(b) && a != b { NAN } else { a };
    }
    if is_infinite(b) {
        return b;
    }
    let (ea, ma) = parts(a);
    let (eb, mb) = parts(b);
    // The one with the greater exponent first; 64 bits below its last place hold all of the other, or its sticky bit.
    let (a, ea, ma, b, eb, mb) = if ea >= eb {
        (a, ea, ma, b, eb, mb)
    } else {
        (b, eb, mb, a, ea, ma)
    };
    let distance = ea - eb;
    let large = (ma as i128) << 64;
    let (small, lost) = if distance <= 64 {
        ((mb as i128) << (64 - distance), false)
    } else {
        (0, mb != 0)
    };
    let large = if a & SIGN == 0 { large } else { -large };
    let small = if b & SIGN == 0 { small } else { -small };
    let mut sum = large + small;
    if lost {
        // Move half a unit of the 65th place towards the lost part: no rounding boundary is that near.
        sum = sum * 2 + if b & SIGN == 0 { 1 } else { -1 };
    } else {
        sum *= 2;
    }
    if sum == 0 {
        // Of equal signs the sign; of an exact cancellation, plus.
        return a & b & SIGN;
    }
    round(
        if sum < 0 { SIGN } else { 0 },
        sum.unsigned_abs(),
        ea as i32 - 150 - 65,
        false,
    )
}

/// `a − b`.
pub const fn sub(a: u32, b: u32) -> u32 {
    if is_nan(b) { NAN } else { add(a, b ^ SIGN) }
}

/// `a · b`.
pub const fn mul(a: u32, b: u32) -> u32 {
    let sign = (a ^ b) & SIGN;
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    if is_infinite(a) || is_infinite(b) {
        return if is_zero(a) || is_zero(b) { NAN } else { sign | INFINITY };
    }
    let (ea, ma) = parts(a);
    let (eb, mb) = parts(b);
    round(sign, ma as u128 * mb as u128, ea as i32 + eb as i32 - 300, false)
}

/// `a / b`.
pub const fn div(a: u32, b: u32) -> u32 {
    let sign = (a ^ b) & SIGN;
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    if is_infinite(a) {
        return if is_infinite(b) { NAN } else { sign | INFINITY };
    }
    if is_infinite(b) {
        return sign;
    }
    if is_zero(b) {
        return if is_zero(a) { NAN } else { sign | INFINITY };
    }
    let (ea, ma) = parts(a);
    let (eb, mb) = parts(b);
    // The quotient has at least 48 bits.
    let dividend = (ma as u128) << 72;
    let (quotient, rest) = (dividend / mb as u128, dividend % mb as u128);
    round(sign, quotient, ea as i32 - eb as i32 - 72, rest != 0)
}

/// Square root.
pub const fn sqrt(a: u32) -> u32 {
    if is_zero(a) {
        return a;
    }
    if is_nan(a) || a & SIGN != 0 {
        return NAN;
    }
    if is_infinite(a) {
        return a;
    }
    let (ea, ma) = parts(a);
    // An even exponent and a radicand of 63 or 64 bits, so that the root has 32.
    let exponent = ea as i32 - 150;
    let shift = {
        let room = (ma as u64).leading_zeros();
        if (exponent - room as i32) % 2 == 0 {
            room
        } else {
            room - 1
        }
    };
    let radicand = (ma as u64) << shift;
    let root = radicand.isqrt();
    round(0, root as u128, (exponent - shift as i32) / 2, root * root != radicand)
}

/// Order of two numbers; `None` when one is NaN. −0 equals +0.
pub const fn compare(a: u32, b: u32) -> Option<Ordering> {
    if is_nan(a) || is_nan(b) {
        return None;
    }
    let (a, b) = (key(a), key(b));
    Some(if a < b {
        Ordering::Less
    } else if a > b {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

/// A number that orders as the fp value does, zeros equal.
const fn key(x: u32) -> i64 {
    let magnitude = (x & !SIGN) as i64;
    if x & SIGN == 0 { magnitude } else { -magnitude }
}

/// The number nearest to an integer.
pub const fn from_integer(value: i64) -> u32 {
    round(if value < 0 { SIGN } else { 0 }, value.unsigned_abs() as u128, 0, false)
}

/// The integer towards zero, cut to `[least, greatest]`; NaN gives 0.
pub const fn to_integer(x: u32, least: i64, greatest: i64) -> i64 {
    if is_nan(x) {
        return 0;
    }
    let (exponent, significand) = parts(x);
    let magnitude: u128 = if exponent >= 150 + 64 {
        // Every such number is beyond 2^64, infinity with it.
        u64::MAX as u128
    } else if exponent >= 150 {
        (significand as u128) << (exponent - 150)
    } else if exponent > 126 {
        (significand >> (150 - exponent)) as u128
    } else {
        0
    };
    let value = if x & SIGN == 0 {
        magnitude as i128
    } else {
        -(magnitude as i128)
    };
    if value < least as i128 {
        least
    } else if value > greatest as i128 {
        greatest
    } else {
        value as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed stream of bit patterns: uniform ones, and ones with exponents near each other, near the ends, and short significands.
    struct Patterns(u64);

    impl Patterns {
        fn word(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn next(&mut self) -> u32 {
            let word = self.word();
            let bits = (word >> 8) as u32;
            match word & 7 {
                0 | 1 => bits,
                2 => (bits & 0x807f_ffff) | ((120 + (word >> 50) as u32 % 16) << 23),
                3 => (bits & 0x80ff_ffff).wrapping_sub(1 << 23) & !0x7f00_0000 | (bits & SIGN),
                4 => (bits & 0x807f_ffff) | 0x7f00_0000,
                5 => bits & 0xffff_f000,
                6 => EDGES[(word >> 50) as usize % EDGES.len()] ^ (bits & SIGN),
                _ => EDGES[(word >> 50) as usize % EDGES.len()]
                    .wrapping_add(bits % 5)
                    .wrapping_sub(2),
            }
        }
    }

    const EDGES: [u32; 16] = [
        0,
        1,
        2,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x00ff_ffff,
        0x0100_0000,
        0x3f80_0000,
        0x3f7f_ffff,
        0x4b00_0000,
        0x4b80_0000,
        0x7f7f_ffff,
        INFINITY,
        NAN,
        0x5f00_0000,
    ];

    fn each_pair(count: u32, mut check: impl FnMut(u32, u32)) {
        for a in EDGES {
            for b in EDGES {
                for signs in 0..4 {
                    check(a | ((signs & 1) << 31), b | ((signs & 2) << 30));
                }
            }
        }
        let mut patterns = Patterns(0x746f_7563_6873_746f);
        for _ in 0..count {
            check(patterns.next(), patterns.next());
        }
    }

    fn hold(name: &str, a: u32, b: u32, ours: u32, cpu: f32) {
        assert!(
            same(ours, cpu.to_bits()),
            "{name} {a:#010x} {b:#010x}: {ours:#010x}, CPU {:#010x}",
            cpu.to_bits()
        );
    }

    #[test]
    fn arithmetic_is_the_cpus() {
        each_pair(10_000_000, |a, b| {
            let (x, y) = (f32::from_bits(a), f32::from_bits(b));
            hold("add", a, b, add(a, b), x + y);
            hold("sub", a, b, sub(a, b), x - y);
            hold("mul", a, b, mul(a, b), x * y);
            hold("div", a, b, div(a, b), x / y);
            hold("sqrt", a, b, sqrt(a), x.sqrt());
            assert_eq!(compare(a, b), x.partial_cmp(&y));
        });
    }

    #[test]
    fn casts_are_the_cpus() {
        each_pair(10_000_000, |a, b| {
            let x = f32::from_bits(a);
            assert_eq!(to_integer(a, i64::MIN, i64::MAX), x as i64, "{a:#x}");
            assert_eq!(
                to_integer(a, i32::MIN.into(), i32::MAX.into()),
                i64::from(x as i32),
                "{a:#x}"
            );
            assert_eq!(to_integer(a, 0, 255), i64::from(x as u8), "{a:#x}");
            let wide = ((u64::from(a) << 32) | u64::from(b)) as i64;
            for integer in [
                wide,
                wide >> 20,
                wide >> 38,
                i64::from(a as i32),
                i64::MIN,
                i64::MAX,
                0,
                -1,
            ] {
                hold("from_integer", a, b, from_integer(integer), integer as f32);
            }
        });
    }

    #[test]
    fn a_value_is_its_parts() {
        each_pair(100_000, |a, _| {
            if is_finite(a) {
                let (exponent, significand) = parts(a);
                assert_eq!(round(a & SIGN, significand.into(), exponent as i32 - 150, false), a);
            }
        });
    }
}
