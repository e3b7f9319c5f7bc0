//! Model files by digest: given by the operator, kept from before, or fetched in chunks; resumed after an interruption, checked
//! before use.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use alloy_primitives::{B256, keccak256};
use tokio::io::AsyncWriteExt as _;
use tonic::{Status, transport::Channel};
use touchstone_wire::{
    limits,
    proto::model::v1::{FetchFileRequest, FetchFileResponse, model_service_client::ModelServiceClient},
};

/// Largest model file that is fetched.
const MAX_FILE_BYTES: u64 = 1 << 31;
/// Attempts before the file counts as unavailable.
const ATTEMPTS: u32 = 3;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nobody gave it, for now.
    #[error("model file {digest} cannot be had: {what}")]
    Unavailable {
        /// The file.
        digest: B256,
        /// Why.
        what: String,
    },
    /// What was given is something else.
    #[error("model file has digest {actual}, asked for was {expected}")]
    Digest {
        /// The digest asked for.
        expected: B256,
        /// The digest it has.
        actual: B256,
    },
    /// The other side sent more than it said, or more than is fetched at all.
    #[error("model file {digest}: {what}")]
    Protocol {
        /// The file.
        digest: B256,
        /// What was wrong.
        what: String,
    },
    /// Our own disk.
    #[error("{0}")]
    Local(String),
}

/// A future that can be a trait's method.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The whole file's length and the next bytes; `None` at the end; an error in the server's words.
pub type NextChunk = Result<Option<(u64, Vec<u8>)>, String>;

/// Chunks of a file from an offset on: the whole file's length with each.
pub trait Chunks: Send {
    /// The next chunk, in time; `None` at the end.
    fn next(&mut self) -> Later<'_, NextChunk>;
}

/// Whoever serves files.
pub trait Source: Send + Sync {
    /// The file's bytes from `offset` on.
    fn open(&self, digest: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>>;
}

/// A coordinator's model service.
#[derive(Clone, Debug)]
pub struct ModelService {
    /// The way there.
    pub channel: Channel,
    /// How long it may take for an answer, and for each chunk.
    pub timeout: Duration,
}

impl ModelService {
    async fn in_time<T>(timeout: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, String> {
        tokio::time::timeout(timeout, call)
            .await
            .map_err(|_| format!("no answer within {timeout:?}"))?
            .map_err(|status| status.message().to_owned())
    }
}

impl Source for ModelService {
    fn open(&self, digest: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        let mut client =
            ModelServiceClient::new(self.channel.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        Box::pin(async move {
            let request = FetchFileRequest {
                digest: digest.to_vec(),
                offset,
            };
            let stream = Self::in_time(self.timeout, client.fetch_file(request)).await?;
            Ok(Box::new(Incoming(stream.into_inner(), self.timeout)) as Box<dyn Chunks>)
        })
    }
}

struct Incoming(tonic::Streaming<FetchFileResponse>, Duration);

impl Chunks for Incoming {
    fn next(&mut self) -> Later<'_, NextChunk> {
        Box::pin(async move {
            let message = ModelService::in_time(self.1, self.0.message()).await?;
            Ok(message.map(|part| (part.length, part.chunk)))
        })
    }
}

/// Model files at hand.
#[derive(Clone, Debug)]
pub struct FileCache {
    folder: PathBuf,
    /// Files given by the operator, by digest.
    local: BTreeMap<B256, PathBuf>,
}

impl FileCache {
    /// A cache that keeps fetched files in `folder` and prefers `local` ones.
    ///
    /// # Errors
    /// A local file cannot be read.
    pub fn new(folder: PathBuf, local: &[PathBuf]) -> Result<Self, FileError> {
        let digest = |path: &PathBuf| {
            let bytes = std::fs::read(path).map_err(|error| failed("read", path, &error))?;
            Ok((keccak256(bytes), path.clone()))
        };
        let local = local.iter().map(digest).collect::<Result<_, FileError>>()?;
        Ok(Self { folder, local })
    }

    /// The files given by the operator, by digest.
    pub fn local(&self) -> impl Iterator<Item = (&B256, &PathBuf)> {
        self.local.iter()
    }

