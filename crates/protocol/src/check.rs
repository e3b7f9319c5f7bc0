//! What a family's rule says about one element.

/// Result of holding one committed element against its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether a conforming engine may have produced the element.
    pub inside: bool,
    /// Error divided by the bound, times 2^32, saturating: 0 is the centre of the envelope, 2^32 its edge. Only for reports;
    /// the verdict is `inside`. Families without a width give 0 inside and [`Check::OUTSIDE`]'s share outside.
    pub share: u64,
}

impl Check {
    /// One whole envelope, as [`Check::share`] counts.
    pub const EDGE: u64 = 1 << 32;

    /// Equal where the rule has no width, or where a clause admits the value.
    pub const INSIDE: Check = Check { inside: true, share: 0 };

    /// Different where the rule has no width, or where no clause admits the value.
    pub const OUTSIDE: Check = Check {
        inside: false,
        share: u64::MAX,
    };

    /// The check of a rule without a width.
    pub const fn exact(inside: bool) -> Self {
        if inside { Self::INSIDE } else { Self::OUTSIDE }
    }
}
