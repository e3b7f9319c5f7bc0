//! Slack on libtorch: half-widths of envelopes, derivatives through the kernels, and what both make together.
//!
//! # Layout
//! - `tape`: a run's values, with derivatives
//! - `width`: half-widths by family

mod tape;
mod width;

use std::collections::HashMap;

use tch::{Kind, TchError, Tensor};
use touchstone_model::plan::Plan;
use touchstone_protocol::model::Profile;

use self::{
    tape::{Shift, Tape, derivatives},
    width::{half_widths, last_place},
};
use super::model::library;
use crate::{
    engine::{EngineError, Run},
    judge::Family,
    layout::operator_error,
    slack::{Answer, Bounds, Question, plain_direction},
};

/// Steps of a search for the direction that can be moved the most.
const STEPS: usize = 16;
/// The search ends when a step finds less than this much more.
const ENOUGH: f64 = 1.001;
/// How much of the half-widths the search moves values by: little enough to be linear, enough to stand above fp64's rounding.
const NUDGE: f64 = 1.0 / 256.0;

/// A run, its operators with widths, and the widths under some profiles.
struct Slack<'a> {
    tape: Tape<'a>,
    made: Vec<Tensor>,
    operators: Vec<usize>,
    /// By operator, then by profile.
    widths: Vec<Vec<Tensor>>,
    profiles: usize,
}

/// Answers all questions about one run.
pub(super) fn answers(
    plan: &Plan,
    run: &Run,
    profiles: &[Profile],
    questions: &[Question],
    device: tch::Device,
) -> Result<Vec<Answer>, EngineError> {
    let slack = Slack::new(plan, run, profiles, device)?;
    questions.iter().map(|question| slack.answer(question)).collect()
}

/// The half-widths of one operator, by profile.
pub(super) fn widths(
    plan: &Plan,
    run: &Run,
    profiles: &[Profile],
    operator: u32,
    device: tch::Device,
) -> Result<Option<Vec<Vec<f64>>>, EngineError> {
    let slack = Slack::new(plan, run, profiles, device)?;
    let Some(at) = slack.operators.iter().position(|known| *known == operator as usize) else {
        return Ok(None);
    };
    let all = slack.widths[at].iter().map(numbers).collect::<Result<_, _>>();
    Ok(Some(all.map_err(library)?))
}

/// Derivatives of a weighted sum by every operator.
pub(super) fn gradient(
    plan: &Plan,
    run: &Run,
    operator: u32,
    weights: &[(u64, f64)],
    device: tch::Device,
) -> Result<Vec<Option<Vec<f64>>>, EngineError> {
    let slack = Slack::new(plan, run, &[], device)?;
    let number = slack.weighted(operator, weights)?;
    let mut all = vec![None; plan.operators.len()];
    let found = derivatives(&number, &slack.made, &slack.operators).map_err(library)?;
    for (operator, found) in slack.operators.iter().zip(found) {
        all[*operator] = found.as_ref().map(numbers).transpose().map_err(library)?;
    }
    Ok(all)
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    Vec::<f64>::try_from(tensor.f_to_device(tch::Device::Cpu)?)
}

fn number(tensor: &Tensor) -> Result<f64, TchError> {
    tensor.f_double_value(&[])
}

/// What is no number, 0 · ∞ of a derivative that does not exist, bounds nothing.
fn bound(sum: f64) -> f64 {
    if sum.is_nan() { f64::INFINITY } else { sum }
}

impl<'a> Slack<'a> {
    fn new(plan: &'a Plan, run: &Run, profiles: &[Profile], device: tch::Device) -> Result<Self, EngineError> {
        let tape = Tape::new(plan, run, device)?;
        let operators: Vec<usize> = (0..plan.operators.len())
            .filter(|operator| tape.moves(*operator))
            .collect();
        let of = |operator: &usize| {
            let missing = || operator_error(plan, *operator, "it has no kernel");
            let kernel = tape.kernel(*operator).ok_or_else(missing)?;
            let (operands, honest) = (tape.operands(*operator), tape.honest(*operator));
            if tape.rounds(*operator) {
                let place = last_place(plan.operators[*operator].dtype, honest).map_err(library)?;
                return Ok(profiles.iter().map(|_| place.shallow_clone()).collect());
            }
            half_widths(&plan.operators[*operator], kernel, &operands, honest, profiles)
                .map_err(|error| operator_error(plan, *operator, error))
        };
        let widths = operators.iter().map(of).collect::<Result<_, _>>()?;
        let made = tape.record()?;
        Ok(Self {
            tape,
            made,
            operators,
            widths,
            profiles: profiles.len(),
        })
    }

    fn answer(&self, question: &Question) -> Result<Answer, EngineError> {
        match question {
            Question::Sum { operator, weights } => {
                let sum = self.weighted(*operator, weights)?;
                self.weigh(&sum).map_err(library)
            }
            Question::Cosine {
                operator,
                elements,
                against,
            } => {
                let range = elements.start as i64..elements.end as i64;
                let row = self.row(*operator, &range)?;
                match against {
                    Some(against) if against.len() as u64 == elements.end - elements.start => {
                        let against = Tensor::f_from_slice(against)
                            .and_then(|other| self.unit(&other.f_to_device(row.device())?));
                        let cosine = tch::with_grad(|| self.unit(&row)?.f_dot(&against?));
                        cosine.and_then(|cosine| self.weigh(&cosine)).map_err(library)
                    }
                    Some(_) => Err(self.refuse(*operator, "the other vector has another length")),
                    None => self.search(*operator, &range, &row),
                }
            }
        }
    }

