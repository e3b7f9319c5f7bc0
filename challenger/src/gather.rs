//! Brings together what a verdict on a claim needs: model, inputs and outputs from the chain, own runs, the worker's values.
//!
//! Whatever our own runs give with the worker's commitment is the worker's value, so only what differs is fetched. What was
//! fetched and verified is stored at once.

use std::sync::Arc;

use alloy_primitives::B256;
use touchstone_engine::{Engine, EngineError, Keep, LayerTrace, Run, Trace, Value};
use touchstone_protocol::{
    claim::{inputs_hash, outputs_hash},
    descriptor::Descriptor,
    merkle::MerkleTree,
    tensor::{TensorError, TensorTree},
};

use crate::{
    library::{Library, LibraryError},
    model::{Model, split},
    record::{ClaimRow, RequestRow},
    remote::{Remote, RemoteError, Wanted},
    store::{Store, StoreError},
};

/// Why there is no verdict, for now or at all.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The worker's data are not at hand.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The model is not at hand, or does not compile here.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Something about the claim that should be on chain was not seen.
    #[error("{0} was not seen on chain; start from an earlier block")]
    Unseen(&'static str),
    /// What the chain says contradicts the model.
    #[error("{0}")]
    Contradiction(String),
    /// An own run failed.
    #[error("own run: {0}")]
    Engine(#[from] EngineError),
    /// A value has no commitment.
    #[error("own run: {0}")]
    Tensor(#[from] TensorError),
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task ended badly.
    #[error("task: {0}")]
    Task(String),
}

/// A claim with what the chain says about it.
#[derive(Debug)]
pub struct Subject {
    /// The claim.
    pub claim: ClaimRow,
    /// The request.
    pub request: RequestRow,
    /// The model.
    pub model: Arc<Model>,
    /// Graph inputs.
    pub inputs: Vec<Value>,
    /// Graph outputs, as claimed.
    pub outputs: Vec<Value>,
}

/// One engine's own run.
#[derive(Debug)]
pub struct Own {
    /// Its boundary values.
    pub run: Run,
    /// The same, committed.
    pub trace: Trace,
}

impl Subject {
    /// Puts together what the chain says about a claim.
    ///
    /// # Errors
    /// See [`GatherError`].
    pub async fn gather(store: &Store, library: &Library, claim: ClaimRow) -> Result<Self, GatherError> {
        let request = store
            .select_request(claim.request)?
            .ok_or(GatherError::Unseen("the request"))?;
        let row = store
            .select_model(request.model)?
            .ok_or(GatherError::Unseen("the model's publication"))?;
        let model = library.get(&row).await?;
        let contradiction = |what: String| GatherError::Contradiction(what);
        let inputs = split(&model.plan.inputs, &request.input_data)
            .map_err(|error| contradiction(format!("inputs: {error}")))?;
        let outputs = split(&model.plan.outputs, &claim.output_data)
            .map_err(|error| contradiction(format!("outputs: {error}")))?;
        if inputs_hash(&commitments(&inputs)?) != request.inputs {
            return Err(contradiction("the inputs are not those of the commitment".into()));
        }
        if outputs_hash(&commitments(&outputs)?) != claim.outputs {
            return Err(contradiction("the outputs are not those of the commitment".into()));
        }
        Ok(Self {
            claim,
            request,
            model,
            inputs,
            outputs,
        })
    }

    /// Runs the model on each engine. Blocks.
    ///
    /// # Errors
    /// An engine failed.
    pub fn run(&self, engines: &[&dyn Engine]) -> Result<Vec<Own>, GatherError> {
        let own = |engine: &&dyn Engine| {
            let run = engine.run(&self.model.plan, &self.inputs, Keep::Boundary)?;
            let trace = Trace::commit(&run)?;
            Ok(Own { run, trace })
        };
        engines.iter().map(own).collect()
    }

    /// The worker's boundary values.
    ///
    /// # Errors
    /// They are not at hand, or are not those of the claim.
    pub async fn boundary(&self, store: &Store, remote: &dyn Remote, own: &[Own]) -> Result<Trace, GatherError> {
        let claim = self.claim.claim;
        let same = own
            .iter()
            .find(|own| own.trace.root() == self.claim.trace_root)
            .map(|own| own.trace.values.clone());
        let values = match same {
            Some(values) => values,
            None => {
                let leaves = match store.select_trace(claim)? {
                    Some(leaves) => leaves,
                    None => {
                        let leaves = remote.trace(claim).await?;
                        bound(
                            "trace commitments",
                            &leaves,
                            self.model.trace_writers.len(),
                            self.claim.trace_root,
                        )?;
                        store.insert_trace(claim, &leaves)?;
                        leaves
                    }
                };
                let ours = |number: usize| own.iter().filter_map(move |own| own.trace.values.get(number));
                self.values(store, remote, &leaves, &self.model.trace_writers, ours)
                    .await?
            }
        };
        let trees = |values: &[Value]| values.iter().map(tree).collect::<Result<Vec<_>, _>>();
        let tree = MerkleTree::new(values.iter().map(TensorTree::commitment).collect());
        Ok(Trace {
            inputs: trees(&self.inputs)?,
            outputs: trees(&self.outputs)?,
            values,
            tree,
        })
    }

    /// The worker's inner values of a layer whose root stands; `own` is the layer as our engines replay it from the worker's boundary
    /// values.
    ///
    /// # Errors
    /// They are not at hand, or are not those of the root.
    pub async fn inner(
        &self,
        store: &Store,
        remote: &dyn Remote,
        layer: u32,
        root: B256,
        own: &[LayerTrace],
    ) -> Result<LayerTrace, GatherError> {
        if let Some(same) = own.iter().find(|own| own.root() == root) {
            return Ok(same.clone());
        }
        let claim = self.claim.claim;
        let writers = self
            .model
            .inner_writers
            .get(layer as usize)
            .map_or(&[][..], Vec::as_slice);
        let leaves = match store.select_layer(claim, layer, root)? {
            Some(leaves) => leaves,
            None => {
                let leaves = remote.layer(claim, layer).await?;
                bound("layer commitments", &leaves, writers.len(), root)?;
                store.insert_layer(claim, layer, root, &leaves)?;
                leaves
            }
        };
        let ours = |number: usize| own.iter().filter_map(move |own| own.values.get(number));
        let values = self.values(store, remote, &leaves, writers, ours).await?;
        Ok(LayerTrace {
            layer,
            values,
            tree: MerkleTree::new(leaves),
        })
    }

    /// Values by commitment: our own where they are the same, stored ones, fetched ones. All that can be had are stored, even when
    /// some cannot.
    async fn values<'a, O: Iterator<Item = &'a TensorTree>>(
        &self,
        store: &Store,
        remote: &dyn Remote,
        leaves: &[B256],
        writers: &[u32],
        ours: impl Fn(usize) -> O,
    ) -> Result<Vec<TensorTree>, GatherError> {
        let claim = self.claim.claim;
        let mut values = Vec::with_capacity(leaves.len());
        let mut missing = None;
        for (number, (leaf, writer)) in leaves.iter().zip(writers).enumerate() {
            if let Some(same) = ours(number).find(|own| own.commitment() == *leaf) {
                values.push(same.clone());
                continue;
            }
            if let Some(stored) = store.select_value(claim, *leaf)? {
                values.push(stored);
                continue;
            }
            let d: &Descriptor = &self.model.plan.operators[*writer as usize];
            match remote
                .value(&Wanted {
                    commitment: *leaf,
                    dtype: d.dtype,
                    dims: d.dims.clone(),
                })
                .await
            {
                Ok(value) => {
                    store.insert_value(claim, &value)?;
                    values.push(value);
                }
                // Whoever does not answer will not answer the next question either.
                Err(error @ RemoteError::Unavailable { .. }) => return Err(error.into()),
                Err(error @ (RemoteError::NotFound { .. } | RemoteError::Wrong { .. })) => {
                    missing.get_or_insert(error);
                }
            }
        }
        match missing {
            Some(error) => Err(error.into()),
            None => Ok(values),
        }
    }
}

/// Whether commitments are as many as there must be, and hash to the root on chain.
fn bound(what: &'static str, leaves: &[B256], count: usize, root: B256) -> Result<(), RemoteError> {
    if leaves.len() != count {
        return Err(RemoteError::Wrong {
            what,
            why: format!("{} of them, the plan has {count}", leaves.len()),
        });
    }
    match MerkleTree::new(leaves.to_vec()).root() {
        actual if actual == root => Ok(()),
        actual => Err(RemoteError::Wrong {
            what,
            why: format!("their root is {actual}, on chain is {root}"),
        }),
    }
}

fn tree(value: &Value) -> Result<TensorTree, TensorError> {
    TensorTree::new(value.dtype, &value.dims, value.bytes.clone())
}

fn commitments(values: &[Value]) -> Result<Vec<B256>, TensorError> {
    values
        .iter()
        .map(|value| tree(value).map(|tree| tree.commitment()))
        .collect()
}
