//! A run's values as fp64 tensors that derivatives flow through.
//!
//! Each operator's kernel is run in fp64 on the run's own values, and the difference between what it gives and what the run has is added
//! as a constant: so derivatives are those at the run's values, not at values that fp64 leads to. What is no floating-point number, and
//! what depends on nothing that has an envelope, is a constant. f16 and bf16 are numbers like others: a rounding to them passes
//! derivatives on, and has a width ([`Tape::rounds`]).

use std::{borrow::Cow, collections::HashMap};

use tch::{Kind, TchError, Tensor};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Place},
    half,
    model::Profile,
};

use super::super::model::{Kernel, Numerics, flat, library, load, prepare};
use crate::{
    engine::{EngineError, Run},
    judge::Family,
    layout::{self, operator_error},
    value::Value,
};

/// Whether an operator's results have an envelope with a width, whatever it reads.
fn has_width(d: &Descriptor) -> bool {
    d.elements() > 0 && d.dtype == Dtype::F32 && !matches!(Family::of(d.code), Family::Copy | Family::Exact)
}

/// Where an operand comes from.
enum Source {
    /// An input or a weight.
    Given(Place),
    /// An operator's output.
    Made(usize),
}

/// The plan on one run's values.
pub(super) struct Tape<'a> {
    pub(super) plan: &'a Plan,
    sources: Vec<Vec<Source>>,
    /// Operators whose output something with a width reaches.
    live: Vec<bool>,
    /// Kernels of those.
    kernels: HashMap<usize, Kernel>,
    /// Inputs and weights that they read; floating-point numbers as fp64.
    given: HashMap<Place, Tensor>,
    /// The run's own values by operator; floating-point numbers as fp64.
    honest: Vec<Tensor>,
}

/// What to add to the operators' outputs, and how many times.
pub(super) struct Shift<'a> {
    pub(super) by: &'a HashMap<usize, Tensor>,
    pub(super) times: f64,
}

fn widened(value: &Value, device: tch::Device) -> Result<Tensor, EngineError> {
    let tensor = load(value, device).map_err(library)?;
    if value.dtype.is_float() {
        return tensor.f_to_kind(Kind::Double).map_err(library);
    }
    Ok(tensor)
}

/// The operator without its rounding to f16 or bf16: of a cast between floating-point numbers nothing is left.
fn unrounded(d: &Descriptor) -> Cow<'_, Descriptor> {
    let wide = |dtype: Dtype| if dtype.is_half() { Dtype::F32 } else { dtype };
    let halves = d.dtype.is_half() || d.operands.iter().any(|operand| operand.dtype.is_half());
    if !halves {
        return Cow::Borrowed(d);
    }
    let mut d = d.clone();
    if let (Code::Copy, [_, fill]) = (d.code, &mut d.params[..]) {
        *fill = half::decode(d.dtype, *fill & 0xffff);
    }
    d.dtype = wide(d.dtype);
    d.operands
        .iter_mut()
        .for_each(|operand| operand.dtype = wide(operand.dtype));
    if d.code == Code::Cast {
        (d.code, d.params) = (Code::Copy, vec![0, 0]);
    }
    Cow::Owned(d)
}

impl<'a> Tape<'a> {
    /// Prepares the kernels of all operators that matter.
    pub(super) fn new(plan: &'a Plan, run: &Run, device: tch::Device) -> Result<Self, EngineError> {
        layout::check(plan)?;
        let numerics = Numerics::of(Profile::WIDE, device);
        let mut tape = Self {
            plan,
            sources: Vec::new(),
            live: Vec::new(),
            kernels: HashMap::new(),
            given: HashMap::new(),
            honest: Vec::new(),
        };
        let mut made: HashMap<Place, usize> = HashMap::new();
        for (operator, d) in plan.operators.iter().enumerate() {
            let source = |place: Place| made.get(&place).map_or(Source::Given(place), |by| Source::Made(*by));
            let sources: Vec<Source> = d.operands.iter().map(|operand| source(operand.place)).collect();
            let reached = sources
                .iter()
                .any(|source| matches!(source, Source::Made(by) if tape.live[*by]));
            let live = d.dtype.is_float() && (reached || has_width(d));
            if live {
                let kernel =
                    prepare(&unrounded(d), &numerics).map_err(|error| operator_error(plan, operator, error))?;
                tape.kernels.insert(operator, kernel);
                for source in &sources {
                    if let Source::Given(place) = source
                        && !tape.given.contains_key(place)
                    {
                        let missing = || operator_error(plan, operator, "an operand is not there");
                        let value = match place {
                            Place::Weight(n) => plan.weights.get(*n as usize).map(Value::from),
                            _ => run.at(d.layer, *place).cloned(),
                        };
                        tape.given.insert(*place, widened(&value.ok_or_else(missing)?, device)?);
                    }
                }
            }
            let value = run
                .output_of(d)
                .filter(|value| value.check_is(d.dtype, &d.dims).is_ok());
            let value = value.ok_or_else(|| operator_error(plan, operator, "its value was not kept"))?;
            tape.honest.push(widened(value, device)?);
            tape.sources.push(sources);
            tape.live.push(live);
            made.insert(d.place, operator);
        }
        Ok(tape)
    }

