//! Answers by own transactions: when the coordinator has let a share of the worker's clock pass, or cannot be reached (PROTOCOL.md P9).
//! Answers are openings or signed once, so that both of us answering does no harm.

use std::sync::Arc;

use alloy_primitives::B256;
use alloy_sol_types::SolCall as _;
use touchstone_chain::{
    Bytes, Order,
    bindings::{IDisputes, Phase},
};
use touchstone_wire::worker::{Ask, Reply};

use crate::{
    app::App,
    chain::{Chain, StepError, question},
    record::State,
};

/// A question that it is time to answer ourselves.
struct Due {
    dispute: B256,
    claim: B256,
    state: B256,
    deadline: u64,
    key: String,
    ask: Ask,
}

/// Answers every dispute in which it is our turn and time, the most urgent first. One that cannot be read or answered never stops the others.
pub(crate) async fn answer_due(
    chain: &Chain,
    app: &Arc<App>,
    at: B256,
    now: u64,
    percent: u64,
) -> Result<(), StepError> {
    let mut due = Vec::new();
    for (dispute, claim) in app.store.select_disputes()? {
        match look(chain, app, at, now, percent, dispute, claim).await {
            Ok(found) => due.extend(found),
            Err(error) => tracing::warn!(%dispute, %error, "dispute not read"),
        }
    }
    due.sort_by_key(|due| due.deadline);
    for Due {
        dispute,
        claim,
        state,
        deadline,
        key,
        ask,
    } in due
    {
        let Ok(reply) = app.answer(claim, ask, &app.direct_answers).await else {
            continue;
        };
        let Some(data) = calldata(dispute, state, reply) else {
            continue;
        };
        tracing::warn!(claim_id = %claim, %dispute, "answering on chain");
        let to = chain.deployment.disputes;
        let order = Order {
            key,
            to,
            data,
            value: Default::default(),
            deadline,
            gas_floor: 0,
        };
        chain.outbox.insert_order(order)?;
    }
    Ok(())
}

/// What is due in one dispute.
async fn look(
    chain: &Chain,
    app: &App,
    at: B256,
    now: u64,
    percent: u64,
    dispute: B256,
    claim: B256,
) -> Result<Option<Due>, StepError> {
    let call = IDisputes::disputeOfCall { dispute };
    let found = chain.reader.call(chain.deployment.disputes, &call, at).await?;
    let Some(ask) = question(&found.position) else {
        let live = matches!(
            found.position.phase,
            Phase::Choosing | Phase::Picking | Phase::Parting | Phase::None
        );
        let ended = app
            .store
            .select_claim(claim)?
            .is_none_or(|record| matches!(record.state, State::Ended { .. }));
        if !live && ended {
            app.store.delete_dispute(dispute)?;
        }
        return Ok(None);
    };
    // What the clock showed when our turn began.
    let whole = u64::from(found.workerLeft).max(chain.extension);
    let alone = app.link.welcome().is_none();
    if now > found.deadline || !(alone || is_due(found.deadline, whole, now, percent)) {
        return Ok(None);
    }
    let call = IDisputes::stateDigestCall { dispute };
    let state = chain.reader.call(chain.deployment.disputes, &call, at).await?;
    let key = format!("answer:{dispute}:{state}");
    if chain.outbox.has_order(&key)? {
        return Ok(None);
    }
    Ok(Some(Due {
        dispute,
        claim,
        state,
        deadline: found.deadline,
        key,
        ask,
    }))
}

/// Whether `percent` of a turn that showed `whole` seconds at its start and ends at `deadline` have passed.
fn is_due(deadline: u64, whole: u64, now: u64, percent: u64) -> bool {
    let left = deadline.saturating_sub(now);
    left.saturating_mul(100) <= whole.saturating_mul(100u64.saturating_sub(percent))
}

/// The move that says it; `None` where nothing is said.
fn calldata(dispute: B256, state: B256, reply: Reply) -> Option<Bytes> {
    use touchstone_chain::bindings::IDisputes::{
        answerLayerCall, defendCall, proveCall, revealCall, splitCall, totalCall,
    };
    let data = match reply {
        Reply::Reveal(children) => revealCall {
            dispute,
            state,
            children,
        }
        .abi_encode(),
        Reply::Layer {
            root,
            signature,
            commitments: _,
        } => answerLayerCall {
            dispute,
            state,
            root,
            signature: signature.to_vec().into(),
        }
        .abi_encode(),
        Reply::Defend(witness) => defendCall {
            dispute,
            state,
            witness: witness.into(),
        }
        .abi_encode(),
        Reply::Total {
            witness,
            free,
            parts,
            signature,
        } => totalCall {
            dispute,
            state,
            witness: witness.into(),
            free,
            parts,
            signature: signature.to_vec().into(),
        }
        .abi_encode(),
        Reply::Split {
            header,
            sums,
            parts,
            signature,
        } => splitCall {
            dispute,
            state,
            header,
            sums,
            parts,
            signature: signature.to_vec().into(),
        }
        .abi_encode(),
        Reply::Prove { header, sums, witness } => proveCall {
            dispute,
            state,
            header,
            sums,
            witness: witness.into(),
        }
        .abi_encode(),
        Reply::Unable(_) => return None,
    };
    Some(data.into())
}

#[cfg(test)]
mod tests {
    use super::is_due;

    #[test]
    fn the_share_of_the_clock_is_counted_from_its_start() {
        // 60 s from 100 to 160; half of it has passed at 130.
        assert!(!is_due(160, 60, 129, 50));
        assert!(is_due(160, 60, 130, 50));
        assert!(is_due(160, 60, 100, 0));
        assert!(is_due(160, 60, 170, 50));
        assert!(!is_due(160, 60, 153, 90));
        assert!(is_due(160, 60, 154, 90));
    }
}
