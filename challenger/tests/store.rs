//! The embedded store.
#![allow(missing_docs, clippy::unwrap_used)]

use alloy_primitives::{Address, B256, U256};
use touchstone_challenger::{
    record::{ClaimRow, Cursor},
    store::{BlockRows, Identity, Store, StoreError},
};
use touchstone_protocol::{descriptor::Dtype, tensor::TensorTree};

fn identity(byte: u8) -> Identity {
    Identity {
        chain_id: 1,
        market: Address::repeat_byte(byte),
        challenger: None,
    }
}

fn claim(byte: u8) -> ClaimRow {
    ClaimRow {
        claim: B256::repeat_byte(byte),
        request: U256::from(1),
        attempt: 1,
        worker: Address::ZERO,
        node: Address::ZERO,
        outputs: B256::ZERO,
        trace_root: B256::ZERO,
        output_data: vec![1, 2].into(),
        window_end: 9,
        ended: None,
    }
}

#[test]
fn a_store_of_another_deployment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), &identity(1)).unwrap());
    assert!(matches!(
        Store::open(folder.path(), &identity(2)),
        Err(StoreError::Identity { .. })
    ));
    Store::open(folder.path(), &identity(1)).unwrap();
}

#[test]
fn a_claim_is_forgotten_with_all_that_belongs_to_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity(1)).unwrap();
    let rows = BlockRows {
        claims: vec![claim(1), claim(2)],
        ..BlockRows::default()
    };
    store
        .insert_block(
            Cursor {
                number: 3,
                hash: B256::ZERO,
            },
            2,
            &rows,
        )
        .unwrap();
    let value = TensorTree::new(Dtype::F32, &[2], vec![0u8; 8]).unwrap();
    for row in [claim(1), claim(2)] {
        store.insert_value(row.claim, &value).unwrap();
        store.insert_trace(row.claim, &[value.commitment()]).unwrap();
        store.insert_layer(row.claim, 4, B256::ZERO, &[]).unwrap();
    }
    store.update_claim_ended(claim(2).claim, Some(5)).unwrap();
    store.delete_claim(claim(1).claim).unwrap();
    assert_eq!(
        store.select_claims().unwrap(),
        vec![ClaimRow {
            ended: Some(5),
            ..claim(2)
        }]
    );
    assert_eq!(store.select_value(claim(1).claim, value.commitment()).unwrap(), None);
    assert_eq!(
        store.select_value(claim(2).claim, value.commitment()).unwrap(),
        Some(value.clone())
    );
    assert_eq!(store.select_trace(claim(1).claim).unwrap(), None);
    assert_eq!(
        store.select_trace(claim(2).claim).unwrap(),
        Some(vec![value.commitment()])
    );
    assert_eq!(store.select_layer(claim(2).claim, 4, B256::ZERO).unwrap(), Some(vec![]));
    assert_eq!(store.select_layer(claim(1).claim, 4, B256::ZERO).unwrap(), None);
}

#[test]
fn old_blocks_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity(1)).unwrap();
    for number in 0..10 {
        let cursor = Cursor {
            number,
            hash: B256::repeat_byte(number as u8),
        };
        store.insert_block(cursor, 4, &BlockRows::default()).unwrap();
    }
    assert_eq!(store.select_block(4).unwrap(), None);
    assert_eq!(store.select_block(5).unwrap(), Some(B256::repeat_byte(5)));
    assert_eq!(store.select_cursor().unwrap().unwrap().number, 9);
}

#[test]
fn a_day_has_room_for_so_many_disputes_on_bits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity(1)).unwrap();
    let take = |claim, now| store.take_bits(B256::repeat_byte(claim), now, 2).unwrap();
    assert!(take(1, 1_000) && take(2, 1_010));
    assert!(!take(3, 1_020));
    assert!(take(1, 1_020), "it has its own");
    assert!(!take(3, 87_399));
    assert!(take(3, 87_400), "a day after the first");
    assert!(!take(4, 87_401));
    assert!(!store.take_bits(B256::repeat_byte(9), 1 << 40, 0).unwrap());
}

#[test]
fn concessions_count_by_worker_and_by_claim_and_survive() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity(1)).unwrap();
    let count = |store: &Store, worker| store.count_concessions(Address::repeat_byte(worker)).unwrap();
    for worker in 1..=9 {
        for _ in 0..2 {
            // The same move ordered again is one concession.
            store
                .insert_concession(Address::repeat_byte(worker), B256::repeat_byte(1))
                .unwrap();
        }
        assert_eq!(count(&store, worker), 1);
    }
    assert_eq!(count(&store, 10), 0, "nine others change nothing for it");
    store
        .insert_concession(Address::repeat_byte(1), B256::repeat_byte(2))
        .unwrap();
    drop(store);
    let store = Store::open(folder.path(), &identity(1)).unwrap();
    assert_eq!((count(&store, 1), count(&store, 2)), (2, 1));
}