    /// Whether elements of an operator can be pushed: they have an envelope with a width, or are rounded to f16 or bf16 from numbers that
    /// can be pushed, so that a push may make them round the other way.
    pub(super) fn moves(&self, operator: usize) -> bool {
        has_width(&self.plan.operators[operator]) || self.rounds(operator)
    }

    pub(super) fn rounds(&self, operator: usize) -> bool {
        let d = &self.plan.operators[operator];
        let rounding = matches!(
            d.code,
            Code::Cast | Code::Add | Code::Sub | Code::Mul | Code::Div | Code::Sqrt
        );
        rounding && d.dtype.is_half() && self.live[operator]
    }

    /// The run's own value of an operator, flat.
    pub(super) fn honest(&self, operator: usize) -> &Tensor {
        &self.honest[operator]
    }

    /// An operator's operands as the run has them, flat; for operators with a kernel.
    pub(super) fn operands(&self, operator: usize) -> Vec<&Tensor> {
        self.read(operator, &self.honest)
    }

    /// The kernel, in fp64, of an operator that something with a width reaches.
    pub(super) fn kernel(&self, operator: usize) -> Option<&Kernel> {
        self.kernels.get(&operator)
    }

    fn read<'t>(&'t self, operator: usize, made: &'t [Tensor]) -> Vec<&'t Tensor> {
        let read = |source: &Source| match source {
            Source::Given(place) => &self.given[place],
            Source::Made(by) => &made[*by],
        };
        self.sources[operator].iter().map(read).collect()
    }

    /// All outputs, flat, by operator, for derivatives to be taken with [`derivatives`].
    pub(super) fn record(&self) -> Result<Vec<Tensor>, EngineError> {
        tch::with_grad(|| {
            self.forward(|operator, output| {
                let own = &self.honest[operator];
                let Some(output) = output else {
                    // A copy of the run's value that derivatives are taken of.
                    return own
                        .f_detach_copy()?
                        .f_set_requires_grad(has_width(&self.plan.operators[operator]));
                };
                let back = own.f_sub(&output.f_detach()?)?;
                output.f_add(&back.f_nan_to_num(0.0, f64::INFINITY, f64::NEG_INFINITY)?)
            })
        })
    }

    /// All outputs in fp64, with something added on the way.
    pub(super) fn shifted(&self, shift: &Shift<'_>) -> Result<Vec<Tensor>, EngineError> {
        self.forward(|operator, output| {
            let output = output.unwrap_or_else(|| self.honest[operator].shallow_clone());
            match shift.by.get(&operator) {
                Some(by) => output.f_add(&by.f_mul_scalar(shift.times)?),
                // Later views count from the start of the memory, which a kernel's result need not be at.
                None => output.f_detach_copy(),
            }
        })
    }

    /// Runs the live operators; `each` makes of a kernel's result (none where nothing with a width reaches the operands) the value that
    /// later operators read.
    fn forward(
        &self,
        each: impl Fn(usize, Option<Tensor>) -> Result<Tensor, TchError>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let mut made: Vec<Tensor> = Vec::with_capacity(self.honest.len());
        for (operator, d) in self.plan.operators.iter().enumerate() {
            let reached = self.sources[operator]
                .iter()
                .any(|source| matches!(source, Source::Made(by) if self.live[*by]));
            let value = match self.kernels.get(&operator) {
                None => Ok(self.honest[operator].shallow_clone()),
                Some(_) if !reached => each(operator, None),
                Some(kernel) => kernel(&self.read(operator, &made))
                    .and_then(|output| flat(d, &output)?.f_to_kind(Kind::Double))
                    .and_then(|output| each(operator, Some(output))),
            };
            made.push(value.map_err(|error| operator_error(self.plan, operator, error))?);
        }
        Ok(made)
    }
}

/// The derivatives of a number by the outputs of some operators; none for those that it does not depend on.
pub(super) fn derivatives(
    number: &Tensor,
    made: &[Tensor],
    operators: &[usize],
) -> Result<Vec<Option<Tensor>>, TchError> {
    let of = |operator: &usize| &made[*operator];
    let inputs: Vec<&Tensor> = operators.iter().map(of).filter(|made| made.requires_grad()).collect();
    let found = if number.requires_grad() {
        Tensor::f_run_backward(&[number], &inputs, true, false)?
    } else {
        Vec::new()
    };
    let mut found = found.into_iter();
    let mut next = |made: &Tensor| made.requires_grad().then(|| found.next()).flatten();
    let all = operators.iter().map(|operator| next(of(operator)));
    Ok(all.map(|one| one.filter(Tensor::defined)).collect())
}
