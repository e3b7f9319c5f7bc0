//! `touchstone model …`: what a model file holds, and its publication.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, U256, hex};
use anyhow::{Context as _, Error, Result, ensure};
use clap::{Args, Subcommand};
use touchstone_chain::bindings::IModelRegistry;
use touchstone_model::{CompileError, CompileOptions, Plan, PlanLimits, compile, inspect::Inspection, limits};
use touchstone_protocol::{
    digest::{B256, hash},
    model::{MAX_INLINE_BYTES, ModelHeader, Profile},
};

use crate::{EXIT_STATUS, chain, output, quote, slack, tensors};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show operators, layers, sizes and ids
    #[command(after_help = EXIT_STATUS)]
    Inspect(Inspect),
    /// Publish a model in the name of the key's account
    #[command(after_help = EXIT_STATUS)]
    Publish(Publish),
    /// Say how far an undetectable cheat can move the outputs, to first order, on an input
    #[command(after_help = EXIT_STATUS)]
    Slack(slack::Arguments),
}

/// A model file and what fixes its shapes.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// ONNX file
    #[arg(value_name = "MODEL.onnx")]
    pub(crate) file: PathBuf,
    /// Shape of a graph input that the file leaves open (repeat)
    #[arg(long = "shape", value_name = "NAME=D,D,…", value_parser = tensors::shape)]
    shapes: Vec<(String, Vec<u32>)>,
    /// Tensor file that makes a graph input a constant (repeat)
    #[arg(long = "bind", value_name = "NAME=FILE", value_parser = tensors::bind)]
    binds: Vec<(String, PathBuf)>,
}

/// A model file and the profile it is compiled under.
#[derive(Debug, Args)]
pub(crate) struct Source {
    #[command(flatten)]
    pub(crate) graph: Graph,
    /// Numerics profile: which engines conform, and so how far a result may be moved unseen. `fast`: any order of summation in
    /// fp32; `blocked:B`: sums in blocks of B terms; `wide`: fp64 inside each operator, the tightest and the slowest; `tf32`,
    /// `bf16`, `fp16`: matrix products by tensor cores that read factors of that format, the loosest and the fastest
    #[arg(long, value_name = "PROFILE", default_value = "fast", value_parser = crate::profile::parse)]
    profile: Profile,
}

/// How large a plan this machine takes; what is published has to stay within the defaults.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Most bytes of all values of a run
    #[arg(long, value_name = "BYTES", default_value_t = limits::RUN_BYTES)]
    max_run_bytes: u64,
    /// Most bytes of all weights
    #[arg(long, value_name = "BYTES", default_value_t = limits::WEIGHT_BYTES)]
    max_weight_bytes: u64,
    /// Most terms that a run computes
    #[arg(long, value_name = "TERMS", default_value_t = limits::RUN_TERMS)]
    max_run_terms: u64,
}

