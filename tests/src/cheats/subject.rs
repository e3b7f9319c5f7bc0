//! A model with an honest run: what a cheat changes, and what the judge says of it.

use std::{collections::BTreeMap, num::NonZero, sync::Arc};

use anyhow::{Context as _, Result, anyhow, ensure};
use touchstone_engine::{
    Engine, Keep, Run, Value,
    operator::{compute, judge},
};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Place},
    judge::Report,
};

use super::Kind;

/// Threads that judge.
const THREADS: NonZero<usize> = match NonZero::new(2) {
    Some(two) => two,
    None => NonZero::<usize>::MIN,
};

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A graph input.
    Input(usize),
    /// A weight.
    Weight(usize),
    /// Another operator.
    Operator(usize),
}

/// A model, an engine, an honest run and an honest run on another input.
pub struct Subject<'a> {
    engine: &'a dyn Engine,
    /// The honest plan.
    pub plan: Arc<Plan>,
    /// Where each operator's operands come from.
    pub sources: Vec<Vec<Source>>,
    inputs: Vec<Value>,
    weights: Vec<Value>,
    /// What each operator gave.
    pub values: Vec<Value>,
    /// What each operator gave for another input.
    pub other: Vec<Value>,
}

impl<'a> Subject<'a> {
    /// Runs the model on both inputs.
    ///
    /// # Errors
    /// The engine fails.
    pub fn new(engine: &'a dyn Engine, plan: &Arc<Plan>, inputs: &[Value], other: &[Value]) -> Result<Self> {
        let values = |inputs: &[Value]| -> Result<Vec<Value>> {
            let run: Run = engine.run(plan, inputs, Keep::All)?;
            let all = plan.operators.iter().map(|d| run.output_of(d).cloned());
            all.collect::<Option<_>>().context("a value was not kept")
        };
        let mut makers = BTreeMap::new();
        let mut sources = Vec::new();
        for (number, d) in plan.operators.iter().enumerate() {
            let of = |place: Place| match place {
                Place::Input(n) => Ok(Source::Input(n as usize)),
                Place::Weight(n) => Ok(Source::Weight(n as usize)),
                place => makers
                    .get(&key(d.layer, place))
                    .map(|maker| Source::Operator(*maker))
                    .ok_or_else(|| anyhow!("operator {number} reads {place:?}, which nobody made")),
            };
            sources.push(d.operands.iter().map(|o| of(o.place)).collect::<Result<Vec<_>>>()?);
            makers.insert(key(d.layer, d.place), number);
        }
        Ok(Self {
            engine,
            plan: plan.clone(),
            sources,
            inputs: inputs.to_vec(),
            weights: plan.weights.iter().map(Value::from).collect(),
            values: values(inputs)?,
            other: values(other)?,
        })
    }

    /// An operator's descriptor.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn operator(&self, operator: usize) -> Result<&Descriptor> {
        self.plan.operators.get(operator).context("no such operator")
    }

    /// Operators of a code, in order.
    pub fn of_code(&self, code: Code) -> impl Iterator<Item = usize> + '_ {
        let all = self.plan.operators.iter().enumerate();
        all.filter(move |(_, d)| d.code == code).map(|(number, _)| number)
    }

    /// Whether an operand of this operator is a weight.
    pub fn reads_weight(&self, operator: usize, operand: usize) -> bool {
        let sources = self.sources.get(operator).map_or(&[][..], Vec::as_slice);
        matches!(sources.get(operand), Some(Source::Weight(_)))
    }

    /// One operator alone, on these operands.
    ///
    /// # Errors
    /// The engine fails.
    pub fn step(&self, operator: usize, operands: &[Value]) -> Result<Value> {
        Ok(compute(self.engine, &self.plan, u32::try_from(operator)?, operands)?)
    }

    /// One operator alone with other parameters.
    ///
    /// # Errors
    /// The engine fails.
    pub fn step_with(&self, operator: usize, params: Vec<u32>, operands: &[Value]) -> Result<Value> {
        let mut plan = (*self.plan).clone();
        plan.operators.get_mut(operator).context("no such operator")?.params = params;
        Ok(compute(self.engine, &plan, u32::try_from(operator)?, operands)?)
    }

    /// Runs a cheat of this size and judges what it touches.
    ///
    /// # Errors
    /// The engine or the judge fails.
    pub fn run(&self, kind: &Kind, size: f64) -> Result<Report> {
        let touched: Vec<usize> = (0..self.values.len()).filter(|n| kind.touches(self, *n)).collect();
        let last = *touched.last().context("the cheat touches nothing in this model")?;
        let mut changed: BTreeMap<usize, Value> = BTreeMap::new();
        let mut report = Report::default();
        for operator in 0..=last {
            let sources = self.sources.get(operator).context("no such operator")?;
            let follows = sources
                .iter()
                .any(|source| matches!(source, Source::Operator(n) if changed.contains_key(n)));
            let touches = touched.contains(&operator);
            if !touches && !follows {
                continue;
            }
            let d = self.operator(operator)?;
            let operands = self.operands(operator, &changed)?;
            let output = if touches {
                let output = kind.output(self, size, operator, &operands)?;
                report.merge(&judge(d, self.plan.profile, &operands, &output, THREADS)?);
                output
            } else {
                self.step(operator, &operands)?
            };
            if self.values.get(operator) != Some(&output) {
                changed.insert(operator, output);
            }
        }
        ensure!(report.first_undecodable.is_none(), "an element is undecodable");
        Ok(report)
    }

    fn operands(&self, operator: usize, changed: &BTreeMap<usize, Value>) -> Result<Vec<Value>> {
        let sources = self.sources.get(operator).context("no such operator")?;
        let read = |source: &Source| match source {
            Source::Input(n) => self.inputs.get(*n),
            Source::Weight(n) => self.weights.get(*n),
            Source::Operator(n) => changed.get(n).or_else(|| self.values.get(*n)),
        };
        let all = sources.iter().map(|source| read(source).cloned());
        all.collect::<Option<_>>().context("an operand is not there")
    }
}

fn key(layer: u32, place: Place) -> (u32, Place) {
    (if matches!(place, Place::Inner(_)) { layer } else { 0 }, place)
}
