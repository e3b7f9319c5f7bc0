//! Unsigned integers of 768 bits: exact sums over the whole range of fp32 products.
//!
//! The unit of every sum is 2^-300, so that a product of two fp32 numbers is an integer below 2^556, and 2^24 of them times 2^53
//! stay below 2^633. Nothing is ever cut off.

use std::cmp::Ordering;

const LIMBS: usize = 12;

/// An unsigned integer of 768 bits, least limb first. Overflow wraps; callers stay far below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide([u64; LIMBS]);

impl Wide {
    pub(crate) const ZERO: Wide = Wide([0; LIMBS]);

    /// `value · 2^shift`; what is beyond 768 bits is lost.
    pub(crate) fn shifted(value: u128, shift: u32) -> Self {
        let mut limbs = [0u64; LIMBS];
        let (limb, bit) = ((shift / 64) as usize, shift % 64);
        let low = value << bit;
        let high = if bit == 0 { 0 } else { value >> (128 - bit) };
        for (place, part) in [low as u64, (low >> 64) as u64, high as u64].into_iter().enumerate() {
            if let Some(slot) = limbs.get_mut(limb + place) {
                *slot = part;
            }
        }
        Self(limbs)
    }

    /// Sum of `lanes[i] · 2^(32·i)`.
    pub(crate) fn from_lanes(lanes: &[u128; 16]) -> Self {
        let mut limbs = [0u64; LIMBS];
        let mut carry = 0u128;
        for (limb, pair) in limbs.iter_mut().zip(lanes.chunks_exact(2)) {
            // carry < 2^81 and lanes < 2^112: the sums stay below 2^128 because the odd lane is cut in two.
            let odd_low = (pair[1] & 0xffff_ffff) << 32;
            let sum = carry + pair[0] + odd_low;
            *limb = sum as u64;
            carry = (sum >> 64) + (pair[1] >> 32);
        }
        limbs[8] = carry as u64;
        limbs[9] = (carry >> 64) as u64;
        Self(limbs)
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut limbs = [0u64; LIMBS];
        let mut carry = false;
        for ((limb, a), b) in limbs.iter_mut().zip(self.0).zip(other.0) {
            let (sum, first) = a.overflowing_add(b);
            let (sum, second) = sum.overflowing_add(carry.into());
            *limb = sum;
            carry = first | second;
        }
        Self(limbs)
    }

    /// `|self − other|`.
    pub(crate) fn distance(&self, other: &Self) -> Self {
        let (large, small) = if self.compare(other) == Ordering::Less {
            (other, self)
        } else {
            (self, other)
        };
        let mut limbs = [0u64; LIMBS];
        let mut borrow = false;
        for ((limb, a), b) in limbs.iter_mut().zip(large.0).zip(small.0) {
            let (rest, first) = a.overflowing_sub(b);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            *limb = rest;
            borrow = first | second;
        }
        Self(limbs)
    }

    pub(crate) fn times(&self, factor: u64) -> Self {
        let mut limbs = [0u64; LIMBS];
        let mut carry = 0u128;
        for (limb, a) in limbs.iter_mut().zip(self.0) {
            let product = u128::from(a) * u128::from(factor) + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
        Self(limbs)
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }

    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    fn bits(&self) -> u32 {
        self.0
            .iter()
            .rposition(|limb| *limb != 0)
            .map_or(0, |top| top as u32 * 64 + 64 - self.0[top].leading_zeros())
    }

    /// Bits `[from, from + 64)`.
    fn window(&self, from: u32) -> u64 {
        let (limb, bit) = ((from / 64) as usize, from % 64);
        let low = self.0.get(limb).copied().unwrap_or(0) >> bit;
        let high = self.0.get(limb + 1).copied().unwrap_or(0);
        if bit == 0 { low } else { low | (high << (64 - bit)) }
    }

    /// `self / other · 2^32`, to about 60 bits, saturating; 0 of 0.
    pub(crate) fn share(&self, other: &Self) -> u64 {
        if self.is_zero() {
            return 0;
        }
        let from = self.bits().max(other.bits()).saturating_sub(64);
        let (part, whole) = (u128::from(self.window(from)) << 32, u128::from(other.window(from)));
        part.checked_div(whole)
            .map_or(u64::MAX, |share| u64::try_from(share).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up_at_their_places() {
        let most = (1u128 << 112) - 1;
        let mut expect = Wide::ZERO;
        let mut lanes = [0u128; 16];
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = most - 12_345 * i as u128;
            expect = expect.add(&Wide::shifted(*lane, 32 * i as u32));
        }
        assert_eq!(Wide::from_lanes(&lanes), expect);
    }

    #[test]
    fn distance_times_and_share() {
        let a = Wide::shifted(0xffff_ffff_ffff_ffff_ffff, 300);
        let b = Wide::shifted(1, 299);
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&b).add(&b), a);
        assert_eq!(a.times(3), a.add(&a).add(&a));
        assert_eq!(b.times(3).share(&b), 3 << 32);
        assert_eq!(b.share(&b.times(4)), 1 << 30);
        assert_eq!(Wide::ZERO.share(&Wide::ZERO), 0);
        assert_eq!(b.share(&Wide::ZERO), u64::MAX);
        assert_eq!(a.compare(&b), Ordering::Greater);
    }
}
