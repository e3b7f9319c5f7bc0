//! Maxima over the terms of one element. (Sums and means are [`super::contraction::Sums`].)

use std::cmp::Ordering;

use crate::check::Check;
use crate::descriptor::Dtype;
use crate::fp32;

/// Negative infinity, the maximum of nothing.
const LEAST: u32 = fp32::SIGN | fp32::INFINITY;
/// What engines begin with that have no infinity to begin with.
const LEAST_FINITE: u32 = LEAST - 1;

/// Greatest of fp32 terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maximum {
    greatest: u32,
    nan: bool,
}

impl Default for Maximum {
    fn default() -> Self {
        Self {
            greatest: LEAST,
            nan: false,
        }
    }
}

impl Maximum {
    /// Takes one term.
    #[inline]
    pub fn value(&mut self, x: u32) {
        match fp32::compare(x, self.greatest) {
            None => self.nan = true,
            Some(Ordering::Greater) => self.greatest = x,
            Some(_) => {}
        }
    }

    /// Holds `y` against the maximum: the sign of zero is free. With a NaN among the terms every engine drops other terms, so NaN and
    /// all that is not above the maximum of the rest is admitted. Of nothing but −∞ the least finite number is admitted too.
    pub fn check(&self, y: u32) -> Check {
        let nothing = self.greatest == LEAST;
        Check::exact(if fp32::is_nan(y) || self.nan {
            let most = if nothing { LEAST_FINITE } else { self.greatest };
            self.nan && fp32::compare(y, most) != Some(Ordering::Greater)
        } else {
            fp32::same_value(y, self.greatest) || (nothing && y == LEAST_FINITE)
        })
    }
}

/// Position of the greatest term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgMaximum {
    dtype: Dtype,
    position: u64,
    /// The greatest so far, once there is one.
    greatest: Option<u64>,
    claimed: i64,
    claimed_is_nan: bool,
}

impl ArgMaximum {
    /// For terms of `dtype` (f32, i32 or i64), to be held against the claimed position.
    pub fn new(dtype: Dtype, claimed: i64) -> Self {
        Self {
            dtype,
            position: 0,
            greatest: None,
            claimed,
            claimed_is_nan: false,
        }
    }

    /// Takes the term at `position`, in order.
    #[inline]
    pub fn value(&mut self, position: u64, x: u64) {
        if self.dtype == Dtype::F32 && fp32::is_nan(x as u32) {
            self.claimed_is_nan |= self.claimed == position as i64;
            return;
        }
        let greater = match (self.dtype, self.greatest) {
            (_, None) => true,
            (Dtype::F32, Some(greatest)) => fp32::compare(x as u32, greatest as u32) == Some(Ordering::Greater),
            (Dtype::I32, Some(greatest)) => x as i32 > greatest as i32,
            (_, Some(greatest)) => x as i64 > greatest as i64,
        };
        if greater {
            (self.position, self.greatest) = (position, Some(x));
        }
    }

    /// Whether the claimed position is that of the first greatest term (0 when all are NaN) or of any NaN.
    pub fn check(&self) -> Check {
        Check::exact(self.claimed_is_nan || self.claimed == self.position as i64)
    }
}

/// How terms lie to a claimed maximum; counts add up over parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaximumCounts {
    y: u32,
    above: u64,
    equal: u64,
    nan: u64,
    /// Terms that are neither NaN nor −∞.
    some: u64,
}

impl MaximumCounts {
    pub(crate) const fn new(y: u32) -> Self {
        Self {
            y,
            above: 0,
            equal: 0,
            nan: 0,
            some: 0,
        }
    }

    #[inline]
    pub(crate) fn value(&mut self, x: u32) {
        if fp32::is_nan(x) {
            self.nan += 1;
            return;
        }
        self.some += u64::from(x != LEAST);
        match fp32::compare(x, self.y) {
            Some(Ordering::Greater) => self.above += 1,
            Some(Ordering::Equal) => self.equal += 1,
            Some(Ordering::Less) | None => {}
        }
    }

    /// Above, equal, NaN, and neither NaN nor −∞.
    pub(crate) const fn counts(&self) -> [u64; 4] {
        [self.above, self.equal, self.nan, self.some]
    }

    /// The rule of [`Maximum::check`] on the counts of all terms: where there is more than −∞, `y` is above the greatest iff nothing is
    /// above or equal to it, and is the greatest iff something is equal and nothing above.
    pub(crate) fn check([above, equal, nan, some]: [u64; 4], y: u32) -> Check {
        let nothing = some == 0;
        Check::exact(if fp32::is_nan(y) {
            nan != 0
        } else if nan != 0 {
            if nothing {
                fp32::compare(y, LEAST_FINITE) != Some(Ordering::Greater)
            } else {
                above != 0 || equal != 0
            }
        } else if nothing {
            y == LEAST || y == LEAST_FINITE
        } else {
            above == 0 && equal != 0
        })
    }
}

