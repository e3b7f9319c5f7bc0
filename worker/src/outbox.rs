//! Transactions the worker sends by itself: stored before they are broadcast, found again after a crash.

use serde::{Deserialize, Serialize};
use touchstone_chain::{Address, Attempt, B256, Bytes, Order, Outcome, StoredOrder, U256};

use crate::store::{ORDERS, Store, StoreError};

/// An order with its attempts, as a row.
#[derive(Debug, Serialize, Deserialize)]
struct OrderRow {
    key: String,
    to: Address,
    data: Bytes,
    value: U256,
    deadline: u64,
    gas_floor: u64,
    attempts: Vec<AttemptRow>,
    /// How it ended, for people; an order without it is open.
    outcome: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AttemptRow {
    nonce: u64,
    hash: B256,
    raw: Bytes,
    max_fee: u128,
    priority_fee: u128,
    signed_at: u64,
}

impl From<Order> for OrderRow {
    fn from(order: Order) -> Self {
        let Order {
            key,
            to,
            data,
            value,
            deadline,
            gas_floor,
        } = order;
        Self {
            key,
            to,
            data,
            value,
            deadline,
            gas_floor,
            attempts: Vec::new(),
            outcome: None,
        }
    }
}

impl From<OrderRow> for StoredOrder {
    fn from(row: OrderRow) -> Self {
        let OrderRow {
            key,
            to,
            data,
            value,
            deadline,
            gas_floor,
            attempts,
            outcome: _,
        } = row;
        let attempts = attempts
            .into_iter()
            .map(
                |AttemptRow {
                     nonce,
                     hash,
                     raw,
                     max_fee,
                     priority_fee,
                     signed_at,
                 }| Attempt {
                    nonce,
                    hash,
                    raw,
                    max_fee,
                    priority_fee,
                    signed_at,
                },
            )
            .collect();
        Self {
            order: Order {
                key,
                to,
                data,
                value,
                deadline,
                gas_floor,
            },
            attempts,
        }
    }
}

impl From<&Attempt> for AttemptRow {
    fn from(attempt: &Attempt) -> Self {
        let Attempt {
            nonce,
            hash,
            raw,
            max_fee,
            priority_fee,
            signed_at,
        } = attempt.clone();
        Self {
            nonce,
            hash,
            raw,
            max_fee,
            priority_fee,
            signed_at,
        }
    }
}

/// The orders of the node key.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(pub(crate) Store);

impl Outbox {
    /// Orders a transaction, unless one with its key was ordered before.
    pub(crate) fn insert_order(&self, order: Order) -> Result<(), StoreError> {
        let key = order.key.clone();
        self.0.update(ORDERS, key.as_bytes(), |old: Option<OrderRow>| {
            Some(old.unwrap_or_else(|| order.into()))
        })
    }

    /// Whether an order with this key exists, ended or not.
    pub(crate) fn has_order(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.0.get::<OrderRow>(ORDERS, key.as_bytes())?.is_some())
    }

    /// Forgets orders that ended, once nobody will ask about them.
    pub(crate) fn delete_ended(&self, before: u64) -> Result<(), StoreError> {
        let rows: Vec<OrderRow> = self.0.all(ORDERS, &[])?;
        let mut old = rows
            .into_iter()
            .filter(|row| row.outcome.is_some() && row.deadline < before);
        old.try_for_each(|row| self.0.delete(ORDERS, row.key.as_bytes()))
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut OrderRow)) -> Result<(), StoreError> {
        self.0.update(ORDERS, key.as_bytes(), |old: Option<OrderRow>| {
            old.map(|mut row| {
                change(&mut row);
                row
            })
        })
    }
}

impl touchstone_chain::Store for Outbox {
    type Error = StoreError;

    async fn open_orders(&self) -> Result<Vec<StoredOrder>, StoreError> {
        let rows: Vec<OrderRow> = self.0.all(ORDERS, &[])?;
        let mut open: Vec<StoredOrder> = rows
            .into_iter()
            .filter(|row| row.outcome.is_none())
            .map(Into::into)
            .collect();
        open.sort_by_key(|stored| stored.order.deadline);
        Ok(open)
    }

    async fn insert_attempt(&self, key: &str, attempt: &Attempt) -> Result<(), StoreError> {
        self.change(key, |row| row.attempts.push(attempt.into()))
    }

    async fn delete_attempts(&self, key: &str) -> Result<(), StoreError> {
        self.change(key, |row| row.attempts.clear())
    }

    async fn update_outcome(&self, key: &str, outcome: &Outcome) -> Result<(), StoreError> {
        let text = match outcome {
            Outcome::Succeeded(inclusion) => format!("succeeded in {}", inclusion.transaction),
            Outcome::Reverted(inclusion, revert) => format!("reverted in {}: {revert}", inclusion.transaction),
            Outcome::Refused(revert) => format!("refused: {revert}"),
        };
        self.change(key, |row| row.outcome = Some(text))
    }
}

#[cfg(test)]
mod tests {
    use touchstone_chain::Store as _;

    use super::*;
    use crate::store::Identity;

    fn order(key: &str, deadline: u64) -> Order {
        Order {
            key: key.into(),
            to: Address::ZERO,
            data: vec![1, 2].into(),
            value: U256::ZERO,
            deadline,
            gas_floor: 0,
        }
    }

    fn attempt(nonce: u64) -> Attempt {
        Attempt {
            nonce,
            hash: B256::repeat_byte(1),
            raw: vec![3].into(),
            max_fee: u128::MAX,
            priority_fee: 1,
            signed_at: 5,
        }
    }

    #[tokio::test]
    async fn orders_outlive_the_process_are_made_once_and_sent_by_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            chain_id: 1,
            market: Address::ZERO,
            provider: Address::ZERO,
            node: Address::ZERO,
        };
        let outbox = Outbox(Store::open(folder.path(), &identity).unwrap());
        outbox.insert_order(order("late", 20)).unwrap();
        outbox.insert_order(order("soon", 10)).unwrap();
        outbox.insert_attempt("soon", &attempt(7)).await.unwrap();
        outbox
            .insert_order(Order {
                value: U256::MAX,
                ..order("soon", 10)
            })
            .unwrap();
        drop(outbox);
        let outbox = Outbox(Store::open(folder.path(), &identity).unwrap());
        let open = outbox.open_orders().await.unwrap();
        let soon = StoredOrder {
            order: order("soon", 10),
            attempts: vec![attempt(7)],
        };
        assert_eq!(
            open,
            vec![
                soon,
                StoredOrder {
                    order: order("late", 20),
                    attempts: vec![]
                }
            ]
        );
        outbox.delete_attempts("soon").await.unwrap();
        assert!(outbox.open_orders().await.unwrap()[0].attempts.is_empty());
        let refused = Outcome::Refused(touchstone_chain::revert::Revert {
            reason: String::new(),
            data: Bytes::new(),
        });
        outbox.update_outcome("soon", &refused).await.unwrap();
        assert_eq!(outbox.open_orders().await.unwrap().len(), 1);
        outbox.delete_ended(100).unwrap();
        assert!(!outbox.has_order("soon").unwrap() && outbox.has_order("late").unwrap());
    }
}
