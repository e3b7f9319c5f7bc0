//! Orders in an embedded database: ordered once by purpose, stored before they are broadcast, found again after a crash.

use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::{
    store::{Attempt, Order, Outcome, Store, StoredOrder},
    tables::{Table, TableError, Tables},
};

/// Order key → order, attempts, how it ended.
pub const ORDERS: Table = TableDefinition::new("orders");

/// How often one move is mined without effect before a person has to look: each time costs its gas.
const MOST_MINED: u32 = 4;
/// How often it is tried in all.
const MOST_TRIES: u32 = 64;
/// The most blocks between two tries of what was refused.
const MOST_BLOCKS: u64 = 8;
/// Blocks after which what was mined and does not show is not in this chain.
const SHOWN_AFTER: u64 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct OrderRow {
    order: Order,
    attempts: Vec<Attempt>,
    /// The block at which it was ordered.
    #[serde(default)]
    ordered_at: u64,
    /// An order without it is open.
    end: Option<End>,
}

/// How an order ended: in which block, and in words.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    block: Option<u64>,
    text: String,
}

/// The orders of one key, in the table [`ORDERS`]. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Outbox(Tables);

impl Outbox {
    /// The orders in these tables.
    pub fn new(tables: Tables) -> Self {
        Self(tables)
    }

    /// Orders a transaction, unless one with its key was ordered before; says whether it is new.
    pub fn insert_order(&self, order: Order) -> Result<bool, TableError> {
        self.insert_at(order, 0)
    }

    fn insert_at(&self, order: Order, ordered_at: u64) -> Result<bool, TableError> {
        self.0.write(|changes| {
            let key = order.key.clone();
            if changes.get::<OrderRow>(ORDERS, key.as_bytes())?.is_some() {
                return Ok(false);
            }
            let row = OrderRow {
                order,
                attempts: Vec::new(),
                ordered_at,
                end: None,
            };
            changes.put(ORDERS, key.as_bytes(), &row)?;
            Ok(true)
        })
    }

    /// Orders a move that the chain still waits for at block `head`. The order's key names move and state, so it is under way at
    /// most once; it is tried again when it ended and the chain, two blocks on, does not show it. What a node refused is tried again
    /// at a later block, ever more of them apart: the node may be behind. `false`: nothing new was ordered.
    pub fn insert_move(&self, order: Order, head: u64) -> Result<bool, TableError> {
        let mut mined = 0;
        for number in 0..MOST_TRIES {
            let key = format!("{}:{number}", order.key);
            let Some(row) = self.0.get::<OrderRow>(ORDERS, key.as_bytes())? else {
                return self.insert_at(Order { key, ..order }, head);
            };
            let again = match row.end {
                None => return Ok(false),
                Some(End { block: Some(block), .. }) => {
                    mined += 1;
                    block + SHOWN_AFTER
                }
                Some(End { block: None, .. }) => row.ordered_at + MOST_BLOCKS.min(u64::from(number) + 1),
            };
            if head < again {
                return Ok(false);
            }
            if mined == MOST_MINED {
                break;
            }
        }
        tracing::error!(order = %order.key, "given up: neither mined nor refused for good; see the orders before it");
        Ok(false)
    }

    /// Whether an order with this key exists, ended or not.
    pub fn has_order(&self, key: &str) -> Result<bool, TableError> {
        Ok(self.0.get::<OrderRow>(ORDERS, key.as_bytes())?.is_some())
    }

    /// Forgets orders that ended and had to be mined before `before` (unix seconds): nobody will ask about them.
    pub fn delete_ended(&self, before: u64) -> Result<(), TableError> {
        for OrderRow { order, end, .. } in self.0.all(ORDERS)? {
            if end.is_some() && order.deadline < before {
                self.0.delete(ORDERS, order.key.as_bytes())?;
            }
        }
        Ok(())
    }

    fn update(&self, key: &str, change: impl FnOnce(&mut OrderRow)) -> Result<(), TableError> {
        self.0.update(ORDERS, key.as_bytes(), change)
    }
}

impl Store for Outbox {
    type Error = TableError;

    async fn open_orders(&self) -> Result<Vec<StoredOrder>, TableError> {
        let rows: Vec<OrderRow> = self.0.all(ORDERS)?;
        let mut open: Vec<StoredOrder> = rows
            .into_iter()
            .filter(|row| row.end.is_none())
            .map(|OrderRow { order, attempts, .. }| StoredOrder { order, attempts })
            .collect();
        open.sort_by_key(|stored| stored.order.deadline);
        Ok(open)
    }

    async fn insert_attempt(&self, key: &str, attempt: &Attempt) -> Result<(), TableError> {
        self.update(key, |row| row.attempts.push(attempt.clone()))
    }

