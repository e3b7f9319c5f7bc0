//! Who has what at the end of a story: honest parties keep their stakes and bonds, cheats lose theirs, the market owes what it holds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use touchstone_chain::{
    Address, B256, U256,
    bindings::{
        IDisputes::IDisputesEvents as D,
        IMarket::{self, IMarketEvents as M, RequestStatus},
        Phase,
    },
    event::Body,
};

use crate::{
    chain::{Seen, view},
    network::{Network, Provider},
};

/// Whether every wei that the market holds is owed to somebody whom the events name: owed = recorded = held (nobody forces ether
/// on it here), each sum of the ledger is what its accounts have, and nothing is kept for what has ended. `seen` are all events so far,
/// and no transaction is under way.
///
/// # Errors
/// The books do not balance.
pub async fn balance(network: &Network, seen: &[Seen]) -> Result<()> {
    let (reader, market) = (&network.reader, network.deployment.market);
    let ledger = view(reader, market, &IMarket::ledgerCall {}).await?;
    let held = reader.balance(market, reader.head().await?.hash).await?;
    let owed = ledger.stakes + ledger.escrow + ledger.bonds + ledger.setAside + ledger.credits + ledger.burned;
    ensure!(owed == held, "the market owes {owed} wei and holds {held}");

    let mut accounts = BTreeSet::new();
    let mut providers = BTreeSet::new();
    let mut requests = BTreeSet::new();
    let mut bonds: BTreeMap<B256, U256> = BTreeMap::new();
    let mut burned = U256::ZERO;
    for Seen { event, .. } in seen {
        match &event.body {
            Body::Market(M::Credited(e)) => drop(accounts.insert(e.account)),
            Body::Market(M::Staked(e)) => drop(providers.insert(e.provider)),
            Body::Market(M::Requested(e)) => drop(requests.insert(e.request)),
            Body::Market(M::Struck(e)) => burned += e.burned,
            Body::Disputes(D::Opened(e)) => drop(bonds.insert(e.dispute, e.bond)),
            Body::Disputes(D::Ended(e)) => {
                let bond = bonds.remove(&e.dispute).unwrap_or_default();
                if matches!(e.phase, Phase::Lost | Phase::Conceded) {
                    burned += bond / U256::from(4);
                }
            }
            Body::Disputes(D::Settled(e)) => drop(bonds.remove(&e.dispute)),
            _ => {}
        }
    }
    let mut stakes = U256::ZERO;
    for provider in providers {
        stakes += view(reader, market, &IMarket::providerOfCall { provider })
            .await?
            .staked;
    }
    let mut credits = U256::ZERO;
    for account in accounts {
        credits += view(reader, market, &IMarket::creditOfCall { account }).await?;
    }
    let mut escrow = U256::ZERO;
    for request in requests {
        let state = view(reader, market, &IMarket::requestOfCall { request }).await?;
        if matches!(state.status, RequestStatus::Requested | RequestStatus::Claimed) {
            escrow += U256::from(state.fee);
            escrow += U256::from(state.prepaid);
        } else if state.status == RequestStatus::Final && state.delivery == IMarket::Delivery::Pending {
            escrow += U256::from(state.prepaid);
        }
    }
    let bonds: U256 = bonds.into_values().sum();
    for (what, recorded, found) in [
        ("stakes", ledger.stakes, stakes),
        ("credits", ledger.credits, credits),
        ("escrow", ledger.escrow, escrow),
        ("bonds", ledger.bonds, bonds),
        ("set aside", ledger.setAside, U256::ZERO),
        ("burned", ledger.burned, burned),
    ] {
        ensure!(
            recorded == found,
            "{what}: the ledger says {recorded} wei, the accounts {found}"
        );
    }
    Ok(())
}

/// Whether an honest worker has all that it staked, nothing of it reserved, and none of its claims was struck.
///
/// # Errors
/// It does not.
pub async fn honest(network: &Network, seen: &[Seen], provider: &Provider, staked: U256) -> Result<()> {
    let struck = seen
        .iter()
        .any(|seen| matches!(&seen.event.body, Body::Market(M::Struck(e)) if e.worker == provider.provider));
    ensure!(!struck, "an honest worker was struck");
    holds(network, provider, staked).await
}

/// Whether a worker lost one bond of what it staked, and nothing of the rest is reserved.
///
/// # Errors
/// It did not.
pub async fn slashed(network: &Network, provider: &Provider, staked: U256) -> Result<()> {
    holds(network, provider, staked - U256::from(network.parameters.workerBond)).await
}

async fn holds(network: &Network, provider: &Provider, staked: U256) -> Result<()> {
    let call = IMarket::providerOfCall {
        provider: provider.provider,
    };
    let after = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        after.staked == staked && after.reserved == U256::ZERO,
        "{} has staked {} wei with {} reserved, instead of {staked} with none",
        provider.provider,
        after.staked,
        after.reserved
    );
    Ok(())
}

/// Whether an honest challenger won every dispute that it opened, and has all its bonds back and half of each struck bond on top, as credit.
/// It opened `disputes`.
///
/// # Errors
/// It did not.
pub async fn rewarded(network: &Network, seen: &[Seen], challenger: Address, disputes: usize) -> Result<()> {
    let mut opened = BTreeSet::new();
    let mut due = U256::ZERO;
    let mut won = 0;
    for Seen { event, .. } in seen {
        match &event.body {
            Body::Disputes(D::Opened(e)) if e.challenger == challenger => {
                opened.insert(e.dispute);
                due += e.bond;
            }
            Body::Disputes(D::Ended(e)) if opened.contains(&e.dispute) => {
                ensure!(
                    e.phase == Phase::Struck,
                    "dispute {} of the honest challenger ended as {:?}",
                    e.dispute,
                    e.phase
                );
                won += 1;
            }
            Body::Market(M::Struck(e)) if e.challenger == challenger => {
                let half = U256::from(network.parameters.workerBond) / U256::from(2);
                ensure!(
                    e.reward == half,
                    "the challenger was rewarded with {} wei instead of {half}",
                    e.reward
                );
                due += e.reward;
            }
            _ => {}
        }
    }
    ensure!(
        (opened.len(), won) == (disputes, disputes),
        "the challenger opened {} disputes and won {won}, instead of {disputes}",
        opened.len()
    );
    let call = IMarket::creditOfCall { account: challenger };
    let credit = view(&network.reader, network.deployment.market, &call).await?;
    // What it paid above the bonds came back too.
    ensure!(
        credit >= due,
        "the challenger's credit is {credit} wei, bonds and rewards are {due}"
    );
    Ok(())
}
