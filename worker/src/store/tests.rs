use alloy_primitives::FixedBytes;

use super::*;
use crate::{
    record::{Signed, State},
    test_kit::terms,
};

fn identity() -> Identity {
    Identity {
        chain_id: 1,
        market: Address::ZERO,
        provider: Address::ZERO,
        node: Address::ZERO,
    }
}

fn signed(claim: u8) -> Record {
    let signed = Signed {
        claim: B256::repeat_byte(claim),
        output: vec![1].into(),
        outputs: vec![],
        trace: vec![B256::ZERO],
        trace_root: B256::ZERO,
        valid_until: 9,
        signature: FixedBytes::ZERO,
        posted: false,
        uploaded: false,
    };
    Record {
        terms: terms(),
        state: State::Signed(signed),
    }
}

fn value(elements: &[f32]) -> Value {
    Value::from_f32([elements.len() as u32], elements).unwrap()
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (record, job) = (signed(1), terms().job());
    let values = vec![
        (Place::Trace(0), value(&[1.5, f32::NAN])),
        (Place::Output(0), value(&[])),
    ];
    let store = Store::open(folder.path(), &identity()).unwrap();
    store
        .insert_signed(
            &record,
            &[Values {
                layer: 0,
                values: values.clone(),
            }],
        )
        .unwrap();
    drop(store);
    let store = Store::open(folder.path(), &identity()).unwrap();
    assert_eq!(store.select_run(job).unwrap(), Some(record.clone()));
    assert_eq!(store.select_claim(B256::repeat_byte(1)).unwrap(), Some(record));
    for (place, value) in values {
        assert_eq!(store.select_value(job, 5, place).unwrap(), Some(value));
    }
    assert_eq!(store.select_value(job, 0, Place::Inner(0)).unwrap(), None);
}

#[test]
fn another_identity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), &identity()).unwrap());
    let other = Identity {
        chain_id: 2,
        ..identity()
    };
    assert!(matches!(
        Store::open(folder.path(), &other),
        Err(StoreError::Identity { .. })
    ));
}

#[test]
fn the_first_answer_of_a_layer_stands() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity()).unwrap();
    let (claim, job) = (B256::repeat_byte(1), terms().job());
    let answer = |root| LayerRecord {
        root: B256::repeat_byte(root),
        signature: FixedBytes::ZERO,
        commitments: vec![],
    };
    let values = Values {
        layer: 3,
        values: vec![(Place::Inner(0), value(&[2.0]))],
    };
    assert_eq!(store.insert_layer(claim, job, &answer(1), &values).unwrap(), answer(1));
    assert_eq!(store.insert_layer(claim, job, &answer(2), &values).unwrap(), answer(1));
    assert_eq!(store.select_layer(claim, 3).unwrap(), Some(answer(1)));
    assert_eq!(store.select_layer(claim, 4).unwrap(), None);
    assert_eq!(
        store.select_value(job, 3, Place::Inner(0)).unwrap(),
        Some(value(&[2.0]))
    );
}

#[test]
fn a_deleted_run_leaves_nothing_and_takes_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &identity()).unwrap();
    let (mine, mut other) = (signed(1), signed(2));
    other.terms.attempt = 2;
    for record in [&mine, &other] {
        let values = Values {
            layer: 0,
            values: vec![(Place::Trace(0), value(&[1.0]))],
        };
        store.insert_signed(record, std::slice::from_ref(&values)).unwrap();
        let claim = record.signed().unwrap().claim;
        let answer = LayerRecord {
            root: B256::ZERO,
            signature: FixedBytes::ZERO,
            commitments: vec![],
        };
        store.insert_layer(claim, record.terms.job(), &answer, &values).unwrap();
        store.insert_dispute(claim, claim).unwrap();
    }
    store.delete_run(mine.terms.job()).unwrap();
    assert_eq!(store.select_runs().unwrap(), vec![other.clone()]);
    assert_eq!(store.select_claim(B256::repeat_byte(1)).unwrap(), None);
    assert_eq!(store.select_value(mine.terms.job(), 0, Place::Trace(0)).unwrap(), None);
    assert_eq!(store.select_layer(B256::repeat_byte(1), 0).unwrap(), None);
    assert_eq!(
        store.select_disputes().unwrap(),
        vec![(B256::repeat_byte(2), B256::repeat_byte(2))]
    );
    assert!(
        store
            .select_value(other.terms.job(), 0, Place::Trace(0))
            .unwrap()
            .is_some()
    );
    assert!(store.select_layer(B256::repeat_byte(2), 0).unwrap().is_some());
}
