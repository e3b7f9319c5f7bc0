//! Slack: how far an undetectable cheat can move what a model gives, to first order (`docs/slack.md`).
//!
//! A cheat that no judge convicts may push every element of every operator to the edge of its envelope. To first order a number L made of
//! an output then moves by at most Σ |∂L/∂v|·w, over all elements v of all operators, w the half-width of v's envelope at the honest
//! values. [`Torch::slack`] computes that sum for a [`Question`]; here are the questions worth asking about an output: its elements, the
//! margins of its rows ([`margins`]: whether the greatest of a row can become another one), the direction of its rows ([`cosines`]).

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Place},
    model::Profile,
};

use crate::{
    engine::{EngineError, Run},
    judge::Family,
    layout::operator_error,
    map::{Map, indices},
    torch::Torch,
};

/// A number made of an operator's output.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// A weighted sum of elements.
    Sum {
        /// The operator that writes them.
        operator: u32,
        /// Elements and what each counts.
        weights: Vec<(u64, f64)>,
    },
    /// The cosine between a row and another, fixed vector.
    Cosine {
        /// The operator that writes the row.
        operator: u32,
        /// The row's elements.
        elements: Range<u64>,
        /// The other vector; if none is given, one whose cosine can be moved the most is searched for, and the answer's value is the
        /// row's length.
        against: Option<Vec<f64>>,
    },
}

/// How far a number can be moved under one profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The first-order bound; infinite where there is none, because a derivative does not exist or an envelope has no end.
    pub slack: f64,
    /// What of it comes from the operators of each family.
    pub families: BTreeMap<Family, f64>,
}

/// What a [`Question`] comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The number itself, of the run's values.
    pub value: f64,
    /// By profile.
    pub bounds: Vec<Bounds>,
}

/// How much is asked about an output that is large: each question costs a pass through the model backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most elements of an output, most rivals of a row's greatest element, longest row whose every direction is bounded.
    pub elements: usize,
    /// Most rows of an output.
    pub rows: usize,
}

/// One element of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Its number.
    pub element: u64,
    /// Its value and slack.
    pub answer: Answer,
}

/// An element that could become the greatest of its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rival {
    /// Its place in the row.
    pub place: usize,
    /// By how much the greatest exceeds it, and the slack of that.
    pub margin: Answer,
}

/// What keeps the greatest element of a row the greatest.
#[derive(Clone, Debug, PartialEq)]
pub struct Margin {
    /// The row's number.
    pub row: usize,
    /// The place of the greatest element.
    pub top: usize,
    /// Those asked about, nearest first.
    pub rivals: Vec<Rival>,
    /// How many more elements the row has.
    pub others: usize,
}

/// How far a row can be turned.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosine {
    /// The row's number.
    pub row: usize,
    /// The row's length, and how far its cosine with the worst direction found can be moved; with a vector of one's own, the cosine and
    /// how far it can be moved.
    pub answer: Answer,
    /// How far its cosine with a vector of no particular direction can be moved, by profile; without a vector of one's own.
    pub plain: Option<Vec<f64>>,
    /// No direction's cosine can be moved by more, by profile; for rows within the limit and without a vector of one's own.
    pub any: Option<Vec<f64>>,
}

impl Margin {
    /// The rival that comes nearest to the greatest under a profile: whose slack is the largest part of its margin.
    pub fn nearest(&self, profile: usize) -> Option<&Rival> {
        let part = |rival: &Rival| match rival.margin.bounds.get(profile) {
            Some(bounds) if rival.margin.value > 0.0 => bounds.slack / rival.margin.value,
            _ => f64::INFINITY,
        };
        self.rivals.iter().max_by(|a, b| part(a).total_cmp(&part(b)))
    }

    /// Whether, to first order, no undetectable cheat makes another of the elements asked about the greatest.
    pub fn is_certain(&self, profile: usize) -> bool {
        self.rivals.iter().all(|rival| {
            let bounds = rival.margin.bounds.get(profile);
            bounds.is_some_and(|bounds| rival.margin.value > bounds.slack)
        })
    }
}

/// A vector of length 1 and no particular direction: neither an axis nor what a model is likely to give.
pub fn plain_direction(length: usize) -> Vec<f64> {
    let wave: Vec<f64> = (0..length).map(|k| (12.9898 * k as f64 + 1.0).sin()).collect();
    let size = wave.iter().map(|x| x * x).sum::<f64>().sqrt();
    wave.into_iter().map(|x| x / size).collect()
}

