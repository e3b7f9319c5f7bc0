//! Models at hand: from a local file or fetched by digest, compiled, compared with the id that is on chain. Each once.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::B256;
use touchstone_service::files::{FileCache, FileError, Source};

use crate::{model::Model, record::ModelRow};

/// For one try at fetching a model file.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a model is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file cannot be had for now.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file that the registry names does not compile here, or compiles to another model. Asking again changes nothing.
    #[error("model {model}: {why}")]
    Foreign {
        /// The model.
        model: B256,
        /// Why.
        why: String,
    },
    /// The task that compiles ended badly.
    #[error("compile: {0}")]
    Task(String),
}

/// The models of this challenger.
pub struct Library {
    files: FileCache,
    source: Arc<dyn Source>,
    known: Mutex<BTreeMap<B256, Result<Arc<Model>, String>>>,
    /// One model is made at a time.
    making: tokio::sync::Mutex<()>,
}

impl Library {
    /// A library that keeps files fetched from `source` in `folder` and prefers `local` ones.
    ///
    /// # Errors
    /// A local file cannot be read.
    pub fn new(folder: PathBuf, local: &[PathBuf], source: Arc<dyn Source>) -> Result<Self, LibraryError> {
        Ok(Self {
            files: FileCache::new(folder, local)?,
            source,
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// The model that was published so.
    ///
    /// # Errors
    /// See [`LibraryError`].
    pub async fn get(&self, asked: &ModelRow) -> Result<Arc<Model>, LibraryError> {
        if let Some(known) = self.find(asked.model) {
            return known;
        }
        let _one = self.making.lock().await;
        if let Some(known) = self.find(asked.model) {
            return known;
        }
        // What has come is kept, so it goes on there the next time; other models have their turn in between.
        let file = tokio::time::timeout(FETCH_TIMEOUT, self.files.get(asked.digest, self.source.as_ref()));
        let bytes = file.await.map_err(|_| FileError::Unavailable {
            digest: asked.digest,
            what: format!("not all of it within {FETCH_TIMEOUT:?}"),
        })??;
        let row = asked.clone();
        let made = tokio::task::spawn_blocking(move || {
            let model = Model::compile(&bytes, row.profile, row.publisher).map_err(|error| error.to_string())?;
            match model.id {
                id if id == row.model => Ok(model),
                id => Err(format!("its file compiles to {id} here")),
            }
        });
        let made = made
            .await
            .map_err(|error| LibraryError::Task(error.to_string()))?
            .map(Arc::new);
        if let Ok(model) = &made {
            tracing::info!(model = %model.id, operators = model.header.operators, layers = model.header.layers, "model compiled");
        }
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(asked.model, made.clone());
        made.map_err(|why| LibraryError::Foreign {
            model: asked.model,
            why,
        })
    }

    fn find(&self, id: B256) -> Option<Result<Arc<Model>, LibraryError>> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        known.map(|known| known.map_err(|why| LibraryError::Foreign { model: id, why }))
    }
}