impl Limits {
    fn get(&self) -> PlanLimits {
        PlanLimits {
            run_bytes: self.max_run_bytes,
            weight_bytes: self.max_weight_bytes,
            run_terms: self.max_run_terms,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    clocks: quote::Clocks,
    /// Account whose model id to show
    #[arg(long, default_value_t = Address::ZERO)]
    publisher: Address,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    signing: chain::Signing,
    /// Where the file can be fetched
    #[arg(long, default_value = "")]
    uri: String,
    /// Least fee of a request, in wei
    #[arg(long, default_value_t = U256::ZERO)]
    price: U256,
    /// Graph inputs of a sample, in order: .pb or .npy files; the slack of the outputs on it is said
    #[arg(long = "input", value_name = "FILE", num_args = 1..)]
    inputs: Vec<PathBuf>,
}

impl Graph {
    /// Reads and compiles the file; also its bytes.
    pub(crate) fn compile(&self, profile: Profile, limits: Option<&Limits>) -> Result<(Plan, Vec<u8>)> {
        let bytes = fs::read(&self.file).with_context(|| format!("read {}", self.file.display()))?;
        let options = CompileOptions {
            shapes: self.shapes.iter().cloned().collect(),
            binds: tensors::read_binds(&self.binds)?,
            profile: profile.encode(),
            limits: limits.map(Limits::get).unwrap_or_default(),
        };
        let plan = compile(&bytes, &options).map_err(|error| {
            let flag = match &error {
                CompileError::PlanTooLarge { option, .. } if limits.is_some() => {
                    format!(" (--max-{} raises the limit here)", option.replace('_', "-"))
                }
                _ => String::new(),
            };
            Error::new(error).context(format!("compile {}{flag}", self.file.display()))
        })?;
        Ok((plan, bytes))
    }

    fn is_bound_by_the_file(&self) -> bool {
        self.shapes.is_empty() && self.binds.is_empty()
    }
}

impl Source {
    /// Reads and compiles the file; also its bytes.
    pub(crate) fn compile(&self, limits: Option<&Limits>) -> Result<(Plan, Vec<u8>)> {
        self.graph.compile(self.profile, limits)
    }
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Publish(arguments) => publish(&arguments),
        Command::Slack(arguments) => slack::run(&arguments),
    }
}

fn inspect(arguments: &Inspect) -> Result<()> {
    let (plan, bytes) = arguments.source.compile(Some(&arguments.limits))?;
    let header = plan.header().context("the plan has no model id")?;
    let inspection = plan.inspect();
    let publisher = arguments.publisher;
    let times = quote::Times::new(&arguments.clocks, &plan, &inspection);
    if arguments.json {
        let mut json = serde_json::to_value(&inspection)?;
        if let Some(object) = json.as_object_mut() {
            object.insert("times".to_owned(), times.json());
            object.insert("model_id".to_owned(), header.id(publisher).to_string().into());
            object.insert("publisher".to_owned(), publisher.to_string().into());
            object.insert("plan_root".to_owned(), header.plan_root.to_string().into());
            object.insert("weights_root".to_owned(), header.weights_root.to_string().into());
            object.insert("profile".to_owned(), format!("{:#018x}", plan.profile).into());
            object.insert("file_digest".to_owned(), hash(&bytes).to_string().into());
        }
        return output::line(serde_json::to_string_pretty(&json)?);
    }
    let publishable = match plan.check_publishable() {
        Ok(()) => "publishable".to_owned(),
        Err(reason) => format!("not publishable: {reason}"),
    };
    let mut text = summary(&inspection, &header, publisher, hash(&bytes), &publishable)?;
    text += &times.text(&inspection)?;
    text.push('\n');
    operators(&mut text, &inspection)?;
    output::line(text)
}

/// Ids and sizes.
fn summary(
    inspection: &Inspection,
    header: &ModelHeader,
    publisher: Address,
    digest: B256,
    publishable: &str,
) -> Result<String> {
    let mut out = String::new();
    let id = header.id(publisher);
    writeln!(out, "model id     {id}  (published by {publisher})")?;
    writeln!(out, "plan root    {}", header.plan_root)?;
    writeln!(out, "weights root {}", header.weights_root)?;
    writeln!(out, "file digest  {digest}")?;
    writeln!(
        out,
        "profile      {} ({:#018x})",
        crate::profile::name(header.profile),
        header.profile
    )?;
    for (kind, list) in [("input ", &inspection.inputs), ("output", &inspection.outputs)] {
        for tensor in list {
            writeln!(out, "{kind}       {} {} {:?}", tensor.name, tensor.dtype, tensor.dims)?;
        }
    }
    writeln!(
        out,
        "inline       inputs {}, outputs {} of {MAX_INLINE_BYTES} bytes each: {publishable}",
        inspection.input_bytes, inspection.output_bytes
    )?;
    writeln!(
        out,
        "sizes        {} weights of {} bytes; {} trace values; {} boundary bytes a claim; {} inner bytes",
        inspection.weights,
        inspection.size.weight_bytes,
        inspection.trace_values,
        inspection.boundary_bytes,
        inspection.inner_bytes
    )?;
    writeln!(
        out,
        "a run        {} bytes of values; {} terms",
        inspection.size.run_bytes, inspection.size.run_terms
    )?;
    writeln!(
        out,
        "worst case   witness {} bytes, verdict at most {} gas",
        inspection.worst_witness_bytes, inspection.worst_verdict_gas
    )?;
    Ok(out)
}

/// The table of operators.
fn operators(out: &mut String, inspection: &Inspection) -> Result<()> {
    writeln!(
        out,
        "{:>5} {:>5}  {:<10} {:<10} {:>6} {:>9} {:>9}  name",
        "op", "layer", "code", "place", "terms", "witness", "gas"
    )?;
    for (number, operator) in inspection.operators.iter().enumerate() {
        writeln!(
            out,
            "{number:>5} {:>5}  {:<10} {:<10} {:>6} {:>9} {:>9}  {} {} {:?}",
            operator.layer,
            operator.code,
            operator.place,
            operator.terms,
            operator.cost.witness_bytes,
            operator.cost.verdict_gas,
            operator.name,
            operator.dtype,
            operator.dims
        )?;
    }
    write!(
        out,
        "\n{} operators in {} layers",
        inspection.operators.len(),
        inspection.layers.len()
    )?;
    Ok(())
}

fn publish(arguments: &Publish) -> Result<()> {
    ensure!(
        arguments.source.graph.is_bound_by_the_file(),
        "a published model's shapes must be fixed in the file itself, so that workers compile the same plan: \
         export it with fixed shapes instead of using --shape or --bind"
    );
    let (plan, bytes) = arguments.source.compile(None)?;
    plan.check_publishable()
        .with_context(|| format!("publish {}", arguments.source.graph.file.display()))?;
    let header = plan.header()?;
    let slack = match arguments.inputs.is_empty() {
        true => vec!["slack: --input names a sample to tell it on; so does `touchstone model slack`".to_owned()],
        false => {
            let inputs = tensors::read_inputs(&arguments.inputs)?;
            slack::of_sample(plan.clone(), &inputs, arguments.source.profile)?
        }
    };
    let call = IModelRegistry::publishCall {
        header: (&header).into(),
        io: plan.io().encode()?.into(),
        uri: arguments.uri.clone(),
        digest: hash(&bytes),
        price: arguments.price,
    };
    chain::block_on(async {
        let session = arguments.signing.open().await?;
        let inclusion = session.send(session.deployment.registry, U256::ZERO, &call).await?;
        output::note(format_args!(
            "published {} in transaction {} ({} gas)",
            name(&arguments.source.graph.file),
            hex::encode_prefixed(inclusion.transaction),
            inclusion.gas_used
        ));
        slack.iter().for_each(output::note);
        output::line(header.id(session.account()))
    })
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