/// How terms lie to the term at a claimed position of the maximum; counts add up over parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArgCounts {
    dtype: Dtype,
    claimed: i64,
    own: u64,
    before: u64,
    after: u64,
}

impl ArgCounts {
    /// For terms of `dtype` beside `own`, the one at the claimed position.
    pub(crate) const fn new(dtype: Dtype, claimed: i64, own: u64) -> Self {
        Self {
            dtype,
            claimed,
            own,
            before: 0,
            after: 0,
        }
    }

    #[inline]
    pub(crate) fn value(&mut self, position: u64, x: u64) {
        let order = match self.dtype {
            Dtype::F32 => fp32::compare(x as u32, self.own as u32),
            Dtype::I32 => Some((x as i32).cmp(&(self.own as i32))),
            _ => Some((x as i64).cmp(&(self.own as i64))),
        };
        let position = position as i64;
        if position < self.claimed && matches!(order, Some(Ordering::Greater | Ordering::Equal)) {
            self.before += 1;
        } else if position > self.claimed && order == Some(Ordering::Greater) {
            self.after += 1;
        }
    }

    /// Terms before the claimed position that are not less, and terms after it that are greater.
    pub(crate) const fn counts(&self) -> [u64; 2] {
        [self.before, self.after]
    }

    /// The rule of [`ArgMaximum::check`] on the counts of all terms; `own` is the term at the claimed position, if there is one.
    pub(crate) fn check([before, after]: [u64; 2], dtype: Dtype, own: Option<u64>) -> Check {
        let nan = |own: u64| dtype == Dtype::F32 && fp32::is_nan(own as u32);
        Check::exact(own.is_some_and(|own| nan(own) || (before == 0 && after == 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: u32 = 0x7fc0_0001;
    const ONE: u32 = 0x3f80_0000;
    const TWO: u32 = 0x4000_0000;

    fn maximum(terms: &[u32], y: u32) -> bool {
        let mut maximum = Maximum::default();
        terms.iter().for_each(|x| maximum.value(*x));
        maximum.check(y).inside
    }

    fn position(terms: &[u32], y: i64) -> bool {
        let mut arg = ArgMaximum::new(Dtype::F32, y);
        terms.iter().zip(0..).for_each(|(x, i)| arg.value(i, u64::from(*x)));
        arg.check().inside
    }

    #[test]
    fn maximum_of_terms() {
        assert!(maximum(&[ONE, TWO, ONE], TWO) && !maximum(&[ONE, TWO, ONE], ONE));
        assert!(maximum(&[], 0xff80_0000) && !maximum(&[], 0));
        assert!(maximum(&[0, fp32::SIGN], 0) && maximum(&[0, fp32::SIGN], fp32::SIGN));
        assert!(maximum(&[ONE, NAN], NAN) && maximum(&[ONE, NAN], ONE) && !maximum(&[ONE, NAN], TWO));
        // A maximum that takes NaN for the lesser begins anew after it.
        assert!(maximum(&[TWO, NAN, ONE], ONE) && maximum(&[ONE, NAN, TWO], ONE));
        assert!(maximum(&[NAN], LEAST) && maximum(&[NAN, LEAST], LEAST_FINITE) && !maximum(&[NAN], LEAST_FINITE - 1));
        assert!(maximum(&[LEAST], LEAST_FINITE) && !maximum(&[LEAST, 0xc000_0000], LEAST_FINITE));
        assert!(!maximum(&[LEAST], LEAST_FINITE - 1));
        assert!(!maximum(&[ONE], NAN));
        assert!(maximum(&[ONE | fp32::SIGN, TWO | fp32::SIGN], ONE | fp32::SIGN));
    }

    #[test]
    fn lowest_position_of_the_maximum() {
        assert!(position(&[ONE, TWO, TWO], 1) && !position(&[ONE, TWO, TWO], 2));
        assert!(position(&[fp32::SIGN, 0], 0) && !position(&[fp32::SIGN, 0], 1));
        assert!(position(&[ONE, NAN, TWO, NAN], 1) && position(&[ONE, NAN, TWO, NAN], 3));
        assert!(position(&[ONE, NAN, TWO, NAN], 2) && !position(&[ONE, NAN, TWO, NAN], 0));
        assert!(position(&[NAN, NAN], 0) && position(&[NAN, NAN], 1) && !position(&[NAN, NAN], 2));
        assert!(position(&[], 0) && !position(&[], 1) && !position(&[], -1));
        let mut integers = ArgMaximum::new(Dtype::I32, 1);
        [u32::MAX, 0, u32::MAX]
            .iter()
            .zip(0..)
            .for_each(|(x, i)| integers.value(i, u64::from(*x)));
        assert!(integers.check().inside);
    }
}