    /// The bytes of the file with this digest: from disk, or from `source`.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn get(&self, digest: B256, source: &dyn Source) -> Result<Vec<u8>, FileError> {
        let kept = self.folder.join(format!("{digest:x}.onnx"));
        for path in self.local.get(&digest).into_iter().chain([&kept]) {
            if !tokio::fs::try_exists(path).await.unwrap_or(false) {
                continue;
            }
            match read(path, digest).await {
                Ok(bytes) => return Ok(bytes),
                Err(error @ FileError::Digest { .. }) => {
                    tracing::warn!(file = %path.display(), %error, "model file has changed on disk; it is fetched");
                }
                Err(error) => return Err(error),
            }
        }
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(|error| failed("create", &self.folder, &error))?;
        let part = kept.with_extension("part");
        let mut last = FileError::Unavailable {
            digest,
            what: "never asked".into(),
        };
        for _ in 0..ATTEMPTS {
            match attempt(&part, digest, source).await {
                Ok(bytes) => {
                    tokio::fs::rename(&part, &kept)
                        .await
                        .map_err(|error| failed("rename", &part, &error))?;
                    return Ok(bytes);
                }
                Err(error @ FileError::Unavailable { .. }) => last = error,
                Err(error) => {
                    // What is there may be what is wrong: start anew the next time.
                    let _ = tokio::fs::remove_file(&part).await;
                    return Err(error);
                }
            }
        }
        Err(last)
    }
}

/// Goes on where the part ends; the whole file's bytes.
async fn attempt(part: &Path, digest: B256, source: &dyn Source) -> Result<Vec<u8>, FileError> {
    let unavailable = |what: String| FileError::Unavailable { digest, what };
    let mut have = match tokio::fs::metadata(part).await {
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    let mut chunks = source.open(digest, have).await.map_err(unavailable)?;
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .await
        .map_err(|error| failed("open", part, &error))?;
    let mut length = None;
    let ended = loop {
        let (total, chunk) = match chunks.next().await {
            Ok(Some(next)) => next,
            Ok(None) => break Ok(()),
            Err(error) => break Err(unavailable(error)),
        };
        let now = have + chunk.len() as u64;
        // Empty chunks could go on for ever.
        if *length.get_or_insert(total) != total || total > MAX_FILE_BYTES || now > total || chunk.is_empty() {
            break Err(FileError::Protocol {
                digest,
                what: format!("{total} bytes said, {have} and {} given", chunk.len()),
            });
        }
        file.write_all(&chunk)
            .await
            .map_err(|error| failed("write", part, &error))?;
        have = now;
    };
    // Also where the stream broke off: what is written in the background counts for where the next attempt goes on.
    file.sync_all().await.map_err(|error| failed("write", part, &error))?;
    ended?;
    if length.is_some_and(|length| have < length) {
        return Err(unavailable(format!("the stream ended after {have} bytes")));
    }
    read(part, digest).await
}

/// Reads a file and checks its digest.
async fn read(path: &Path, digest: B256) -> Result<Vec<u8>, FileError> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        match keccak256(&bytes) {
            actual if actual == digest => Ok(bytes),
            actual => Err(FileError::Digest {
                expected: digest,
                actual,
            }),
        }
    });
    reading.await.map_err(|error| FileError::Local(error.to_string()))?
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> FileError {
    FileError::Local(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Serves `bytes` in chunks, and stops after `cut` chunks of an attempt.
    struct Server {
        bytes: Vec<u8>,
        cut: usize,
        served: AtomicU64,
    }

    struct Part(Vec<(u64, Vec<u8>)>, bool);

    impl Chunks for Part {
        fn next(&mut self) -> Later<'_, NextChunk> {
            Box::pin(async move {
                match self.0.is_empty() {
                    false => Ok(Some(self.0.remove(0))),
                    true if self.1 => Err("connection lost".into()),
                    true => Ok(None),
                }
            })
        }
    }

    impl Source for Server {
        fn open(&self, _: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
            let rest = &self.bytes[offset as usize..];
            let length = self.bytes.len() as u64;
            let all: Vec<_> = rest.chunks(10).map(|chunk| (length, chunk.to_vec())).collect();
            let lost = all.len() > self.cut;
            let some: Vec<_> = all.into_iter().take(self.cut).collect();
            self.served
                .fetch_add(some.iter().map(|(_, chunk)| chunk.len() as u64).sum(), Ordering::SeqCst);
            Box::pin(async move { Ok(Box::new(Part(some, lost)) as Box<dyn Chunks>) })
        }
    }

    fn server(cut: usize) -> Server {
        Server {
            bytes: (0..100u8).collect(),
            cut,
            served: AtomicU64::new(0),
        }
    }

    async fn fetch(folder: &Path, digest: B256, source: &dyn Source) -> Result<Vec<u8>, FileError> {
        FileCache::new(folder.to_owned(), &[])
            .unwrap()
            .get(digest, source)
            .await
    }

    #[tokio::test]
    async fn an_interrupted_file_is_resumed_and_served_from_disk_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(4);
        let digest = keccak256(&server.bytes);
        let bytes = fetch(folder.path(), digest, &server).await.unwrap();
        assert_eq!(bytes, server.bytes);
        assert_eq!(server.served.load(Ordering::SeqCst), 100, "no byte twice");
        fetch(folder.path(), digest, &server).await.unwrap();
        assert_eq!(server.served.load(Ordering::SeqCst), 100);
    }

    #[tokio::test]
    async fn a_damaged_file_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(100);
        let digest = keccak256(&server.bytes);
        fetch(folder.path(), digest, &server).await.unwrap();
        let kept = folder.path().join(format!("{digest:x}.onnx"));
        std::fs::write(&kept, b"damaged").unwrap();
        assert_eq!(fetch(folder.path(), digest, &server).await.unwrap(), server.bytes);
        assert_eq!(std::fs::read(kept).unwrap(), server.bytes);
    }

    #[tokio::test]
    async fn another_file_is_refused_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(folder.path(), B256::repeat_byte(1), &server(100))
            .await
            .unwrap_err();
        assert!(matches!(error, FileError::Digest { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_does_not_come_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(folder.path(), B256::repeat_byte(1), &server(1))
            .await
            .unwrap_err();
        assert!(matches!(error, FileError::Unavailable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_local_file_is_preferred_while_it_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(100);
        let (digest, local) = (keccak256(&server.bytes), folder.path().join("mine.onnx"));
        std::fs::write(&local, &server.bytes).unwrap();
        let cache = FileCache::new(folder.path().join("models"), std::slice::from_ref(&local)).unwrap();
        assert_eq!(cache.get(digest, &server).await.unwrap(), server.bytes);
        assert_eq!(server.served.load(Ordering::SeqCst), 0);
        std::fs::write(&local, b"another").unwrap();
        assert_eq!(cache.get(digest, &server).await.unwrap(), server.bytes);
        assert_eq!(server.served.load(Ordering::SeqCst), 100);
        let missing = FileCache::new(folder.path().into(), &[folder.path().join("missing.onnx")]);
        assert!(missing.unwrap_err().to_string().contains("missing.onnx"));
    }

    #[tokio::test]
    async fn more_bytes_than_said_and_chunks_without_any_are_refused() {
        struct Liar(Vec<(u64, Vec<u8>)>);
        impl Source for Liar {
            fn open(&self, _: B256, _: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
                Box::pin(async { Ok(Box::new(Part(self.0.clone(), false)) as Box<dyn Chunks>) })
            }
        }
        for chunks in [
            vec![(5, vec![0; 6])],
            vec![(5, vec![0; 2]), (6, vec![0; 3])],
            vec![(5, vec![0; 2]), (5, vec![])],
            vec![(MAX_FILE_BYTES + 1, vec![0; 2])],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let said = format!("{chunks:?}");
            let error = fetch(folder.path(), B256::repeat_byte(1), &Liar(chunks))
                .await
                .unwrap_err();
            assert!(matches!(error, FileError::Protocol { .. }), "{said}: {error}");
        }
    }
}