    async fn delete_attempts(&self, key: &str) -> Result<(), TableError> {
        self.update(key, |row| row.attempts.clear())
    }

    async fn update_outcome(&self, key: &str, outcome: &Outcome) -> Result<(), TableError> {
        let (block, text) = match outcome {
            Outcome::Succeeded(inclusion) => (
                Some(inclusion.number),
                format!("succeeded in {}", inclusion.transaction),
            ),
            Outcome::Reverted(inclusion, revert) => (
                Some(inclusion.number),
                format!("reverted in {}: {revert}", inclusion.transaction),
            ),
            Outcome::Refused(revert) => (None, format!("refused: {revert}")),
        };
        self.update(key, |row| row.end = Some(End { block, text }))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, Bytes, U256};

    use super::*;
    use crate::{revert::Revert, store::Inclusion};

    fn outbox(folder: &tempfile::TempDir) -> Outbox {
        let file = folder.path().join("orders.redb");
        Outbox::new(Tables::open(&file, &[ORDERS], &"me".to_owned()).unwrap())
    }

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

    fn refused() -> Outcome {
        Outcome::Refused(Revert::decode(Bytes::new()))
    }

    #[tokio::test]
    async fn orders_outlive_the_process_are_made_once_and_sent_by_deadline() {
        let attempt = Attempt {
            nonce: 7,
            hash: B256::repeat_byte(1),
            raw: vec![3].into(),
            max_fee: u128::MAX,
            priority_fee: 1,
            signed_at: 5,
        };
        let folder = tempfile::tempdir().unwrap();
        let first = outbox(&folder);
        assert!(first.insert_order(order("late", 20)).unwrap());
        assert!(first.insert_order(order("soon", 10)).unwrap());
        first.insert_attempt("soon", &attempt).await.unwrap();
        let other = Order {
            value: U256::MAX,
            ..order("soon", 10)
        };
        assert!(!first.insert_order(other).unwrap());
        drop(first);
        let outbox = outbox(&folder);
        let stored = |order, attempts| StoredOrder { order, attempts };
        assert_eq!(
            outbox.open_orders().await.unwrap(),
            [
                stored(order("soon", 10), vec![attempt]),
                stored(order("late", 20), vec![])
            ]
        );
        outbox.delete_attempts("soon").await.unwrap();
        assert!(outbox.open_orders().await.unwrap()[0].attempts.is_empty());
        outbox.update_outcome("soon", &refused()).await.unwrap();
        assert_eq!(outbox.open_orders().await.unwrap().len(), 1);
        outbox.delete_ended(10).unwrap();
        assert!(outbox.has_order("soon").unwrap(), "not before its deadline has passed");
        outbox.delete_ended(100).unwrap();
        assert!(!outbox.has_order("soon").unwrap() && outbox.has_order("late").unwrap());
    }

    #[tokio::test]
    async fn a_move_is_under_way_once_and_tried_again_when_the_chain_does_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(&folder);
        let try_at = |head| outbox.insert_move(order("ask:1", 7), head).unwrap();
        assert!(try_at(10));
        assert!(!try_at(10), "under way");
        outbox.update_outcome("ask:1:0", &refused()).await.unwrap();
        assert!(!try_at(10), "the node that refused knows no more than it did");
        assert!(try_at(11), "refused moves are tried again");
        let mined = Outcome::Succeeded(Inclusion {
            transaction: B256::ZERO,
            block: B256::ZERO,
            number: 11,
            gas_used: 0,
            gas_price: 0,
        });
        outbox.update_outcome("ask:1:1", &mined).await.unwrap();
        assert!(!try_at(12), "mined: the next view may show it");
        assert!(try_at(13), "two blocks on it is not in this chain");
        outbox.update_outcome("ask:1:2", &refused()).await.unwrap();
        assert!(!try_at(15) && try_at(16), "ever longer");
        for number in 3..6 {
            let end = format!("ask:1:{number}");
            outbox.update_outcome(&end, &mined).await.unwrap();
            assert_eq!(try_at(100), number < 5, "not mined for ever");
        }
        assert_eq!(outbox.open_orders().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn refusals_do_not_use_up_a_move() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = outbox(&folder);
        for number in 0..MOST_TRIES {
            let head = 8 * u64::from(number);
            assert!(outbox.insert_move(order("ask:1", 7), head).unwrap(), "{number}");
            outbox
                .update_outcome(&format!("ask:1:{number}"), &refused())
                .await
                .unwrap();
        }
        assert!(!outbox.insert_move(order("ask:1", 7), 1 << 20).unwrap(), "not for ever");
    }
}
