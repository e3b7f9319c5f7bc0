//! The constant K(n) behind a layer norm's mean and variance, held against the algorithms that it must cover.
//!
//! To first order in u, with A = Σ|x|: every merge of parts a and b (Welford's step is a merge with one term) leaves
//! |ê| ≤ κ·u·A/count, κ growing along a term's way by 1 + 3·n_b/n_a on the side merged into and by 4 on the other (roundings of
//! the difference, the coefficient, the product, the sum). Variances see Σ w(e_b − e_a)², w = n_a·n_b/(n_a + n_b), through the triangle
//! inequality of that norm, and Welford's product form the rounding ρ of the mean as well. All of these are largest when
//! one term holds all of A (they are convex in the |x|), so it is enough to follow each term.
#![allow(clippy::expect_used)]

use touchstone_protocol::enclosure::moment_roundings;

/// What one term, alone holding A, does to the node it is in; units of u·A.
#[derive(Clone, Copy, Default)]
struct Term {
    /// κ: roundings of the mean.
    mean: f64,
    /// Σ w·e² over the merges so far.
    spread: f64,
    /// Σ ρ²/w over Welford's steps so far.
    product: f64,
}

/// A part of the row.
#[derive(Clone, Default)]
struct Part {
    terms: Vec<Term>,
    /// Roundings of additions that a square has met at most.
    additions: f64,
}

impl Part {
    fn count(&self) -> f64 {
        self.terms.len() as f64
    }

    /// `self` ← `self` merged with `other`, as Chan, Golub and LeVeque merge. Empty parts cost nothing.
    fn merge(&mut self, other: Part) {
        if self.terms.is_empty() || other.terms.is_empty() {
            if self.terms.is_empty() {
                *self = other;
            }
            return;
        }
        let (a, b) = (self.count(), other.count());
        let weight = a * b / (a + b);
        for term in &mut self.terms {
            term.spread += weight * (term.mean / a).powi(2);
            term.mean += 1.0 + 3.0 * b / a;
        }
        for mut term in other.terms {
            term.spread += weight * (term.mean / b).powi(2);
            term.mean += 4.0;
            self.terms.push(term);
        }
        self.additions = self.additions.max(other.additions) + 2.0;
    }

    /// `self` with one more term, by Welford's step.
    fn push(&mut self) {
        let before = self.count();
        let additions = self.additions;
        if before > 0.0 {
            let (count, weight) = (before + 1.0, before / (before + 1.0));
            for term in &mut self.terms {
                term.product += ((1.0 + 3.0 / before) / count).powi(2) / weight;
            }
            self.merge(Part {
                terms: vec![Term {
                    product: (4.0 / count).powi(2) / weight,
                    ..Term::default()
                }],
                additions: 0.0,
            });
            self.additions = additions + 1.0;
        } else {
            self.terms.push(Term::default());
        }
    }

    /// How much of what K allows is used: mean, roundings of the variance, first and second order of its spread.
    fn shares(&self) -> [f64; 4] {
        let n = self.count();
        let k = moment_roundings(self.terms.len()) as f64;
        let unit = k / n;
        let most = |value: &dyn Fn(&Term) -> f64| self.terms.iter().map(value).fold(0.0, f64::max);
        [
            // Three more: x·r − μ·r in place of (x − μ)·r.
            (most(&|term| term.mean) + 3.0) / k,
            // A square has six roundings of its own; dividing by n, or times a rounded 1/n, two.
            (self.additions + 8.0) / k,
            most(&|term| 2.0 * term.spread.sqrt() + term.product.sqrt()) / (8.0 * n).sqrt() / unit,
            most(&|term| term.spread + (term.spread * term.product).sqrt()) / (2.0 * n) / unit.powi(2),
        ]
    }
}

/// Terms one after the other.
fn sequential(n: usize) -> Part {
    let mut part = Part::default();
    (0..n).for_each(|_| part.push());
    part
}

/// Halves, down to single terms.
fn balanced(n: usize) -> Part {
    if n < 2 {
        return sequential(n);
    }
    let mut part = balanced(n / 2);
    part.merge(balanced(n - n / 2));
    part
}

/// libtorch: lanes of a vector, chunks of 16 by Welford, merged as a binary counter, the counter collapsed into its lowest place, then
/// the rest of the row by Welford and the lanes merged into it.
fn cascaded(n: usize, lanes: usize) -> Part {
    let vectors = n / lanes;
    let chunks = vectors.div_ceil(16);
    let depth = if chunks <= 2 {
        1
    } else {
        (chunks - 1).ilog2() as usize + 1
    };
    let mut stack = vec![Part::default(); depth];
    for chunk in 0..chunks {
        stack[0].merge(sequential((vectors - 16 * chunk).min(16)));
        let mut mask = chunk + 1;
        let mut place = 1;
        while place < depth && mask & 1 == 0 {
            let lower = std::mem::take(&mut stack[place - 1]);
            stack[place].merge(lower);
            mask >>= 1;
            place += 1;
        }
    }
    let mut lane = std::mem::take(&mut stack[0]);
    stack.drain(1..).for_each(|part| lane.merge(part));
    let mut all = sequential(n % lanes);
    (0..lanes).for_each(|_| all.merge(lane.clone()));
    all
}

fn worst(parts: impl Iterator<Item = Part>) -> [f64; 4] {
    parts.map(|part| part.shares()).fold([0.0; 4], |worst, shares| {
        std::array::from_fn(|i| worst[i].max(shares[i]))
    })
}

