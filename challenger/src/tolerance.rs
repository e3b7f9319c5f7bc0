//! When a layer that we cannot reproduce bit for bit is worth a dispute.
//!
//! Inner values are not committed before they are asked for, and another conforming engine gives other ones, so a replay proves
//! nothing by itself. What it gives is a distance: the worker's boundary outputs, held against the envelope of the operator that
//! wrote them around our own inner values ([`crate::examine::Look`]). A layer is *suspect* when none of our engines reproduces it bit for bit
//! and one of these holds:
//!
//! - the distance is more than one envelope. Within one, our own inner values with the worker's outputs would explain the layer,
//!   so nobody could be sure to convict (the layer's worst-case tolerance);
//! - the distance is beyond what honest engines show. With two engines that is measured on this very input: [`Tolerance::factor`]
//!   times what they differ by from each other, at least [`Tolerance::floor`]; with one it is [`Tolerance::alone`]. The test
//!   `honest_distances` prints the greatest honest distances beside these constants;
//! - [`Bits`] says that bits count, and they differ. An engine of ours that gives most of the claim's layers bit for bit is the worker's, and
//!   where its bits differ something else did ([`Bits::Most`]). A worker none of whose layers come out the same either runs another
//!   engine or lies a little everywhere: its layers are asked for ([`Bits::All`]).
//!
//! Only the judge convicts. A suspect layer that turns out right costs us a quarter of the bond, burned, and the worker's gas. So for each time that we
//! had to concede to a worker, bits count for less with it: `All`, `Most`, `Off`; and a day has room for a number of disputes on bits alone.

use std::cmp::Ordering;

use clap::ValueEnum;
use serde::Deserialize;

use crate::examine::{Look, Spot};

/// When other bits alone make a layer suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bits {
    /// Never.
    Off,
    /// When an engine of ours gives most layers of the claim.
    Most,
    /// Always.
    All,
}

/// What is tolerated, in shares of the envelope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Tolerated however close our engines are to each other.
    pub floor: f64,
    /// Tolerated, in distances of our engines from each other.
    pub factor: f64,
    /// Tolerated with one engine.
    pub alone: f64,
    /// When other bits alone are not.
    pub bits: Bits,
}

impl Tolerance {
    /// See the test `honest_distances` for the measured greatest honest distance beside each.
    pub const USUAL: Tolerance = Tolerance {
        floor: 0.125,
        factor: 4.0,
        alone: 0.5,
        bits: Bits::Most,
    };

    /// The same, for a worker whose bits differed and who was right so many times.
    pub fn after_concessions(self, concessions: usize) -> Self {
        let bits = (0..concessions).fold(self.bits, |bits, _| match bits {
            Bits::All => Bits::Most,
            Bits::Most | Bits::Off => Bits::Off,
        });
        Self { bits, ..self }
    }
}

/// A layer to ask for, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspect {
    /// The layer.
    pub layer: u32,
    /// The worst boundary element.
    pub spot: Spot,
    /// The distance that would have been tolerated.
    pub tolerated: f64,
    /// Whether the distance is tolerated and only the bits are not.
    pub by_bits: bool,
}

