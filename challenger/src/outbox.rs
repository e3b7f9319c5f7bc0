//! Transactions in the embedded store: ordered once by purpose, stored before they are broadcast, found again after a crash.

use serde::{Deserialize, Serialize};
use touchstone_chain::{Address, Attempt, B256, Bytes, Order, Outcome, StoredOrder, U256};

use crate::store::{ORDERS, Store, StoreError};

/// How often one move is tried before a person has to look.
const MOST_TRIES: u32 = 4;

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
    outcome: Option<OutcomeRow>,
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

/// How an order ended: in which block, and in words.
#[derive(Debug, Serialize, Deserialize)]
struct OutcomeRow {
    block: Option<u64>,
    text: String,
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

/// The orders of the challenger's key.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(pub(crate) Store);

impl Outbox {
    /// Orders a move that the chain still waits for at block `head`. `purpose` names move and state, so it is under way at most once; it
    /// is tried again when it ended and the chain, two blocks on, does not show it. `false`: nothing new was ordered.
    pub(crate) fn order(&self, purpose: &str, order: Order, head: u64) -> Result<bool, StoreError> {
        for number in 0..MOST_TRIES {
            let key = format!("{purpose}:{number}");
            match self.0.get::<OrderRow>(ORDERS, key.as_bytes())? {
                None => {
                    self.0.put(
                        ORDERS,
                        key.as_bytes(),
                        &OrderRow::from(Order {
                            key: key.clone(),
                            ..order
                        }),
                    )?;
                    return Ok(true);
                }
                Some(OrderRow { outcome: None, .. }) => return Ok(false),
                Some(OrderRow {
                    outcome: Some(OutcomeRow { block: Some(block), .. }),
                    ..
                }) if head < block + 2 => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(false)
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
        let outcome = match outcome {
            Outcome::Succeeded(inclusion) => OutcomeRow {
                block: Some(inclusion.number),
                text: format!("succeeded in {}", inclusion.transaction),
            },
            Outcome::Reverted(inclusion, revert) => OutcomeRow {
                block: Some(inclusion.number),
                text: format!("reverted in {}: {revert}", inclusion.transaction),
            },
            Outcome::Refused(revert) => OutcomeRow {
                block: None,
                text: format!("refused: {revert}"),
            },
        };
        self.change(key, |row| row.outcome = Some(outcome))
    }
}

#[cfg(test)]
mod tests {
    use touchstone_chain::{Inclusion, Store as _, revert::Revert};

    use super::*;
    use crate::store::Identity;

    fn order() -> Order {
        Order {
            key: String::new(),
            to: Address::ZERO,
            data: Bytes::new(),
            value: U256::ZERO,
            deadline: 7,
            gas_floor: 0,
        }
    }

    fn inclusion(number: u64) -> Inclusion {
        Inclusion {
            transaction: B256::ZERO,
            block: B256::ZERO,
            number,
            gas_used: 0,
            gas_price: 0,
        }
    }

    #[tokio::test]
    async fn a_purpose_is_under_way_once_and_tried_again_when_the_chain_does_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            chain_id: 1,
            market: Address::ZERO,
            challenger: None,
        };
        let outbox = Outbox(Store::open(folder.path(), &identity).unwrap());
        assert!(outbox.order("ask:1", order(), 10).unwrap());
        assert!(!outbox.order("ask:1", order(), 10).unwrap(), "under way");
        let refused = Outcome::Refused(Revert::decode(Bytes::new()));
        outbox.update_outcome("ask:1:0", &refused).await.unwrap();
        assert!(
            outbox.order("ask:1", order(), 10).unwrap(),
            "refused orders are tried again"
        );
        outbox
            .update_outcome("ask:1:1", &Outcome::Succeeded(inclusion(11)))
            .await
            .unwrap();
        assert!(
            !outbox.order("ask:1", order(), 12).unwrap(),
            "mined: the next view may show it"
        );
        assert!(
            outbox.order("ask:1", order(), 13).unwrap(),
            "two blocks on it is not in this chain"
        );
        outbox.update_outcome("ask:1:2", &refused).await.unwrap();
        assert!(outbox.order("ask:1", order(), 20).unwrap());
        outbox.update_outcome("ask:1:3", &refused).await.unwrap();
        assert!(!outbox.order("ask:1", order(), 30).unwrap(), "not for ever");
        assert_eq!(outbox.open_orders().await.unwrap().len(), 0);
    }
}
