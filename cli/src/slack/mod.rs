//! `touchstone model slack`: how far an undetectable cheat can move what a model gives, and what `publish` and `status` say of it.
//!
//! # Layout
//! - this file: the command
//! - `said`: lines for `publish` and `status`

mod said;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json, json};
use touchstone_engine::{
    Device, Engine as _, Keep, Options, Run, Torch, Value,
    slack::{self, Answer, Bounds, Cosine, Element, Limits, Margin},
};
use touchstone_model::Plan;
use touchstone_protocol::{
    descriptor::{Code, Place},
    model::Profile,
};

pub(crate) use self::said::{of_request, of_sample};
use crate::{
    model::{self, Graph},
    output, profile, tensors,
};

/// What is asked about when nothing else is said; each question costs a pass through the model backwards.
const LIMITS: Limits = Limits { elements: 64, rows: 4 };

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: Graph,
    #[command(flatten)]
    limits: model::Limits,
    /// Graph inputs in order: ONNX TensorProto (.pb) or NumPy (.npy) files. The slack is that of the model on these
    #[arg(long = "input", value_name = "FILE", num_args = 1.., required = true)]
    inputs: Vec<PathBuf>,
    /// Numerics profiles to compare (repeat)
    #[arg(long = "profile", value_name = "PROFILE", default_values = ["fast", "blocked:256", "wide"], value_parser = profile::parse)]
    profiles: Vec<Profile>,
    /// Output to look at; all if not given
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// `max`: elements, and the margins of each row's greatest; `cosine`: how far rows can be turned, for embeddings
    #[arg(long, value_enum, default_value_t = Functional::Max)]
    functional: Functional,
    /// With `cosine`: the vector that rows are compared with; if not given, the one found whose cosine can be moved the most
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Most elements of an output, or rivals of a row's greatest, that are asked about
    #[arg(long, value_name = "COUNT", default_value_t = LIMITS.elements, value_parser = count)]
    samples: usize,
    /// Most rows of an output that are asked about
    #[arg(long, value_name = "COUNT", default_value_t = LIMITS.rows, value_parser = count)]
    rows: usize,
    /// Where to run: cpu, cuda, cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of libtorch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Functional {
    Max,
    Cosine,
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is no number from 1 on"))
}

/// A model and its honest values on one input.
struct Subject {
    torch: Torch,
    plan: Arc<Plan>,
    run: Run,
    profiles: Vec<Profile>,
    limits: Limits,
}

/// What was found about one output.
struct Found {
    output: usize,
    elements: Vec<Element>,
    margins: Vec<Margin>,
    cosines: Vec<Cosine>,
}

impl Subject {
    /// Runs the model as precisely as a profile asks for: the values that slack is counted from.
    fn new(mut plan: Plan, inputs: &[Value], options: Options) -> Result<Self> {
        plan.profile = Profile::WIDE.encode();
        let (torch, plan) = (Torch::new(options)?, Arc::new(plan));
        let run = torch.run(&plan, inputs, Keep::All)?;
        Ok(Self {
            torch,
            plan,
            run,
            profiles: Vec::new(),
            limits: LIMITS,
        })
    }

    fn is_float(&self, output: usize) -> bool {
        self.plan.outputs[output].dtype.is_float()
    }

    /// Whether rows of the output have a greatest element that matters.
    fn chooses(&self, output: usize) -> bool {
        let writer = |code: Code, place: Place| code == Code::ArgMax && place == Place::Output(output as u32);
        self.is_float(output) || self.plan.operators.iter().any(|d| writer(d.code, d.place))
    }

    fn elements(&self, output: usize) -> Result<Vec<Element>> {
        let (plan, run) = (&self.plan, &self.run);
        Ok(slack::elements(
            &self.torch,
            plan,
            run,
            &self.profiles,
            output,
            self.limits,
        )?)
    }

    fn margins(&self, output: usize) -> Result<Vec<Margin>> {
        let (plan, run) = (&self.plan, &self.run);
        Ok(slack::margins(
            &self.torch,
            plan,
            run,
            &self.profiles,
            output,
            self.limits,
        )?)
    }

    fn cosines(&self, output: usize, against: Option<&[f64]>) -> Result<Vec<Cosine>> {
        let (plan, run) = (&self.plan, &self.run);
        let found = slack::cosines(&self.torch, plan, run, &self.profiles, output, against, self.limits);
        Ok(found?)
    }

