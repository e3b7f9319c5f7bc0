//! Softmax, shifted by the row's maximum. Mirrors `leaf/Softmax.sol`; derived in `docs/envelopes.md#softmax`.
//!
//! With t = max − x ≥ 0: ê ∈ [e^-t(1 − tu)(1 − b), e^-t(1 + b)/(1 − tu) + 2^-150], b = 2·k_rel·u, and 0 when that may be below
//! 2^-126; then ŷ = ê/(ê + R) up to m + 1 roundings (m terms that are not negligible: m − 1 additions, a quotient or a reciprocal
//! and a product), and 2^-150 when ŷ is subnormal. R is the sum over the other terms, so ê counts the same above and below.
//!
//! u = 2^-24; under `wide` 2^-53, nothing is flushed or underflows, and the quotient must meet ŷ's rounding cell.

use alloy_primitives::{I256, U256, U512, uint};

use super::elementary::{self, EXP_ERROR};
use super::fixed::{self, ONE};
use super::{Numerics, share};
use crate::check::Check;
use crate::parts::{most_terms, pack, unpack};

/// Rows up to this length keep every term for the checks to come; of longer ones each check makes its own term anew.
const KEPT: usize = 1 << 13;

/// Terms this far below the maximum, 104 in Q96, are negligible: e^-104 < 2^-150.
const NEGLIGIBLE: U256 = uint!(8239728901483491109728570834944_U256);
/// What stands for −∞: below every number by more than [`NEGLIGIBLE`].
const MINUS_INFINITY: I256 = I256::from_raw(U256::from_limbs([0, 0, 0, 0xc000_0000_0000_0000]));

/// One term e^-t: `[lo, hi] · 2^(-96-k)`, with `mid` between.
#[derive(Clone, Copy, Debug)]
struct Term {
    lo: U256,
    mid: U256,
    hi: U256,
    k: i32,
    /// Whether the term's additions count as roundings.
    counted: bool,
}

impl Term {
    /// The term at distance t (Q96, within two units) below the maximum.
    fn new(numerics: &Numerics, t: U256) -> Self {
        if t >= NEGLIGIBLE {
            // Below 2^-149·(1 + 16u) with the library function's η, so at most 2^-149; in binary64 below 63/64 · 2^-150.
            return Self {
                lo: U256::ZERO,
                mid: U256::ZERO,
                hi: if numerics.wide { ONE - (ONE >> 6) } else { ONE << 1 },
                k: 150,
                counted: false,
            };
        }
        let (m, k) = elementary::exp_negative(t);
        // tu + b in 2^-32 u: (1 − tu)(1 − b) ≥ 1 − tu − b and (1 + b)/(1 − tu) ≤ 1/(1 − tu − b). Two for the floor and t's error.
        let scale = numerics.precision as usize + 32;
        let width = (t >> 64) + U256::from(2 + ((2 * numerics.k_rel) << 32));
        let rest = (U256::ONE << scale) - width;
        let lo = ((m - EXP_ERROR) * rest) >> scale;
        // Exponentials below 2^-126 may be flushed.
        let lo = if !numerics.wide && (k > 126 || (k == 126 && lo < ONE)) {
            U256::ZERO
        } else {
            lo
        };
        let eta = if !numerics.wide && k > 54 {
            U256::ONE << (k - 54) as usize
        } else {
            U256::ZERO
        };
        let hi = ((m + EXP_ERROR) << scale) / rest + U256::ONE + eta;
        Self {
            lo,
            mid: m,
            hi,
            k,
            counted: true,
        }
    }

    /// Lower end in Q96, rounded down.
    fn down(&self) -> U256 {
        self.lo >> self.k as usize
    }

    /// Upper end in Q96, rounded up by more than the η that a shift may drop.
    fn up(&self) -> U256 {
        (self.hi >> self.k as usize) + U256::from(2)
    }
}

/// A row prepared for the checks of its places.
#[derive(Clone, Debug)]
pub struct SoftmaxRow {
    numerics: Numerics,
    terms: Vec<Term>,
    /// The bits of a row whose terms are not kept, with its maximum.
    row: Vec<u32>,
    maximum: I256,
    /// Sums of the terms' lower and upper ends, Q96.
    down: U256,
    up: U256,
    /// Roundings on the way from the exponentials to a result.
    roundings: u64,
    /// A NaN, +∞ or nothing but −∞ in the row: every result is NaN.
    undefined: bool,
    too_long: bool,
}

