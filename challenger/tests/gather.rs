//! Values from somebody who cannot be trusted: verified, stored at once, and no longer needed afterwards.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use alloy_primitives::{Address, B256, U256, keccak256};
use common::*;
use touchstone_challenger::{
    gather::{GatherError, Own, Subject},
    library::{Library, LibraryError},
    record::{ClaimRow, Cursor, ModelRow, RequestRow},
    remote::{Later, Nobody, Remote, RemoteError, Wanted},
    store::{BlockRows, Identity, Store},
    verdict::replay_layer,
};
use touchstone_engine::Value;
use touchstone_protocol::{model::Profile, tensor::TensorTree};
use touchstone_service::files::{Chunks, FileError, NextChunk, Source};

/// A coordinator in memory that may lie, and counts what it is asked for.
#[derive(Default)]
struct Coordinator {
    trace: Vec<B256>,
    layers: BTreeMap<u32, Vec<B256>>,
    values: BTreeMap<B256, TensorTree>,
    file: Vec<u8>,
    asked: Mutex<usize>,
}

impl Coordinator {
    fn of(claimed: &Claimed, layer: u32) -> Self {
        let inner = claimed.layer(layer);
        let all = claimed.trace.values.iter().chain(&inner.values);
        Self {
            trace: claimed.trace.values.iter().map(TensorTree::commitment).collect(),
            layers: [(layer, inner.values.iter().map(TensorTree::commitment).collect())].into(),
            values: all.map(|value| (value.commitment(), value.clone())).collect(),
            ..Self::default()
        }
    }

    fn answer<T: Send + 'static>(&self, what: &'static str, answer: Option<T>) -> Later<'_, Result<T, RemoteError>> {
        *self.asked.lock().unwrap() += 1;
        Box::pin(std::future::ready(answer.ok_or(RemoteError::NotFound { what })))
    }
}

impl Remote for Coordinator {
    fn trace(&self, _: B256) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        self.answer("trace", Some(self.trace.clone()))
    }

    fn layer(&self, _: B256, layer: u32) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        self.answer("layer", self.layers.get(&layer).cloned())
    }

    fn value<'a>(&'a self, wanted: &'a Wanted) -> Later<'a, Result<TensorTree, RemoteError>> {
        self.answer("value", self.values.get(&wanted.commitment).cloned())
    }
}

impl Source for Coordinator {
    fn open(&self, _: B256, _: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        *self.asked.lock().unwrap() += 1;
        let whole = Whole(Some(self.file.clone()));
        Box::pin(std::future::ready(Ok(Box::new(whole) as Box<dyn Chunks>)))
    }
}

/// A file in one chunk.
struct Whole(Option<Vec<u8>>);

impl Chunks for Whole {
    fn next(&mut self) -> Later<'_, NextChunk> {
        let chunk = self.0.take().map(|bytes| (bytes.len() as u64, bytes));
        Box::pin(std::future::ready(Ok(chunk)))
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
    claim: ClaimRow,
    model: ModelRow,
}

fn joined(values: &[Value]) -> alloy_primitives::Bytes {
    values
        .iter()
        .flat_map(|value| value.bytes.to_vec())
        .collect::<Vec<u8>>()
        .into()
}

