//! Fetching credit: what fees and disputes bring lies in the market until it is withdrawn. Without that, who wins runs dry all the same.

use crate::{Block, ChainError, ChainReader, Order, bindings::IMarket};
use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall as _,
};

/// Gas of a withdrawal, amply.
const WITHDRAW_GAS: u64 = 100_000;
/// Blocks in which one withdrawal is ordered at most.
const PERIOD_BLOCKS: u64 = 32;
/// Seconds after which an order that was not mined no longer matters.
const PATIENCE_SECONDS: u64 = 3_600;

/// What an account has, as of one block, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    /// On the account.
    pub balance: U256,
    /// In the market.
    pub credit: U256,
    /// What a withdrawal costs.
    pub cost: U256,
}

impl Funds {
    /// Asks the chain.
    ///
    /// # Errors
    /// The node gave no answer.
    pub async fn read(reader: &ChainReader, market: Address, account: Address, at: &Block) -> Result<Self, ChainError> {
        Ok(Self {
            balance: reader.balance(account, at.hash).await?,
            credit: reader.call(market, &IMarket::creditOfCall { account }, at.hash).await?,
            cost: U256::from(at.base_fee).saturating_mul(U256::from(WITHDRAW_GAS)),
        })
    }

    /// Whether to withdraw now: the next bond may need it, and it is more than it costs.
    pub fn worth_fetching(&self, low: U256) -> bool {
        self.balance < low && self.credit > self.cost.saturating_mul(U256::from(2))
    }
}

/// The transaction that fetches all credit of the account that sends it. Its key is one for some blocks, so that it is under way once.
pub fn order(market: Address, to: Address, head: &Block) -> Order {
    Order {
        key: format!("withdraw:{}", head.number / PERIOD_BLOCKS),
        to: market,
        data: IMarket::withdrawCall { to }.abi_encode().into(),
        value: U256::ZERO,
        deadline: head.timestamp.saturating_add(PATIENCE_SECONDS),
        gas_floor: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_fetched_when_the_balance_is_low_and_it_pays() {
        let funds = |balance: u64, credit: u64| Funds {
            balance: U256::from(balance),
            credit: U256::from(credit),
            cost: U256::from(10),
        };
        let low = U256::from(100);
        assert!(funds(99, 21).worth_fetching(low));
        assert!(!funds(100, 21).worth_fetching(low), "there is enough");
        assert!(!funds(99, 20).worth_fetching(low), "half of it would go for gas");
        assert!(!funds(0, 0).worth_fetching(low));
    }
}
