//! One family's row: honest results judged, their neighbours bisected.

use std::{fs, path::PathBuf, sync::Arc};

use touchstone_engine::Value;
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    check::Check,
    judge::{self, Report},
};

use crate::common::both;

/// What was measured of a family.
pub struct Row {
    name: String,
    elements: usize,
    /// Largest honest share: libtorch, the reference engine, emulated ones.
    honest: [f64; 3],
    /// Where the last one is.
    at: String,
    /// Least share of a convicted neighbour, and how many last places from the honest result it is; least and middle.
    share: f64,
    places: Vec<u32>,
}

/// Results whose neighbours are bisected: one in so many.
const STEP: usize = 41;

impl Row {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            elements: 0,
            honest: [0.0; 3],
            at: String::new(),
            share: f64::INFINITY,
            places: Vec::new(),
        }
    }

    /// Runs an operator on both engines and holds their results and the emulated ones.
    pub fn take(&mut self, case: &(Arc<Plan>, Vec<Value>), emulated: &[Vec<f32>]) {
        let (torch, reference) = both(case);
        let judged = Judged::new(case);
        self.hold(0, &judged, &torch.to_f32().unwrap());
        self.hold(1, &judged, &reference.to_f32().unwrap());
        for results in emulated {
            self.hold(2, &judged, results);
        }
        self.bisect(&judged, &reference.to_f32().unwrap());
    }

    fn hold(&mut self, engine: usize, judged: &Judged, results: &[f32]) {
        let bytes = bytes(results);
        for (element, y) in results.iter().enumerate() {
            let report = judged.element(&bytes, element);
            let share = share(&report);
            let describe = || {
                format!(
                    "{} element {element}: {y:e}, share {share}, of {}",
                    self.name,
                    judged.describe()
                )
            };
            assert_eq!(report.outside, 0, "honest, but outside: {}", describe());
            self.elements += 1;
            if !y.is_subnormal() && share > self.honest[engine] {
                self.at = describe();
                self.honest[engine] = share;
            }
        }
    }

    /// The first results outside, above and below; some of all.
    fn bisect(&mut self, judged: &Judged, results: &[f32]) {
        for element in (0..results.len()).step_by(STEP.min(results.len().div_ceil(8))) {
            if !results[element].is_finite() || results[element].is_subnormal() {
                continue;
            }
            for up in [true, false] {
                let Some((places, share)) = judged.first_outside(results, element, up) else {
                    continue;
                };
                self.places.push(places);
                self.share = self.share.min(share);
            }
        }
        self.places.sort_unstable();
    }

    fn middle(&self) -> u32 {
        self.places[self.places.len() / 2]
    }

    pub fn describe(&self) -> String {
        let [torch, reference, emulated] = self.honest;
        format!(
            "{}: {} honest elements, largest share libtorch {torch:.3}, reference {reference:.3}, emulated {emulated:.3}; least convicted share {:.4}, last places {} at least, {} in the middle of {}; worst {}",
            self.name,
            self.elements,
            self.share,
            self.places[0],
            self.middle(),
            self.places.len(),
            self.at
        )
    }

    pub fn assert(&self) {
        assert!(
            self.elements > 100 && self.places.len() > 20,
            "{}: too little data",
            self.name
        );
        assert!(
            self.honest.iter().all(|share| *share < 1.0),
            "{}: {:?}",
            self.name,
            self.honest
        );
        assert!(
            self.share > 1.0,
            "{}: convicted within the envelope, {}",
            self.name,
            self.share
        );
        assert!(self.places[0] > 0);
    }

    fn cells(&self) -> [String; 7] {
        // Rounded away from the edge that neither may reach, so that both sides of it show.
        let [torch, reference, emulated] = self.honest.map(|share| format!("{:.3}", (share * 1e3).floor() / 1e3));
        // A rule without a width gives no share to what is outside.
        let share = if self.share > 1e9 {
            "no width".into()
        } else {
            format!("{:.3}", (self.share * 1e3).ceil() / 1e3)
        };
        let (least, middle) = (self.places[0].to_string(), self.middle().to_string());
        [self.name.clone(), torch, reference, emulated, share, least, middle]
    }
}

