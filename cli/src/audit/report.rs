//! What an audit prints.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value as Json, json};
use touchstone_model::{Plan, names::Origin};
use touchstone_protocol::{check::Check, judge};

use super::values::{Names, Values, flat};

/// What was found at one operator.
pub(crate) struct Found {
    pub(crate) operator: u32,
    /// Whether the folder gives its output.
    pub(crate) given: bool,
    /// Operators whose outputs it reads as they were computed here.
    pub(crate) against: Vec<u32>,
    pub(crate) report: judge::Report,
}

impl Found {
    fn inside(&self) -> bool {
        self.report.outside == 0 && self.report.first_undecodable.is_none()
    }

    fn share(&self) -> f64 {
        self.report
            .worst
            .map_or(0.0, |(_, share)| share as f64 / Check::EDGE as f64)
    }
}

pub(crate) struct Report<'a> {
    plan: &'a Plan,
    names: &'a Names<'a>,
    operators: Vec<Found>,
    values: Values,
}

impl<'a> Report<'a> {
    pub(crate) fn new(plan: &'a Plan, names: &'a Names<'a>, operators: Vec<Found>, values: Values) -> Self {
        Self {
            plan,
            names,
            operators,
            values,
        }
    }

    /// Whether everything is in.
    pub(crate) fn inside(&self) -> bool {
        self.operators.iter().all(Found::inside) && self.values.differing.is_empty()
    }

    fn worst(&self) -> Option<&Found> {
        // The first of equals.
        self.operators
            .iter()
            .rev()
            .max_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// The ONNX name of an operator's output, or what the plan calls it.
    fn value(&self, operator: u32) -> &str {
        match self.names.get(Origin::Operator(operator)) {
            Some((value, _)) => &value.name,
            None => &self.plan.names[operator as usize],
        }
    }

    /// The worst element as the ONNX value has it: its number and coordinates.
    fn element(&self, found: &Found) -> Option<(u64, Vec<u32>)> {
        let (element, _) = found.report.worst?;
        Some(match self.names.get(Origin::Operator(found.operator)) {
            Some((value, home)) => {
                let index = home.index(&value.dims, element);
                (flat(&value.dims, &index), index)
            }
            None => {
                let dims = &self.plan.operators[found.operator as usize].dims;
                let mut rest = element;
                let mut index: Vec<u32> = dims
                    .iter()
                    .rev()
                    .map(|dim| {
                        let i = rest % u64::from(*dim);
                        rest /= u64::from(*dim);
                        i as u32
                    })
                    .collect();
                index.reverse();
                (element, index)
            }
        })
    }

    pub(crate) fn json(&self) -> Json {
        let operators: Vec<Json> = self.operators.iter().map(|found| self.operator(found)).collect();
        let differing: Vec<Json> = self
            .values
            .differing
            .iter()
            .map(|d| {
                json!({
                    "file": d.file, "value": d.value, "first_file": d.first_file, "element": d.element, "index": d.index,
                })
            })
            .collect();
        let ignored = self.values.ignored.iter();
        let ignored: Vec<Json> = ignored
            .map(|(file, reason)| json!({"file": file, "reason": reason}))
            .collect();
        let worst = self
            .worst()
            .map(|found| json!({"operator": found.operator, "share": found.share()}));
        json!({
            "inside": self.inside(),
            "profile": crate::profile::name(self.plan.profile),
            "elements": self.operators.iter().map(|found| found.report.elements).sum::<u64>(),
            "outside": self.operators.iter().map(|found| found.report.outside).sum::<u64>(),
            "worst": worst,
            "operators": operators,
            "differing": differing,
            "ignored": ignored,
        })
    }

    fn operator(&self, found: &Found) -> Json {
        let descriptor = &self.plan.operators[found.operator as usize];
        let named = self.names.get(Origin::Operator(found.operator)).map(|(value, _)| value);
        let node = named.map(|value| value.node.as_str()).filter(|node| !node.is_empty());
        let (element, index) = self.element(found).unzip();
        let against: Vec<&str> = found.against.iter().map(|operator| self.value(*operator)).collect();
        json!({
            "operator": found.operator,
            "layer": descriptor.layer,
            "code": format!("{:?}", descriptor.code),
            "value": named.map(|value| value.name.as_str()),
            "node": node,
            "given": found.given,
            "against": against,
            "elements": found.report.elements,
            "outside": found.report.outside,
            "share": found.share(),
            "element": element,
            "index": index,
            "inside": found.inside(),
        })
    }

    pub(crate) fn text(&self) -> Result<String> {
        let mut out = String::new();
        writeln!(
            out,
            "{:>5} {:>5}  {:<10} {:>9}  {:<4} {:<8}  value",
            "op", "layer", "code", "share", "", "output"
        )?;
        for found in &self.operators {
            let descriptor = &self.plan.operators[found.operator as usize];
            write!(
                out,
                "{:>5} {:>5}  {:<10} {:>9}  {:<4} {:<8}  {}",
                found.operator,
                descriptor.layer,
                format!("{:?}", descriptor.code),
                share(found.share()),
                if found.inside() { "in" } else { "OUT" },
                if found.given { "given" } else { "computed" },
                self.value(found.operator)
            )?;
            if let (false, Some((_, index))) = (found.inside(), self.element(found)) {
                write!(
                    out,
                    " at {index:?}, {} of {} out",
                    found.report.outside, found.report.elements
                )?;
                let against: Vec<&str> = found.against.iter().map(|operator| self.value(*operator)).collect();
                if !against.is_empty() {
                    write!(
                        out,
                        "; held against values computed here: give {} to be sure",
                        against.join(", ")
                    )?;
                }
            }
            writeln!(out)?;
        }
        for d in &self.values.differing {
            writeln!(
                out,
                "OUT: {} is the same value as {} in another shape or order, and differs at {:?}",
                d.file, d.first_file, d.index
            )?;
        }
        for (file, reason) in &self.values.ignored {
            writeln!(out, "ignored: {file}: {reason}")?;
        }
        let worst = self.worst().map_or(0.0, Found::share);
        let given = self.operators.iter().filter(|found| found.given).count();
        write!(
            out,
            "\n{} of {} outputs given, worst share {}: {}",
            given,
            self.operators.len(),
            share(worst),
            if self.inside() {
                "everything is in"
            } else {
                "something is out"
            }
        )?;
        Ok(out)
    }
}

fn share(share: f64) -> String {
    if share < 1e4 {
        format!("{share:.4}")
    } else {
        format!("{share:.1e}")
    }
}
