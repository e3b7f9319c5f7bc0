//! Reads a whole dispute from the chain, pinned to one block.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use touchstone_chain::{
    Block, ChainError, ChainReader,
    bindings::{
        IDisputes,
        IMarket::{self, ClaimStatus},
        Phase as PhaseCode, Position as PositionCode, Tree as TreeCode,
    },
    event::Deployment,
};
use touchstone_protocol::dispute::{Phase, Position, Tree};

use crate::{
    parts,
    record::PartedRow,
    store::{Store, StoreError},
    strategy::{DisputeView, Given, Live, Stage},
};

/// Why a dispute could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// The node gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What does not change in a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) chain_id: u64,
    pub(crate) deployment: Deployment,
    pub(crate) parameters: IMarket::Parameters,
    /// Whether transactions are seen by nobody before they are mined.
    pub(crate) private_relay: bool,
}

/// A dispute of ours, or the place where it would be.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) view: DisputeView,
    /// What a move has to name.
    pub(crate) state: B256,
    /// What is at stake while it goes on, in wei.
    pub(crate) bond: U256,
}

impl Terms {
    /// Reads our dispute on a claim, and the claim's layer roots among `layers`.
    pub(crate) async fn see(
        &self,
        reader: &ChainReader,
        store: &Store,
        at: &Block,
        dispute: B256,
        claim: B256,
        layers: &[u32],
        block_seconds: u64,
    ) -> Result<Seen, ViewError> {
        let disputes = self.deployment.disputes;
        let status = reader
            .call(self.deployment.market, &IMarket::claimOfCall { claim }, at.hash)
            .await?;
        let d = reader
            .call(disputes, &IDisputes::disputeOfCall { dispute }, at.hash)
            .await?;
        let state = reader
            .call(disputes, &IDisputes::stateDigestCall { dispute }, at.hash)
            .await?;
        let mut standing = BTreeMap::new();
        let present =
            (d.position.phase == PhaseCode::Layering || d.position.tree == TreeCode::Layer).then_some(d.position.layer);
        for layer in layers.iter().copied().chain(present) {
            let answer = reader
                .call(disputes, &IDisputes::layerRootOfCall { claim, layer }, at.hash)
                .await?;
            if answer.stands {
                standing.insert(layer, answer.root);
            }
        }
        let stage = match phase(d.position.phase) {
            Kind::None => Stage::Unopened,
            Kind::Moot => Stage::Moot,
            Kind::Over => Stage::Over,
            Kind::Live(phase) => {
                let position = position(&d.position, phase);
                let children = match phase {
                    Phase::Picking => store.select_children(dispute, position.node)?,
                    _ => None,
                };
                let given = match phase {
                    Phase::Parting => store
                        .select_parted(dispute, position.node)?
                        .map(|PartedRow { header, parts }| Given { header, sums: parts }),
                    Phase::Proving => parts::leaf(position.node, &store.select_all_parted(dispute)?),
                    _ => None,
                };
                Stage::Live(Box::new(Live {
                    position,
                    count: d.count,
                    turns: d.turns,
                    deadline: d.deadline,
                    children,
                    given,
                    compared: None,
                }))
            }
        };
        let p = &self.parameters;
        let view = DisputeView {
            claim_open: status.status == ClaimStatus::Open,
            window_end: status.windowEnd,
            stage,
            standing,
            clock: p.clockSeconds,
            extension: p.extensionSeconds,
            max_turns: p.maxTurns,
            block_seconds,
            private_relay: self.private_relay,
        };
        Ok(Seen {
            view,
            state,
            bond: d.bond,
        })
    }

    /// The id of our dispute on a claim; we never need more than one.
    pub(crate) fn dispute(&self, claim: B256, challenger: Address) -> B256 {
        touchstone_protocol::dispute::dispute_id(self.chain_id, self.deployment.disputes, claim, challenger, U256::ZERO)
    }
}

enum Kind {
    None,
    Live(Phase),
    Moot,
    Over,
}

fn phase(code: PhaseCode) -> Kind {
    match code {
        PhaseCode::Choosing => Kind::Live(Phase::Choosing),
        PhaseCode::Revealing => Kind::Live(Phase::Revealing),
        PhaseCode::Picking => Kind::Live(Phase::Picking),
        PhaseCode::Layering => Kind::Live(Phase::Layering),
        PhaseCode::Defending => Kind::Live(Phase::Defending),
        PhaseCode::Totalling => Kind::Live(Phase::Totalling),
        PhaseCode::Parting => Kind::Live(Phase::Parting),
        PhaseCode::Splitting => Kind::Live(Phase::Splitting),
        PhaseCode::Proving => Kind::Live(Phase::Proving),
        PhaseCode::Moot => Kind::Moot,
        PhaseCode::None => Kind::None,
        PhaseCode::Struck | PhaseCode::Lost | PhaseCode::Conceded | PhaseCode::Voided | PhaseCode::Settled => {
            Kind::Over
        }
        // Added by the bindings for numbers that the contract does not have.
        _ => Kind::Over,
    }
}

fn position(p: &PositionCode, phase: Phase) -> Position {
    Position {
        moves: p.moves,
        phase,
        tree: if p.tree == TreeCode::Layer {
            Tree::Layer
        } else {
            Tree::Trace
        },
        layer: p.layer,
        node: p.node,
        depth: p.depth,
        index: p.index,
        operator: p.operator_,
        element: p.element,
    }
}
