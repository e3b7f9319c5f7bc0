//! Values on local disk, named by their commitment.
//!
//! A value is written to a temporary file, synced, and renamed; its row follows. So whatever has a row is whole, and whatever
//! has none is swept away. Nothing is stored under a commitment that it does not have.

use std::{
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::RwLock;
use touchstone_chain::B256;
use touchstone_protocol::tensor;
use touchstone_wire::{limits, value::ValueHeader};

/// A value that could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The bytes have another commitment.
    #[error("the value has commitment {actual}, not {expected}")]
    Commitment {
        /// As announced.
        expected: B256,
        /// Of the bytes.
        actual: B256,
    },
    /// The bytes are no tensor of that dtype and shape.
    #[error("the value is no tensor: {0}")]
    Tensor(#[from] tensor::TensorError),
    /// The disk failed.
    #[error("use the value store: {0}")]
    Io(#[from] std::io::Error),
    /// The task that did the work is gone.
    #[error("use the value store: interrupted")]
    Interrupted,
}

/// The folder of values.
#[derive(Clone, Debug)]
pub struct ValueStore {
    root: Arc<PathBuf>,
    counter: Arc<AtomicU64>,
    gate: Arc<RwLock<()>>,
}

impl ValueStore {
    /// Opens the folder, makes it if need be, and removes what a crash left half-written.
    pub fn open(root: &Path) -> std::io::Result<Self> {
        let incoming = root.join("incoming");
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir_all(&incoming)?;
        std::fs::create_dir_all(root.join("values"))?;
        Ok(Self {
            root: Arc::new(root.to_owned()),
            counter: Arc::default(),
            gate: Arc::default(),
        })
    }

    /// Held for reading while a value and its row are written, for writing while both are removed.
    pub fn gate(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.gate)
    }

    /// Stores the bytes under their commitment, after checking it.
    pub async fn write(&self, header: &ValueHeader, bytes: Vec<u8>) -> Result<(), ValueError> {
        let (store, header) = (self.clone(), header.clone());
        tokio::task::spawn_blocking(move || store.write_blocking(&header, bytes))
            .await
            .map_err(|_| ValueError::Interrupted)?
    }

    fn write_blocking(&self, header: &ValueHeader, bytes: Vec<u8>) -> Result<(), ValueError> {
        let actual = tensor::commit(header.dtype, &header.dims, &bytes)?;
        if actual != header.commitment {
            return Err(ValueError::Commitment {
                expected: header.commitment,
                actual,
            });
        }
        let path = self.path(header.commitment);
        if path.exists() {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let incoming = self.root.join("incoming").join(number.to_string());
        let mut file = std::fs::File::create(&incoming)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(incoming, path)?;
        Ok(())
    }

    /// At most one chunk from an offset on; empty at the end.
    pub async fn read_chunk(&self, commitment: B256, offset: u64) -> Result<Vec<u8>, ValueError> {
        let path = self.path(commitment);
        tokio::task::spawn_blocking(move || Ok(read_chunk(&path, offset)?))
            .await
            .map_err(|_| ValueError::Interrupted)?
    }

    /// Removes a value; one that is not there is removed.
    pub async fn remove(&self, commitment: B256) -> Result<(), ValueError> {
        match tokio::fs::remove_file(self.path(commitment)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Where a value is, if it is stored.
    pub fn path(&self, commitment: B256) -> PathBuf {
        let name = format!("{commitment:x}");
        self.root.join("values").join(&name[..2]).join(name)
    }
}

/// At most one chunk of a file from an offset on.
pub(crate) fn read_chunk(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::new();
    file.take(limits::CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use touchstone_protocol::descriptor::Dtype;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("touchstone-values-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[tokio::test]
    async fn what_is_written_is_read_back_and_lies_are_not_written() {
        let root = folder("roundtrip");
        let store = ValueStore::open(&root).unwrap();
        let bytes = vec![7; 300_000];
        let dims = vec![75_000];
        let commitment = tensor::commit(Dtype::F32, &dims, &bytes).unwrap();
        let header = ValueHeader {
            commitment,
            dtype: Dtype::F32,
            dims,
            length: 300_000,
        };
        let mut wrong = bytes.clone();
        wrong[299_999] = 8;
        assert!(matches!(
            store.write(&header, wrong).await,
            Err(ValueError::Commitment { .. })
        ));
        assert!(
            store.read_chunk(commitment, 0).await.is_err(),
            "nothing under a commitment that was not met"
        );
        store.write(&header, bytes.clone()).await.unwrap();
        store.write(&header, bytes.clone()).await.unwrap();
        let mut read = store.read_chunk(commitment, 0).await.unwrap();
        assert_eq!(read.len(), limits::CHUNK_BYTES);
        read.extend(store.read_chunk(commitment, limits::CHUNK_BYTES as u64).await.unwrap());
        assert_eq!(read, bytes);
        assert!(store.read_chunk(commitment, 300_000).await.unwrap().is_empty());
        store.remove(commitment).await.unwrap();
        store.remove(commitment).await.unwrap();
        assert!(store.read_chunk(commitment, 0).await.is_err());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_swept_away() {
        let root = folder("crash");
        ValueStore::open(&root).unwrap();
        std::fs::write(root.join("incoming").join("5"), b"half").unwrap();
        ValueStore::open(&root).unwrap();
        assert_eq!(std::fs::read_dir(root.join("incoming")).unwrap().count(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }
}
