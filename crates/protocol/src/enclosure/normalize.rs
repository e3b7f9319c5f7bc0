//! Layer norm and batch norm. Mirrors `leaf/Normalize.sol`; derived in `docs/envelopes.md#normalize`.
//!
//! Layer norm of n terms: the row stands as integers X in units of 2^q, the largest of them below 2^97; n·(x − μ) = nX − ΣX = D
//! is exact, as is n³·σ² = ΣD² = Q. K = n + 3⌈log₂ n⌉ + 12 counts the roundings behind a mean or a variance, two-pass or by merges
//! (Welford, Chan). Then n·(x − μ̂) ∈ D ± H with H = γ(K)·Σ|X|, n³·σ̂² ∈ (Q ± (H·√(8nQ) + 2nH²))·(1 ± γ(K)), and ŷ ∈
//! (D ± H)·g/(n·√(σ̂² + ε))·(1 ± 8u) + β up to the last rounding, u|ŷ|. Square roots are of the interval, never linearised.
//!
//! u = 2^-24; under `wide` 2^-53, nothing overflows or underflows on the way, and the result must meet ŷ's rounding cell.
//!
//! Longer than the house size: rows at once and rows by parts, and batch norm, share the arithmetic of roots and gaps.

use alloy_primitives::aliases::I512;
use alloy_primitives::{I256, U256, U512, uint};

use super::fixed::{self, OVERFLOW, Real};
use super::{Numerics, share};
use crate::check::Check;
use crate::descriptor::Code;
use crate::parts::{most_terms, one_shot_terms, pack, unpack};

/// Bits that the largest term of a row is shifted by: the window of the row's integers. A row by parts, of more than 2,048 terms and up
/// to 2^24, has a smaller one, so that 8nQ and KQ stay below 2^256.
const WINDOW: i32 = 73;
const LONG_WINDOW: i32 = 54;
/// |x| below 2^63, or x² may overflow.
const SQUARES: i32 = 63;
/// Relative roundings of the quotient: a half for + ε, four for a reciprocal root within two last places (or two for root and
/// reciprocal), three for the difference and two products. 7.5.
const QUOTIENT: U256 = uint!(8_U256);
/// Relative roundings of x·α + (β − μ·α), α with 5.5: 8.5 on μ·α, 7.5 on x·α, 2 on β.
const BATCH: U256 = uint!(9_U256);
const BATCH_BIAS: U256 = uint!(2_U256);

/// An interval of square roots, units of 2^exponent; `mid` is for reports.
#[derive(Clone, Copy, Debug)]
struct Root {
    lo: U256,
    mid: U256,
    hi: U256,
    exponent: i32,
}

impl Root {
    /// Half of the exponent that holds values below 2^`top` in 240 bits.
    fn unit(top: i32) -> i32 {
        (top - 239).div_euclid(2)
    }

    /// √ of `[lo, hi]` in units of 2^(2·exponent).
    fn of(lo: U256, hi: U256, mid: U256, exponent: i32) -> Self {
        Self {
            lo: fixed::sqrt(lo),
            mid: fixed::sqrt(mid),
            hi: fixed::sqrt(hi) + U256::ONE,
            exponent,
        }
    }

    /// Whether a factor below 2^`top` times the reciprocal stays below 2^127, so that nothing overflows on the way. In binary64 a
    /// reciprocal is enough.
    fn carries(&self, numerics: &Numerics, top: i32) -> bool {
        !self.lo.is_zero() && (numerics.wide || top - (fixed::bits(self.lo) - 1 + self.exponent) < 127)
    }
}

/// A row prepared for the checks of its places.
#[derive(Clone, Debug)]
pub struct LayerNormRow {
    numerics: Numerics,
    /// The terms' bits, how many they are, and ΣX in units of 2^unit.
    row: Vec<u32>,
    n: u64,
    sum: I256,
    unit: i32,
    /// H, in the same units.
    reach: U256,
    root: Root,
    /// −log2 of nothing: |x| < 2^top for every term.
    top: i32,
    /// A sum, or a square, of an engine may have overflowed.
    overflow: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Judged,
    /// A term is not finite: no result is.
    Undefined,
    /// Outside of what the theorem covers: empty or too long, or ε negative or not finite.
    Unjudged,
}