impl SoftmaxRow {
    /// Prepares the row of bits `row`.
    pub fn new(profile: u64, row: &[u32]) -> Self {
        let mut prepared = Self {
            numerics: Numerics::of(profile),
            terms: Vec::new(),
            row: Vec::new(),
            maximum: MINUS_INFINITY,
            down: U256::ZERO,
            up: U256::ZERO,
            roundings: 1,
            undefined: false,
            too_long: row.len() as u64 > most_terms(profile),
        };
        if prepared.too_long {
            return prepared;
        }
        let values: Vec<I256> = row.iter().map(|&x| signed(x)).collect();
        let maximum = values.iter().copied().max().unwrap_or(MINUS_INFINITY);
        prepared.undefined = maximum == MINUS_INFINITY || row.iter().any(|&x| fixed::is_nan(x) || x == fixed::INFINITY);
        if prepared.undefined {
            return prepared;
        }
        prepared.maximum = maximum;
        let kept = values.len() <= KEPT;
        if !kept {
            prepared.row = row.to_vec();
        }
        for value in values {
            let term = Term::new(&prepared.numerics, (maximum - value).into_raw());
            prepared.down += term.down();
            prepared.up += term.up();
            prepared.roundings += u64::from(term.counted);
            if kept {
                prepared.terms.push(term);
            }
        }
        prepared
    }

    /// The row of a place whose term is `own`, from the sums over all terms. `None` where no row has these sums beside this term.
    pub(crate) fn of_sums(profile: u64, maximum: u32, sums: &SoftmaxSums, own: u32) -> Option<Self> {
        let numerics = Numerics::of(profile);
        let mut prepared = Self {
            numerics,
            terms: Vec::new(),
            row: Vec::new(),
            maximum: signed(maximum),
            down: sums.down,
            up: sums.up,
            roundings: 1 + sums.counted,
            undefined: sums.undefined != 0,
            too_long: false,
        };
        if prepared.undefined {
            return Some(prepared);
        }
        if sums.above != 0 || sums.equal == 0 {
            return None;
        }
        prepared.undefined = prepared.maximum == MINUS_INFINITY;
        if prepared.undefined {
            return Some(prepared);
        }
        let own = signed_term(own).filter(|own| *own <= prepared.maximum)?;
        let term = Term::new(&numerics, (prepared.maximum - own).into_raw());
        // The maximum's own exponential is above a half.
        if sums.down < ONE >> 1 || sums.down < term.down() || sums.up < term.up() {
            return None;
        }
        prepared.terms.push(term);
        Some(prepared)
    }

    /// The term at `place`; `None` beyond the row.
    fn term(&self, place: usize) -> Option<Term> {
        let anew = || {
            let value = signed(*self.row.get(place)?);
            Some(Term::new(&self.numerics, (self.maximum - value).into_raw()))
        };
        self.terms.get(place).copied().or_else(anew)
    }

    /// Holds `y`, the result at `place`. A place beyond the row convicts nobody.
    pub fn check(&self, place: usize, y: u32) -> Check {
        if self.undefined {
            return Check::exact(fixed::is_nan(y));
        }
        let Some(term) = self.term(place) else {
            return Check::INSIDE;
        };
        let zero = y << 1 == 0;
        if !fixed::is_finite(y) || (y >> 31 == 1 && !zero) {
            return Check::OUTSIDE;
        }
        let y = fixed::decode(y);
        let (down, up) = self.halves(y);
        let shift = y.exponent - 2 + term.k;
        let p = self.numerics.precision as i32;
        let kept = (U256::ONE << p as usize) - U256::from(self.roundings);
        // ŷ ≤ hi / (hi + the others at least), and their negligible additions take off less than a unit.
        let least = (term.hi >> term.k as usize) + (self.down - term.down()) - U256::ONE;
        let above = U256::from((4 * y.mantissa).saturating_sub(down));
        let not_above = fixed::at_most(above * least * kept, shift, term.hi, p);
        let most = term.down() + (self.up - term.up()) + U256::from(2);
        let below = U256::from(4 * y.mantissa + up);
        let not_below = fixed::at_most(term.lo * kept, 0, below * most, shift + p);
        let inside = not_above && not_below;
        Check {
            inside,
            share: self.share(&term, y, least, most, kept, inside),
        }
    }

    /// What may lie between ŷ and the quotient, in quarters of its last place: its cell, or half of a subnormal's last place.
    fn halves(&self, y: fixed::Real) -> (u64, u64) {
        if !self.numerics.wide && y.exponent == -149 {
            (2, 2)
        } else {
            y.cell(self.numerics.wide)
        }
    }