/// A store that has seen the chain up to the claim.
fn world(name: &str, claimed: &Claimed) -> World {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity {
        chain_id: 1,
        market: Address::ZERO,
        challenger: None,
    };
    let store = Store::open(folder.path(), &identity).unwrap();
    let bytes = std::fs::read(file(name)).unwrap();
    let model = ModelRow {
        model: model(name).id,
        publisher: Address::ZERO,
        digest: keccak256(&bytes),
        profile: Profile::FAST.encode(),
    };
    let request = RequestRow {
        request: U256::from(1),
        model: model.model,
        inputs: claimed.trace.inputs_hash(),
        input_data: joined(&claimed.run.inputs),
    };
    let claim = ClaimRow {
        claim: B256::repeat_byte(7),
        request: U256::from(1),
        attempt: 1,
        worker: Address::ZERO,
        node: Address::ZERO,
        outputs: claimed.trace.outputs_hash(),
        trace_root: claimed.trace.root(),
        output_data: joined(&claimed.run.outputs),
        window_end: 0,
        ended: None,
    };
    let rows = BlockRows {
        models: vec![model.clone()],
        requests: vec![request],
        claims: vec![claim.clone()],
        ..BlockRows::default()
    };
    store
        .insert_block(
            Cursor {
                number: 1,
                hash: B256::ZERO,
            },
            10,
            &rows,
        )
        .unwrap();
    World {
        _folder: folder,
        store,
        claim,
        model,
    }
}

const MODEL: &str = "suite/cnn_torchscript_batchnorm.onnx";
/// A layer of it with inner values.
const LAYER: u32 = 1;

fn library(folder: &std::path::Path, remote: Arc<dyn Remote>) -> Library {
    Library::new(folder.join("models"), &[file(MODEL)], remote).unwrap()
}

async fn subject(world: &World) -> (Subject, Vec<Own>) {
    let library = library(world._folder.path(), Arc::new(Nobody));
    let subject = Subject::gather(&world.store, &library, world.claim.clone())
        .await
        .unwrap();
    let own = subject.run(&[reference()]).unwrap();
    (subject, own)
}

#[tokio::test]
async fn values_are_verified_and_kept_so_that_a_coordinator_that_stops_changes_nothing() {
    let claimed = honest(&model(MODEL), torch(), &images()[2]);
    let world = world(MODEL, &claimed);
    let (subject, own) = subject(&world).await;
    assert_ne!(
        own[0].trace.root(),
        claimed.trace.root(),
        "the engines differ, so values have to be fetched"
    );
    let coordinator = Coordinator::of(&claimed, LAYER);
    let trace = subject.boundary(&world.store, &coordinator, &own).await.unwrap();
    assert_eq!(trace, claimed.trace);
    let replays = replay_layer(&subject.model, LAYER, &trace, &[reference()]);
    let root = claimed.layer(LAYER).root();
    let inner = subject
        .inner(&world.store, &coordinator, LAYER, root, &replays)
        .await
        .unwrap();
    assert_eq!(inner, claimed.layer(LAYER));
    // It stops.
    assert_eq!(subject.boundary(&world.store, &Nobody, &own).await.unwrap(), trace);
    assert_eq!(
        subject
            .inner(&world.store, &Nobody, LAYER, root, &replays)
            .await
            .unwrap(),
        inner
    );
}

#[tokio::test]
async fn an_engine_that_gives_the_same_bits_needs_nobody() {
    let claimed = honest(&model(MODEL), reference(), &images()[2]);
    let world = world(MODEL, &claimed);
    let (subject, own) = subject(&world).await;
    let trace = subject.boundary(&world.store, &Nobody, &own).await.unwrap();
    assert_eq!(trace, claimed.trace);
    let replays = replay_layer(&subject.model, LAYER, &trace, &[reference()]);
    subject
        .inner(&world.store, &Nobody, LAYER, claimed.layer(LAYER).root(), &replays)
        .await
        .unwrap();
}

