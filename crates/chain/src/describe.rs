//! Events in words, for people.

use alloy::primitives::{Address, B256, U256, utils::format_ether};

use crate::{
    bindings::{
        IDisputes::IDisputesEvents as D, IMarket::IMarketEvents as M, IModelRegistry::IModelRegistryEvents as R,
    },
    event::Body,
};

/// The event's name.
pub fn name(body: &Body) -> &'static str {
    match body {
        Body::Registry(R::Published(_)) => "Published",
        Body::Market(event) => match event {
            M::Staked(_) => "Staked",
            M::Unstaked(_) => "Unstaked",
            M::NodeSet(_) => "NodeSet",
            M::Requested(_) => "Requested",
            M::Claimed(_) => "Claimed",
            M::Finalized(_) => "Finalized",
            M::Closed(_) => "Closed",
            M::Struck(_) => "Struck",
            M::Voided(_) => "Voided",
            M::Delivered(_) => "Delivered",
            M::Credited(_) => "Credited",
            M::Withdrawn(_) => "Withdrawn",
        },
        Body::Disputes(event) => match event {
            D::Moved(_) => "Moved",
            D::Opened(_) => "Opened",
            D::Revealed(_) => "Revealed",
            D::LayerAnswered(_) => "LayerAnswered",
            D::Pointed(_) => "Pointed",
            D::Parted(_) => "Parted",
            D::Judged(_) => "Judged",
            D::Ended(_) => "Ended",
            D::Settled(_) => "Settled",
        },
    }
}

/// What happened, in one line; `None` for events that only repeat another one in numbers.
pub fn describe(body: &Body) -> Option<String> {
    let line = match body {
        Body::Registry(R::Published(e)) => format!("model {} published by {}", short(&e.model), account(&e.publisher)),
        Body::Market(event) => match event {
            M::Staked(e) => format!("{} staked {}", account(&e.provider), ether(e.amount)),
            M::Unstaked(e) => format!("{} unstaked {}", account(&e.provider), ether(e.amount)),
            M::NodeSet(e) => format!("{} delegated to node key {}", account(&e.provider), account(&e.node)),
            M::Requested(e) => format!(
                "request {} by {}: model {}, {} input bytes, fee {}",
                e.request,
                account(&e.requester),
                short(&e.model),
                e.inputData.len(),
                ether(e.fee)
            ),
            M::Claimed(e) => format!(
                "request {} claimed by worker {} (attempt {}): claim {}, trace root {}",
                e.request,
                account(&e.worker),
                e.attempt,
                short(&e.claim),
                short(&e.traceRoot)
            ),
            M::Finalized(e) => format!(
                "request {} final: nobody disproved claim {} in its window",
                e.request,
                short(&e.claim)
            ),
            M::Closed(e) => format!("request {} closed, {} returned", e.request, ether(e.returned)),
            M::Struck(e) => format!(
                "claim {} of worker {} struck: {} to challenger {}, {} burned; request {} is open again",
                short(&e.claim),
                account(&e.worker),
                ether(e.reward),
                account(&e.challenger),
                ether(e.burned),
                e.request
            ),
            M::Voided(e) => format!(
                "claim {} void: its model has an undecodable descriptor",
                short(&e.claim)
            ),
            M::Delivered(e) => format!(
                "request {} delivered to {}: callback {}",
                e.request,
                account(&e.requester),
                if e.success { "succeeded" } else { "reverted" }
            ),
            M::Credited(_) => return None,
            M::Withdrawn(e) => format!("{} withdrew {}", account(&e.account), ether(e.amount)),
        },
        Body::Disputes(event) => match event {
            D::Opened(e) => format!(
                "dispute {} opened on claim {} by challenger {}, bond {}",
                short(&e.dispute),
                short(&e.claim),
                account(&e.challenger),
                ether(e.bond)
            ),
            D::Revealed(e) => format!(
                "worker reveals {} descendants of node {}",
                e.children.len(),
                short(&e.node)
            ),
            D::LayerAnswered(e) => format!(
                "worker commits to the inside of layer {}: root {}",
                e.layer,
                short(&e.root)
            ),
            D::Pointed(e) => format!("challenger points at operator {}, element {}", e.operator_, e.element),
            D::Parted(e) => format!("worker signs {} words of sums of parts", e.parts.len()),
            D::Judged(e) => format!(
                "judge: operator {} (layer {}), element {} is {}",
                e.outcome.operator_,
                e.outcome.layer,
                e.outcome.element,
                match u8::from(e.outcome.verdict) {
                    1 => "inside its envelope",
                    2 => "outside its envelope",
                    3 => "of an undecodable descriptor",
                    _ => "not opened by this evidence",
                }
            ),
            D::Ended(e) => format!("dispute {} ended", short(&e.dispute)),
            D::Settled(e) => format!("dispute {} settled", short(&e.dispute)),
            D::Moved(_) => return None,
        },
    };
    Some(line)
}

/// Enough of a digest to tell it from others on one screen.
pub fn short(digest: &B256) -> String {
    format!("0x{}…", alloy::primitives::hex::encode(&digest[..4]))
}

fn account(address: &Address) -> String {
    format!("0x{}…", alloy::primitives::hex::encode(&address[..4]))
}

fn ether(wei: U256) -> String {
    format!("{} ETH", format_ether(wei).trim_end_matches('0').trim_end_matches('.'))
}