impl LayerNormRow {
    /// Prepares the row of bits `row` with epsilon's bits `eps`.
    pub fn new(profile: u64, row: &[u32], eps: u32) -> Self {
        let root = Root {
            lo: U256::ZERO,
            mid: U256::ZERO,
            hi: U256::ZERO,
            exponent: 0,
        };
        let mut prepared = Self {
            numerics: Numerics::of(profile),
            row: Vec::new(),
            n: row.len() as u64,
            sum: I256::ZERO,
            unit: 0,
            reach: U256::ZERO,
            root,
            top: 0,
            overflow: false,
            state: State::Judged,
        };
        if row.is_empty() || prepared.n > most_terms(profile) || eps >= fixed::INFINITY {
            prepared.state = State::Unjudged;
            return prepared;
        }
        // Magnitudes order as their bits do.
        let largest = row.iter().map(|&x| x & 0x7fff_ffff).max().unwrap_or(0);
        if largest >= fixed::INFINITY {
            prepared.state = State::Undefined;
            return prepared;
        }
        prepared.row = row.to_vec();
        let exponent = fixed::decode(largest).exponent;
        let window = window(prepared.n);
        let mut sums = Moments::default();
        row.iter().for_each(|&x| sums.add(exponent, window, x));
        prepared.take(exponent, &sums, eps);
        prepared
    }

    /// The row of a place whose term is `own`, from the sums over all `n` terms relative to `exponent`. `None` where no row has
    /// these sums beside this term.
    pub(crate) fn of_sums(profile: u64, n: u64, exponent: u32, sums: &Moments, own: u32, eps: u32) -> Option<Self> {
        let mut prepared = Self::new(profile, &[], eps);
        (prepared.n, prepared.state) = (n, State::Undefined);
        if sums.infinite != 0 {
            return Some(prepared);
        }
        let of_own = (own >> 23 & 0xff).max(1);
        if sums.above != 0 || sums.equal == 0 || of_own > exponent {
            return None;
        }
        let squares = U256::from(n) * sums.squares;
        let sum = sums.sum.unsigned_abs();
        if sum > sums.absolute || sum * sum > squares {
            return None;
        }
        prepared.state = State::Judged;
        prepared.row.push(own);
        // At most 254.
        prepared.take(exponent as i32 - 150, sums, eps);
        Some(prepared)
    }

    fn take(&mut self, exponent: i32, sums: &Moments, eps: u32) {
        let n = U256::from(self.n);
        self.top = exponent + 24;
        self.unit = exponent - window(self.n);
        self.sum = sums.sum;
        // Σ(nX − ΣX)² = n·(n·ΣX² − (ΣX)²).
        let size = sums.sum.unsigned_abs();
        self.spread(n, n * (n * sums.squares - size * size), sums.absolute, eps);
    }

    /// H, the root's interval and the overflow clause, from Q and Σ|X|.
    fn spread(&mut self, n: U256, q: U256, absolute: U256, eps: u32) {
        let wide = self.numerics.wide;
        let k = U256::from(moment_roundings(self.n as usize));
        let unit_inverse = U256::from(self.numerics.unit());
        let kept = unit_inverse - k;
        // X/(1 − Ku), rounded up, without a product by 1/u that a word may not hold.
        let grown = |value: U256| value + fixed::div_up(value * k, kept);
        // Underflow in a mean: (n + 1)/2 · 2^-150, times n. Truncation to the window: below one unit a term, 4n in all.
        let underflow = if wide {
            U256::ZERO
        } else {
            fixed::ceil(n * (n + U256::ONE), -151 - self.unit)
        };
        self.reach = fixed::div_up(k * absolute, kept) + underflow + (n << 2);
        let h = self.reach;
        let spread = h * (fixed::sqrt((n * q) << 3) + U256::ONE) + ((n * h * h) << 1);
        let scaled_hi = grown(q + spread);
        let rest = q.saturating_sub(spread);
        let scaled_lo = rest - fixed::div_up(rest * k, unit_inverse);
        let cube = n * n * n;
        let (lo, mid, hi) = (scaled_lo / cube, q / cube, scaled_hi / cube + U256::ONE);

        let eps = fixed::decode(eps);
        let epsilon = U256::from(eps.mantissa);
        let square = 2 * self.unit;
        let top = (square + fixed::bits(hi))
            .max(eps.exponent + fixed::bits(epsilon))
            .max(fixed::bits(n) - 149);
        let unit = Root::unit(top);
        // Underflow in a variance: n·2^-149.
        let underflow = if wide {
            U256::ZERO
        } else {
            fixed::ceil(n, -149 - 2 * unit)
        };
        let at = |value: U256| fixed::floor(value, square - 2 * unit);
        let (low, middle) = (at(lo).saturating_sub(underflow), at(mid));
        let high = fixed::ceil(hi, square - 2 * unit) + underflow;
        let shift = eps.exponent - 2 * unit;
        self.root = Root::of(
            low + fixed::floor(epsilon, shift),
            high + fixed::ceil(epsilon, shift),
            middle + fixed::floor(epsilon, shift),
            unit,
        );
        // Σ|x|, which bounds every partial sum and deviation; the square of a difference from an empty part's mean, which a merge
        // multiplies by that part's count of 0; or twice Σ(x − μ)², which bounds every other square and their sums.
        let largest = U256::from(OVERFLOW.mantissa);
        self.overflow = !wide
            && (self.top > SQUARES
                || fixed::at_most(largest, OVERFLOW.exponent, grown(absolute), self.unit)
                || fixed::at_most(largest * n * n, OVERFLOW.exponent, scaled_hi, square + 1));
    }

