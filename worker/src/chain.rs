//! The chain, asked by the worker itself: are the contracts the right ones, does a lease say what the request says, what became of
//! a claim, and whose turn is it in its disputes. With it the coordinator is a convenience.
//!
//! Longer than the house size: a third of it are its tests, of every fact of a lease and every phase of a dispute.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, U256};
use touchstone_chain::{
    Block, ChainError, ChainReader, Outbox, Sender, SenderConfig,
    bindings::{
        IDisputes,
        IMarket::{self, ClaimStatus, RequestStatus},
        IModelRegistry, Phase, Position, Tree as PositionTree,
    },
    event::{Body, Deployment},
    withdraw::{self, Funds},
};
use touchstone_wire::worker::{Ask, Tree};

use crate::{
    app::App,
    config::Config,
    direct,
    job::{JobError, Signer},
    record::{End, State, Terms},
    store::{Store, StoreError},
};

/// Each request to the node.
const RPC_TIMEOUT: Duration = Duration::from_secs(10);
/// Blocks looked at again after a reorganisation, and at most at once.
const REWIND: u64 = 64;
/// Blocks read before answers that are due have their turn again.
const BLOCKS_AT_ONCE: u32 = 64;
const CURSOR: &str = "cursor";

/// How far the chain was read.
enum Followed {
    /// There is more.
    Behind,
    /// Up to the newest block.
    Reached {
        /// Whether there are new disputes in what was read last.
        disputed: bool,
    },
}

/// Why a step on the chain was not made. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The node gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A transaction could not be made.
    #[error("send: {0}")]
    Send(String),
}

/// The chain as this worker uses it.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) reader: ChainReader,
    pub(crate) deployment: Deployment,
    pub(crate) sender: Sender,
    pub(crate) outbox: Outbox,
    worker_bond: U256,
    /// The least a clock shows when a turn begins, in seconds.
    pub(crate) extension: u64,
}

impl Chain {
    /// Connects and checks that chain and contracts are the configured ones.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when they are not; anything else when the node gave no answer.
    pub(crate) async fn connect(config: &Config, url: &str, store: &Store) -> Result<Self, ChainError> {
        let what = "check the deployment";
        let reader = ChainReader::new(url, RPC_TIMEOUT)?;
        let found = reader.chain_id().await?;
        if found != config.chain_id {
            let detail = format!("the node follows chain {found}, configured is {}", config.chain_id);
            return Err(ChainError::Inconsistent { what, detail });
        }
        let at = reader.head().await?.hash;
        if reader.code(config.market, at).await?.is_empty() {
            let detail = format!("there is no contract at market {}", config.market);
            return Err(ChainError::Inconsistent { what, detail });
        }
        let deployment = Deployment::of_market(&reader, config.market, at).await?;
        deployment.check(&reader, at).await?;
        let parameters = reader.call(config.market, &IMarket::parametersCall {}, at).await?;
        let sender = Sender::new(
            reader.clone(),
            config.node.0.clone(),
            SenderConfig::new(config.chain_id),
        );
        let worker_bond = U256::from(parameters.workerBond);
        let extension = parameters.extensionSeconds;
        Ok(Self {
            reader,
            deployment,
            sender,
            outbox: store.outbox(),
            worker_bond,
            extension,
        })
    }

    /// What the market says about a provider, and the bond that a claim reserves.
    pub(crate) async fn provider(&self, provider: Address) -> Result<(IMarket::Provider, U256), ChainError> {
        let at = self.reader.head().await?.hash;
        let provider = self
            .reader
            .call(self.deployment.market, &IMarket::providerOfCall { provider }, at)
            .await?;
        Ok((provider, self.worker_bond))
    }

