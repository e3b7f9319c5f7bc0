//! What is measured of each cheat: by how much it exceeds at its full size, and the smallest size that the judge convicts.

use anyhow::{Context as _, Result};
use touchstone_engine::Value;
use touchstone_protocol::{
    check::Check,
    descriptor::{Code, Place},
    judge::Report,
};

use super::{
    Kind, Subject,
    kinds::{first_with_width, has_matrix, residual},
};

/// A cheat of the list: as it is named, and made smaller.
pub struct Cheat {
    /// What people call it.
    pub name: String,
    /// As named.
    pub full: (Kind, f64),
    /// How it is made smaller: from the smallest size on.
    pub smaller: Option<Smaller>,
}

/// Sizes of a cheat.
pub struct Smaller {
    /// What is made smaller.
    pub kind: Kind,
    /// What it is measured by, `{}` standing for the size, `{r}` for the relative change.
    pub unit: &'static str,
    /// Sizes, each more than the one before.
    pub sizes: Vec<f64>,
    /// How much of what it changes each size changes, for drawing them on one axis.
    pub relative: Vec<f64>,
}

/// What was found of one cheat.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What people call it.
    pub name: String,
    /// Elements outside at full size.
    pub outside: u64,
    /// Elements that it touches.
    pub elements: u64,
    /// The greatest share at full size; none where the rule has no width.
    pub share: Option<f64>,
    /// The smallest size convicted, in words, and as a relative change.
    pub smallest: Option<(String, f64)>,
    /// The share by which that smallest one exceeds.
    pub smallest_share: Option<f64>,
}

fn share(report: &Report) -> Option<f64> {
    let (_, share) = report.worst?;
    (share < u64::MAX).then_some(share as f64 / Check::EDGE as f64)
}

/// Measures one cheat.
///
/// # Errors
/// The engine or the judge fails.
pub fn measure(subject: &Subject<'_>, cheat: &Cheat) -> Result<Measured> {
    let report = subject.run(&cheat.full.0, cheat.full.1)?;
    let mut measured = Measured {
        name: cheat.name.clone(),
        outside: report.outside,
        elements: report.elements,
        share: share(&report),
        smallest: None,
        smallest_share: None,
    };
    if let Some(smaller) = &cheat.smaller
        && let Some((at, report)) = smallest(subject, smaller)?
    {
        let size = *smaller.sizes.get(at).context("no such size")?;
        let relative = *smaller.relative.get(at).context("no such size")?;
        let words = smaller
            .unit
            .replace("{}", &number(size))
            .replace("{r}", &number(relative));
        measured.smallest = Some((words, relative));
        measured.smallest_share = share(&report);
    }
    Ok(measured)
}

fn number(size: f64) -> String {
    if size.fract() == 0.0 {
        format!("{size}")
    } else {
        format!("{size:.1e}")
    }
}

/// The least size that is convicted, by bisection: where a size is, larger ones are.
fn smallest(subject: &Subject<'_>, smaller: &Smaller) -> Result<Option<(usize, Report)>> {
    let (mut low, mut high, mut found) = (0, smaller.sizes.len(), None);
    while low < high {
        let middle = low + (high - low) / 2;
        let report = subject.run(&smaller.kind, *smaller.sizes.get(middle).context("no such size")?)?;
        if report.outside > 0 {
            high = middle;
            found = Some((middle, report));
        } else {
            low = middle + 1;
        }
    }
    Ok(found)
}

/// Powers of the square root of two.
fn powers(from: i32, to: i32) -> Vec<f64> {
    (2 * from..=2 * to)
        .map(|half| 2f64.powf(f64::from(half) / 2.0))
        .collect()
}

/// Counts of bits, from `most` down.
fn bits(most: i32, least: i32) -> (Vec<f64>, Vec<f64>) {
    let kept = || (least..=most).rev();
    (
        kept().map(f64::from).collect(),
        kept().map(|bits| 2f64.powi(-bits)).collect(),
    )
}

