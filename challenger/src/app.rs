//! The loop: follow the chain, keep work going, make one move a dispute a tick.
//!
//! All that is in memory can be found again: claims and disputes on chain, verified values in the store, verdicts by judging again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{B256, U256};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use touchstone_chain::{
    Block, ChainReader, Outbox, Sender,
    bindings::IMarket::{self, ClaimStatus},
    withdraw::{self, Funds},
};

use crate::{
    act::{self, Purse},
    config::Mode,
    follow::Follower,
    gather::GatherError,
    knowledge,
    store::Store,
    strategy::{self, Action, Charge, Compared, Stage},
    tracked::{self, Tracked},
    verdict::Verdict,
    view::Terms,
    work::{Opened, Progress, Tools},
};

/// Claims worked on at once; computing is one at a time all the same.
const AT_ONCE: usize = 8;
/// First wait before trying again; it doubles up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// Blocks over which it is measured how long they take.
const MEASURED_BLOCKS: u64 = 16;
/// How often it is said how far the chain is read.
const SAY_EVERY: Duration = Duration::from_secs(10);

enum Done {
    Examined(B256, Box<Progress>),
    Opened(B256, u32, B256, Result<Box<Opened>, GatherError>),
    Compared(B256, B256, Result<Compared, GatherError>),
}

/// What the loop needs.
pub(crate) struct Parts {
    pub(crate) mode: Mode,
    pub(crate) poll: Duration,
    pub(crate) max_exposure: U256,
    pub(crate) max_disputes: u32,
    pub(crate) bits_per_day: u32,
    pub(crate) withdraw_below: U256,
    pub(crate) reader: ChainReader,
    pub(crate) terms: Terms,
    pub(crate) store: Store,
    pub(crate) follower: Follower,
    pub(crate) sender: Option<Sender>,
    pub(crate) tools: Arc<Tools>,
}

