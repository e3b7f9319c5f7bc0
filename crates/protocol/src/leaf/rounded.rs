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

use alloy_primitives::U256;

use super::contraction::{lanes_of, words_of};
use crate::fp32;
use crate::parts::{pack, unpack};
use crate::profile::Format;
use crate::wide::Wide;

/// −log2 of what truncating one term of a fused sum, or its result, may cost.
pub(super) const PRECISION: u32 = 23;
/// Products in a fused sum, at least.
const GROUP: u64 = 4;
/// Roundings to the floor, for each product and addend: of the term, of the result that it meets, of both sums.
const FLOORS: u64 = 4;

/// Most bits of a lane's word: 2^20 products below 2^48, weighed by at most 2^10 + 1 and shifted by at most 127.
const LANE_BITS: usize = 206;

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
    /// How many terms may be +∞, −∞ because a factor is rounded to infinity.
    pub(super) infinite: [u64; 2],
    /// How many terms, or factors beside padding, may be NaN for the same reason, or because the factor of an infinity is flushed to 0.
    pub(super) nan: u64,
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
            infinite: [0; 2],
            nan: 0,
        }
    }

    /// Takes in the factors of a product.
    pub(super) fn product(&mut self, a: u32, b: u32) {
        let (x, y) = (a & !fp32::SIGN, b & !fp32::SIGN);
        let small = x < self.least || y < self.least;
        if x >= self.overflow || y >= self.overflow {
            self.infinite[((a ^ b) >> 31) as usize] += u64::from(x != 0 && y != 0);
            self.nan += u64::from(small);
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
        self.nan += u64::from(x >= self.overflow);
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

    /// Its words, in the sums of parts: R's and L's lanes, then the counts of terms that may be +∞, −∞ and NaN.
    pub(super) fn words(&self) -> Vec<U256> {
        let mut words: Vec<U256> = self.lanes.iter().flat_map(words_of).collect();
        let [plus, minus] = self.infinite;
        words.push(pack(&[plus, minus, self.nan]));
        words
    }

    /// Puts in what `words` are; `None` where no `terms` terms have such sums.
    pub(super) fn take(&mut self, terms: u64, words: &[U256]) -> Option<()> {
        let (counts, lanes) = words.split_last()?;
        let [plus, minus, nan] = unpack(*counts)?;
        // A product may have an overflowing factor, and padding too: of each term both factors.
        let fits = [plus, minus, nan].iter().all(|count| *count <= 2 * terms);
        if !fits || lanes.iter().any(|lane| lane.bit_len() > LANE_BITS) {
            return None;
        }
        for (lanes, words) in self.lanes.iter_mut().zip(lanes.chunks_exact(4)) {
            lanes_of(lanes, words);
        }
        (self.infinite, self.nan) = ([plus, minus], nan);
        Some(())
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