#[tokio::test]
async fn commitments_that_do_not_hash_to_the_root_are_refused() {
    let claimed = honest(&model(MODEL), torch(), &images()[2]);
    let world = world(MODEL, &claimed);
    let (subject, own) = subject(&world).await;
    let mut liar = Coordinator::of(&claimed, LAYER);
    liar.trace.swap(0, 1);
    let error = subject.boundary(&world.store, &liar, &own).await.unwrap_err();
    assert!(
        matches!(error, GatherError::Remote(RemoteError::Wrong { .. })),
        "{error}"
    );
    liar.trace.pop();
    let error = subject.boundary(&world.store, &liar, &own).await.unwrap_err();
    assert!(
        matches!(error, GatherError::Remote(RemoteError::Wrong { .. })),
        "{error}"
    );
    assert_eq!(
        world.store.select_trace(world.claim.claim).unwrap(),
        None,
        "nothing of it is kept"
    );
    // An honest one afterwards is heard.
    subject
        .boundary(&world.store, &Coordinator::of(&claimed, LAYER), &own)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_can_be_had_is_kept_while_something_is_withheld() {
    let claimed = honest(&model(MODEL), torch(), &images()[2]);
    let world = world(MODEL, &claimed);
    let (subject, own) = subject(&world).await;
    let mut withholder = Coordinator::of(&claimed, LAYER);
    let first = claimed.trace.values[0].commitment();
    let kept = withholder.values.remove(&first).unwrap();
    let error = subject.boundary(&world.store, &withholder, &own).await.unwrap_err();
    assert!(
        matches!(error, GatherError::Remote(RemoteError::NotFound { .. })),
        "{error}"
    );
    let only = Coordinator {
        values: [(first, kept)].into(),
        ..Coordinator::default()
    };
    let trace = subject.boundary(&world.store, &only, &own).await.unwrap();
    assert_eq!(trace, claimed.trace);
    assert_eq!(*only.asked.lock().unwrap(), 1, "only the missing value is asked for");
}

#[tokio::test]
async fn a_claim_that_contradicts_its_model_or_was_not_seen_has_no_verdict() {
    let claimed = honest(&model(MODEL), torch(), &images()[2]);
    let world = world(MODEL, &claimed);
    let library = library(world._folder.path(), Arc::new(Nobody));
    let short = ClaimRow {
        output_data: world.claim.output_data.slice(1..),
        ..world.claim.clone()
    };
    let error = Subject::gather(&world.store, &library, short).await.unwrap_err();
    assert!(matches!(error, GatherError::Contradiction(_)), "{error}");
    let other = ClaimRow {
        outputs: B256::ZERO,
        ..world.claim.clone()
    };
    let error = Subject::gather(&world.store, &library, other).await.unwrap_err();
    assert!(matches!(error, GatherError::Contradiction(_)), "{error}");
    let unseen = ClaimRow {
        request: U256::from(2),
        ..world.claim.clone()
    };
    let error = Subject::gather(&world.store, &library, unseen).await.unwrap_err();
    assert!(matches!(error, GatherError::Unseen(_)), "{error}");
}

#[tokio::test]
async fn a_file_that_compiles_to_another_model_makes_its_claims_foreign() {
    let claimed = honest(&model(MODEL), reference(), &images()[2]);
    let world = world(MODEL, &claimed);
    let library = library(world._folder.path(), Arc::new(Nobody));
    let other = ModelRow {
        publisher: Address::repeat_byte(1),
        ..world.model.clone()
    };
    let error = library.get(&other).await.unwrap_err();
    assert!(matches!(error, LibraryError::Foreign { .. }), "{error}");
    let garbage = b"not a model".to_vec();
    let row = ModelRow {
        model: B256::repeat_byte(9),
        digest: keccak256(&garbage),
        ..world.model.clone()
    };
    let served = Arc::new(Coordinator {
        file: garbage,
        ..Coordinator::default()
    });
    let library = Library::new(world._folder.path().join("models"), &[], served.clone()).unwrap();
    for _ in 0..2 {
        let error = library.get(&row).await.unwrap_err();
        assert!(matches!(error, LibraryError::Foreign { .. }), "{error}");
    }
    assert_eq!(*served.asked.lock().unwrap(), 1, "asking again would change nothing");
    let error = library
        .get(&ModelRow {
            model: B256::repeat_byte(8),
            digest: B256::ZERO,
            ..row
        })
        .await
        .unwrap_err();
    // What was served under this digest is another file.
    assert!(matches!(error, LibraryError::File(FileError::Digest { .. })), "{error}");
}
