//! Contractions whose factors may be rounded to a format of tensor cores, and whose sums may be made by them. Mirrors
//! `contracts/src/libraries/Rounded.sol`.
//!
//! # The rule
//! With `n` products of `N` terms and `m` addends, `K = min(n, ⌈N/4⌉) + m` and `q = n + m + 2K`, a finite result satisfies
//! `|ŷ − S|·(2^23 − q) ≤ q·(A + L) + 2^23·(2ρ·R + 4(n + m)·ω)`:
//! - `ρ` is the relative error of a rounded factor, and R the sum of all `|ab|`, with `1 + 1/2ρ` in the place of 1 for those with a factor
//!   below the format's normal numbers, which may become 0 or twice itself;
//! - L is what such factors, and zeros, may add to the exponent by which sums are aligned: twice the product of the factors, either of
//!   them raised to the least normal number;
//! - `ω` is what else underflow may cost.
//!
//! A factor that the format rounds to infinity makes infinities possible. `docs/envelopes.md#tf32-bf16-fp16` derives it.

use crate::fp32;
use crate::profile::Format;
use crate::wide::Wide;

/// −log2 of what truncating one term of a fused sum, or its result, may cost.
pub(super) const PRECISION: u32 = 23;
/// Products in a fused sum, at least.
const GROUP: u64 = 4;
/// Roundings to the floor, for each product and addend: of the term, of the result that it meets, of both sums.
const FLOORS: u64 = 4;

/// The sums that only the factors' rounding asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rounded {
    /// log2 of 2ρ in units of 2^-23.
    rounding: u32,
    /// The format's least normal number.
    least: u32,
    /// The least number that the format rounds to infinity.
    overflow: u32,
    /// log2 of ω in units of 2^-300.
    floor: u32,
    /// R and L in lanes, as those of [`super::contraction::Sums`].
    lanes: [[u128; 16]; 2],
    /// A term may be +∞, −∞ because a factor is rounded to infinity.
    pub(super) infinite: [bool; 2],
    /// A term, or padding, may be NaN for the same reason, or because the factor of an infinity is flushed to 0.
    pub(super) nan: bool,
}

impl Rounded {
    /// No terms yet.
    pub(super) const fn new(format: Format) -> Self {
        let (rounding, least, overflow, floor) = match format {
            Format::Tf32 => (14, 0x0080_0000, 0x7f7f_f000, 174),
            Format::Bf16 => (16, 0x0080_0000, 0x7f7f_8000, 174),
            Format::Fp16 => (13, 0x3880_0000, 0x477f_f000, 250),
        };
        Self {
            rounding,
            least,
            overflow,
            floor,
            lanes: [[0; 16]; 2],
            infinite: [false; 2],
            nan: false,
        }
    }

    /// Takes in the factors of a product.
    pub(super) fn product(&mut self, a: u32, b: u32) {
        let (x, y) = (a & !fp32::SIGN, b & !fp32::SIGN);
        let small = x < self.least || y < self.least;
        if x >= self.overflow || y >= self.overflow {
            self.infinite[((a ^ b) >> 31) as usize] |= x != 0 && y != 0;
            self.nan |= small;
            if !fp32::is_finite(x) || !fp32::is_finite(y) {
                return;
            }
        }
        let lost = u64::from(small) << (PRECISION - self.rounding);
        self.add(0, x, y, 1 + lost);
        if small {
            self.align(x, y);
        }
    }

    /// Takes in a factor whose partner is out of bounds, where an engine may put 0.
    pub(super) fn unpaired(&mut self, x: u32) {
        let x = x & !fp32::SIGN;
        self.nan |= x >= self.overflow;
        if fp32::is_finite(x) {
            self.align(x, 0);
        }
    }

    fn align(&mut self, x: u32, y: u32) {
        self.add(1, x.max(self.least), y.max(self.least), 2);
    }

    fn add(&mut self, to: usize, x: u32, y: u32, weight: u64) {
        let (ex, mx) = fp32::parts(x);
        let (ey, my) = fp32::parts(y);
        let exponent = ex + ey;
        let product = u128::from(u64::from(mx) * u64::from(my)) * u128::from(weight);
        self.lanes[to][(exponent >> 5) as usize & 15] += product << (exponent & 31);
    }

    /// q, and the right side of the rule, of a contraction whose terms' magnitudes add up to `magnitude`.
    pub(super) fn bound(&self, products: u64, values: u64, terms: u64, magnitude: &Wide) -> (u64, Wide) {
        let groups = products.min(terms.div_ceil(GROUP)) + values;
        let roundings = products + values + 2 * groups;
        let [inputs, aligned] = self.lanes.each_ref().map(Wide::from_lanes);
        let floor = Wide::shifted(u128::from(FLOORS * (products + values)), PRECISION + self.floor);
        let bound = magnitude.add(&aligned).times(roundings);
        (roundings, bound.add(&inputs.times(1 << self.rounding)).add(&floor))
    }
}
