//! Moves as transactions.

use alloy_primitives::{Bytes, U256};
use anyhow::Context as _;
use touchstone_chain::{Order, bindings::IDisputes};

use crate::{
    app::Considered,
    model::Model,
    parts,
    strategy::{Action, At, Given, Stage},
    verdict,
    view::Terms,
    work::{Layers, Progress},
};

/// What is at stake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    /// Bonds of disputes under way, in wei.
    pub(crate) exposure: U256,
    /// Disputes under way.
    pub(crate) disputes: u32,
}

impl Purse {
    /// Whether one more dispute is within the limits; it is counted then.
    pub(crate) fn take(&mut self, bond: U256, max_exposure: U256, max_disputes: u32) -> bool {
        let exposure = self.exposure.saturating_add(bond);
        let fits = self.disputes < max_disputes && exposure <= max_exposure;
        if fits {
            *self = Purse {
                exposure,
                disputes: self.disputes + 1,
            };
        }
        fits
    }
}

/// What the order is for: the move and the state it answers.
fn purpose(found: &Considered, action: &Action) -> String {
    let name = match action {
        Action::Open | Action::OpenAndConvict(_) => "open",
        Action::Convict(_) => "convict",
        Action::Layer(_) => "layer",
        Action::Ask => "ask",
        Action::Descend(_) => "descend",
        Action::Point(_) => "point",
        Action::Part(_) => "part",
        Action::Prove => "prove",
        Action::AnswerLayer(_) => "answer-layer",
        Action::Concede => "concede",
        Action::Timeout => "timeout",
        Action::Settle => "settle",
    };
    format!("{name}:{}:{}", found.dispute, found.seen.state)
}

/// The transaction that makes a move.
///
/// # Errors
/// What it needs is not at hand, or our own judge does not convict: nothing is sent then.
pub(crate) fn order(
    terms: &Terms,
    progress: &Progress,
    layers: &Layers,
    found: &Considered,
    action: &Action,
    value: U256,
) -> anyhow::Result<Order> {
    let (claim, dispute, state) = (found.claim, found.dispute, found.seen.state);
    let salt = U256::ZERO;
    let model = || {
        progress
            .subject
            .as_ref()
            .map(|subject| &*subject.model)
            .context("the model is not at hand")
    };
    // What the worker committed to, as far as the operator reads and writes it.
    let values = |operator: u32| {
        let model = model()?;
        let trace = progress.trace.as_ref().context("the boundary values are not at hand")?;
        let d = model
            .plan
            .operators
            .get(operator as usize)
            .context("no such operator")?;
        let layer = match d.touches_inner() {
            true => Some(
                layers
                    .get(&d.layer)
                    .and_then(|opened| opened.values.as_deref())
                    .context("the inner values are not at hand")?,
            ),
            false => None,
        };
        anyhow::Ok((model, trace, layer))
    };
    let witness = |at: &At| -> anyhow::Result<Bytes> {
        let (model, trace, layer) = values(at.operator)?;
        Ok(verdict::convict(model, trace, layer, *at)?.into())
    };
    let live = || match &found.seen.view.stage {
        Stage::Live(live) => Ok(live),
        _ => Err(anyhow::anyhow!("there is no dispute to move in")),
    };
    let given = || live()?.given.as_ref().context("what the worker gave is not at hand");
    let call: Vec<u8> = match action {
        Action::Open => abi(&IDisputes::openCall { claim, salt }),
        Action::OpenAndConvict(at) => abi(&IDisputes::openAndConvictCall {
            claim,
            salt,
            witness: witness(at)?,
        }),
        Action::Convict(at) => abi(&IDisputes::convictCall {
            dispute,
            state,
            witness: witness(at)?,
        }),
        Action::Layer(operator) => {
            let (descriptor, proof) = descriptor(model()?, *operator)?;
            abi(&IDisputes::layerCall {
                dispute,
                state,
                operator_: *operator,
                descriptor,
                proof,
            })
        }
        Action::Ask => abi(&IDisputes::askCall { dispute, state }),
        Action::Descend(child) => {
            let children = live()?.children.clone().context("the revealed nodes are not at hand")?;
            abi(&IDisputes::descendCall {
                dispute,
                state,
                child: U256::from(*child),
                children,
            })
        }
        Action::Point(at) => {
            let (descriptor, proof) = descriptor(model()?, at.operator)?;
            abi(&IDisputes::pointCall {
                dispute,
                state,
                operator_: at.operator,
                element: at.element,
                descriptor,
                proof,
            })
        }
        Action::Part(child) => {
            let Given { header, sums } = given()?;
            abi(&IDisputes::partCall {
                dispute,
                state,
                child: U256::from(*child),
                header: *header,
                parts: sums.clone(),
            })
        }
        Action::Prove => {
            let (position, given) = (&live()?.position, given()?);
            let (model, trace, layer) = values(position.operator)?;
            abi(&IDisputes::proveCall {
                dispute,
                state,
                header: given.header,
                sums: given.sums.clone(),
                witness: parts::prove(model, trace, layer, position, given)?.into(),
            })
        }
        Action::AnswerLayer(root) => abi(&IDisputes::answerLayerCall {
            dispute,
            state,
            root: *root,
            signature: Bytes::new(),
        }),
        Action::Concede => abi(&IDisputes::concedeCall { dispute, state }),
        Action::Timeout => abi(&IDisputes::timeoutCall { dispute, state }),
        Action::Settle => abi(&IDisputes::settleCall { dispute }),
    };
    let deadline = match &found.seen.view.stage {
        Stage::Live(live) => live.deadline,
        Stage::Unopened => found.seen.view.window_end,
        Stage::Moot | Stage::Over => u64::MAX,
    };
    Ok(Order {
        key: purpose(found, action),
        to: terms.deployment.disputes,
        data: call.into(),
        value,
        deadline,
        gas_floor: 0,
    })
}

fn abi<C: touchstone_chain::SolCall>(call: &C) -> Vec<u8> {
    call.abi_encode()
}

/// An operator's descriptor with its proof in the plan.
fn descriptor(model: &Model, operator: u32) -> anyhow::Result<(Bytes, Vec<alloy_primitives::B256>)> {
    let d = model
        .plan
        .operators
        .get(operator as usize)
        .context("no such operator")?;
    let proof = model
        .trees
        .operators
        .proof(operator.into())
        .context("no such operator")?;
    Ok((d.encode()?.into(), proof))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_for_bonds_and_for_their_number() {
        let mut purse = Purse {
            exposure: U256::from(10),
            disputes: 1,
        };
        assert!(!purse.take(U256::from(11), U256::from(20), 9));
        assert!(purse.take(U256::from(10), U256::from(20), 9));
        assert!(!purse.take(U256::from(1), U256::from(20), 9), "what was taken counts");
        assert!(!purse.take(U256::ZERO, U256::from(20), 2));
    }
}