    fn names(&self) -> Vec<String> {
        self.profiles
            .iter()
            .map(|profile| profile::name(profile.encode()))
            .collect()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.against.is_none() || arguments.functional == Functional::Cosine,
        "--against goes with --functional cosine"
    );
    let (plan, _) = arguments.graph.compile(Profile::WIDE, Some(&arguments.limits))?;
    let chosen: Vec<usize> = match &arguments.output {
        None => (0..plan.outputs.len()).collect(),
        Some(name) => {
            let known: Vec<&str> = plan.outputs.iter().map(|io| io.name.as_str()).collect();
            let at = known.iter().position(|known| known == name);
            vec![at.with_context(|| format!("the model has no output {name:?}, it has {}", known.join(", ")))?]
        }
    };
    let against = arguments.against.as_deref().map(vector).transpose()?;
    let inputs = tensors::read_inputs(&arguments.inputs)?;
    let device: Device = arguments.device.parse()?;
    let options = Options {
        device,
        threads: arguments.threads,
    };
    let subject = Subject {
        profiles: arguments.profiles.clone(),
        limits: Limits {
            elements: arguments.samples,
            rows: arguments.rows,
        },
        ..Subject::new(plan, &inputs, options)?
    };
    let mut found = Vec::new();
    for output in chosen {
        let mut of = Found {
            output,
            elements: Vec::new(),
            margins: Vec::new(),
            cosines: Vec::new(),
        };
        match arguments.functional {
            Functional::Max => {
                if subject.is_float(output) {
                    of.elements = subject.elements(output)?;
                }
                if subject.chooses(output) {
                    of.margins = subject.margins(output)?;
                }
            }
            Functional::Cosine if subject.is_float(output) => {
                of.cosines = subject.cosines(output, against.as_deref())?;
            }
            Functional::Cosine => {}
        }
        found.push(of);
    }
    let empty = |of: &Found| of.elements.is_empty() && of.margins.is_empty() && of.cosines.is_empty();
    ensure!(
        !found.iter().all(empty),
        "there is no slack to tell: the outputs are no floating-point numbers, or hold no element"
    );
    if arguments.json {
        return output::line(serde_json::to_string_pretty(&as_json(&subject, &found))?);
    }
    let mut text = String::new();
    for of in &found {
        describe(&mut text, &subject, of)?;
    }
    output::line(text.trim_end())
}

/// A vector to compare rows with, as numbers.
fn vector(path: &Path) -> Result<Vec<f64>> {
    let tensor = tensors::read(path)?;
    let value = Value::new(tensor.dtype, tensor.dims, tensor.bytes)?;
    match value.to_f32() {
        Some(numbers) => Ok(numbers.into_iter().map(f64::from).collect()),
        None => bail!(
            "{}: the vector to compare with is not float32, float16 or bfloat16",
            path.display()
        ),
    }
}

fn describe(text: &mut String, subject: &Subject, of: &Found) -> Result<()> {
    let io = &subject.plan.outputs[of.output];
    let total: u64 = io.dims.iter().map(|dim| u64::from(*dim)).product();
    writeln!(text, "output {} {:?}", io.name, io.dims)?;
    if !of.elements.is_empty() {
        let asked = match of.elements.len() as u64 {
            all if all == total => format!("all {total} elements"),
            some => format!("{some} of {total} elements: the greatest and some at even distances"),
        };
        writeln!(
            text,
            "  how far an element can be moved unseen, to first order ({asked})"
        )?;
        for (at, name) in subject.names().iter().enumerate() {
            let mut sorted: Vec<(&Bounds, u64)> =
                of.elements.iter().map(|e| (&e.answer.bounds[at], e.element)).collect();
            sorted.sort_by(|a, b| a.0.slack.total_cmp(&b.0.slack));
            let (middle, most) = (sorted[sorted.len() / 2].0, sorted[sorted.len() - 1]);
            writeln!(
                text,
                "    {name:<14} at most {:.2e} (element {}), in the middle {:.2e}; {}",
                most.0.slack,
                most.1,
                middle.slack,
                parts(most.0)
            )?;
        }
    }
    for margin in &of.margins {
        let names = subject.names();
        writeln!(text, "  row {}: the greatest is at place {}", margin.row, margin.top)?;
        for (at, name) in names.iter().enumerate() {
            writeln!(text, "    {name:<14} {}", verdict(margin, at))?;
        }
    }
    for cosine in &of.cosines {
        writeln!(
            text,
            "  row {}: how far its cosine can be moved unseen, to first order",
            cosine.row
        )?;
        for (at, name) in subject.names().iter().enumerate() {
            let bounds = &cosine.answer.bounds[at];
            let of = |numbers: &Option<Vec<f64>>| numbers.as_ref().map(|numbers| numbers[at]);
            write!(text, "    {name:<14} ")?;
            match of(&cosine.plain) {
                Some(plain) => write!(
                    text,
                    "with a vector of no particular direction {plain:.2e}, with the worst one found {:.2e}",
                    bounds.slack
                )?,
                None => write!(
                    text,
                    "with the given vector {:.2e} of {:.6}",
                    bounds.slack, cosine.answer.value
                )?,
            }
            if let Some(any) = of(&cosine.any) {
                write!(text, ", with any at most {any:.2e}")?;
            }
            writeln!(text, "; {}", parts(bounds))?;
        }
    }
    Ok(())
}