    /// Holds `y`, the result at `place`, with that place's `scale` and `bias`. A place beyond the row convicts nobody.
    pub fn check(&self, place: usize, scale: u32, bias: u32, y: u32) -> Check {
        if self.state == State::Unjudged {
            return Check::INSIDE;
        }
        if self.state == State::Undefined || !fixed::is_finite(scale) || !fixed::is_finite(bias) {
            return Check::exact(!fixed::is_finite(y));
        }
        let Some(&own) = self.row.get(place) else {
            return Check::INSIDE;
        };
        let g = fixed::decode(scale);
        let size = fixed::bits(U256::from(g.mantissa)) + g.exponent;
        if !self.root.carries(&self.numerics, (self.top + 2).max(size).max(1)) {
            return Check::INSIDE;
        }
        if fixed::is_nan(y) {
            return Check::exact(self.overflow);
        }
        let n = U256::from(self.n);
        // D = n·(x − μ).
        let deviation = windowed(own, self.unit) * I256::from_raw(n) - self.sum;
        let deviation = if g.negative { -deviation } else { deviation };
        let reach = I256::from_raw(self.reach);
        // Underflow: 2^-150·(1 + 2|g| + |x − μ̂|), |g| and the others below 2^largest.
        let width = fixed::bits(deviation.unsigned_abs() + self.reach) + 1 - fixed::bits(n) + self.unit;
        let largest = size.max(width).max(1);
        let gap = Gap::new(&self.numerics, y, bias, largest + 2 - 150, U256::ONE, U256::ZERO);
        let factor = U256::from(g.mantissa);
        let p = self.numerics.precision as usize;
        let kept = U256::from(self.numerics.unit()) - QUOTIENT;
        let exponent = g.exponent + self.unit;
        let end = |deviation: I256| -> (bool, U256, U256) {
            // An overflowed variance makes the quotient 0.
            let end = if self.overflow {
                (deviation + reach).max(I256::ZERO)
            } else {
                deviation + reach
            };
            let size = end.unsigned_abs();
            if end.is_negative() {
                (true, ((size * kept) >> p) * factor, n * self.root.hi)
            } else {
                (false, fixed::div_up(size << p, kept) * factor, n * self.root.lo)
            }
        };
        let (above, below) = (end(deviation), end(-deviation));
        let centre = (
            deviation.is_negative(),
            deviation.unsigned_abs() * factor,
            n * self.root.mid,
        );
        let check = gap.hold(above, below, centre, exponent - self.root.exponent);
        if self.overflow {
            Check::exact(check.inside)
        } else {
            check
        }
    }
}

/// Bits of the window of a row of n terms.
fn window(n: u64) -> i32 {
    if n <= one_shot_terms(Code::LayerNorm) {
        WINDOW
    } else {
        LONG_WINDOW
    }
}

/// A term's X: in units of 2^unit, truncated toward zero.
fn windowed(x: u32, unit: i32) -> I256 {
    let real = fixed::decode(x);
    let value = I256::from_raw(fixed::floor(U256::from(real.mantissa), real.exponent - unit));
    if real.negative { -value } else { value }
}

