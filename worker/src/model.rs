//! Models at hand: from a file by digest, compiled, compared with the id that was asked for, self-tested. Each once.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::{Address, B256};
use touchstone_engine::ModelTrees;
use touchstone_model::{
    CompileError, CompileOptions,
    plan::{Plan, PlanError},
};
use touchstone_protocol::{claim, model::ModelHeader, witness::Context};
use touchstone_service::files::{FileCache, FileError, Source};
use touchstone_wire::worker::ModelRef;

use crate::{
    record::{Signed, Terms},
    runner::{RunError, Runner},
};

/// A compiled model with the trees that witnesses are made from.
pub struct Model {
    /// Its id under the publisher that was asked for.
    pub id: B256,
    /// What the id commits to.
    pub header: ModelHeader,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Descriptors and weights, ready to be opened.
    pub trees: ModelTrees,
}

/// Why a model is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// This worker does not serve it.
    #[error("model {0} is not one of those that this worker serves")]
    NotServed(B256),
    /// The file is not there, for now or at all.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file does not compile.
    #[error("model file {digest}: {source}")]
    Compile {
        /// The file.
        digest: B256,
        /// Why.
        source: Box<CompileError>,
    },
    /// What it compiles to has no id, or its weights no commitment.
    #[error("model file {digest}: {what}")]
    Plan {
        /// The file.
        digest: B256,
        /// Why.
        what: String,
    },
    /// It compiles to another model.
    #[error("model file {digest} compiles to {actual}, asked for was {expected}")]
    Foreign {
        /// The file.
        digest: B256,
        /// The id that was asked for.
        expected: B256,
        /// The id that it has.
        actual: B256,
    },
    /// Runs of it could not be defended.
    #[error("self-test of model {model}: {source}")]
    SelfTest {
        /// The model.
        model: B256,
        /// Why.
        source: RunError,
    },
}

impl Model {
    /// Hashes a plan.
    ///
    /// # Errors
    /// A descriptor or a weight has no commitment. What `compile` gives always has them.
    pub fn new(plan: Plan, publisher: Address) -> Result<Self, PlanError> {
        let header = plan.header()?;
        let trees = ModelTrees::new(&plan)?;
        Ok(Self {
            id: header.id(publisher),
            header,
            plan: Arc::new(plan),
            trees,
        })
    }

    /// What the judge looks at for a claim on this model.
    pub fn context(&self, terms: &Terms, signed: &Signed, layer: Option<(u32, B256)>) -> Context {
        Context {
            plan_root: self.header.plan_root,
            weights_root: self.header.weights_root,
            trace_root: signed.trace_root,
            layer,
            inputs: terms.inputs,
            outputs: claim::outputs_hash(&signed.outputs),
            operators: self.header.operators,
            weights: self.header.weights,
            trace_values: self.header.trace_values,
            input_count: self.plan.inputs.len() as u32,
            output_count: self.plan.outputs.len() as u32,
            profile: self.header.profile,
        }
    }
}

/// The models of this worker.
pub struct Library {
    files: FileCache,
    serve: Vec<B256>,
    runner: Arc<dyn Runner>,
    compiled: Mutex<BTreeMap<B256, Arc<Model>>>,
    /// One model is made at a time.
    making: tokio::sync::Mutex<()>,
}

impl Library {
    /// A library that keeps fetched files in `folder` and prefers `local` ones.
    ///
    /// # Errors
    /// A local file cannot be read.
    pub fn new(
        folder: PathBuf,
        local: &[PathBuf],
        serve: Vec<B256>,
        runner: Arc<dyn Runner>,
    ) -> Result<Self, FileError> {
        Ok(Self {
            files: FileCache::new(folder, local)?,
            serve,
            runner,
            compiled: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// Models that are served; none: all.
    pub fn served(&self) -> &[B256] {
        &self.serve
    }

    /// Digests of the files given by the operator.
    pub fn local(&self) -> impl Iterator<Item = (&B256, &PathBuf)> {
        self.files.local()
    }

    /// Whether this worker would run the model if it had it.
    ///
    /// # Errors
    /// [`ModelError::NotServed`].
    pub fn check_served(&self, model: B256) -> Result<(), ModelError> {
        if self.serve.is_empty() || self.serve.contains(&model) {
            Ok(())
        } else {
            Err(ModelError::NotServed(model))
        }
    }

    /// The model that is asked for: from memory, from disk, or from `source`.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub async fn get(&self, asked: &ModelRef, source: &dyn Source) -> Result<Arc<Model>, ModelError> {
        if let Some(model) = self.find(asked.id) {
            return Ok(model);
        }
        let _one = self.making.lock().await;
        if let Some(model) = self.find(asked.id) {
            return Ok(model);
        }
        let bytes = self.files.get(asked.file_digest, source).await?;
        let (asked, runner) = (asked.clone(), self.runner.clone());
        let made = tokio::task::spawn_blocking(move || make(&bytes, &asked, runner.as_ref())).await;
        let model = Arc::new(made.map_err(|error| FileError::Local(format!("compile: {error}")))??);
        tracing::info!(model = %model.id, operators = model.header.operators, "model compiled and self-tested");
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(model.id, model.clone());
        Ok(model)
    }

    fn find(&self, id: B256) -> Option<Arc<Model>> {
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
}

fn make(bytes: &[u8], asked: &ModelRef, runner: &dyn Runner) -> Result<Model, ModelError> {
    let digest = asked.file_digest;
    let model = compile(bytes, digest, asked.profile, asked.publisher)?;
    if model.id != asked.id {
        return Err(ModelError::Foreign {
            digest,
            expected: asked.id,
            actual: model.id,
        });
    }
    runner.self_test(&model).map_err(|source| ModelError::SelfTest {
        model: model.id,
        source,
    })?;
    Ok(model)
}

/// Compiles a file.
///
/// # Errors
/// It does not compile.
pub fn compile(bytes: &[u8], digest: B256, profile: u64, publisher: Address) -> Result<Model, ModelError> {
    let options = CompileOptions {
        profile,
        ..CompileOptions::default()
    };
    let plan = touchstone_model::compile(bytes, &options).map_err(|source| ModelError::Compile {
        digest,
        source: Box::new(source),
    })?;
    Model::new(plan, publisher).map_err(|error| ModelError::Plan {
        digest,
        what: error.to_string(),
    })
}
