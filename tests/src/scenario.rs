//! Pieces of stories: a real image, a question to the network, what is waited for and how long.

use std::{fs, time::Duration};

use alloy::sol_types::SolEventInterface as _;
use anyhow::{Context as _, Result, anyhow};
use touchstone_chain::{
    Address, B256, Inclusion, PrivateKeySigner, U256,
    bindings::IMarket::{self, IMarketEvents},
    event::{Body, Event},
};
use touchstone_model::tensor_file::read_npy;

use crate::{
    chain::{send, view},
    network::{IDigitStore, Network},
    paths,
};

/// Services come up within this.
pub const START: Duration = Duration::from_secs(60);
/// A request is served within this: lease, run, window, delivery.
pub const SERVED: Duration = Duration::from_secs(90);
/// A dispute ends within this: its longest legal course.
pub const DISPUTED: Duration = Duration::from_secs(240);
/// What the requester pays at most for a unit of the delivery's gas, in wei.
const GAS_PRICE: u128 = 5_000_000_000;
/// `DigitStore`'s callback gas.
const CALLBACK_GAS: u32 = 150_000;

/// An image of the test set with its label.
#[derive(Clone, Debug)]
pub struct Image {
    /// 64 fp32 numbers from 0 to 1, little-endian, row by row.
    pub bytes: Vec<u8>,
    /// The digit it shows.
    pub label: u8,
}

impl Image {
    /// Image `number` of the test set.
    ///
    /// # Errors
    /// The files are not what they should be.
    pub fn load(number: usize) -> Result<Self> {
        let dir = paths::root().join("models/digits_vit/inputs");
        let images = read_npy(&fs::read(dir.join("images.npy"))?)?;
        let labels = read_npy(&fs::read(dir.join("labels.npy"))?)?;
        let bytes = images
            .bytes
            .chunks_exact(256)
            .nth(number)
            .context("no such image")?
            .to_vec();
        let label = labels
            .bytes
            .chunks_exact(labels.dtype.size())
            .nth(number)
            .and_then(|label| label.first().copied());
        Ok(Self {
            bytes,
            label: label.context("no such label")?,
        })
    }

    /// The image in characters, a line a row.
    pub fn drawing(&self) -> String {
        const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
        let mut text = String::new();
        for row in self.bytes.chunks_exact(32) {
            text.push_str("    ");
            for pixel in row.chunks_exact(4) {
                let value = f32::from_le_bytes([pixel[0], pixel[1], pixel[2], pixel[3]]);
                let shade = SHADES.get((value * 4.0).round() as usize).copied().unwrap_or('█');
                text.extend([shade, shade]);
            }
            text.push('\n');
        }
        text
    }
}

/// Asks through a consumer contract; the request's number.
///
/// # Errors
/// The contract refuses.
pub async fn ask(network: &Network, consumer: Address, image: &Image) -> Result<U256> {
    let call = IDigitStore::askCall {
        image: image.bytes.clone().into(),
        gasPrice: GAS_PRICE,
    };
    let model: B256 = view(&network.reader, consumer, &IDigitStore::modelCall {}).await?;
    let quote = IMarket::quoteCall {
        model,
        callbackGas: CALLBACK_GAS,
        callbackGasPrice: GAS_PRICE,
    };
    let quote = view(&network.reader, network.deployment.market, &quote).await?;
    let inclusion = send(
        &network.reader,
        network.owner_key()?,
        consumer,
        quote.fee + quote.prepaid,
        &call,
    )
    .await?;
    requested(network, &inclusion).await
}

/// Whether an event is one of the market's that `is` looks for.
pub fn is_market(body: &Body, is: impl Fn(&IMarketEvents) -> bool) -> bool {
    matches!(body, Body::Market(event) if is(event))
}

/// Whether a worker claims a request.
pub fn claimed_by(body: &Body, request: U256, worker: Address) -> bool {
    is_market(
        body,
        |event| matches!(event, IMarketEvents::Claimed(e) if e.request == request && e.worker == worker),
    )
}

/// Whether a request's result is delivered, successfully.
pub fn delivered(body: &Body, request: U256) -> bool {
    is_market(
        body,
        |event| matches!(event, IMarketEvents::Delivered(e) if e.request == request && e.success),
    )
}

/// Asks the market itself, without callback; the request's number.
///
/// # Errors
/// The market refuses.
pub async fn request(network: &Network, requester: &PrivateKeySigner, model: B256, inputs: Vec<u8>) -> Result<U256> {
    let market = network.deployment.market;
    let quote = IMarket::quoteCall {
        model,
        callbackGas: 0,
        callbackGasPrice: 0,
    };
    let quote = view(&network.reader, market, &quote).await?;
    let call = IMarket::requestCall {
        model,
        inputs: inputs.into(),
        options: IMarket::Options {
            mode: IMarket::CallbackMode::None,
            callbackGas: 0,
            callbackGasPrice: 0,
            tag: B256::ZERO,
        },
    };
    let inclusion = send(&network.reader, requester, market, quote.fee, &call).await?;
    requested(network, &inclusion).await
}

/// The number of the request that a transaction made.
async fn requested(network: &Network, inclusion: &Inclusion) -> Result<U256> {
    let receipt = network.reader.receipt(inclusion.transaction).await?;
    let receipt = receipt.context("the request has no receipt")?;
    let logs = receipt.logs().iter();
    let mut events = logs
        .filter(|log| log.address() == network.deployment.market)
        .filter_map(|log| IMarketEvents::decode_raw_log(log.topics(), &log.inner.data.data).ok());
    events
        .find_map(|event| match event {
            IMarketEvents::Requested(event) => Some(event.request),
            _ => None,
        })
        .ok_or_else(|| anyhow!("the transaction made no request"))
}

/// The claim that a worker makes on a request, with its outputs.
pub fn claim_by(event: &Event, request: U256, worker: Address) -> Option<(B256, Vec<u8>)> {
    match &event.body {
        Body::Market(IMarketEvents::Claimed(e)) if e.request == request && e.worker == worker => {
            Some((e.claim, e.outputData.to_vec()))
        }
        _ => None,
    }
}

/// Whether a worker's claim on a request is struck.
pub fn struck(event: &Event, request: U256, worker: Address) -> Option<()> {
    is_market(
        &event.body,
        |event| matches!(event, IMarketEvents::Struck(e) if e.request == request && e.worker == worker),
    )
    .then_some(())
}

/// Whether a claim becomes final.
pub fn finalized(event: &Event, claim: B256) -> Option<()> {
    is_market(
        &event.body,
        |event| matches!(event, IMarketEvents::Finalized(e) if e.claim == claim),
    )
    .then_some(())
}