/// What is kept of terms by parts, relative to the largest term's exponent that is claimed: everything adds up over terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// ΣX, ΣX², Σ|X|.
    sum: I256,
    squares: U256,
    absolute: U256,
    /// Terms of a greater exponent, and of the same.
    above: u64,
    equal: u64,
    /// Terms that are not finite.
    infinite: u64,
}

impl Moments {
    /// How many words they are.
    pub(crate) const WORDS: usize = 4;

    /// What a worker claims as a row's exponent: the greatest exponent field of its finite terms, at least 1.
    pub(crate) fn exponent(row: impl Iterator<Item = u32>) -> u32 {
        row.map(|x| x >> 23 & 0xff).filter(|e| *e < 255).fold(1, u32::max)
    }

    /// Sums of `row`'s terms, a part of `n` terms; `exponent` is a field, 1 to 254.
    pub(crate) fn new(n: u64, exponent: u32, row: impl Iterator<Item = u32>) -> Self {
        let window = window(n);
        let mut sums = Self::default();
        for x in row {
            let e = (x >> 23 & 0xff).max(1);
            if e == 255 {
                sums.infinite += 1;
            } else if e > exponent {
                sums.above += 1;
            } else {
                sums.equal += u64::from(e == exponent);
                sums.add(exponent as i32 - 150, window, x);
            }
        }
        sums
    }

    fn add(&mut self, exponent: i32, window: i32, x: u32) {
        let value = windowed(x, exponent - window);
        let size = value.unsigned_abs();
        self.sum += value;
        self.squares += size * size;
        self.absolute += size;
    }

    /// The three sums, and the counts of terms above, equal and not finite.
    pub(crate) fn words(&self) -> Vec<U256> {
        let counts = pack(&[self.above, self.equal, self.infinite]);
        vec![self.sum.into_raw(), self.squares, self.absolute, counts]
    }

    /// The sums that `words` are; `None` where no `terms` terms have such sums.
    pub(crate) fn from_words(terms: u64, words: &[U256]) -> Option<Self> {
        let [sum, squares, absolute, counts] = *words else {
            return None;
        };
        let [above, equal, infinite] = unpack(counts)?;
        let n = U256::from(terms);
        let most = U256::ONE << (24 + window(terms)) as usize;
        let fits = [above, equal, infinite].iter().all(|count| *count <= terms);
        (fits && absolute <= n * most && squares <= n * most * most).then_some(Self {
            sum: I256::from_raw(sum),
            squares,
            absolute,
            above,
            equal,
            infinite,
        })
    }
}

/// K(n) = n + 3⌈log₂ n⌉ + 12: how many roundings a mean or a variance of n ≥ 1 terms counts as, by whatever algorithm.
pub fn moment_roundings(n: usize) -> u64 {
    let log = usize::BITS - n.saturating_sub(1).leading_zeros();
    n as u64 + 3 * u64::from(log) + 12
}

/// ŷ − β with what the last roundings may add, in units of 2^unit.
struct Gap {
    /// The least of ŷ − β.
    lo: I256,
    mid: I256,
    /// The greatest.
    hi: I256,
    unit: i32,
    /// ŷ is −∞ or +∞: nothing bounds it on that side.
    open_below: bool,
    open_above: bool,
    wide: bool,
}