    /// Whether the request is there as the lease says, and our claim would be taken.
    ///
    /// # Errors
    /// [`JobError::Lease`] with the first thing that differs; [`JobError::Chain`] when the node gave no answer.
    pub(crate) async fn check_lease(&self, terms: &Terms, signer: &Signer) -> Result<(), JobError> {
        let head = self.reader.head().await?;
        let market = self.deployment.market;
        let request = self
            .reader
            .call(market, &IMarket::requestOfCall { request: terms.request }, head.hash)
            .await?;
        let provider = self
            .reader
            .call(
                market,
                &IMarket::providerOfCall {
                    provider: signer.provider,
                },
                head.hash,
            )
            .await?;
        let struck = IMarket::isStruckCall {
            request: terms.request,
            worker: signer.provider,
        };
        let struck = self.reader.call(market, &struck, head.hash).await?;
        let facts = LeaseFacts {
            request,
            provider,
            struck,
            worker_bond: self.worker_bond,
            now: head.timestamp,
        };
        facts.check(terms, signer.key.address()).map_err(JobError::Lease)?;
        let registry = self.deployment.registry;
        if !self
            .reader
            .call(
                registry,
                &IModelRegistry::isPublishedCall { model: terms.model },
                head.hash,
            )
            .await?
        {
            return Err(JobError::Lease(format!("model {} is not registered", terms.model)));
        }
        Ok(())
    }

    /// One step: answer what is known to be due, read new blocks, look at our claims, until the newest block is reached. Answers never wait for
    /// the reading: after a long absence that takes longer than a clock.
    pub(crate) async fn step(&self, app: &Arc<App>) -> Result<(), StepError> {
        loop {
            let head = self.reader.head().await?;
            let now = head.timestamp.max(crate::app::now());
            self.act(app, &head, now).await?;
            let followed = self.follow(&app.store, &head).await?;
            self.look_at_claims(app).await?;
            match followed {
                Followed::Behind => {}
                Followed::Reached { disputed: true } => return self.act(app, &head, now).await,
                Followed::Reached { disputed: false } => return Ok(()),
            }
        }
    }

    /// Answers by own transactions, fetches credit, and pushes what was ordered.
    async fn act(&self, app: &Arc<App>, head: &Block, now: u64) -> Result<(), StepError> {
        let Some(percent) = app.config.direct_after_percent else {
            return Ok(());
        };
        direct::answer_due(self, app, head.hash, now, percent).await?;
        if let Err(error) = self.withdraw(app, head).await {
            tracing::warn!(%error, "credit not withdrawn");
        }
        let ended = self
            .sender
            .step(&self.outbox, now)
            .await
            .map_err(|error| StepError::Send(error.to_string()))?;
        for (order, outcome) in ended {
            tracing::info!(order, ?outcome, "transaction ended");
        }
        Ok(())
    }

    /// Fees and won bonds are the provider's: we can fetch them where its key is ours.
    async fn withdraw(&self, app: &App, head: &Block) -> Result<(), StepError> {
        let (market, account) = (self.deployment.market, app.config.provider);
        if app.signer.key.address() != account {
            return Ok(());
        }
        let funds = Funds::read(&self.reader, market, account, head).await?;
        if funds.worth_fetching(app.config.withdraw_below)
            && self.outbox.insert_order(withdraw::order(market, account, head))?
        {
            tracing::info!(credit = %funds.credit, balance = %funds.balance, "credit withdrawn");
        }
        Ok(())
    }

    /// Notes the disputes that were opened on our claims. After a reorganisation some blocks are read again; a dispute that is noted
    /// twice, or is no longer there, does no harm.
    async fn follow(&self, store: &Store, head: &Block) -> Result<Followed, StepError> {
        let (mut read, mut disputed) = (0, false);
        let (mut next, mut parent) = match store.select_fact::<(u64, B256)>(CURSOR)? {
            Some((number, hash)) => (number + 1, Some(hash)),
            None => (head.number.saturating_sub(REWIND), None),
        };
        while next <= head.number {
            if read == BLOCKS_AT_ONCE {
                return Ok(Followed::Behind);
            }
            read += 1;
            let Some(block) = self.reader.block_at(next).await? else {
                break;
            };
            if parent.is_some_and(|parent| parent != block.parent) {
                tracing::info!(block = next, "chain reorganised");
                next = next.saturating_sub(REWIND);
                parent = None;
                continue;
            }
            for event in self.deployment.events(&self.reader, &block).await? {
                if let Body::Disputes(IDisputes::IDisputesEvents::Opened(opened)) = event.body
                    && store.select_claim(opened.claim)?.is_some()
                {
                    tracing::warn!(claim_id = %opened.claim, dispute = %opened.dispute, challenger = %opened.challenger, "claim disputed");
                    store.insert_dispute(opened.dispute, opened.claim)?;
                    disputed = true;
                }
            }
            store.upsert_fact(CURSOR, &(block.number, block.hash))?;
            parent = Some(block.hash);
            next = block.number + 1;
        }
        Ok(Followed::Reached { disputed })
    }

