//! `touchstone model …`: what a model file holds, and its publication.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, U256, hex};
use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use touchstone_chain::bindings::IModelRegistry;
use touchstone_model::{CompileOptions, Plan, compile};
use touchstone_protocol::digest::hash;

use crate::{chain, tensors};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show operators, layers, sizes and ids
    Inspect(Inspect),
    /// Publish a model in the name of the key's account
    Publish(Publish),
}

/// A model file and what fixes its shapes.
#[derive(Debug, Args)]
pub(crate) struct Source {
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

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    source: Source,
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
}

impl Source {
    /// Reads and compiles the file; also its bytes.
    pub(crate) fn compile(&self) -> Result<(Plan, Vec<u8>)> {
        let bytes = fs::read(&self.file).with_context(|| format!("read {}", self.file.display()))?;
        let options = CompileOptions {
            shapes: self.shapes.iter().cloned().collect(),
            binds: tensors::read_binds(&self.binds)?,
            ..CompileOptions::default()
        };
        let plan = compile(&bytes, &options).with_context(|| format!("compile {}", self.file.display()))?;
        Ok((plan, bytes))
    }

    fn is_bound_by_the_file(&self) -> bool {
        self.shapes.is_empty() && self.binds.is_empty()
    }
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Publish(arguments) => publish(&arguments),
    }
}

fn inspect(arguments: &Inspect) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let (plan, bytes) = arguments.source.compile()?;
    let header = plan.header()?;
    let id = header.id(arguments.publisher);
    let inspection = plan.inspect();
    if arguments.json {
        let mut json = serde_json::to_value(&inspection)?;
        if let Some(object) = json.as_object_mut() {
            object.insert("model_id".to_owned(), id.to_string().into());
            object.insert("publisher".to_owned(), arguments.publisher.to_string().into());
            object.insert("plan_root".to_owned(), header.plan_root.to_string().into());
            object.insert("weights_root".to_owned(), header.weights_root.to_string().into());
            object.insert("profile".to_owned(), format!("{:#018x}", plan.profile).into());
            object.insert("file_digest".to_owned(), hash(&bytes).to_string().into());
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&json)?)?;
        return Ok(());
    }
    writeln!(out, "model id     {id}  (published by {})", arguments.publisher)?;
    writeln!(
        out,
        "plan root    {}\nweights root {}\nfile digest  {}",
        header.plan_root,
        header.weights_root,
        hash(&bytes)
    )?;
    writeln!(out, "profile      fast ({:#018x})", plan.profile)?;
    for (kind, list) in [("input ", &inspection.inputs), ("output", &inspection.outputs)] {
        for tensor in list {
            writeln!(out, "{kind}       {} {} {:?}", tensor.name, tensor.dtype, tensor.dims)?;
        }
    }
    writeln!(
        out,
        "sizes        {} weights of {} bytes; {} trace values; {} boundary bytes a claim; {} inner bytes",
        inspection.weights,
        inspection.weight_bytes,
        inspection.trace_values,
        inspection.boundary_bytes,
        inspection.inner_bytes
    )?;
    writeln!(
        out,
        "worst case   witness {} bytes, verdict about {} gas\n",
        inspection.worst_witness_bytes, inspection.worst_verdict_gas
    )?;
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
    writeln!(
        out,
        "\n{} operators in {} layers",
        inspection.operators.len(),
        inspection.layers.len()
    )?;
    Ok(())
}

fn publish(arguments: &Publish) -> Result<()> {
    ensure!(
        arguments.source.is_bound_by_the_file(),
        "a published model's shapes must be fixed in the file itself, so that workers compile the same plan: \
         export it with fixed shapes instead of using --shape or --bind"
    );
    let (plan, bytes) = arguments.source.compile()?;
    let header = plan.header()?;
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
        println!("{}", header.id(session.account()));
        eprintln!(
            "published {} in transaction {} ({} gas)",
            name(&arguments.source.file),
            hex::encode_prefixed(inclusion.transaction),
            inclusion.gas_used
        );
        Ok(())
    })
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