impl Gap {
    /// Adds `of_y·u·|ŷ|`, `of_bias/(1/u − of_bias) · |β|` and 2^eta on both sides; under `wide` in the place of the last ŷ's cell, whose
    /// numbers ŷ then stands for.
    fn new(numerics: &Numerics, y: u32, bias: u32, eta: i32, of_y: U256, of_bias: U256) -> Self {
        let wide = numerics.wide;
        let infinite = fixed::is_infinite(y);
        let negative = y >> 31 == 1;
        let y = if infinite {
            Real { negative, ..OVERFLOW }
        } else {
            fixed::decode(y)
        };
        let b = fixed::decode(bias);
        // The product may overflow before β of the other sign is added, but not in binary64.
        let b = if infinite && !wide && b.negative != negative {
            Real { mantissa: 0, ..b }
        } else {
            b
        };
        let (ym, bm) = (U256::from(y.mantissa), U256::from(b.mantissa));
        let top = (fixed::bits(ym) + y.exponent).max(fixed::bits(bm) + b.exponent);
        let top = if wide { top } else { top.max(eta) };
        let unit = top - 90;
        let of_y = if infinite && !wide { U256::ZERO } else { of_y };
        let (down, up) = y.cell(wide);
        let unit_inverse = U256::from(numerics.unit());
        let slack = fixed::ceil(
            ((ym << 2) + U256::from(up)) * of_y,
            y.exponent - 2 - numerics.precision as i32 - unit,
        ) + fixed::div_up(fixed::ceil(bm, b.exponent - unit) * of_bias, unit_inverse - of_bias)
            + if wide {
                U256::ZERO
            } else {
                fixed::ceil(U256::ONE, eta - unit)
            };
        // Truncation of ŷ and β: below one unit each.
        let slack = I256::from_raw(slack + U256::from(2));
        let signed = |negative: bool, m: U256, exponent: i32| {
            let value = I256::from_raw(fixed::floor(m, exponent - unit));
            if negative { -value } else { value }
        };
        let mid = signed(y.negative, ym, y.exponent) - signed(b.negative, bm, b.exponent);
        let half = |quarters: u64| I256::from_raw(fixed::ceil(U256::from(quarters), y.exponent - 2 - unit));
        let (down, up) = if negative { (up, down) } else { (down, up) };
        Self {
            lo: mid - slack - half(down),
            mid,
            hi: mid + slack + half(up),
            unit,
            open_below: infinite && negative,
            open_above: infinite && !negative,
            wide,
        }
    }

    /// Whether the gap meets [−below, above]: each a sign, a numerator and a denominator, in units of 2^exponent.
    fn hold(
        &self,
        above: (bool, U256, U256),
        below: (bool, U256, U256),
        centre: (bool, U256, U256),
        exponent: i32,
    ) -> Check {
        let shift = exponent - self.unit;
        let inside =
            (self.open_below || reaches(self.lo, above, shift)) && (self.open_above || reaches(-self.hi, below, shift));
        Check {
            inside,
            share: self.share(above, below, centre, shift, inside),
        }
    }

    fn share(
        &self,
        above: (bool, U256, U256),
        below: (bool, U256, U256),
        centre: (bool, U256, U256),
        shift: i32,
        inside: bool,
    ) -> u64 {
        if self.open_above || self.open_below {
            return share(U512::from(!inside), U512::ZERO, inside);
        }
        // Ends in units of 2^(unit − 8); `carries` keeps them below 2^400 where there is fp32 overflow to keep away from.
        let shift = shift + 8;
        if self.wide && fixed::bits(above.1.max(below.1).max(centre.1)) + shift > 500 {
            return share(U512::from(!inside), U512::ZERO, inside);
        }
        let quotient = |(negative, a, b): (bool, U256, U256)| -> I512 {
            let wide = U512::from(a);
            let wide = if shift >= 0 {
                wide << shift as usize
            } else {
                wide >> shift.unsigned_abs() as usize
            };
            let value = I512::from_raw(wide / U512::from(b).max(U512::ONE));
            if negative { -value } else { value }
        };
        let gap = |a: I256| -> I512 {
            let value = I512::from_raw(U512::from(a.unsigned_abs()) << 8);
            if a.is_negative() { -value } else { value }
        };
        let centre = quotient(centre);
        let error = gap(self.mid) - centre;
        let bound = if error.is_negative() {
            quotient(below) + centre + gap(self.hi - self.mid)
        } else {
            quotient(above) - centre + gap(self.mid - self.lo)
        };
        let bound = if bound.is_negative() {
            U512::ZERO
        } else {
            bound.into_raw()
        };
        share(error.unsigned_abs(), bound, inside)
    }
}

/// Whether `gap ≤ end · 2^shift`, end = ±numerator/denominator.
fn reaches(gap: I256, end: (bool, U256, U256), shift: i32) -> bool {
    let (negative, numerator, denominator) = end;
    let product = gap.unsigned_abs() * denominator;
    match (gap.is_negative(), negative) {
        (true, false) => true,
        (true, true) => fixed::at_most(numerator, shift, product, 0),
        (false, false) => fixed::at_most(product, 0, numerator, shift),
        (false, true) => gap.is_zero() && numerator.is_zero(),
    }
}

/// Holds `y` against element `place` of the layer norm of `row`; all are bits of binary32.
pub fn layer_norm(profile: u64, row: &[u32], place: usize, scale: u32, bias: u32, eps: u32, y: u32) -> Check {
    LayerNormRow::new(profile, row, eps).check(place, scale, bias, y)
}