    /// What became of the claims that have not ended.
    pub(crate) async fn look_at_claims(&self, app: &App) -> Result<(), StepError> {
        let head = self.reader.head().await?;
        let (at, chain_now) = (head.hash, head.timestamp);
        let now = chain_now.max(crate::app::now());
        for record in app.store.select_runs()? {
            let State::Signed(signed) = &record.state else { continue };
            let call = IMarket::claimOfCall { claim: signed.claim };
            let claim = self.reader.call(self.deployment.market, &call, at).await?;
            match claim.status {
                ClaimStatus::Open => app.posted(&record)?,
                ClaimStatus::Final => app.end(&record, End::Final, now)?,
                ClaimStatus::Struck => app.end(&record, End::Struck, now)?,
                ClaimStatus::Void => app.end(&record, End::Void, now)?,
                ClaimStatus::None if chain_now > signed.valid_until => app.end(&record, End::Lapsed, now)?,
                // A value beyond the enum is a market of another version: nothing is concluded from it.
                ClaimStatus::None | ClaimStatus::__Invalid => {}
            }
        }
        Ok(())
    }
}

/// What the chain says about a lease, all as of one block.
struct LeaseFacts {
    request: IMarket::Request,
    provider: IMarket::Provider,
    struck: bool,
    worker_bond: U256,
    now: u64,
}

impl LeaseFacts {
    fn check(&self, terms: &Terms, node: Address) -> Result<(), String> {
        let Self {
            request,
            provider,
            struck,
            worker_bond,
            now,
        } = self;
        if request.status != RequestStatus::Requested {
            return Err(format!("request {} is {:?}", terms.request, request.status));
        }
        if u64::from(request.attempt) != terms.attempt {
            return Err(format!(
                "request {} is at attempt {}, the lease says {}",
                terms.request, request.attempt, terms.attempt
            ));
        }
        if request.model != terms.model {
            return Err(format!(
                "request {} is for model {}, the lease says {}",
                terms.request, request.model, terms.model
            ));
        }
        if request.inputs != terms.inputs {
            return Err(format!(
                "request {} has inputs {}, the lease says {}",
                terms.request, request.inputs, terms.inputs
            ));
        }
        // Valid-until and the end of the lease are made from it: a coordinator's own would have us sign what lapses before the chain says so.
        if request.deadline != terms.deadline {
            return Err(format!(
                "request {} has its deadline at {}, the lease says {}",
                terms.request, request.deadline, terms.deadline
            ));
        }
        if terms.valid_until > request.limit {
            return Err(format!(
                "valid-until would be {}, no claim on request {} is open after {}",
                terms.valid_until, terms.request, request.limit
            ));
        }
        if *now > request.deadline {
            return Err(format!(
                "request {} had its deadline at {}, it is {now}",
                terms.request, request.deadline
            ));
        }
        if *struck {
            return Err(format!("this worker was struck on request {}", terms.request));
        }
        if provider.node != node {
            return Err(format!(
                "the provider's node key is {}, this worker has {node}",
                provider.node
            ));
        }
        let free = provider.staked.saturating_sub(provider.reserved);
        if free < *worker_bond {
            return Err(format!("free stake is {free} wei, a claim reserves {worker_bond}"));
        }
        Ok(())
    }
}