pub(crate) struct App {
    parts: Parts,
    outbox: Outbox,
    claims: BTreeMap<B256, Tracked>,
    tasks: JoinSet<Done>,
    /// The newest block seen.
    head: Option<Block>,
    /// Seconds from one block to the next.
    block_seconds: u64,
    /// When it was last said how far the chain is read.
    said: Option<Instant>,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let outbox = parts.store.outbox();
        Self {
            parts,
            outbox,
            claims: BTreeMap::new(),
            tasks: JoinSet::new(),
            head: None,
            block_seconds: 0,
            said: None,
        }
    }

    /// Runs until `shutdown`. Nothing that fails ends it: everything is tried again.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.parts.poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => {
                        self.done(done);
                        if let Some(head) = self.head {
                            self.examine(&head);
                        }
                    }
                    Err(error) => tracing::error!(%error, "work ended badly"),
                },
                _ = ticks.tick() => {
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        step = self.tick() => if let Err(error) = step {
                            tracing::warn!(error = %format!("{error:#}"), "step not made");
                        }
                    }
                }
            }
        }
        self.tasks.abort_all();
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        let head = self.parts.reader.head().await?;
        self.measure(&head).await?;
        if let Some(sender) = &self.parts.sender {
            match sender.step(&self.outbox, head.timestamp).await {
                Ok(ended) => ended
                    .iter()
                    .for_each(|(order, outcome)| tracing::info!(order, ?outcome, "transaction ended")),
                Err(error) => tracing::warn!(%error, "transactions not followed"),
            }
        }
        let reached = self.parts.follower.step(&head).await;
        self.refresh(&head).await?;
        self.examine(&head);
        self.dispute(&head).await;
        self.withdraw(&head).await?;
        if !reached? && self.said.is_none_or(|said| said.elapsed() > SAY_EVERY) {
            self.said = Some(Instant::now());
            let block = self.parts.store.select_cursor()?.map_or(0, |cursor| cursor.number);
            tracing::info!(
                block,
                head = head.number,
                "catching up with the chain; claims are looked at as they are read"
            );
        }
        Ok(())
    }

    /// Keeps the newest block, and how long blocks take.
    async fn measure(&mut self, head: &Block) -> anyhow::Result<()> {
        if self.head.as_ref().is_some_and(|known| known.number == head.number) {
            return Ok(());
        }
        let since = head.number.saturating_sub(MEASURED_BLOCKS);
        if let Some(earlier) = self.parts.reader.block_at(since).await?
            && earlier.number < head.number
        {
            let seconds = head.timestamp.saturating_sub(earlier.timestamp);
            self.block_seconds = seconds.div_ceil(head.number - earlier.number);
        }
        self.head = Some(*head);
        Ok(())
    }

    /// Fetches our credit when we may need it.
    async fn withdraw(&self, head: &Block) -> anyhow::Result<()> {
        let Some(sender) = &self.parts.sender else {
            return Ok(());
        };
        let (reader, market) = (&self.parts.reader, self.parts.terms.deployment.market);
        let funds = Funds::read(reader, market, sender.address(), head).await?;
        if funds.worth_fetching(self.parts.withdraw_below)
            && self
                .outbox
                .insert_move(withdraw::order(market, sender.address(), head), head.number)?
        {
            tracing::info!(credit = %funds.credit, balance = %funds.balance, "credit withdrawn");
        }
        Ok(())
    }

    /// Which claims are open.
    async fn refresh(&mut self, head: &Block) -> anyhow::Result<()> {
        let market = self.parts.terms.deployment.market;
        for row in self.parts.store.select_claims()? {
            let claim = row.claim;
            let status = self
                .parts
                .reader
                .call(market, &IMarket::claimOfCall { claim }, head.hash)
                .await?
                .status;
            let open = status == ClaimStatus::Open;
            match (open, row.ended) {
                (false, None) => self.parts.store.update_claim_ended(claim, Some(head.number))?,
                (true, Some(_)) => self.parts.store.update_claim_ended(claim, None)?,
                (false, Some(since)) if tracked::is_done_with(since, head.number, self.claims.get(&claim)) => {
                    self.parts.store.delete_claim(claim)?;
                    self.claims.remove(&claim);
                    continue;
                }
                _ => {}
            }
            let tracked = self
                .claims
                .entry(claim)
                .or_insert_with(|| Tracked::new(row, open, RETRY.0));
            tracked.open = open;
        }
        Ok(())
    }

    /// Starts work on open claims without a verdict, the most urgent first.
    fn examine(&mut self, head: &Block) {
        let now = Instant::now();
        let mut waiting: Vec<&mut Tracked> = self
            .claims
            .values_mut()
            .filter(|tracked| tracked.open && !tracked.busy && tracked.next_try <= now)
            .filter(|tracked| {
                matches!(
                    tracked.progress.verdict,
                    None | Some(Verdict::Unverifiable { .. } | Verdict::Foreign { .. })
                )
            })
            // After the window nothing can be opened; what is disputed already may still need its data.
            .filter(|tracked| tracked.disputed || head.timestamp <= tracked.row.window_end)
            .collect();
        waiting.sort_by_key(|tracked| tracked.row.window_end);
        for tracked in waiting {
            if self.tasks.len() >= AT_ONCE {
                return;
            }
            tracked.busy = true;
            let (tools, row, progress) = (self.parts.tools.clone(), tracked.row.clone(), tracked.progress.clone());
            self.tasks.spawn(async move {
                let claim = row.claim;
                Done::Examined(claim, Box::new(tools.examine(row, progress).await))
            });
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Examined(claim, progress) => {
                let Some(tracked) = self.claims.get_mut(&claim) else {
                    return;
                };
                tracked.busy = false;
                tracked.progress = *progress;
                if tracked.progress.verdict.is_some() {
                    tracked.next_try = Instant::now() + tracked.wait;
                    tracked.wait = (2 * tracked.wait).min(RETRY.1);
                    tracked.say_verdict();
                }
            }
            Done::Opened(claim, layer, root, result) => {
                let Some(tracked) = self.claims.get_mut(&claim) else {
                    return;
                };
                tracked.layers_busy.remove(&layer);
                tracked.next_try = Instant::now() + RETRY.0;
                match result {
                    Ok(opened) => {
                        let why = opened.why.as_deref().unwrap_or_default();
                        tracing::info!(%claim, layer, %root, finding = ?opened.finding, why, "layer judged");
                        tracked.layers.insert(layer, *opened);
                    }
                    Err(error) => tracing::warn!(%claim, layer, %error, "layer not judged"),
                }
            }
            Done::Compared(claim, node, result) => {
                let Some(tracked) = self.claims.get_mut(&claim) else {
                    return;
                };
                tracked.comparing = false;
                tracked.next_try = Instant::now() + RETRY.0;
                match result {
                    Ok(compared) => {
                        tracing::info!(%claim, %node, ?compared, "sums compared");
                        tracked.compared.insert(node, compared);
                    }
                    Err(error) => tracing::warn!(%claim, %node, %error, "sums not compared"),
                }
            }
        }
    }

    /// One move for each dispute, the most urgent claim first.
    async fn dispute(&mut self, head: &Block) {
        let mut order: Vec<(u64, B256)> = self
            .claims
            .values()
            .map(|tracked| (tracked.row.window_end, tracked.row.claim))
            .collect();
        order.sort();
        let mut purse = Purse {
            exposure: U256::ZERO,
            disputes: 0,
        };
        let mut wanted = Vec::new();
        for (_, claim) in order {
            match self.consider(head, claim).await {
                Ok(Some(found)) => {
                    if let Stage::Live(_) = found.seen.view.stage {
                        purse.exposure += found.seen.bond;
                        purse.disputes += 1;
                    }
                    wanted.push(found);
                }
                Ok(None) => {}
                // One that cannot be read never stops the others.
                Err(error) => tracing::warn!(%claim, error = %format!("{error:#}"), "dispute not read"),
            }
        }
        for found in wanted {
            let claim = found.claim;
            if let Err(error) = self.make(head, found, &mut purse).await {
                tracing::warn!(%claim, error = %format!("{error:#}"), "move not made");
            }
        }
    }

    /// What there is to do about one claim. `None`: nothing, and there is no dispute.
    async fn consider(&mut self, head: &Block, claim: B256) -> anyhow::Result<Option<Considered>> {
        let window = self.parts.terms.parameters.windowSeconds;
        let Some(tracked) = self.claims.get_mut(&claim) else {
            return Ok(None);
        };
        let late = head.timestamp + window / 3 >= tracked.row.window_end;
        let charge = knowledge::charge(&tracked.progress, late || tracked.withheld());
        let charged = !matches!(charge, Charge::Nothing | Charge::Undecided);
        if !(tracked.disputed || charged && tracked.open) {
            return Ok(None);
        }
        let challenger = self.parts.sender.as_ref().map(Sender::address).unwrap_or_default();
        let dispute = self.parts.terms.dispute(claim, challenger);
        let suspects = match &charge {
            Charge::Layers(layers) => layers.clone(),
            _ => tracked.layers.keys().copied().collect(),
        };
        let mut seen = self
            .parts
            .terms
            .see(
                &self.parts.reader,
                &self.parts.store,
                head,
                dispute,
                claim,
                &suspects,
                self.block_seconds,
            )
            .await?;
        tracked.disputed = matches!(seen.view.stage, Stage::Live(_) | Stage::Moot);
        // Layers that stand are looked into, again while their values are awaited.
        for (layer, root) in &seen.view.standing {
            let known = tracked.layers.get(layer).filter(|known| known.root == *root);
            let settled = known.is_some_and(|known| known.values.is_some());
            let due = known.is_none() || tracked.next_try <= Instant::now();
            if charged && !settled && due && tracked.progress.subject.is_some() && tracked.layers_busy.insert(*layer) {
                let (tools, progress, known) = (self.parts.tools.clone(), tracked.progress.clone(), known.cloned());
                let (layer, root) = (*layer, *root);
                self.tasks.spawn(async move {
                    let result = tools.open(progress, layer, root, known).await;
                    Done::Opened(claim, layer, root, result.map(Box::new))
                });
            }
        }
        // The worker's sums are held against those of its own operands, each node once.
        if let Stage::Live(live) = &mut seen.view.stage
            && let Some(given) = &live.given
        {
            let node = live.position.node;
            live.compared = tracked.compared.get(&node).copied();
            // While its operands may still come, ours are no measure.
            let ready = tracked.progress.trace.is_some() || charge == Charge::Withheld;
            let due = ready && !tracked.comparing && tracked.next_try <= Instant::now();
            if live.compared.is_none() && due {
                tracked.comparing = true;
                let (tools, position, given) = (self.parts.tools.clone(), live.position, given.clone());
                let (progress, layers) = (tracked.progress.clone(), tracked.layers.clone());
                self.tasks.spawn(async move {
                    Done::Compared(claim, node, tools.compare(progress, layers, position, given).await)
                });
            }
        }
        // Without an own run there are still clocks to watch.
        let knowledge = knowledge::knowledge(&tracked.progress, &tracked.layers, charge)
            .unwrap_or_else(strategy::Knowledge::nothing);
        // Before our own replay of a layer there is nothing to compare its tree with.
        if let Stage::Live(live) = &seen.view.stage {
            let p = &live.position;
            let ready = p.tree == touchstone_protocol::dispute::Tree::Trace || knowledge.inners.contains_key(&p.layer);
            if charged && !ready && p.phase.turn() == Some(touchstone_protocol::dispute::Side::Challenger) {
                return Ok(Some(Considered {
                    claim,
                    dispute,
                    seen,
                    action: None,
                }));
            }
        }
        let action = strategy::next_move(&seen.view, &knowledge, head.timestamp);
        Ok(Some(Considered {
            claim,
            dispute,
            seen,
            action,
        }))
    }

    /// Orders a move, within what the mode and the limits allow.
    async fn make(&mut self, head: &Block, found: Considered, purse: &mut Purse) -> anyhow::Result<()> {
        let Some(action) = found.action.clone() else {
            return Ok(());
        };
        let Some(tracked) = self.claims.get_mut(&found.claim) else {
            return Ok(());
        };
        let opens = matches!(action, Action::Open | Action::OpenAndConvict(_));
        let new = tracked.would.as_ref() != Some(&action);
        tracked.would = Some(action.clone());
        match (self.parts.mode, opens) {
            (Mode::Watch, _) => return Ok(()),
            (Mode::DryRun, _) => {
                if new {
                    tracked.say_would(&action);
                }
                return Ok(());
            }
            (Mode::Defend, true) => return Ok(()),
            (Mode::Defend | Mode::Full, _) => {}
        }
        let mut value = U256::ZERO;
        if opens {
            let by_bits = tracked.by_bits();
            if by_bits && self.parts.store.count_concessions(tracked.row.worker)? > tracked.progress.concessions {
                // It was right since then: judged again, its bits count for less.
                tracked.progress.verdict = None;
                return Ok(());
            }
            let call = IMarket::bondForCall {
                baseFee: U256::from(head.base_fee),
            };
            let bond = self
                .parts
                .reader
                .call(self.parts.terms.deployment.market, &call, head.hash)
                .await?;
            if !purse.take(bond, self.parts.max_exposure, self.parts.max_disputes) {
                if new {
                    tracing::error!(claim = %found.claim, %bond, "limits reached: claim is not disputed");
                }
                return Ok(());
            }
            if by_bits
                && !self
                    .parts
                    .store
                    .take_bits(found.claim, head.timestamp, self.parts.bits_per_day)?
            {
                if new {
                    tracing::warn!(claim = %found.claim, "claim is not disputed: nothing but bits is held against it, and the day's disputes on bits are spent");
                }
                return Ok(());
            }
            // The base fee may rise until it is mined; what is too much comes back as credit.
            value = bond + bond / U256::from(4);
        }
        if action == Action::Concede && tracked.was_right() {
            tracing::info!(worker = %tracked.row.worker, claim = %found.claim, "worker was right with other bits: they count for less from now on");
            self.parts.store.insert_concession(tracked.row.worker, found.claim)?;
        }
        let order = act::order(
            &self.parts.terms,
            &tracked.progress,
            &tracked.layers,
            &found,
            &action,
            value,
        )?;
        if self.outbox.insert_move(order, head.number)? {
            tracing::info!(claim = %found.claim, dispute = %found.dispute, action = ?action, state = %found.seen.state, "move");
            tracked.disputed = true;
        }
        Ok(())
    }
}

/// A claim's dispute and our move in it.
pub(crate) struct Considered {
    pub(crate) claim: B256,
    pub(crate) dispute: B256,
    pub(crate) seen: crate::view::Seen,
    pub(crate) action: Option<Action>,
}
