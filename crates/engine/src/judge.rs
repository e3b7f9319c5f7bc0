//! Judge before commit: every element of every operator held against its envelope by the judge's own code.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use touchstone_model::plan::Plan;
use touchstone_protocol::{
    check::Check,
    descriptor::{Code, Place},
    judge::{self, JudgeError},
};

use crate::{
    engine::{EngineError, Run, ValueSource, layer_of},
    value::Value,
};

/// The rule that a code is judged by (PROTOCOL.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Equal bits.
    Copy,
    /// Correctly rounded.
    Exact,
    /// Library functions.
    Bounded,
    /// Sums of products.
    Contraction,
    /// Sums.
    Reduction,
    /// Softmax rows.
    Softmax,
    /// LayerNorm rows and BatchNorm.
    Normalize,
}

impl Family {
    /// The family of a code.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::Copy | Code::Gather | Code::Where => Family::Copy,
            Code::Erf | Code::Gelu | Code::GeluTanh | Code::Tanh | Code::Sigmoid | Code::Exp => Family::Bounded,
            Code::Log | Code::Softplus | Code::Sin | Code::Cos | Code::Pow => Family::Bounded,
            Code::Contract => Family::Contraction,
            Code::Sum | Code::Mean => Family::Reduction,
            Code::Softmax => Family::Softmax,
            Code::LayerNorm | Code::BatchNorm => Family::Normalize,
            Code::Add
            | Code::Sub
            | Code::Mul
            | Code::Div
            | Code::Sqrt
            | Code::Neg
            | Code::Abs
            | Code::Min
            | Code::Max
            | Code::Relu
            | Code::Cast
            | Code::Equal
            | Code::Less
            | Code::LessEq
            | Code::Greater
            | Code::GreaterEq
            | Code::And
            | Code::Or
            | Code::Not
            | Code::MaxPool
            | Code::ArgMax => Family::Exact,
        }
    }
}

/// One element of one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The operator's number in the plan.
    pub operator: u32,
    /// The element of its output.
    pub element: u64,
}

/// An element with the share of its envelope that its error takes: 0 is the centre, 1 the edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Which element.
    pub at: At,
    /// Its share.
    pub share: f64,
}

/// What judging all elements of some operators found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Elements judged.
    pub elements: u64,
    /// How many are outside their envelope.
    pub outside: u64,
    /// The first one outside, in operator order.
    pub first_outside: Option<At>,
    /// The one with the greatest share among those outside: the safest to convict with.
    pub worst_outside: Option<Worst>,
    /// The first element at which a descriptor has no meaning.
    pub first_undecodable: Option<At>,
    /// The greatest share by operator number.
    pub operators: BTreeMap<u32, Worst>,
    /// The greatest share by family.
    pub families: BTreeMap<Family, Worst>,
}

impl Report {
    /// Whether every element is inside.
    pub fn is_right(&self) -> bool {
        self.outside == 0 && self.first_undecodable.is_none()
    }

    /// Takes in the report on another run of the same plan, so that the greatest shares of many runs are at hand.
    pub fn merge(&mut self, other: &Report) {
        let first = |a: Option<At>, b: Option<At>| a.into_iter().chain(b).min();
        self.elements += other.elements;
        self.outside += other.outside;
        self.first_outside = first(self.first_outside, other.first_outside);
        self.first_undecodable = first(self.first_undecodable, other.first_undecodable);
        self.worst_outside = greater(self.worst_outside, other.worst_outside);
        for (operator, worst) in &other.operators {
            raise(&mut self.operators, *operator, *worst);
        }
        for (family, worst) in &other.families {
            raise(&mut self.families, *family, *worst);
        }
    }

    fn add(&mut self, operator: u32, code: Code, found: &judge::Report) {
        let at = |element: u64| At { operator, element };
        let first = |mine: Option<At>, element: Option<u64>| mine.into_iter().chain(element.map(at)).min();
        self.elements += found.elements;
        self.outside += found.outside;
        self.first_outside = first(self.first_outside, found.first_outside);
        self.first_undecodable = first(self.first_undecodable, found.first_undecodable);
        if let Some((element, share)) = found.worst {
            let worst = Worst {
                at: at(element),
                share: share as f64 / Check::EDGE as f64,
            };
            raise(&mut self.operators, operator, worst);
            raise(&mut self.families, Family::of(code), worst);
            if found.outside > 0 {
                self.worst_outside = greater(self.worst_outside, Some(worst));
            }
        }
    }
}