    fn share(&self, term: &Term, y: fixed::Real, least: U256, most: U256, kept: U256, inside: bool) -> u64 {
        // Quotients with 100 bits below those of the term; results in units of 2^(-k-100).
        let quotient = |a: U256, b: U256| -> U256 {
            let wide: U512 = (U512::from(a) << 100) / U512::from(b).max(U512::ONE);
            U256::from_limbs_slice(&wide.as_limbs()[..4])
        };
        let unit = -term.k - 100;
        let centre = quotient(term.mid, (least + most) >> 1);
        // A result of 2 and more is outside by any measure.
        if y.mantissa != 0 && y.exponent - unit > 220 {
            return u64::MAX;
        }
        let value = fixed::floor(U256::from(y.mantissa), y.exponent - unit);
        let (down, up) = self.halves(y);
        let half = |quarters: u64| fixed::ceil(U256::from(quarters), y.exponent - 2 - unit);
        let p = self.numerics.precision as usize;
        let bound = if value > centre {
            quotient(term.hi << p, least * kept).saturating_sub(centre) + half(down)
        } else {
            centre.saturating_sub(quotient(term.lo * kept, most << p)) + half(up)
        };
        share(U512::from(value.abs_diff(centre)), U512::from(bound), inside)
    }
}

/// The value in Q96, truncated toward zero; −∞ as [`MINUS_INFINITY`].
fn signed(x: u32) -> I256 {
    if fixed::is_infinite(x) {
        return MINUS_INFINITY;
    }
    let real = fixed::decode(x);
    let value = I256::from_raw(elementary::magnitude(real));
    if real.negative { -value } else { value }
}

/// The same; `None` for a NaN and +∞, of which no result is defined.
fn signed_term(x: u32) -> Option<I256> {
    (!fixed::is_nan(x) && x != fixed::INFINITY).then(|| signed(x))
}

/// What is kept of terms by parts, relative to a maximum that is claimed: everything adds up over terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SoftmaxSums {
    /// Sums of the terms' lower and upper ends, Q96.
    down: U256,
    up: U256,
    /// Terms whose additions count as roundings.
    counted: u64,
    /// Terms above the maximum that is claimed, and equal to it.
    above: u64,
    equal: u64,
    /// Terms that are NaN or +∞.
    undefined: u64,
}

/// Most bits of a sum of 2^24 ends.
const SUM_BITS: usize = 128;

impl SoftmaxSums {
    /// How many words they are.
    pub(crate) const WORDS: usize = 3;

    /// Whether a row's maximum may be these bits: a number or −∞.
    pub(crate) fn admits(maximum: u32) -> bool {
        signed_term(maximum).is_some()
    }

    /// What a worker claims as the maximum of a row: the greatest of its terms, NaN and +∞ left out; −∞ of nothing.
    pub(crate) fn maximum(row: impl Iterator<Item = u32>) -> u32 {
        let least = (MINUS_INFINITY, 1 << 31 | fixed::INFINITY);
        row.filter_map(|x| Some((signed_term(x)?, x)))
            .fold(least, |most, x| if x.0 > most.0 { x } else { most })
            .1
    }

    /// Sums of `row`'s terms.
    pub(crate) fn new(profile: u64, maximum: u32, row: impl Iterator<Item = u32>) -> Self {
        let numerics = Numerics::of(profile);
        let maximum = signed(maximum);
        let mut sums = Self::default();
        for x in row {
            let Some(value) = signed_term(x) else {
                sums.undefined += 1;
                continue;
            };
            if value > maximum {
                sums.above += 1;
                continue;
            }
            sums.equal += u64::from(value == maximum);
            let term = Term::new(&numerics, (maximum - value).into_raw());
            sums.down += term.down();
            sums.up += term.up();
            sums.counted += u64::from(term.counted);
        }
        sums
    }

    /// The lower ends, the upper ends, and the counts of terms counted, above, equal and undefined.
    pub(crate) fn words(&self) -> Vec<U256> {
        let counts = pack(&[self.counted, self.above, self.equal, self.undefined]);
        vec![self.down, self.up, counts]
    }

    /// The sums that `words` are; `None` where no `terms` terms have such sums.
    pub(crate) fn from_words(terms: u64, words: &[U256]) -> Option<Self> {
        let [down, up, counts] = *words else {
            return None;
        };
        let [counted, above, equal, undefined] = unpack(counts)?;
        let fits = [counted, above, equal, undefined].iter().all(|count| *count <= terms);
        (fits && down.bit_len() <= SUM_BITS && up.bit_len() <= SUM_BITS).then_some(Self {
            down,
            up,
            counted,
            above,
            equal,
            undefined,
        })
    }
}

/// Holds `y` against element `place` of the softmax of `row`; all are bits of binary32.
pub fn softmax(profile: u64, row: &[u32], place: usize, y: u32) -> Check {
    SoftmaxRow::new(profile, row).check(place, y)
}
