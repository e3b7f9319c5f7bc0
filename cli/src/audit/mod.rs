//! `touchstone audit`: values that any engine computed, held against the envelopes of the model's operators.
//!
//! Operator by operator in the plan's order: its operands are what the folder gives for them, or what was computed in their
//! place; its output is what the folder gives, or is computed from those operands. Then the judge's own code judges every
//! element. At no time are more values in memory than the rest of the layer reads.
//!
//! # Layout
//! - `values`: which file is which value
//! - `report`: what is printed

mod report;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use touchstone_engine::{
    Engine, Family, Options, Reference, Torch, Value,
    engine::check_inputs,
    operator::{compute, judge},
};
use touchstone_model::{Plan, names::Origin};
use touchstone_protocol::descriptor::{Descriptor, Place};

use self::{
    report::{Found, Report},
    values::{Names, Values},
};
use crate::{
    model::{Limits, Source},
    output, tensors,
};

/// What `touchstone audit --help` ends with.
pub(crate) const HELP: &str = "VALUES
  DIR holds .npy files named after the values of the ONNX file: every character but letters, digits, `.`, `-` and `_` is
  written `_`, so that `/fc1/MatMul_output_0` is in `_fc1_MatMul_output_0.npy`. The values at the ends of layers are needed (those
  missing are named); of the others any may be left out: they are computed here from what is given, and what is held against
  them is marked. A value that the compiler takes into another (inside a GELU, say) is ignored.

JSON
  inside      whether everything is in
  profile     numerics profile that was asked of the engine
  elements    elements judged; outside: how many are out
  worst       greatest share of all: operator, share
  operators   one object an operator, in order:
    operator, layer, code    its number, its layer, its function
    value, node              ONNX names of its output and of the node that gives it, or null
    given                    whether DIR has the output; if not, it was computed here
    against                  values it reads that were computed here by rounding: give them to be sure
    elements, outside        elements judged, elements out
    share                    error of the worst element over its bound: at most 1 is in; 4294967296 where the bound is 0
    element, index           the worst element, row-major and as coordinates in the ONNX value
    inside
  differing   files that hold other elements of one value than the first file does: file, value, first_file, element, index
  ignored     files that are no value of the plan: file, reason

Exit status:
  0  done, everything is in
  1  it could not be done, the message says why
  2  the command line is wrong
  3  done, something is out";

/// Which engine computes what is not given.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Computes {
    /// Plain Rust, fp64 inside each operator
    Reference,
    /// The engine that workers use
    Libtorch,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    limits: Limits,
    /// Graph inputs in order: ONNX TensorProto (.pb) or NumPy (.npy) files
    #[arg(long = "input", value_name = "FILE", num_args = 1.., required = true)]
    inputs: Vec<PathBuf>,
    /// Folder of the values: one .npy file each
    #[arg(long, value_name = "DIR")]
    values: PathBuf,
    /// Engine that computes inner values which are not given
    #[arg(long, value_enum, default_value = "reference")]
    engine: Computes,
    /// Threads that judge, and of libtorch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Audits; gives whether everything is in.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let (plan, _) = arguments.source.compile(Some(&arguments.limits))?;
    let inputs = tensors::read_inputs(&arguments.inputs)?;
    check_inputs(&plan, &inputs)?;
    let names = Names::new(&plan);
    let mut values = Values::open(&arguments.values, &plan, &names)?;
    values.check_inputs(&plan, &inputs)?;
    let engine: Box<dyn Engine> = match arguments.engine {
        Computes::Reference => Box::new(Reference),
        Computes::Libtorch => Box::new(Torch::new(Options {
            device: Default::default(),
            threads: arguments.threads,
        })?),
    };
    let mut audit = Audit {
        plan: &plan,
        inputs: &inputs,
        values: &mut values,
        engine: &*engine,
        threads: NonZero::new(usize::from(arguments.threads)).unwrap_or(NonZero::<usize>::MIN),
        held: BTreeMap::new(),
        unsure: BTreeSet::new(),
    };
    let operators = audit.all()?;
    let report = Report::new(&plan, &names, operators, values);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report.json())?
    } else {
        report.text()?
    };
    match output::line(text) {
        // The exit status is the answer, though nobody reads on.
        Err(error) if error.is::<output::Closed>() => Ok(report.inside()),
        printed => printed.map(|()| report.inside()),
    }
}

