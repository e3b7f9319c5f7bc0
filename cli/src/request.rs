//! `touchstone request`: asks the network for an inference, from an account of one's own.

use std::path::PathBuf;

use alloy::primitives::{B256, Bytes, U256};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use touchstone_chain::{
    bindings::{
        IMarket::{self, IMarketEvents},
        IModelRegistry,
    },
    event::Body,
};
use touchstone_protocol::model::Io;

use crate::{chain, output, tensors};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Model id
    model: B256,
    /// Graph inputs in order: ONNX TensorProto (.pb) or NumPy (.npy) files
    #[arg(long = "input", value_name = "FILE", num_args = 1.., required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    signing: chain::Signing,
    /// Fee in wei; the model's price if not given
    #[arg(long)]
    fee: Option<U256>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let values = tensors::read_inputs(&arguments.inputs)?;
    chain::block_on(async {
        let session = arguments.signing.open().await?;
        let (reader, deployment) = (&session.view.reader, session.deployment);
        let head = reader.head().await?;
        let call = IModelRegistry::ioOfCall { model: arguments.model };
        let io = reader.call(deployment.registry, &call, head.hash).await;
        let io = Io::decode(&io.with_context(|| format!("find the model {}", arguments.model))?)?;
        ensure!(
            io.inputs.len() == values.len(),
            "the model takes {} inputs, {} given: name one file for each with --input",
            io.inputs.len(),
            values.len()
        );
        let mut bytes = Vec::new();
        for (number, (spec, value)) in io.inputs.iter().zip(&values).enumerate() {
            value
                .check_is(spec.dtype, &spec.dims)
                .with_context(|| format!("input {number}"))?;
            bytes.extend_from_slice(&value.bytes);
        }
        let quote = IMarket::quoteCall {
            model: arguments.model,
            callbackGas: 0,
            callbackGasPrice: 0,
        };
        let price = reader.call(deployment.market, &quote, head.hash).await?.fee;
        let fee = arguments.fee.unwrap_or(price);
        ensure!(fee >= price, "the model's price is {price} wei, the fee given is {fee}");
        let options = IMarket::Options {
            mode: IMarket::CallbackMode::None,
            callbackGas: 0,
            callbackGasPrice: 0,
            tag: B256::ZERO,
        };
        let call = IMarket::requestCall {
            model: arguments.model,
            inputs: Bytes::from(bytes),
            options,
        };
        let inclusion = session.send(deployment.market, fee, &call).await?;
        let block = reader
            .block(inclusion.block)
            .await?
            .context("the block of the request is gone: look again")?;
        let events = deployment.events(reader, &block).await?;
        let number = events.iter().find_map(|event| match &event.body {
            Body::Market(IMarketEvents::Requested(e)) if event.transaction == inclusion.transaction => Some(e.request),
            _ => None,
        });
        let number = number.context("the transaction has no request in its logs")?;
        output::note(format_args!(
            "requested in transaction {} ({} gas)",
            inclusion.transaction, inclusion.gas_used
        ));
        output::line(number)
    })
}