/// The operator that writes a graph output.
fn writer(plan: &Plan, output: usize) -> Result<u32, EngineError> {
    let at = plan
        .operators
        .iter()
        .position(|d| d.place == Place::Output(output as u32));
    at.map(|at| at as u32).ok_or_else(|| {
        EngineError::Plan(format!(
            "there is no output {output}, the model has {}",
            plan.outputs.len()
        ))
    })
}

fn values(run: &Run, d: &Descriptor) -> Option<Vec<f32>> {
    run.output_of(d)?.to_f32()
}

fn float_values(plan: &Plan, run: &Run, operator: u32) -> Result<Vec<f32>, EngineError> {
    values(run, &plan.operators[operator as usize]).ok_or_else(|| {
        operator_error(
            plan,
            operator as usize,
            "its value is no floating-point number, or was not kept",
        )
    })
}

/// `most` of `total` numbers: all, or the greatest magnitudes and as many at even distances.
fn sample(values: &[f32], most: usize) -> Vec<u64> {
    let total = values.len();
    if total <= most {
        return (0..total as u64).collect();
    }
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
    let half = most.div_ceil(2);
    let mut chosen: Vec<u64> = order[..half].iter().map(|at| *at as u64).collect();
    chosen.extend((0..most - half).map(|k| (k * total / (most - half)) as u64));
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The slack of an output's elements: of all, or, of an output larger than the limit, of the greatest by magnitude and some at even
/// distances.
///
/// # Errors
/// No such output, one that is no floating-point number, or as [`Torch::slack`].
pub fn elements(
    torch: &Torch,
    plan: &Arc<Plan>,
    run: &Run,
    profiles: &[Profile],
    output: usize,
    limits: Limits,
) -> Result<Vec<Element>, EngineError> {
    let operator = writer(plan, output)?;
    let chosen = sample(&float_values(plan, run, operator)?, limits.elements);
    let question = |element: &u64| Question::Sum {
        operator,
        weights: vec![(*element, 1.0)],
    };
    let answers = torch.slack(plan, run, profiles, &chosen.iter().map(question).collect::<Vec<_>>())?;
    let pair = |(element, answer)| Element { element, answer };
    Ok(chosen.into_iter().zip(answers).map(pair).collect())
}

/// Rows among which a greatest element is chosen: the operator that writes them, each row's elements, and how many rows there are in
/// all. Rows lie along the last axis of an output; those of an ArgMax are what it reads.
fn rows(plan: &Plan, output: usize, most: usize) -> Result<(u32, Vec<Vec<u64>>), EngineError> {
    let operator = writer(plan, output)?;
    let d = &plan.operators[operator as usize];
    if d.code == Code::ArgMax && d.operands.first().is_some_and(|operand| operand.dtype == Dtype::F32) {
        let before = &plan.operators[..operator as usize];
        let reads = |by: &Descriptor| by.place == d.operands[0].place && !inner_of_another(by, d);
        let by = before.iter().rposition(reads);
        let by = by.ok_or_else(|| operator_error(plan, operator as usize, "it chooses among inputs or weights"))?;
        let wrong = |error| operator_error(plan, operator as usize, error);
        let map = Map::new(d, 0).map_err(wrong)?;
        let row = |o: Vec<i64>| -> Result<Vec<u64>, EngineError> {
            let row = map.row(&o);
            let offsets = (0..map.terms()).filter_map(|term| row.offset(term).transpose());
            offsets
                .map(|offset| offset.map(|at| at as u64).map_err(wrong))
                .collect()
        };
        let rows = indices(&d.output_axes).take(most).map(row).collect::<Result<_, _>>()?;
        return Ok((by as u32, rows));
    }
    let length = d.dims.last().copied().unwrap_or(1).into();
    let count = d.elements().checked_div(length).unwrap_or(0);
    let row = |row: u64| (row * length..(row + 1) * length).collect();
    Ok((operator, (0..count).take(most).map(row).collect()))
}

/// Inner places are numbered anew in every layer.
fn inner_of_another(by: &Descriptor, reader: &Descriptor) -> bool {
    matches!(by.place, Place::Inner(_)) && by.layer != reader.layer
}

/// What keeps the greatest element of each row of an output the greatest: for classifiers and token choices. Rows shorter than two, and
/// rows whose greatest is not a number, have none.
///
/// # Errors
/// No such output, one that is neither a floating-point number nor an ArgMax over float32, or as [`Torch::slack`].
pub fn margins(
    torch: &Torch,
    plan: &Arc<Plan>,
    run: &Run,
    profiles: &[Profile],
    output: usize,
    limits: Limits,
) -> Result<Vec<Margin>, EngineError> {
    let (operator, rows) = rows(plan, output, limits.rows)?;
    let values = float_values(plan, run, operator)?;
    let (mut margins, mut questions) = (Vec::new(), Vec::new());
    for (row, elements) in rows.iter().enumerate().filter(|(_, elements)| elements.len() > 1) {
        let of = |place: &usize| values[elements[*place] as usize];
        if elements.iter().any(|at| values[*at as usize].is_nan()) {
            continue;
        }
        let mut places: Vec<usize> = (0..elements.len()).collect();
        // The first of equals stays before the others.
        places.sort_by(|a, b| of(b).total_cmp(&of(a)));
        let top = places.remove(0);
        let asked = places.len().min(limits.elements);
        questions.extend(places[..asked].iter().map(|place| Question::Sum {
            operator,
            weights: vec![(elements[top], 1.0), (elements[*place], -1.0)],
        }));
        margins.push((row, top, places, asked));
    }
    let mut answers = torch.slack(plan, run, profiles, &questions)?.into_iter();
    let margin = |(row, top, places, asked): (usize, usize, Vec<usize>, usize)| Margin {
        row,
        top,
        others: places.len() - asked,
        rivals: places
            .into_iter()
            .take(asked)
            .zip(&mut answers)
            .map(|(place, margin)| Rival { place, margin })
            .collect(),
    };
    Ok(margins.into_iter().map(margin).collect())
}

/// How far the rows of an output can be turned: by how much the cosine of a row with any fixed vector can be moved, or with one's own.
///
/// # Errors
/// No such output, one that is no floating-point number, a row without direction, or as [`Torch::slack`].
pub fn cosines(
    torch: &Torch,
    plan: &Arc<Plan>,
    run: &Run,
    profiles: &[Profile],
    output: usize,
    against: Option<&[f64]>,
    limits: Limits,
) -> Result<Vec<Cosine>, EngineError> {
    let operator = writer(plan, output)?;
    let d = &plan.operators[operator as usize];
    let length: u64 = d.dims.last().copied().unwrap_or(1).into();
    let count = d.elements().checked_div(length).unwrap_or(0).min(limits.rows as u64);
    let question = |row: u64, against: Option<Vec<f64>>| Question::Cosine {
        operator,
        elements: row * length..(row + 1) * length,
        against,
    };
    // The cosines with the axes are the row's own elements, at length 1.
    let axes = match against {
        None if length <= limits.elements as u64 => length,
        _ => 0,
    };
    let axis = |at: u64| (0..length).map(|k| if k == at { 1.0 } else { 0.0 }).collect();
    let of_row = |row: u64| {
        let own = question(row, against.map(<[f64]>::to_vec));
        let plain = against
            .is_none()
            .then(|| question(row, Some(plain_direction(length as usize))));
        [own]
            .into_iter()
            .chain(plain)
            .chain((0..axes).map(move |at| question(row, Some(axis(at)))))
    };
    let questions: Vec<Question> = (0..count).flat_map(of_row).collect();
    let mut answers = torch.slack(plan, run, profiles, &questions)?.into_iter();
    let mut cosines = Vec::new();
    for row in 0..count as usize {
        let Some(answer) = answers.next() else { break };
        let slacks = |answer: Answer| answer.bounds.iter().map(|bounds| bounds.slack).collect();
        let plain = against.is_none().then(|| answers.next().map(slacks)).flatten();
        let axes: Vec<Answer> = answers.by_ref().take(axes as usize).collect();
        let squares = |profile: usize| axes.iter().map(move |answer| answer.bounds[profile].slack.powi(2));
        let any = (0..profiles.len())
            .map(|profile| squares(profile).sum::<f64>().sqrt())
            .collect();
        cosines.push(Cosine {
            row,
            answer,
            plain,
            any: (!axes.is_empty()).then_some(any),
        });
    }
    Ok(cosines)
}