#[test]
fn moments_of_every_algorithm_fit_the_constant() {
    let lengths = || {
        (1..=200)
            .chain((201..=2048).step_by(37))
            .chain([255, 256, 257, 384, 512, 768, 1000, 1024, 1536, 2047, 2048])
    };
    let mut all = [0.0f64; 4];
    let mut take = |name: &str, shares: [f64; 4]| {
        println!(
            "{name}: mean {:.3}, roundings {:.3}, spread {:.3} and {:.3}",
            shares[0], shares[1], shares[2], shares[3]
        );
        assert!(shares.iter().all(|&share| share <= 1.0), "{name}: {shares:?}");
        all = std::array::from_fn(|i| all[i].max(shares[i]));
    };
    take("Welford", worst(lengths().map(sequential)));
    take("balanced merges", worst(lengths().map(balanced)));
    for lanes in [4, 8, 16] {
        take(
            &format!("libtorch, {lanes} lanes"),
            worst(lengths().map(|n| cascaded(n, lanes))),
        );
    }
    // Two passes: n − 1 additions, then 1/n rounded and a product, for the mean; two more for the square and one for x − μ.
    let two_pass = lengths()
        .map(|n| (n as f64 + 4.0) / moment_roundings(n) as f64)
        .fold(0.0, f64::max);
    take("two passes", [two_pass, two_pass, 0.0, 0.0]);
    // Half of any of them would not do.
    assert!(all.iter().all(|&share| share > 0.5), "{all:?}");
}

/// The term at `place` alone of `n` terms one after the other: what becomes of it does not depend on the others.
fn alone(n: usize, place: usize) -> Part {
    let mut term = Term::default();
    if place > 0 {
        let count = place as f64 + 1.0;
        let weight = place as f64 / count;
        // It is merged into `place` terms before it, which hold nothing.
        term.product = (4.0 / count).powi(2) / weight;
        term.mean = 4.0;
    }
    for before in place.max(1)..n {
        if before == place {
            continue;
        }
        let before = before as f64;
        let (count, weight) = (before + 1.0, before / (before + 1.0));
        term.product += ((1.0 + 3.0 / before) / count).powi(2) / weight;
        term.spread += weight * (term.mean / before).powi(2);
        term.mean += 1.0 + 3.0 / before;
    }
    Part {
        terms: vec![term],
        additions: n as f64 - 1.0,
    }
}

/// The same shares of a row of `n` terms of which `part` follows some.
fn shares_of(part: &Part, n: usize) -> [f64; 4] {
    let most = |value: &dyn Fn(&Term) -> f64| part.terms.iter().map(value).fold(0.0, f64::max);
    let (count, k) = (n as f64, moment_roundings(n) as f64);
    [
        (most(&|term| term.mean) + 3.0) / k,
        (part.additions + 8.0) / k,
        most(&|term| 2.0 * term.spread.sqrt() + term.product.sqrt()) / (8.0 * count).sqrt() / (k / count),
        most(&|term| term.spread + (term.spread * term.product).sqrt()) / (2.0 * count) / (k / count).powi(2),
    ]
}

/// Rows that are judged by parts. One after the other a term meets n − 1 + 3·H(n − 1) + 3 roundings and its errors' squares add up to n
/// and O(ln²n), so that shares fall towards 1, 1, 2/√8 and 1/2 of what K allows, K's logarithm being the greater. Merges of halves meet a
/// number that grows as the logarithm; so does libtorch's cascade, but a lone rest that four lanes are merged into meets 3n/4, and its
/// shares tend to 0.75, 2·√(27/16)/√8 and 27/32.
#[test]
fn moments_of_long_rows_fit_the_constant() {
    for n in [
        2049,
        3000,
        4096,
        4097,
        4100,
        4160,
        6000,
        8200,
        16_500,
        65_537,
        65_600,
        262_300,
        1 << 20,
        1 << 24,
    ] {
        let places = [0, 1, 2, 3, 10, 100, 1000, n / 2, n - 2, n - 1];
        let welford = places.map(|place| shares_of(&alone(n, place), n));
        let welford: [f64; 4] = std::array::from_fn(|i| welford.iter().map(|shares| shares[i]).fold(0.0, f64::max));
        println!("{n}: {welford:?}");
        assert!(welford.iter().all(|share| *share <= 1.0), "{n}: {welford:?}");
        assert!(
            welford[0] > 0.98 && welford[2] > 0.7 && welford[3] > 0.48,
            "{n}: {welford:?}"
        );
        if n <= 1 << 20 {
            for merged in [balanced(n), cascaded(n, 4), cascaded(n, 16)] {
                let shares = merged.shares();
                println!("{n}, merged: {shares:?}");
                assert!(shares.iter().all(|share| *share <= 1.0), "{n}: {shares:?}");
            }
        }
    }
    // Followed alone, a term is what it is among the others.
    let all = sequential(300).shares();
    let alone: Vec<_> = (0..300).map(|place| shares_of(&alone(300, place), 300)).collect();
    for i in 0..4 {
        let most = alone.iter().map(|shares| shares[i]).fold(0.0, f64::max);
        assert!((most - all[i]).abs() < 1e-9, "{i}: {most} {}", all[i]);
    }
}

#[test]
fn the_count_is_the_pages() {
    for (n, log) in [
        (1usize, 0),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 3),
        (16, 4),
        (17, 5),
        (1000, 10),
        (1024, 10),
        (1025, 11),
        (2048, 11),
    ] {
        assert_eq!(moment_roundings(n), n as u64 + 3 * log + 12, "{n}");
    }
}
