//! The reader and the sender against anvil through a proxy that lies the way nodes do.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/anvil.rs"]
mod anvil;
mod contracts;
mod proxy;

use std::time::Duration;

use anvil::{Anvil, CHAIN_ID};
use proxy::{Lie, Proxy};
use touchstone_chain::{
    Address, ChainError, ChainReader, MemoryStore, Order, Outcome, Sender, SenderConfig, Store as _, U256,
};

struct Net {
    anvil: Anvil,
    proxy: Proxy,
    reader: ChainReader,
    direct: ChainReader,
}

impl Net {
    async fn start() -> Self {
        let anvil = Anvil::start(&[]).await;
        let proxy = Proxy::start(anvil.url.trim_start_matches("http://")).await;
        let reader = ChainReader::new(&proxy.url, Duration::from_secs(20)).unwrap();
        let direct = ChainReader::new(&anvil.url, Duration::from_secs(10)).unwrap();
        Self {
            anvil,
            proxy,
            reader,
            direct,
        }
    }

    fn sender(&self, config: SenderConfig) -> Sender {
        Sender::new(self.reader.clone(), self.anvil.key(0), config)
    }
}

fn order(key: &str, deadline: u64) -> Order {
    Order {
        key: key.to_owned(),
        to: Address::repeat_byte(0x77),
        data: Default::default(),
        value: U256::from(5),
        deadline,
        gas_floor: 0,
    }
}

