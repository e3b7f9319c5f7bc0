//! What happened, for people: each event with its time, gas and transaction.

use std::collections::BTreeSet;

use anyhow::Result;
use touchstone_chain::{B256, ChainReader, describe, event::Body};

use crate::chain::Seen;

/// The event's name.
pub fn name(body: &Body) -> String {
    describe::name(body).to_owned()
}

/// Prints events as they come: seconds since the first one, what, gas of the transaction, its hash.
#[derive(Debug)]
pub struct Timeline {
    reader: ChainReader,
    began: Option<u64>,
    printed: usize,
    shown: BTreeSet<B256>,
}

impl Timeline {
    /// A timeline that starts with the first event printed.
    pub fn new(reader: ChainReader) -> Self {
        Self {
            reader,
            began: None,
            printed: 0,
            shown: BTreeSet::new(),
        }
    }

    /// Leaves out what has been seen so far and starts the clock anew.
    pub fn restart(&mut self, seen: &[Seen]) {
        self.printed = seen.len();
        self.began = None;
    }

    /// Prints what is new in `seen`.
    ///
    /// # Errors
    /// The node does not give a receipt.
    pub async fn print(&mut self, seen: &[Seen]) -> Result<()> {
        for Seen { block, event } in seen.iter().skip(self.printed) {
            let began = *self.began.get_or_insert(block.timestamp);
            let Some(line) = describe::describe(&event.body) else {
                continue;
            };
            println!("  +{:>3} s  {line}", block.timestamp.saturating_sub(began));
            // The gas belongs to the transaction: shown once, under its first line.
            if self.shown.insert(event.transaction) {
                let receipt = self.reader.receipt(event.transaction).await?;
                let gas = receipt.map_or(0, |receipt| receipt.gas_used);
                println!("           {gas:>9} gas  tx {}", event.transaction);
            }
        }
        self.printed = seen.len();
        Ok(())
    }
}