/// An operator as the judge sees it.
struct Judged<'a> {
    plan: &'a Plan,
    operands: Vec<&'a [u8]>,
}

impl<'a> Judged<'a> {
    fn new((plan, values): &'a (Arc<Plan>, Vec<Value>)) -> Self {
        Self {
            plan,
            operands: values.iter().map(|value| &*value.bytes).collect(),
        }
    }

    fn describe(&self) -> String {
        let d = &self.plan.operators[0];
        format!("{:?} over {:?}", d.code, d.reduction_axes)
    }

    fn element(&self, results: &[u8], element: usize) -> Report {
        let d = &self.plan.operators[0];
        let range = element as u64..element as u64 + 1;
        let report = judge::judge_range(d, self.plan.profile, &self.operands, results, range).unwrap();
        assert_eq!(report.first_undecodable, None);
        report
    }

    /// How many last places away from a result the first one outside is, and its share; `None` when there is none before infinity.
    fn first_outside(&self, results: &[f32], element: usize, up: bool) -> Option<(u32, f64)> {
        let from = order(results[element]);
        let mut results = bytes(results);
        let limit = order(f32::MAX);
        let mut held = |places: i64| {
            let to = if up { from + places } else { from - places };
            (to.abs() <= limit).then(|| {
                results[4 * element..4 * element + 4].copy_from_slice(&number(to).to_le_bytes());
                self.element(&results, element)
            })
        };
        let (mut inside, mut outside) = (0i64, 1i64);
        while held(outside)?.outside == 0 {
            (inside, outside) = (outside, 2 * outside);
        }
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if held(middle)?.outside == 0 {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        Some((outside as u32, share(&held(outside)?)))
    }
}

fn bytes(results: &[f32]) -> Vec<u8> {
    results.iter().flat_map(|y| y.to_le_bytes()).collect()
}

fn share(report: &Report) -> f64 {
    report.worst.map_or(0.0, |(_, share)| share as f64 / Check::EDGE as f64)
}

/// Numbers in order; both zeros are 0.
fn order(x: f32) -> i64 {
    let magnitude = i64::from(x.abs().to_bits());
    if x < 0.0 { -magnitude } else { magnitude }
}

fn number(order: i64) -> f32 {
    let magnitude = f32::from_bits(order.unsigned_abs() as u32);
    if order < 0 { -magnitude } else { magnitude }
}

const BEGIN: &str = "<!-- table: envelope_table -->\n";
const END: &str = "<!-- end of table -->\n";
const HEAD: &str = "\
| family | honest: libtorch | reference | emulated | convicted: share | last places | in the middle |
|---|---|---|---|---|---|---|
";

/// The page's table is this one.
pub fn hold(rows: &[Row]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/envelopes.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (committed, after) = rest.split_once(END).expect("the table ends");
    let lines = rows.iter().map(|row| format!("| {} |\n", row.cells().join(" | ")));
    let table = HEAD.to_owned() + &lines.collect::<String>();
    println!("{table}");
    if std::env::var_os("TOUCHSTONE_UPDATE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let cells = |table: &str| -> Vec<Vec<String>> {
        let lines = table.lines().skip(2);
        lines
            .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    };
    let (committed, measured) = (cells(committed), cells(&table));
    assert_eq!(committed.len(), measured.len(), "docs/envelopes.md has another table");
    for (committed, measured) in committed.iter().zip(&measured) {
        for (column, (old, new)) in committed.iter().zip(measured).enumerate() {
            // libtorch's own shares are the processor's.
            let same = column == 2
                || match (old.parse::<f64>(), new.parse::<f64>()) {
                    (Ok(old), Ok(new)) => (old - new).abs() <= 0.02 * new.max(1.0),
                    _ => old == new,
                };
            assert!(
                same,
                "docs/envelopes.md has {committed:?}, measured {measured:?}; TOUCHSTONE_UPDATE=1 writes it"
            );
        }
    }
}