/// Steps until the order has ended.
async fn ends(sender: &Sender, store: &MemoryStore, key: &str, now: u64) -> Outcome {
    let wait = async {
        loop {
            sender.step(store, now).await.unwrap();
            if let Some(outcome) = store.outcome(key) {
                return outcome;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the order ends")
}

/// Creation code of a contract that emits one empty log at its creation.
const LOGGER: [u8; 6] = [0x5f, 0x5f, 0xa0, 0x5f, 0x5f, 0xf3];

#[tokio::test]
async fn an_empty_answer_about_logs_is_not_believed() {
    let net = Net::start().await;
    let contract = contracts::create(&net.anvil.key(0), &net.direct, &LOGGER).await;
    let block = net.direct.head().await.unwrap();
    assert_eq!(net.direct.logs(&block, &[contract]).await.unwrap().len(), 1);
    // The node has not indexed the block yet and says "none"; the receipts prove otherwise.
    net.proxy.lie(Lie::Answer("eth_getLogs", "[]"));
    assert_eq!(net.reader.logs(&block, &[contract]).await.unwrap().len(), 1);
    // It does not know the receipts either.
    net.proxy.lie(Lie::Answer("eth_getBlockReceipts", "[]"));
    assert!(matches!(
        net.reader.logs(&block, &[contract]).await,
        Err(ChainError::Inconsistent { .. })
    ));
    net.proxy.lie(Lie::Answer("eth_getBlockReceipts", "null"));
    assert!(matches!(
        net.reader.logs(&block, &[contract]).await,
        Err(ChainError::NoBlock { .. })
    ));
    // Where the bloom excludes the address, nobody has to be asked.
    let count = net.proxy.asked("eth_getLogs");
    let empty = net.direct.block_at(0).await.unwrap().unwrap();
    assert!(net.reader.logs(&empty, &[contract]).await.unwrap().is_empty());
    assert_eq!(net.proxy.asked("eth_getLogs"), count);
}

#[tokio::test]
async fn a_node_that_hangs_or_refuses_is_unavailable_and_no_statement() {
    let net = Net::start().await;
    net.proxy.lie(Lie::Fail("eth_getBlockByNumber", "rate limited"));
    let error = net.reader.head().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    net.proxy.lie(Lie::Hang("eth_getBlockByNumber"));
    let impatient = ChainReader::new(&net.proxy.url, Duration::from_millis(300)).unwrap();
    assert!(matches!(impatient.head().await, Err(ChainError::Timeout { .. })));
    net.proxy.truth();
    net.reader.head().await.unwrap();
}

#[tokio::test]
async fn each_order_is_mined_once_and_the_urgent_one_first() {
    let net = Net::start().await;
    let sender = net.sender(SenderConfig::new(CHAIN_ID));
    let store = MemoryStore::default();
    for (key, deadline) in [("late", 30), ("soon", 10), ("middle", 20)] {
        store.insert(order(key, deadline));
        store.insert(order(key, 0));
    }
    net.anvil.automine(false).await;
    sender.step(&store, 0).await.unwrap();
    let open = store.open_orders().await.unwrap();
    let nonces: Vec<u64> = open.iter().map(|stored| stored.attempts[0].nonce).collect();
    assert_eq!(nonces, [0, 1, 2], "in order of deadline");
    net.anvil.mine(1).await;
    let ended = sender.step(&store, 1).await.unwrap();
    assert_eq!(ended.len(), 3);
    assert!(
        ended
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Succeeded(_))),
        "{ended:?}"
    );
    let head = net.direct.head().await.unwrap();
    assert_eq!(
        net.direct.balance(Address::repeat_byte(0x77), head.hash).await.unwrap(),
        U256::from(15)
    );
}

#[tokio::test]
async fn a_crash_between_storing_and_sending_sends_the_same_transaction() {
    let net = Net::start().await;
    let store = MemoryStore::default();
    store.insert(order("once", 0));
    // The broadcast never arrives, as if the process had died before it.
    net.proxy.lie(Lie::Fail("eth_sendRawTransaction", "connection reset"));
    net.sender(SenderConfig::new(CHAIN_ID)).step(&store, 0).await.unwrap();
    let hash = store.open_orders().await.unwrap()[0].attempts[0].hash;
    assert!(!net.direct.knows(hash).await.unwrap());
    net.proxy.truth();
    // Another process goes on from the store.
    let sender = net.sender(SenderConfig::new(CHAIN_ID));
    let outcome = ends(&sender, &store, "once", 1).await;
    assert!(matches!(outcome, Outcome::Succeeded(inclusion) if inclusion.transaction == hash));
    assert_eq!(net.direct.nonce(sender.address()).await.unwrap(), 1);
}

#[tokio::test]
async fn words_of_refusal_from_a_node_that_took_it_do_no_harm() {
    for words in ["already known", "nonce too low", "transaction underpriced"] {
        let net = Net::start().await;
        let store = MemoryStore::default();
        store.insert(order("once", 0));
        net.proxy.lie(Lie::AfterwardsFail("eth_sendRawTransaction", words));
        let sender = net.sender(SenderConfig::new(CHAIN_ID));
        assert!(
            matches!(ends(&sender, &store, "once", 0).await, Outcome::Succeeded(_)),
            "{words}"
        );
        assert_eq!(net.direct.nonce(sender.address()).await.unwrap(), 1, "{words}");
    }
}

#[tokio::test]
async fn what_would_revert_is_not_sent_and_holds_nothing_up() {
    let net = Net::start().await;
    // Reverts with an error of the market.
    let revert = contracts::create(
        &net.anvil.key(0),
        &net.direct,
        &contracts::reverting(&contracts::not_found()),
    )
    .await;
    let store = MemoryStore::default();
    store.insert(Order {
        to: revert,
        value: U256::ZERO,
        ..order("bad", 0)
    });
    store.insert(order("good", 1));
    let sender = net.sender(SenderConfig::new(CHAIN_ID));
    match ends(&sender, &store, "bad", 0).await {
        Outcome::Refused(revert) => assert!(revert.reason.contains("UnknownRequest"), "{revert}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ends(&sender, &store, "good", 0).await, Outcome::Succeeded(_)));
}

#[tokio::test]
async fn a_stuck_transaction_gets_a_higher_fee_under_the_same_nonce_and_one_of_them_counts() {
    let net = Net::start().await;
    let store = MemoryStore::default();
    store.insert(order("stuck", 0));
    net.anvil.automine(false).await;
    let sender = net.sender(SenderConfig {
        bump_after: Duration::from_secs(10),
        ..SenderConfig::new(CHAIN_ID)
    });
    sender.step(&store, 0).await.unwrap();
    sender.step(&store, 9).await.unwrap();
    assert_eq!(store.open_orders().await.unwrap()[0].attempts.len(), 1);
    sender.step(&store, 10).await.unwrap();
    let attempts = store.open_orders().await.unwrap()[0].attempts.clone();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].nonce, attempts[1].nonce);
    assert!(attempts[1].max_fee * 10 >= attempts[0].max_fee * 11);
    net.anvil.mine(1).await;
    sender.step(&store, 11).await.unwrap();
    let Some(Outcome::Succeeded(inclusion)) = store.outcome("stuck") else {
        panic!("not mined")
    };
    assert!(attempts.iter().any(|attempt| attempt.hash == inclusion.transaction));
    let head = net.direct.head().await.unwrap();
    assert_eq!(
        net.direct.balance(Address::repeat_byte(0x77), head.hash).await.unwrap(),
        U256::from(5)
    );
}

#[tokio::test]
async fn a_nonce_that_something_else_used_is_noticed() {
    let net = Net::start().await;
    let store = MemoryStore::default();
    store.insert(order("replaced", 0));
    net.proxy.lie(Lie::Fail("eth_sendRawTransaction", "connection reset"));
    let sender = net.sender(SenderConfig::new(CHAIN_ID));
    sender.step(&store, 0).await.unwrap();
    let first = store.open_orders().await.unwrap()[0].attempts[0].hash;
    // The same account sends something by hand.
    contracts::create(&net.anvil.key(0), &net.direct, &LOGGER).await;
    net.proxy.truth();
    let Outcome::Succeeded(inclusion) = ends(&sender, &store, "replaced", 1).await else {
        panic!("not mined")
    };
    assert_ne!(inclusion.transaction, first);
    assert_eq!(net.direct.nonce(sender.address()).await.unwrap(), 2);
}

/// Mined, recorded, and its block reorged out: nobody sends it again, and what was sent after it could wait for ever.
#[tokio::test]
async fn a_nonce_that_a_reorg_left_free_is_used() {
    let net = Net::start().await;
    let sender = net.sender(SenderConfig::new(CHAIN_ID));
    for more in [false, true] {
        let store = MemoryStore::default();
        store.insert(order("gone", 0));
        store.insert(order("behind", 1));
        net.proxy.lie(Lie::Fail("eth_sendRawTransaction", "connection reset"));
        sender.step(&store, 0).await.unwrap();
        let open = store.open_orders().await.unwrap();
        assert_eq!(open[0].attempts[0].nonce + 1, open[1].attempts[0].nonce);
        let mined = touchstone_chain::Inclusion {
            transaction: open[0].attempts[0].hash,
            block: touchstone_chain::B256::ZERO,
            number: 1,
            gas_used: 0,
            gas_price: 0,
        };
        store.update_outcome("gone", &Outcome::Succeeded(mined)).await.unwrap();
        net.proxy.truth();
        if more {
            store.insert(order("more", 2));
            ends(&sender, &store, "more", 1).await;
        }
        ends(&sender, &store, "behind", 1).await;
    }
    // Two orders and one that fills; then two orders, one of them in the gap, and nothing that fills.
    assert_eq!(net.direct.nonce(sender.address()).await.unwrap(), 4);
}

#[tokio::test]
async fn an_outcome_waits_for_its_confirmations() {
    let net = Net::start().await;
    let store = MemoryStore::default();
    store.insert(order("deep", 0));
    let sender = net.sender(SenderConfig {
        confirmations: 3,
        ..SenderConfig::new(CHAIN_ID)
    });
    net.anvil.automine(false).await;
    sender.step(&store, 0).await.unwrap();
    net.anvil.mine(1).await;
    for _ in 0..2 {
        assert!(sender.step(&store, 1).await.unwrap().is_empty());
        net.anvil.mine(1).await;
    }
    assert_eq!(sender.step(&store, 2).await.unwrap().len(), 1);
}
