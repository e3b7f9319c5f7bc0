//! `touchstone status`: what became of a request, on three axes, and every event of its life.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, U256, hex};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use touchstone_chain::{
    Block,
    bindings::{
        IDisputes::IDisputesEvents as D,
        IMarket::{self, ClaimStatus, Delivery, IMarketEvents as M, RequestStatus},
        IModelRegistry,
    },
    describe::describe,
    event::Body,
};

use touchstone_engine::Value;
use touchstone_model::{CompileOptions, compile};
use touchstone_protocol::{model::Profile, tensor::byte_length};

use crate::{chain, output, slack};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Number of the request
    request: U256,
    #[command(flatten)]
    connection: chain::Connection,
    /// Also list every event of its life, with transactions
    #[arg(long)]
    timeline: bool,
    /// The model's ONNX file: says whether, to first order, the answer is certain on this request's input
    #[arg(long, value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    /// First block to look at for the timeline and the request's input
    #[arg(long, default_value_t = 0, value_name = "BLOCK")]
    from_block: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    chain::block_on(async {
        let view = arguments.connection.open().await?;
        let head = view.reader.head().await?;
        let market = view.deployment.market;
        let call = IMarket::requestOfCall {
            request: arguments.request,
        };
        let request = view.reader.call(market, &call, head.hash).await?;
        ensure!(
            request.status != RequestStatus::None,
            "there is no request {}; the last one is {}",
            arguments.request,
            view.reader
                .call(market, &IMarket::requestCountCall {}, head.hash)
                .await?
        );
        let claimed = request.attempt > 1 || request.status != RequestStatus::Requested;
        let claim = match claimed && request.claim != B256::ZERO {
            true => Some(
                view.reader
                    .call(market, &IMarket::claimOfCall { claim: request.claim }, head.hash)
                    .await?,
            ),
            false => None,
        };
        output::line(format_args!(
            "request       {} of model {}\nexecution     {}\nverification  {}\nsettlement    {}",
            arguments.request,
            request.model,
            execution(&request, head.timestamp),
            verification(&request, claim.as_ref(), head.timestamp),
            settlement(&request)
        ))?;
        if let Some(file) = &arguments.model {
            certainty(&view, arguments, file, &request, &head).await?;
        }
        if arguments.timeline {
            output::line("")?;
            timeline(&view, arguments, head.number).await?;
        }
        Ok(())
    })
}

/// Whether an undetectable cheat could have made the answer another one.
async fn certainty(
    view: &chain::View,
    arguments: &Arguments,
    file: &Path,
    request: &IMarket::Request,
    head: &Block,
) -> Result<()> {
    let call = IModelRegistry::modelOfCall { model: request.model };
    let model = view.reader.call(view.deployment.registry, &call, head.hash).await?;
    let profile = Profile::decode(model.header.profile)?;
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let options = CompileOptions {
        profile: profile.encode(),
        ..CompileOptions::default()
    };
    let plan = compile(&bytes, &options).with_context(|| format!("compile {}", file.display()))?;
    ensure!(
        plan.header()?.id(model.publisher) == request.model,
        "{} is not the model of the request: its id under {} is another",
        file.display(),
        model.publisher
    );
    let (mut input, mut claimed) = (None, None);
    for number in arguments.from_block..=head.number {
        let block = block(view, number).await?;
        for event in view.deployment.events(&view.reader, &block).await? {
            match event.body {
                Body::Market(M::Requested(e)) if e.request == arguments.request => input = Some(e.inputData),
                Body::Market(M::Claimed(e)) if e.request == arguments.request && e.claim == request.claim => {
                    claimed = Some(e.outputData);
                }
                _ => {}
            }
        }
    }
    let mut input = &input.context("the request is older than --from-block, and its input with it")?[..];
    let mut inputs = Vec::new();
    for io in &plan.inputs {
        let size = byte_length(io.dtype, &io.dims)? as usize;
        let (own, rest) = input
            .split_at_checked(size)
            .context("the request's input is too short for the model")?;
        inputs.push(Value::new(io.dtype, io.dims.clone(), own)?);
        input = rest;
    }
    for line in slack::of_request(plan, &inputs, profile, claimed.as_ref().map(|bytes| bytes.as_ref()))? {
        output::line(format_args!("answer        {line}"))?;
    }
    Ok(())
}

async fn block(view: &chain::View, number: u64) -> Result<Block> {
    let block = view.reader.block_at(number).await?;
    block.with_context(|| format!("block {number} is missing"))
}