    fn refuse(&self, operator: u32, what: &str) -> EngineError {
        operator_error(self.tape.plan, operator as usize, what)
    }

    /// An operator's recorded output.
    fn output(&self, operator: u32) -> Result<&Tensor, EngineError> {
        let made = self.made.get(operator as usize);
        let float = made.filter(|made| made.kind() == Kind::Double);
        float.ok_or_else(|| EngineError::Plan(format!("operator {operator} gives no floating-point number")))
    }

    fn weighted(&self, operator: u32, weights: &[(u64, f64)]) -> Result<Tensor, EngineError> {
        let output = self.output(operator)?;
        let (at, by): (Vec<i64>, Vec<f64>) = weights.iter().map(|(at, by)| (*at as i64, *by)).unzip();
        if at.iter().any(|at| *at < 0 || *at >= output.numel() as i64) {
            return Err(self.refuse(operator, "an element is asked for that it does not have"));
        }
        let device = output.device();
        tch::with_grad(|| {
            let at = Tensor::f_from_slice(&at)?.f_to_device(device)?;
            let by = Tensor::f_from_slice(&by)?.f_to_device(device)?;
            output.f_index_select(0, &at)?.f_dot(&by)
        })
        .map_err(library)
    }

    fn row(&self, operator: u32, range: &std::ops::Range<i64>) -> Result<Tensor, EngineError> {
        let output = self.output(operator)?;
        if range.is_empty() || range.end > output.numel() as i64 {
            return Err(self.refuse(operator, "elements are asked for that it does not have"));
        }
        tch::with_grad(|| output.f_narrow(0, range.start, range.end - range.start)).map_err(library)
    }

    fn unit(&self, vector: &Tensor) -> Result<Tensor, TchError> {
        vector.f_div(&vector.f_dot(vector)?.f_sqrt()?)
    }

    /// The slack of a number: derivatives times half-widths, summed up.
    fn weigh(&self, of: &Tensor) -> Result<Answer, TchError> {
        let found = derivatives(of, &self.made, &self.operators)?;
        let mut bounds = vec![Bounds::default(); self.profiles];
        for ((operator, found), widths) in self.operators.iter().zip(&found).zip(&self.widths) {
            let Some(found) = found else { continue };
            let family = Family::of(self.tape.plan.operators[*operator].code);
            let size = found.f_abs()?;
            for (bounds, width) in bounds.iter_mut().zip(widths) {
                let part = bound(number(&size.f_dot(width)?)?);
                bounds.slack += part;
                *bounds.families.entry(family).or_default() += part;
            }
        }
        Ok(Answer {
            value: number(of)?,
            bounds,
        })
    }

    /// The fixed vector whose cosine with a row can be moved the most, profile by profile, by ascent: of a direction, the signs of the
    /// derivatives are what moves the row the most in it; of signs, where they move the row is the next direction. The slack never
    /// falls on the way.
    fn search(&self, operator: u32, range: &std::ops::Range<i64>, row: &Tensor) -> Result<Answer, EngineError> {
        let length = number(&row.f_dot(row).map_err(library)?).map_err(library)?.sqrt();
        if !(length.is_finite() && length > 0.0) {
            return Err(self.refuse(
                operator,
                &format!("its row's length is {length}, so it has no direction"),
            ));
        }
        let mut bounds = Vec::new();
        for profile in 0..self.profiles {
            let mut direction = Tensor::f_from_slice(&plain_direction((range.end - range.start) as usize))
                .and_then(|start| start.f_to_device(row.device()))
                .map_err(library)?;
            let mut best: Option<Bounds> = None;
            for _ in 0..STEPS {
                let cosine = tch::with_grad(|| self.unit(row)?.f_dot(&direction)).map_err(library)?;
                let now = self.weigh(&cosine).map_err(library)?.bounds.swap_remove(profile);
                let more = best.as_ref().is_none_or(|best| now.slack > ENOUGH * best.slack);
                if best.as_ref().is_none_or(|best| now.slack > best.slack) {
                    best = Some(now);
                }
                if !more || best.as_ref().is_some_and(|best| !best.slack.is_finite()) {
                    break;
                }
                let by = self.worst(&cosine, profile).map_err(library)?;
                direction = self.moved(&by, operator, range)?;
            }
            bounds.extend(best);
        }
        Ok(Answer { value: length, bounds })
    }

    /// Every half-width with the sign of its derivative.
    fn worst(&self, of: &Tensor, profile: usize) -> Result<HashMap<usize, Tensor>, TchError> {
        let found = derivatives(of, &self.made, &self.operators)?;
        let pairs = self.operators.iter().zip(found).zip(&self.widths);
        pairs
            .filter_map(|((operator, found), widths)| Some((operator, found?, &widths[profile])))
            .map(|(operator, found, width)| Ok((*operator, found.f_sign()?.f_mul(width)?)))
            .collect()
    }

    /// The direction in which a row of length 1 moves.
    fn moved(
        &self,
        by: &HashMap<usize, Tensor>,
        operator: u32,
        range: &std::ops::Range<i64>,
    ) -> Result<Tensor, EngineError> {
        let end = |times: f64| -> Result<Tensor, EngineError> {
            let made = self.tape.shifted(&Shift { by, times })?;
            let row = made[operator as usize].f_narrow(0, range.start, range.end - range.start);
            row.and_then(|row| self.unit(&row)).map_err(library)
        };
        let (up, down) = (end(NUDGE)?, end(-NUDGE)?);
        up.f_sub(&down).and_then(|moved| self.unit(&moved)).map_err(library)
    }
}