/// The list: every cheat that this model has room for.
///
/// # Errors
/// The model has no weight matrix inside.
pub fn cheats(subject: &Subject<'_>) -> Result<Vec<Cheat>> {
    let plan = &subject.plan;
    let matrices: Vec<usize> = subject
        .of_code(Code::Contract)
        .filter(|n| {
            let d = subject.operator(*n);
            d.is_ok_and(|d| {
                matches!(d.place, Place::Inner(_)) && has_matrix(subject, *n, d) && residual(subject, *n, d).is_none()
            })
        })
        .collect();
    let victim = *matrices.get(matrices.len() / 2).context("no weight matrix inside")?;
    let elements = plan.operators.get(victim).map_or(0, |d| d.elements()) as usize;
    let mut list = weights(victim);
    list.extend(blocks(subject));
    list.extend(inputs(subject));
    list.extend(rows(subject));
    let (sizes, relative) = (
        (0..=30).map(f64::from).collect(),
        (0..=30).map(|bit| 2f64.powi(bit - 23)).collect(),
    );
    let flipped = Kind::FlippedBit {
        operator: victim,
        element: elements / 2,
    };
    list.push(Cheat {
        name: "a bit flip in one inner element".into(),
        full: (flipped.clone(), 22.0),
        smaller: Some(Smaller {
            kind: flipped,
            unit: "bit {}",
            sizes,
            relative,
        }),
    });
    for (name, value) in [("NaN injected", f32::NAN), ("infinity injected", f32::INFINITY)] {
        list.push(Cheat {
            name: name.into(),
            full: (
                Kind::Injected {
                    operator: victim,
                    value,
                },
                1.0,
            ),
            smaller: None,
        });
    }
    list.push(permuted(subject)?);
    Ok(list)
}

fn weights(victim: usize) -> Vec<Cheat> {
    let smaller = |kind: Kind, unit, (sizes, relative)| {
        Some(Smaller {
            kind,
            unit,
            sizes,
            relative,
        })
    };
    let full_range = Kind::RoundedWeights { least: -126 };
    let inputs = Kind::RoundedInputs;
    let scaled = Kind::ScaledMatrix { operator: victim };
    vec![
        Cheat {
            name: "bf16-rounded weights".into(),
            full: (full_range.clone(), 8.0),
            smaller: smaller(full_range, "{} bits kept", bits(23, 2)),
        },
        Cheat {
            name: "fp16-rounded weights".into(),
            full: (Kind::RoundedWeights { least: -14 }, 11.0),
            smaller: smaller(Kind::RoundedWeights { least: -14 }, "{} bits kept", bits(23, 2)),
        },
        Cheat {
            name: "int8-quantized weights".into(),
            full: (Kind::QuantizedWeights, 8.0),
            smaller: smaller(Kind::QuantizedWeights, "{} bits a weight", bits(26, 2)),
        },
        Cheat {
            name: "one weight matrix scaled by 1 + 1e-4".into(),
            full: (scaled.clone(), 1e-4),
            smaller: smaller(scaled, "1 + {}", (powers(-30, 0), powers(-30, 0))),
        },
        Cheat {
            name: "TF32-style input rounding".into(),
            full: (inputs.clone(), 11.0),
            smaller: smaller(inputs, "{} bits kept", bits(23, 2)),
        },
    ]
}

/// Cheats on whole blocks: skipped ones, an early exit.
fn blocks(subject: &Subject<'_>) -> Vec<Cheat> {
    let added: Vec<usize> = (0..subject.values.len())
        .filter(|n| subject.operator(*n).is_ok_and(|d| residual(subject, *n, d).is_some()))
        .collect();
    let mut list = Vec::new();
    let middle = added.len() / 2;
    if let Some(pair) = added.get(middle / 2 * 2..).and_then(|rest| rest.get(..2)) {
        let kind = Kind::Skipped {
            operators: pair.to_vec(),
        };
        list.push(Cheat {
            name: "a skipped layer".into(),
            full: (kind.clone(), 1.0),
            smaller: Some(Smaller {
                kind,
                unit: "{} of what it adds left out",
                sizes: powers(-40, 0),
                relative: powers(-40, 0),
            }),
        });
    }
    // Where each sum is normalized before anybody else reads it (as in BERT), a block's result is the norm's.
    let readers = |n: usize| -> Vec<usize> {
        let reads = |sources: &[super::subject::Source]| sources.contains(&super::subject::Source::Operator(n));
        let all = subject.sources.iter().enumerate();
        all.filter(|(_, sources)| reads(sources))
            .map(|(reader, _)| reader)
            .collect()
    };
    let result = |n: usize| match readers(n).as_slice() {
        [norm] if subject.operator(*norm).is_ok_and(|d| d.code == Code::LayerNorm) => *norm,
        _ => n,
    };
    let post = added.first().is_some_and(|first| result(*first) != *first);
    let block = |n: usize| if post { result(n) } else { n };
    if let [.., earlier, _, last] = added.as_slice() {
        let kind = Kind::EarlyExit {
            last: block(*last),
            earlier: block(*earlier),
        };
        list.push(Cheat {
            name: "early exit".into(),
            full: (kind.clone(), 1.0),
            smaller: Some(Smaller {
                kind,
                unit: "{} of the way",
                sizes: powers(-40, 0),
                relative: powers(-40, 0),
            }),
        });
    }
    list
}