struct Audit<'a> {
    plan: &'a Plan,
    inputs: &'a [Value],
    values: &'a mut Values,
    engine: &'a dyn Engine,
    threads: NonZero<usize>,
    /// Outputs by operator, as long as they are wanted.
    held: BTreeMap<u32, Value>,
    /// Operators whose output was computed here, and not by exact rules from what is given.
    unsure: BTreeSet<u32>,
}

/// Where an operand comes from.
#[derive(Clone, Copy)]
enum Read {
    Weight(u32),
    Input(u32),
    Operator(u32),
}

impl Audit<'_> {
    fn all(&mut self) -> Result<Vec<Found>> {
        let reads = reads(self.plan);
        let mut last_read = vec![0; self.plan.operators.len()];
        for (reader, reads) in reads.iter().enumerate() {
            for read in reads {
                if let Read::Operator(operator) = read {
                    last_read[*operator as usize] = reader as u32;
                }
            }
        }
        let mut found = Vec::with_capacity(reads.len());
        for layer in &self.plan.layers {
            for operator in layer.operators.clone() {
                found.push(self.one(operator, &reads[operator as usize])?);
                self.held.retain(|held, _| last_read[*held as usize] > operator);
            }
            // What is in a file is read again when it is wanted.
            self.held.retain(|held, _| !self.values.has(Origin::Operator(*held)));
        }
        Ok(found)
    }

    fn one(&mut self, operator: u32, reads: &[Read]) -> Result<Found> {
        let descriptor = &self.plan.operators[operator as usize];
        let operands = reads
            .iter()
            .map(|read| self.operand(*read))
            .collect::<Result<Vec<_>>>()?;
        let against: BTreeSet<u32> = reads
            .iter()
            .filter_map(|read| match read {
                Read::Operator(operator) => self.unsure.get(operator).copied(),
                Read::Weight(_) | Read::Input(_) => None,
            })
            .collect();
        let given = self.values.read(Origin::Operator(operator), descriptor)?;
        let is_given = given.is_some();
        let output = match given {
            Some(output) => output,
            None => compute(self.engine, self.plan, operator, &operands)?,
        };
        let exact = matches!(Family::of(descriptor.code), Family::Copy | Family::Exact);
        let sure = is_given || (exact && against.is_empty());
        if !sure {
            self.unsure.insert(operator);
        }
        let report = judge(descriptor, self.plan.profile, &operands, &output, self.threads)
            .with_context(|| format!("judge operator {operator} ({})", self.plan.names[operator as usize]))?;
        self.held.insert(operator, output);
        Ok(Found {
            operator,
            given: is_given,
            against: against.into_iter().collect(),
            report,
        })
    }

    fn operand(&mut self, read: Read) -> Result<Value> {
        Ok(match read {
            Read::Weight(weight) => Value::from(&self.plan.weights[weight as usize]),
            Read::Input(input) => self.inputs[input as usize].clone(),
            Read::Operator(operator) => match self.held.get(&operator) {
                Some(value) => value.clone(),
                None => {
                    let descriptor = &self.plan.operators[operator as usize];
                    let value = self.values.read(Origin::Operator(operator), descriptor)?;
                    let value = value.with_context(|| format!("operator {operator} has not been computed"))?;
                    self.held.insert(operator, value.clone());
                    value
                }
            },
        })
    }
}

/// For each operator where its operands come from. Inner places mean other values in other layers.
fn reads(plan: &Plan) -> Vec<Vec<Read>> {
    let mut made: BTreeMap<Place, u32> = BTreeMap::new();
    let read = |made: &BTreeMap<Place, u32>, d: &Descriptor| {
        let operands = d.operands.iter().filter_map(|operand| match operand.place {
            Place::Weight(n) => Some(Read::Weight(n)),
            Place::Input(n) => Some(Read::Input(n)),
            place => made.get(&place).map(|operator| Read::Operator(*operator)),
        });
        operands.collect()
    };
    let mut all = Vec::with_capacity(plan.operators.len());
    for (number, descriptor) in (0..).zip(&plan.operators) {
        all.push(read(&made, descriptor));
        made.insert(descriptor.place, number);
    }
    all
}
