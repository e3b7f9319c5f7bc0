//! Numerics profiles: how an engine may compute, and with what constants it is judged (PROTOCOL.md section 4; why the bounds hold:
//! `docs/envelopes.md#profiles`). Mirrors `contracts/src/libraries/Profile.sol`.

/// Which engines conform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any order of summation, fused or not, in fp32 or wider.
    Fast,
    /// As `Fast`, but sums are made in blocks of that many terms (a power of two, 16 to 2^15).
    Blocked(u16),
    /// Values are fp32; inside an operator everything is binary64, rounded to fp32 once at the end.
    Wide,
    /// As `Fast`, but the factors of contractions may be rounded to the format, and their sums made by tensor cores.
    Tensor(Format),
}

/// What tensor cores read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 8 bits of exponent, 11 of significand; rounded to nearest or cut off.
    Tf32 = 1,
    /// 8 bits of exponent, 8 of significand; rounded to nearest.
    Bf16 = 2,
    /// IEEE binary16: 5 bits of exponent, 11 of significand; rounded to nearest.
    Fp16 = 3,
}

/// How an engine may compute, and with what constants it is judged; part of the model id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Which engines conform.
    pub kind: Kind,
    /// Relative constant of library functions: an engine's error is at most `2 · k_rel · u · |f|` plus the absolute part.
    pub k_rel: u8,
    /// Absolute constant of bounded library functions, in units of u.
    pub k_abs: u8,
}

/// Why a profile word is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No profile has this kind.
    #[error("numerics profile {word:#018x}: kind {kind} is not known")]
    Kind {
        /// The word.
        word: u64,
        /// Its kind.
        kind: u8,
    },
    /// The flags are not those that the kind takes.
    #[error(
        "numerics profile {word:#018x}: flags are {flags:#04x}, kind {kind} takes {}",
        if *kind == 3 { "1 (tf32), 2 (bf16) or 3 (fp16)" } else { "none" }
    )]
    Flags {
        /// The word.
        word: u64,
        /// Its kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// The block is not one that the kind takes.
    #[error(
        "numerics profile {word:#018x}: the block is {block}, kind {kind} takes {}",
        if *kind == 1 { "a power of two from 16 to 32768" } else { "none" }
    )]
    Block {
        /// The word.
        word: u64,
        /// Its kind.
        kind: u8,
        /// Its block.
        block: u16,
    },
    /// The constants of library functions are others.
    #[error("numerics profile {word:#018x}: k_rel is {k_rel} and k_abs {k_abs}, expected 8 and 4")]
    Constants {
        /// The word.
        word: u64,
        /// Its k_rel.
        k_rel: u8,
        /// Its k_abs.
        k_abs: u8,
    },
    /// The last 16 bits are not 0.
    #[error("numerics profile {word:#018x}: the last 16 bits are {rest:#06x}, expected 0")]
    Reserved {
        /// The word.
        word: u64,
        /// The last 16 bits.
        rest: u16,
    },
}

const LEAST_BLOCK: u16 = 16;
const GREATEST_BLOCK: u16 = 1 << 15;

impl Profile {
    /// `fast`: any order of summation, fused or not, with the constants of PROTOCOL.md section 4.
    pub const FAST: Profile = Profile::of(Kind::Fast);
    /// `wide`: binary64 inside an operator, one rounding to fp32.
    pub const WIDE: Profile = Profile::of(Kind::Wide);
    /// `tf32`: tensor cores with factors rounded to TF32.
    pub const TF32: Profile = Profile::of(Kind::Tensor(Format::Tf32));
    /// `bf16`: tensor cores with factors rounded to bfloat16.
    pub const BF16: Profile = Profile::of(Kind::Tensor(Format::Bf16));
    /// `fp16`: tensor cores with factors rounded to binary16.
    pub const FP16: Profile = Profile::of(Kind::Tensor(Format::Fp16));

    /// `blocked(b)`: sums in blocks of `block` terms.
    ///
    /// # Errors
    /// The block is not a power of two from 16 to 2^15.
    pub const fn blocked(block: u16) -> Result<Self, ProfileError> {
        Self::decode(Self::of(Kind::Blocked(block)).encode())
    }

    /// The kind with the constants that all kinds have.
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            k_rel: 8,
            k_abs: 4,
        }
    }

    /// The profile's word: `u8 kind ‖ u8 flags ‖ u16 block ‖ u8 k_rel ‖ u8 k_abs ‖ u16 0`.
    pub const fn encode(self) -> u64 {
        let (kind, flags, block) = match self.kind {
            Kind::Fast => (0, 0, 0),
            Kind::Blocked(block) => (1, 0, block),
            Kind::Wide => (2, 0, 0),
            Kind::Tensor(format) => (3, format as u64, 0),
        };
        (kind << 56)
            | (flags << 48)
            | ((block as u64) << 32)
            | ((self.k_rel as u64) << 24)
            | ((self.k_abs as u64) << 16)
    }

    /// Reads a profile's word.
    ///
    /// # Errors
    /// A kind that is not known, or a field that is not what its kind takes: there is one word for each profile.
    pub const fn decode(word: u64) -> Result<Self, ProfileError> {
        let kind = (word >> 56) as u8;
        let flags = (word >> 48) as u8;
        let block = (word >> 32) as u16;
        let (k_rel, k_abs) = ((word >> 24) as u8, (word >> 16) as u8);
        let rest = word as u16;
        let profile = Self::of(match (kind, flags) {
            (0, 0) => Kind::Fast,
            (1, 0) => Kind::Blocked(block),
            (2, 0) => Kind::Wide,
            (3, 1) => Kind::Tensor(Format::Tf32),
            (3, 2) => Kind::Tensor(Format::Bf16),
            (3, 3) => Kind::Tensor(Format::Fp16),
            (0..=3, _) => return Err(ProfileError::Flags { word, kind, flags }),
            _ => return Err(ProfileError::Kind { word, kind }),
        });
        let fits = match profile.kind {
            Kind::Blocked(block) => block.is_power_of_two() && block >= LEAST_BLOCK && block <= GREATEST_BLOCK,
            Kind::Fast | Kind::Wide | Kind::Tensor(_) => block == 0,
        };
        if !fits {
            return Err(ProfileError::Block { word, kind, block });
        }
        if k_rel != profile.k_rel || k_abs != profile.k_abs {
            return Err(ProfileError::Constants { word, k_rel, k_abs });
        }
        if rest != 0 {
            return Err(ProfileError::Reserved { word, rest });
        }
        Ok(profile)
    }
}