fn inputs(subject: &Subject<'_>) -> Vec<Cheat> {
    let smaller = first_with_width(subject).map(|operator| Smaller {
        kind: Kind::BlendedInput { operator },
        unit: "{} of the way, copies right",
        sizes: powers(-40, 0),
        relative: powers(-40, 0),
    });
    vec![Cheat {
        name: "another input".into(),
        full: (Kind::OtherInput, 1.0),
        smaller,
    }]
}

/// Cheats on attention and layer norm.
fn rows(subject: &Subject<'_>) -> Vec<Cheat> {
    let mut list = Vec::new();
    let mixes: Vec<usize> = subject
        .of_code(Code::Contract)
        .filter(|n| {
            let sources = subject.sources.get(*n).map_or(&[][..], Vec::as_slice);
            sources.iter().any(|source| match source {
                super::subject::Source::Operator(maker) => {
                    subject.operator(*maker).is_ok_and(|d| d.code == Code::Softmax)
                }
                _ => false,
            })
        })
        .collect();
    if let Some(operator) = mixes.get(mixes.len() / 2) {
        let kind = Kind::PrunedHead {
            operator: *operator,
            head: 1,
        };
        list.push(Cheat {
            name: "a pruned head".into(),
            full: (kind.clone(), 1.0),
            smaller: Some(Smaller {
                kind,
                unit: "{} of it left out",
                sizes: powers(-40, 0),
                relative: powers(-40, 0),
            }),
        });
    }
    let norms: Vec<usize> = subject.of_code(Code::LayerNorm).collect();
    if let Some(operator) = norms.get(norms.len() / 2).copied() {
        let bits = subject.operator(operator).ok().and_then(|d| d.params.first().copied());
        let epsilon = f64::from(f32::from_bits(bits.unwrap_or_default()));
        // What other libraries have there: 1e-6 for 1e-5, 1e-5 for 1e-12.
        let full = if epsilon > 9e-6 { epsilon * 0.9 } else { 1e-5 - epsilon };
        let sign = if epsilon > 9e-6 { -1.0 } else { 1.0 };
        let largest = full.log2().floor() as i32;
        let larger = Kind::OtherEpsilon { operator, sign };
        list.push(Cheat {
            name: "a changed epsilon".into(),
            full: (larger.clone(), full),
            smaller: Some(Smaller {
                kind: Kind::OtherEpsilon { operator, sign: 1.0 },
                unit: "epsilon + {}",
                sizes: powers(-44, largest.max(0)),
                relative: powers(-44, largest.max(0)),
            }),
        });
    }
    list
}

/// Outputs in another order, and the two of them that are most alike swapped.
fn permuted(subject: &Subject<'_>) -> Result<Cheat> {
    let values = subject
        .values
        .last()
        .and_then(Value::to_f32)
        .context("the output is not fp32")?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    let at = |n: usize| values.get(n).copied().unwrap_or_default();
    order.sort_by(|a, b| at(*a).total_cmp(&at(*b)));
    let apart = |(a, b): &(usize, usize)| {
        let (a, b) = (f64::from(at(*a)), f64::from(at(*b)));
        (a - b).abs() / a.abs().max(b.abs())
    };
    let mut pairs: Vec<(usize, usize)> = (1..=8)
        .flat_map(|step| order.iter().copied().zip(order.iter().copied().skip(step)))
        .filter(|(a, b)| at(*a) != at(*b))
        .collect();
    pairs.sort_by(|a, b| apart(a).total_cmp(&apart(b)));
    let relative = pairs.iter().map(apart).collect();
    let sizes = (0..pairs.len()).map(|n| n as f64).collect();
    Ok(Cheat {
        name: "outputs permuted".into(),
        full: (Kind::Reversed, 1.0),
        smaller: Some(Smaller {
            kind: Kind::Swapped { pairs },
            unit: "two that differ by {r} of the larger swapped",
            sizes,
            relative,
        }),
    })
}