/// Holds `y` against (x − mean)·scale/√(var + eps) + bias; all are bits of binary32.
#[allow(clippy::too_many_arguments)] // The operands of ONNX's BatchNormalization.
pub fn batch_norm(profile: u64, x: u32, scale: u32, bias: u32, mean: u32, var: u32, eps: u32, y: u32) -> Check {
    let numerics = Numerics::of(profile);
    if !fixed::is_finite(eps) {
        return Check::INSIDE;
    }
    if [x, scale, bias, mean].iter().any(|&operand| !fixed::is_finite(operand)) || fixed::is_nan(var) {
        return Check::exact(!fixed::is_finite(y));
    }
    if fixed::is_infinite(var) {
        // 1/√∞ = 0 leaves β; √−∞ is NaN.
        let bias = y == bias || (y | bias) << 1 == 0;
        return Check::exact(fixed::is_nan(y) || (var == fixed::INFINITY && bias));
    }
    let (v, e) = (fixed::decode(var), fixed::decode(eps));
    let (vm, em) = (U256::from(v.mantissa), U256::from(e.mantissa));
    let unit = Root::unit((fixed::bits(vm) + v.exponent).max(fixed::bits(em) + e.exponent) + 1);
    let part = |negative: bool, m: U256, exponent: i32| {
        let (down, up) = (
            fixed::floor(m, exponent - 2 * unit),
            fixed::ceil(m, exponent - 2 * unit),
        );
        let (down, up) = (I256::from_raw(down), I256::from_raw(up));
        if negative { (-up, -down) } else { (down, up) }
    };
    let (v, e) = (part(v.negative, vm, v.exponent), part(e.negative, em, e.exponent));
    let (lo, hi) = (v.0 + e.0, v.1 + e.1);
    if hi.is_negative() {
        return Check::exact(fixed::is_nan(y));
    }
    if !lo.is_positive() {
        return Check::INSIDE;
    }
    let root = Root::of(lo.into_raw(), hi.into_raw(), lo.into_raw(), unit);

    let (x, m, g) = (fixed::decode(x), fixed::decode(mean), fixed::decode(scale));
    let (xm, mm, gm) = (U256::from(x.mantissa), U256::from(m.mantissa), U256::from(g.mantissa));
    let top = (fixed::bits(xm) + x.exponent).max(fixed::bits(mm) + m.exponent);
    let size = fixed::bits(gm) + g.exponent;
    if !root.carries(&numerics, top.max(size).max(1)) {
        return Check::INSIDE;
    }
    let b = fixed::decode(bias);
    let product = top + 1 + size - (fixed::bits(root.lo) - 1 + root.exponent);
    if !numerics.wide && !fixed::is_finite(y) && product.max(fixed::bits(U256::from(b.mantissa)) + b.exponent) >= 126 {
        // x·α and β − μ·α may overflow on their own.
        return Check::INSIDE;
    }
    if fixed::is_nan(y) {
        return Check::OUTSIDE;
    }
    // Units of 2^(top − 90): truncation is below one each, four in all with the slack's own.
    let unit = top - 90;
    let (xw, mw) = (fixed::floor(xm, x.exponent - unit), fixed::floor(mm, m.exponent - unit));
    let kept = U256::from(numerics.unit()) - BATCH;
    let reach = I256::from_raw(fixed::div_up((xw + mw) * BATCH, kept) + U256::from(4));
    let signed = |negative: bool, value: U256| {
        let value = I256::from_raw(value);
        if negative { -value } else { value }
    };
    let deviation = signed(x.negative != g.negative, xw) - signed(m.negative != g.negative, mw);
    let gap = Gap::new(
        &numerics,
        y,
        bias,
        size.max(top).max(1) + 3 - 150,
        U256::ZERO,
        BATCH_BIAS,
    );
    let end = |end: I256| {
        (
            end.is_negative(),
            end.unsigned_abs() * gm,
            if end.is_negative() { root.hi } else { root.lo },
        )
    };
    let centre = (deviation.is_negative(), deviation.unsigned_abs() * gm, root.mid);
    gap.hold(
        end(deviation + reach),
        end(reach - deviation),
        centre,
        g.exponent + unit - root.exponent,
    )
}