/// What the worker is asked at a position; `None` when it is not its turn.
pub(crate) fn question(position: &Position) -> Option<Ask> {
    let (operator, element) = (position.operator_, position.element);
    let (depth, index) = (position.depth.into(), position.index.into());
    match position.phase {
        Phase::Revealing => {
            let tree = match position.tree {
                PositionTree::Trace => Tree::Trace,
                PositionTree::Layer => Tree::Layer(position.layer),
                PositionTree::__Invalid => return None,
            };
            Some(Ask::Reveal {
                tree,
                node: position.node,
                depth,
                index,
            })
        }
        Phase::Layering => Some(Ask::Layer(position.layer)),
        Phase::Defending => Some(Ask::Defend { operator, element }),
        Phase::Totalling => Some(Ask::Total { operator, element }),
        Phase::Splitting => Some(Ask::Split {
            operator,
            element,
            depth,
            index,
        }),
        Phase::Proving => Some(Ask::Prove {
            operator,
            element,
            index,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use touchstone_chain::PrivateKeySigner;

    use super::*;
    use crate::test_kit::terms;

    fn facts(terms: &Terms, node: Address) -> LeaseFacts {
        LeaseFacts {
            request: IMarket::Request {
                status: RequestStatus::Requested,
                delivery: IMarket::Delivery::None,
                requester: Address::ZERO,
                attempt: terms.attempt as u32,
                callbackGas: 0,
                callbackGasPrice: 0,
                deadline: terms.deadline,
                limit: terms.deadline + 1_000,
                model: terms.model,
                inputs: terms.inputs,
                tag: B256::ZERO,
                fee: 0,
                prepaid: 0,
                claim: B256::ZERO,
            },
            provider: IMarket::Provider {
                staked: U256::from(10),
                reserved: U256::from(9),
                node,
            },
            struck: false,
            worker_bond: U256::from(1),
            now: terms.deadline,
        }
    }

    #[test]
    fn a_lease_is_held_against_every_fact() {
        let (terms, node) = (terms(), PrivateKeySigner::random().address());
        assert_eq!(facts(&terms, node).check(&terms, node), Ok(()));
        let refused = |change: fn(&mut LeaseFacts), expect: &str| {
            let mut facts = facts(&terms, node);
            change(&mut facts);
            let error = facts.check(&terms, node).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        refused(|f| f.request.status = RequestStatus::Claimed, "Claimed");
        refused(|f| f.request.attempt += 1, "attempt");
        refused(|f| f.request.model = B256::ZERO, "model");
        refused(|f| f.request.inputs = B256::ZERO, "inputs");
        refused(|f| f.now += 1, "had its deadline");
        refused(|f| f.request.deadline += 1, "has its deadline");
        refused(|f| f.request.deadline -= 1, "has its deadline");
        refused(|f| f.request.limit -= 1_001, "valid-until");
        refused(|f| f.struck = true, "struck");
        refused(|f| f.provider.node = Address::ZERO, "node key");
        refused(|f| f.provider.reserved += U256::from(1), "free stake");
    }

    #[test]
    fn only_the_workers_turns_ask_anything() {
        let mut position = Position {
            moves: 1,
            phase: Phase::Revealing,
            tree: PositionTree::Layer,
            layer: 3,
            node: B256::repeat_byte(1),
            depth: 4,
            index: 5,
            operator_: 6,
            element: 7,
        };
        let node = B256::repeat_byte(1);
        assert_eq!(
            question(&position),
            Some(Ask::Reveal {
                tree: Tree::Layer(3),
                node,
                depth: 4,
                index: 5
            })
        );
        position.phase = Phase::Layering;
        assert_eq!(question(&position), Some(Ask::Layer(3)));
        position.phase = Phase::Defending;
        assert_eq!(
            question(&position),
            Some(Ask::Defend {
                operator: 6,
                element: 7
            })
        );
        position.phase = Phase::Totalling;
        assert_eq!(
            question(&position),
            Some(Ask::Total {
                operator: 6,
                element: 7
            })
        );
        position.phase = Phase::Splitting;
        assert_eq!(
            question(&position),
            Some(Ask::Split {
                operator: 6,
                element: 7,
                depth: 4,
                index: 5
            })
        );
        position.phase = Phase::Proving;
        assert_eq!(
            question(&position),
            Some(Ask::Prove {
                operator: 6,
                element: 7,
                index: 5
            })
        );
        for phase in [
            Phase::None,
            Phase::Choosing,
            Phase::Picking,
            Phase::Parting,
            Phase::Struck,
            Phase::Lost,
            Phase::Moot,
        ] {
            position.phase = phase;
            assert_eq!(question(&position), None);
        }
    }
}