/// Which families a slack comes from.
fn parts(bounds: &Bounds) -> String {
    let mut parts: Vec<_> = bounds.families.iter().filter(|(_, part)| **part > 0.0).collect();
    parts.sort_by(|a, b| b.1.total_cmp(a.1));
    let name = |(family, part): &(&touchstone_engine::Family, &f64)| {
        format!(
            "{} {:.0} %",
            format!("{family:?}").to_lowercase(),
            100.0 * **part / bounds.slack
        )
    };
    parts.iter().take(3).map(name).collect::<Vec<_>>().join(", ")
}

/// The margin rule of one row under one profile, in words.
fn verdict(margin: &Margin, profile: usize) -> String {
    let Some(nearest) = margin.nearest(profile) else {
        return "nothing else to choose".to_owned();
    };
    let slack = nearest.margin.bounds[profile].slack;
    let (exceeds, certain) = match margin.is_certain(profile) {
        true => ("exceeds", "is certain to first order"),
        false => ("does not exceed", "is not certain: a cheat may pass with another"),
    };
    let others = match margin.others {
        0 => String::new(),
        others => format!(
            " (the nearest {} of {} asked about)",
            margin.rivals.len(),
            margin.rivals.len() + others
        ),
    };
    format!(
        "margin {:.3e} over place {} {exceeds} the slack {slack:.2e}: the answer {certain}{others}",
        nearest.margin.value, nearest.place
    )
}

fn as_json(subject: &Subject, found: &[Found]) -> Json {
    let names = subject.names();
    let bounds = |answer: &Answer| -> Json {
        let of = |(name, bounds): (&String, &Bounds)| {
            let families = bounds
                .families
                .iter()
                .map(|(family, part)| (format!("{family:?}").to_lowercase(), json!(part)));
            // What bounds nothing is null.
            (
                name.clone(),
                json!({ "slack": bounds.slack, "families": families.collect::<Map<_, _>>() }),
            )
        };
        names.iter().zip(&answer.bounds).map(of).collect::<Map<_, _>>().into()
    };
    let outputs = found.iter().map(|of| {
        let io = &subject.plan.outputs[of.output];
        let element = |e: &Element| json!({ "element": e.element, "value": e.answer.value, "profiles": bounds(&e.answer) });
        let margin = |margin: &Margin| {
            let of = |(at, name): (usize, &String)| {
                let nearest = margin.nearest(at).map(|rival| {
                    json!({
                        "place": rival.place,
                        "margin": rival.margin.value,
                        "slack": rival.margin.bounds[at].slack,
                    })
                });
                (name.clone(), json!({ "certain": margin.is_certain(at), "nearest": nearest }))
            };
            json!({
                "row": margin.row,
                "greatest": margin.top,
                "not_asked": margin.others,
                "profiles": names.iter().enumerate().map(of).collect::<Map<_, _>>(),
            })
        };
        let cosine = |cosine: &Cosine| {
            json!({ "row": cosine.row, "value": cosine.answer.value, "profiles": bounds(&cosine.answer), "plain_direction": cosine.plain, "any_direction": cosine.any })
        };
        json!({
            "name": io.name,
            "dims": io.dims,
            "elements": of.elements.iter().map(element).collect::<Vec<_>>(),
            "margins": of.margins.iter().map(margin).collect::<Vec<_>>(),
            "cosines": of.cosines.iter().map(cosine).collect::<Vec<_>>(),
        })
    });
    json!({ "profiles": names, "outputs": outputs.collect::<Vec<_>>() })
}
