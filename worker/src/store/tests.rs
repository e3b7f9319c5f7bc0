use alloy_primitives::FixedBytes;

use super::*;
use crate::{
    record::{End, Signed, State},
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

fn signed(claim: u8) -> Signed {
    Signed {
        claim: B256::repeat_byte(claim),
        output: vec![1].into(),
        outputs: vec![],
        trace: vec![B256::ZERO],
        trace_root: B256::ZERO,
        valid_until: 9,
        signature: FixedBytes::ZERO,
        engine: "some".into(),
        inner_kept: false,
        posted: false,
        uploaded: false,
    }
}

/// Says that a claim has ended.
fn end(store: &Store, claim: B256) {
    let end = |record: &mut Record| {
        record.state = State::Ended {
            signed: record.signed().unwrap().clone(),
            end: End::Final,
            release_at: 0,
        };
    };
    store.update_claim(claim, end).unwrap();
}

fn value(elements: &[f32]) -> Value {
    Value::from_f32([elements.len() as u32], elements).unwrap()
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (signed, job) = (signed(1), terms().job());
    let values = vec![
        (Place::Trace(0), value(&[1.5, f32::NAN])),
        (Place::Output(0), value(&[])),
    ];
    let store = Store::open(folder.path(), &identity()).unwrap();
    let group = Values {
        layer: 0,
        values: values.clone(),
    };
    let record = store.insert_signed(&terms(), &signed, &[group]).unwrap();
    drop(store);
    let store = Store::open(folder.path(), &identity()).unwrap();
    assert_eq!(store.select_run(job).unwrap(), Some(record.clone()));
    assert_eq!(store.select_claim(signed.claim).unwrap(), Some(record));
    for (place, value) in values {
        assert_eq!(store.select_value(signed.claim, 5, place).unwrap(), Some(value));
    }
    assert_eq!(store.select_value(signed.claim, 0, Place::Inner(0)).unwrap(), None);
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
    let claim = B256::repeat_byte(1);
    let answer = |root| LayerRecord {
        root: B256::repeat_byte(root),
        signature: FixedBytes::ZERO,
        commitments: vec![],
    };
    let values = Values {
        layer: 3,
        values: vec![(Place::Inner(0), value(&[2.0]))],
    };
    assert_eq!(store.insert_layer(claim, &answer(1), &values).unwrap(), answer(1));
    assert_eq!(store.insert_layer(claim, &answer(2), &values).unwrap(), answer(1));
    assert_eq!(store.select_layer(claim, 3).unwrap(), Some(answer(1)));
    assert_eq!(store.select_layer(claim, 4).unwrap(), None);
    assert_eq!(
        store.select_value(claim, 3, Place::Inner(0)).unwrap(),
        Some(value(&[2.0]))
    );
}

/// A store with two claims for attempts of one request, each with a value, a layer's answer and a dispute.
fn two_claims(folder: &tempfile::TempDir) -> (Store, [B256; 2]) {
    let store = Store::open(folder.path(), &identity()).unwrap();
    let claims = [1, 2].map(|number| {
        let (mut terms, signed) = (terms(), signed(number));
        terms.attempt = number.into();
        let claim = signed.claim;
        let values = Values {
            layer: 0,
            values: vec![(Place::Trace(0), value(&[1.0]))],
        };
        let answer = LayerRecord {
            root: B256::ZERO,
            signature: FixedBytes::ZERO,
            commitments: vec![],
        };
        store
            .insert_signed(&terms, &signed, std::slice::from_ref(&values))
            .unwrap();
        store.insert_layer(claim, &answer, &values).unwrap();
        store.insert_dispute(claim, claim).unwrap();
        claim
    });
    (store, claims)
}

/// Whether a claim is there with all that belongs to it, or gone with all of it.
fn is_whole(store: &Store, claim: B256) -> bool {
    let parts = [
        store.select_claim(claim).unwrap().is_some(),
        store.select_value(claim, 0, Place::Trace(0)).unwrap().is_some(),
        store.select_layer(claim, 0).unwrap().is_some(),
        store.select_disputes().unwrap().contains(&(claim, claim)),
    ];
    assert!(parts.iter().all(|part| *part == parts[0]), "{parts:?}");
    parts[0]
}

#[test]
fn an_ended_claim_leaves_nothing_and_takes_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (store, [mine, other]) = two_claims(&folder);
    end(&store, mine);
    store.delete_ended(mine).unwrap();
    assert!(!is_whole(&store, mine));
    assert!(is_whole(&store, other));
    assert_eq!(store.select_runs().unwrap().len(), 1);
    let job = Job {
        attempt: 1,
        ..terms().job()
    };
    assert_eq!(store.select_run(job).unwrap(), None);
}

#[test]
fn what_is_signed_is_not_deleted_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (store, [claim, _]) = two_claims(&folder);
    let other = Terms {
        poster: Address::repeat_byte(9),
        ..terms()
    };
    for ended in [false, true] {
        assert!(!store.upsert_lease(&other).unwrap());
        store.delete_lease(other.job()).unwrap();
        let kept = store.select_run(other.job()).unwrap().unwrap();
        assert_eq!(kept.signed().unwrap().claim, claim);
        assert_eq!(kept.terms, terms());
        if !ended {
            store.delete_ended(claim).unwrap();
            assert!(is_whole(&store, claim), "it has not ended");
            end(&store, claim);
        }
    }
}
