//! Models at hand: from a local file or fetched by digest, compiled, compared with the id that is on chain. Each once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::{B256, keccak256};

use crate::{
    model::Model,
    record::ModelRow,
    remote::{Remote, RemoteError},
};

/// Why a model is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file cannot be had for now.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Our own disk.
    #[error("{what} {path}: {source}")]
    Local {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
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
    folder: PathBuf,
    /// Files given by the operator, by digest.
    local: BTreeMap<B256, PathBuf>,
    remote: Arc<dyn Remote>,
    known: Mutex<BTreeMap<B256, Result<Arc<Model>, String>>>,
    /// One model is made at a time.
    making: tokio::sync::Mutex<()>,
}

impl Library {
    /// A library that keeps fetched files in `folder` and prefers `local` ones.
    ///
    /// # Errors
    /// A local file cannot be read.
    pub fn new(folder: PathBuf, local: &[PathBuf], remote: Arc<dyn Remote>) -> Result<Self, LibraryError> {
        let local = local
            .iter()
            .map(|path| Ok((keccak256(read(path)?), path.clone())))
            .collect::<Result<_, LibraryError>>()?;
        Ok(Self {
            folder,
            local,
            remote,
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
        let bytes = self.bytes(asked.digest).await?;
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

    async fn bytes(&self, digest: B256) -> Result<Vec<u8>, LibraryError> {
        let kept = self.folder.join(format!("{digest:x}.onnx"));
        for path in self.local.get(&digest).into_iter().chain([&kept]) {
            if let Ok(bytes) = tokio::fs::read(path).await {
                if keccak256(&bytes) == digest {
                    return Ok(bytes);
                }
                tracing::warn!(file = %path.display(), "model file has changed on disk; it is fetched");
            }
        }
        let bytes = self.remote.file(digest).await?;
        let local = |what: &'static str| {
            let path = kept.display().to_string();
            move |source| LibraryError::Local { what, path, source }
        };
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(local("create the folder of"))?;
        let part = kept.with_extension("part");
        tokio::fs::write(&part, &bytes).await.map_err(local("write"))?;
        tokio::fs::rename(&part, &kept).await.map_err(local("rename to"))?;
        Ok(bytes)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LibraryError> {
    std::fs::read(path).map_err(|source| LibraryError::Local {
        what: "read",
        path: path.display().to_string(),
        source,
    })
}