/// The suspect layers of a claim: the worst distances first, then those that differ by bits alone, in their order.
pub fn suspects(looks: &[Look], tolerance: &Tolerance) -> Vec<Suspect> {
    let engines = looks.iter().map(|look| look.reproduced.len()).max().unwrap_or(0);
    let same = |engine: usize| {
        looks
            .iter()
            .filter(|look| look.reproduced.get(engine) == Some(&true))
            .count()
    };
    let bits_count = match tolerance.bits {
        Bits::Off => false,
        Bits::Most => (0..engines).any(|engine| 2 * same(engine) > looks.len()),
        Bits::All => true,
    };
    let mut suspects: Vec<Suspect> = looks
        .iter()
        .filter(|look| !look.reproduced.contains(&true))
        .filter_map(|look| {
            // Without a boundary output that depends on inner values, all that matters was judged directly.
            let spot = look.worst?;
            let usual = look
                .mutual
                .map_or(tolerance.alone, |mutual| tolerance.floor.max(tolerance.factor * mutual));
            let tolerated = usual.min(1.0);
            let by_bits = spot.share <= tolerated;
            (bits_count || !by_bits).then_some(Suspect {
                layer: look.layer,
                spot,
                tolerated,
                by_bits,
            })
        })
        .collect();
    suspects.sort_by(|a, b| match (a.by_bits, b.by_bits) {
        (false, false) => b.spot.share.partial_cmp(&a.spot.share).unwrap_or(Ordering::Equal),
        (true, true) => a.layer.cmp(&b.layer),
        (a, b) => a.cmp(&b),
    });
    suspects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(layer: u32, reproduced: &[bool], share: f64, mutual: Option<f64>) -> Look {
        let worst = Some(Spot {
            operator: layer,
            element: 0,
            share,
        });
        Look {
            layer,
            reproduced: reproduced.to_vec(),
            worst,
            mutual,
        }
    }

    fn layers(looks: &[Look]) -> Vec<u32> {
        suspects(looks, &Tolerance::USUAL)
            .iter()
            .map(|suspect| suspect.layer)
            .collect()
    }

    #[test]
    fn a_layer_that_an_engine_reproduces_is_right_whatever_the_others_say() {
        assert!(layers(&[look(0, &[false, true], 3.0, Some(3.0))]).is_empty());
    }

    #[test]
    fn more_than_an_envelope_is_suspect_however_far_engines_are_apart() {
        assert_eq!(layers(&[look(0, &[false, false], 1.01, Some(5.0))]), [0]);
        assert!(layers(&[look(0, &[false, false], 0.99, Some(5.0))]).is_empty());
    }

    #[test]
    fn with_two_engines_their_distance_is_the_measure_and_the_worst_comes_first() {
        let t = Tolerance::USUAL;
        let apart = |layer, share, mutual| look(layer, &[false, false], share, Some(mutual));
        let mutual = 0.05;
        let looks = [
            apart(0, 1.01 * t.factor * mutual, mutual),
            apart(1, 0.9, 0.0),
            apart(2, t.floor, 0.0),
            apart(3, 0.99 * t.factor * mutual, mutual),
        ];
        assert_eq!(layers(&looks), [1, 0]);
    }

    #[test]
    fn one_engine_alone_has_its_own_measure() {
        let t = Tolerance::USUAL;
        assert_eq!(
            layers(&[
                look(0, &[false], 1.01 * t.alone, None),
                look(1, &[false], 0.99 * t.alone, None)
            ]),
            [0]
        );
    }

    #[test]
    fn an_engine_that_gives_most_layers_bit_for_bit_must_give_all() {
        let same = |layer| look(layer, &[false, true], 0.0, Some(0.01));
        let other = |layer| look(layer, &[false, false], 0.001, Some(0.01));
        assert_eq!(layers(&[same(0), same(1), other(2)]), [2]);
        assert!(
            layers(&[same(0), other(1), other(2)]).is_empty(),
            "one layer may be the same by chance"
        );
        let lax = Tolerance {
            bits: Bits::Off,
            ..Tolerance::USUAL
        };
        assert!(suspects(&[same(0), same(1), other(2)], &lax).is_empty());
    }

    #[test]
    fn where_all_bits_count_every_other_layer_is_asked_for_once() {
        let all = Tolerance {
            bits: Bits::All,
            ..Tolerance::USUAL
        };
        let other = |layer, share| look(layer, &[false, false], share, Some(0.01));
        let looks = [
            other(0, 0.001),
            other(1, 0.002),
            other(2, 0.9),
            look(3, &[true, false], 0.0, None),
            other(4, 0.001),
        ];
        let found: Vec<(u32, bool)> = suspects(&looks, &all)
            .iter()
            .map(|suspect| (suspect.layer, suspect.by_bits))
            .collect();
        assert_eq!(found, [(2, false), (0, true), (1, true), (4, true)]);
        let found = suspects(&looks, &all.after_concessions(1));
        assert_eq!(
            found.iter().map(|suspect| suspect.layer).collect::<Vec<_>>(),
            [2],
            "the bits of a worker of another engine do not count"
        );
    }

    #[test]
    fn a_worker_that_was_right_is_asked_for_less_each_time() {
        let bits = |start, concessions| {
            let tolerance = Tolerance {
                bits: start,
                ..Tolerance::USUAL
            };
            tolerance.after_concessions(concessions).bits
        };
        assert_eq!(
            [0, 1, 2, 9].map(|n| bits(Bits::All, n)),
            [Bits::All, Bits::Most, Bits::Off, Bits::Off]
        );
        assert_eq!(
            [0, 1, 2].map(|n| bits(Bits::Most, n)),
            [Bits::Most, Bits::Off, Bits::Off]
        );
        // One layer of other bits among many that are ours: suspect by `Most`, and no longer after one concession.
        let looks: Vec<Look> = (0..9).map(|layer| look(layer, &[layer != 4], 0.001, None)).collect();
        let most = Tolerance {
            bits: Bits::All,
            ..Tolerance::USUAL
        };
        let suspected = |concessions| suspects(&looks, &most.after_concessions(concessions)).len();
        assert_eq!([0, 1, 2].map(suspected), [1, 1, 0]);
    }
}