fn greater(a: Option<Worst>, b: Option<Worst>) -> Option<Worst> {
    match (a, b) {
        (Some(a), Some(b)) if b.share > a.share => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}

fn raise<K: Ord>(map: &mut BTreeMap<K, Worst>, key: K, worst: Worst) {
    map.entry(key)
        .and_modify(|held| {
            if worst.share > held.share {
                *held = worst
            }
        })
        .or_insert(worst);
}

/// Why values cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeRunError {
    /// A value is not at hand.
    #[error("judging operator {operator}: value at {place:?} is not there")]
    Missing {
        /// The operator that reads or writes it.
        operator: u32,
        /// Where it should be.
        place: Place,
    },
    /// The judge refuses the bytes.
    #[error("judging operator {operator}: {source}")]
    Refused {
        /// The operator.
        operator: u32,
        /// Why.
        source: JudgeError,
    },
    /// There is no such layer.
    #[error(transparent)]
    Layer(#[from] EngineError),
}

/// Judges a whole run whose inner values were kept, operators side by side on `threads` threads.
///
/// # Errors
/// A value is not there or is not of the plan's shape.
pub fn judge_run(plan: &Plan, run: &Run, threads: NonZero<usize>) -> Result<Report, JudgeRunError> {
    let all: Vec<u32> = (0..plan.operators.len() as u32).collect();
    judge_operators(plan, &all, threads, |layer, place| run.at(layer, place).cloned())
}

/// Judges one layer, given its boundary values, its own included, and its inner values by number.
///
/// # Errors
/// No such layer, or as [`judge_run`].
pub fn judge_layer(
    plan: &Plan,
    layer: u32,
    boundary: &(dyn ValueSource + Sync),
    inner: &[Value],
    threads: NonZero<usize>,
) -> Result<Report, JudgeRunError> {
    let operators: Vec<u32> = layer_of(plan, layer)?.operators.clone().collect();
    judge_operators(plan, &operators, threads, |_, place| match place {
        Place::Inner(n) => inner.get(n as usize).cloned(),
        _ => boundary.value(place),
    })
}

fn judge_operators(
    plan: &Plan,
    operators: &[u32],
    threads: NonZero<usize>,
    value: impl Fn(u32, Place) -> Option<Value> + Sync,
) -> Result<Report, JudgeRunError> {
    let next = AtomicUsize::new(0);
    let total: Mutex<Result<Report, JudgeRunError>> = Mutex::new(Ok(Report::default()));
    thread::scope(|scope| {
        for _ in 0..threads.get().min(operators.len()) {
            scope.spawn(|| {
                while let Some(operator) = operators.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = judge_one(plan, *operator, &value);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *total, found) {
                        (Ok(report), Ok(found)) => {
                            report.add(*operator, plan.operators[*operator as usize].code, &found)
                        }
                        (Ok(_), Err(error)) => *total = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn judge_one(
    plan: &Plan,
    operator: u32,
    value: &impl Fn(u32, Place) -> Option<Value>,
) -> Result<judge::Report, JudgeRunError> {
    let d = &plan.operators[operator as usize];
    let read = |place: Place| {
        let found = match place {
            Place::Weight(n) => plan.weights.get(n as usize).map(Value::from),
            place => value(d.layer, place),
        };
        found
            .map(|value| value.bytes)
            .ok_or(JudgeRunError::Missing { operator, place })
    };
    let operands = d
        .operands
        .iter()
        .map(|operand| read(operand.place))
        .collect::<Result<Vec<_>, _>>()?;
    let operands: Vec<&[u8]> = operands.iter().map(|bytes| &**bytes).collect();
    judge::judge_operator(d, plan.profile, &operands, &read(d.place)?)
        .map_err(|source| JudgeRunError::Refused { operator, source })
}