/// What the families' rules read of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numerics {
    /// −log2 of u, the relative error of one rounding inside an operator: 24 or 53.
    pub(crate) precision: u32,
    /// One rounding to fp32 ends the operator: the result stands for its rounding cell, and nothing overflows or underflows before.
    pub(crate) wide: bool,
    /// How many terms are added before the blocks' sums are; 0: no blocks.
    pub(crate) block: u64,
    /// What the factors of contractions may be rounded to.
    pub(crate) format: Option<Format>,
    /// Half the relative error of a library function, in u.
    pub(crate) k_rel: u64,
    /// Absolute error of a library function, in u times the scale of the function.
    pub(crate) k_abs: u64,
}

impl Numerics {
    /// Of a profile's word. A word that no profile has, which callers refuse before, reads as its nearest.
    pub(crate) const fn of(word: u64) -> Self {
        let wide = word >> 56 == 2;
        Self {
            precision: if wide { 53 } else { 24 },
            wide,
            block: word >> 32 & 0xffff,
            format: match (word >> 56, word >> 48 & 0xff) {
                (3, 1) => Some(Format::Tf32),
                (3, 2) => Some(Format::Bf16),
                (3, 3) => Some(Format::Fp16),
                _ => None,
            },
            k_rel: word >> 24 & 0xff,
            k_abs: word >> 16 & 0xff,
        }
    }

    /// 1/u.
    pub(crate) const fn unit(&self) -> u64 {
        1 << self.precision
    }

    /// How many operations a term passes at most on its way through a sum, its own product or first addition included. `counted` of
    /// the operator's `terms` terms are in bounds; blocks are made of all of them.
    pub(crate) const fn way(&self, counted: u64, terms: u64) -> u64 {
        if self.block == 0 {
            return counted;
        }
        let blocked = self.block + terms.div_ceil(self.block);
        if blocked < counted { blocked } else { counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_one_word() {
        assert_eq!(Profile::FAST.encode(), 0x0000_0000_0804_0000);
        assert_eq!(Profile::WIDE.encode(), 0x0200_0000_0804_0000);
        let blocked = Profile::blocked(256).unwrap();
        assert_eq!(blocked.encode(), 0x0100_0100_0804_0000);
        let mut known: Vec<u64> = (4..16)
            .map(|bit| Profile::blocked(1 << bit).unwrap().encode())
            .collect();
        let tensor = [Profile::TF32, Profile::BF16, Profile::FP16].map(Profile::encode);
        assert_eq!(tensor, [1, 2, 3].map(|format| 0x0300_0000_0804_0000 | format << 48));
        known.extend([Profile::FAST.encode(), Profile::WIDE.encode()]);
        known.extend(tensor);
        for word in &known {
            assert_eq!(Profile::decode(*word).map(Profile::encode), Ok(*word));
            // One bit off, and two: known only if it is another's word.
            for bit in 0..64 {
                for other in 0..64 {
                    let changed = word ^ (1 << bit) ^ (1 << other);
                    assert_eq!(
                        Profile::decode(changed).is_ok(),
                        known.contains(&changed),
                        "{changed:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_what_is_wrong() {
        let refused = |word| Profile::decode(word).unwrap_err();
        let fast = Profile::FAST.encode();
        let kind = |kind: u64| fast | kind << 56;
        let word = kind(4);
        assert_eq!(refused(word), ProfileError::Kind { word, kind: 4 });
        for (of, flags) in [(0, 1), (1, 3), (2, 1), (3, 0), (3, 4), (3, 0x81)] {
            let word = kind(of) | u64::from(flags) << 48;
            let kind = of as u8;
            assert_eq!(refused(word), ProfileError::Flags { word, kind, flags });
        }
        for (of, block) in [(0, 16), (2, 16), (1, 0), (1, 8), (1, 24), (1, 0xffff), (3, 16)] {
            let word = kind(of) | u64::from(of == 3) << 48 | u64::from(block) << 32;
            let expect = ProfileError::Block {
                word,
                kind: of as u8,
                block,
            };
            assert_eq!(refused(word), expect);
        }
        let word = fast + (1 << 24);
        assert_eq!(
            refused(word),
            ProfileError::Constants {
                word,
                k_rel: 9,
                k_abs: 4
            }
        );
        assert_eq!(
            refused(fast | 7),
            ProfileError::Reserved {
                word: fast | 7,
                rest: 7
            }
        );
        assert_eq!(
            refused(0),
            ProfileError::Constants {
                word: 0,
                k_rel: 0,
                k_abs: 0
            }
        );
        assert_eq!(
            refused(kind(1)).to_string(),
            "numerics profile 0x0100000008040000: the block is 0, kind 1 takes a power of two from 16 to 32768"
        );
        assert_eq!(
            refused(kind(3)).to_string(),
            "numerics profile 0x0300000008040000: flags are 0x00, kind 3 takes 1 (tf32), 2 (bf16) or 3 (fp16)"
        );
    }
}