fn execution(request: &IMarket::Request, now: u64) -> String {
    match request.status {
        RequestStatus::Requested if now > request.deadline => "nobody delivered in time; anybody may refund".to_owned(),
        RequestStatus::Requested => {
            format!(
                "waiting for a worker, {} s left (attempt {})",
                request.deadline - now,
                request.attempt
            )
        }
        RequestStatus::Claimed => format!("a worker has answered (attempt {})", request.attempt),
        RequestStatus::Final => "done".to_owned(),
        RequestStatus::Refunded => "nobody delivered in time".to_owned(),
        RequestStatus::Void => "given up".to_owned(),
        RequestStatus::None | RequestStatus::__Invalid => "unknown".to_owned(),
    }
}

fn verification(request: &IMarket::Request, claim: Option<&IMarket::Claim>, now: u64) -> String {
    let Some(claim) = claim else {
        return "no claim yet".to_owned();
    };
    match claim.status {
        ClaimStatus::Open if claim.openDisputes > 0 => format!("{} disputes open", claim.openDisputes),
        ClaimStatus::Open if now > claim.windowEnd => "undisputed, the challenge window has passed".to_owned(),
        ClaimStatus::Open => format!(
            "undisputed so far, {} s of the challenge window left",
            claim.windowEnd - now
        ),
        ClaimStatus::Final => "final".to_owned(),
        ClaimStatus::Struck => format!("the claim of attempt {} was struck", request.attempt.saturating_sub(1)),
        ClaimStatus::Void => "void: the model has an undecodable descriptor".to_owned(),
        ClaimStatus::None | ClaimStatus::__Invalid => "unknown".to_owned(),
    }
}

fn settlement(request: &IMarket::Request) -> String {
    match (request.status, request.delivery) {
        (RequestStatus::Final, Delivery::None) => "paid; no callback was asked for".to_owned(),
        (RequestStatus::Final, Delivery::Pending) => "paid; callback pending, anybody may deliver".to_owned(),
        (RequestStatus::Final, Delivery::Succeeded) => "paid and delivered".to_owned(),
        (RequestStatus::Final, Delivery::Reverted) => {
            "paid; the callback reverted or ran out of its gas, the result stays readable".to_owned()
        }
        (RequestStatus::Refunded | RequestStatus::Void, _) => "money returned as the requester's credit".to_owned(),
        _ => "escrowed".to_owned(),
    }
}

async fn timeline(view: &chain::View, arguments: &Arguments, head: u64) -> Result<()> {
    let (mut claims, mut disputes) = (BTreeSet::new(), BTreeSet::new());
    for number in arguments.from_block..=head {
        let block = block(view, number).await?;
        for event in view.deployment.events(&view.reader, &block).await? {
            if concerns(&event.body, arguments.request, &mut claims, &mut disputes)
                && let Some(line) = describe(&event.body)
            {
                output::line(format_args!(
                    "{}  {line}\n            tx {}",
                    block.timestamp,
                    hex::encode_prefixed(event.transaction)
                ))?;
            }
        }
    }
    Ok(())
}

/// Whether an event belongs to the request; remembers its claims and disputes.
fn concerns(body: &Body, request: U256, claims: &mut BTreeSet<B256>, disputes: &mut BTreeSet<B256>) -> bool {
    match body {
        Body::Registry(_) => false,
        Body::Market(event) => match event {
            M::Requested(e) => e.request == request,
            M::Claimed(e) if e.request == request => {
                claims.insert(e.claim);
                true
            }
            M::Claimed(_) => false,
            M::Finalized(e) => e.request == request,
            M::Closed(e) => e.request == request,
            M::Struck(e) => e.request == request,
            M::Voided(e) => e.request == request,
            M::Delivered(e) => e.request == request,
            M::Staked(_) | M::Unstaked(_) | M::NodeSet(_) | M::Credited(_) | M::Withdrawn(_) => false,
        },
        Body::Disputes(event) => match event {
            D::Opened(e) if claims.contains(&e.claim) => {
                disputes.insert(e.dispute);
                true
            }
            D::Opened(_) => false,
            D::LayerAnswered(e) => claims.contains(&e.claim),
            D::Moved(e) => disputes.contains(&e.dispute),
            D::Revealed(e) => disputes.contains(&e.dispute),
            D::Pointed(e) => disputes.contains(&e.dispute),
            D::Parted(e) => disputes.contains(&e.dispute),
            D::Judged(e) => disputes.contains(&e.dispute),
            D::Ended(e) => disputes.contains(&e.dispute),
            D::Settled(e) => disputes.contains(&e.dispute),
        },
    }
}
