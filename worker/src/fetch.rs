//! Model files by digest: in chunks, resumed after an interruption, checked before use, kept.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use alloy_primitives::{B256, Keccak256};
use tokio::io::AsyncWriteExt as _;
use tonic::transport::Channel;
use touchstone_wire::{
    limits,
    proto::model::v1::{FetchFileRequest, model_service_client::ModelServiceClient},
};

/// Largest model file that is fetched.
const MAX_FILE_BYTES: u64 = 1 << 31;
/// No chunk for this long ends an attempt.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);
/// Attempts before the file counts as unavailable.
const ATTEMPTS: u32 = 3;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
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
    /// The next chunk; `None` at the end.
    fn next(&mut self) -> Later<'_, NextChunk>;
}

/// Whoever serves files.
pub trait Source: Send + Sync {
    /// The file's bytes from `offset` on.
    fn open(&self, digest: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>>;
}

/// The coordinator's model service.
#[derive(Clone, Debug)]
pub struct ModelService(pub Channel);

impl Source for ModelService {
    fn open(&self, digest: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        let mut client = ModelServiceClient::new(self.0.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        Box::pin(async move {
            let request = FetchFileRequest {
                digest: digest.to_vec(),
                offset,
            };
            let stream = tokio::time::timeout(limits::CALL_TIMEOUT, client.fetch_file(request))
                .await
                .map_err(|_| "no answer in time".to_owned())?
                .map_err(|status| status.message().to_owned())?;
            Ok(Box::new(Incoming(stream.into_inner())) as Box<dyn Chunks>)
        })
    }
}

struct Incoming(tonic::Streaming<touchstone_wire::proto::model::v1::FetchFileResponse>);

impl Chunks for Incoming {
    fn next(&mut self) -> Later<'_, NextChunk> {
        Box::pin(async move {
            let message = self.0.message().await.map_err(|status| status.message().to_owned())?;
            Ok(message.map(|part| (part.length, part.chunk)))
        })
    }
}

/// Path of the file with this digest, fetched if it is not there yet.
pub(crate) async fn fetch(folder: &Path, digest: B256, source: &dyn Source) -> Result<PathBuf, FetchError> {
    let path = folder.join(format!("{digest:x}.onnx"));
    if tokio::fs::try_exists(&path).await.unwrap_or(false) {
        if digest_of(&path).await? == digest {
            return Ok(path);
        }
        tracing::warn!(%digest, "model file is damaged, fetching it again");
        tokio::fs::remove_file(&path)
            .await
            .map_err(|error| local("remove", &path, &error))?;
    }
    tokio::fs::create_dir_all(folder)
        .await
        .map_err(|error| local("create", folder, &error))?;
    let part = folder.join(format!("{digest:x}.part"));
    let mut last = FetchError::Unavailable {
        digest,
        what: "never asked".into(),
    };
    for _ in 0..ATTEMPTS {
        match attempt(&part, digest, source).await {
            Ok(()) => {
                tokio::fs::rename(&part, &path)
                    .await
                    .map_err(|error| local("rename", &part, &error))?;
                return Ok(path);
            }
            Err(error @ FetchError::Unavailable { .. }) => last = error,
            Err(error) => {
                // What is there may be what is wrong: start anew the next time.
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error);
            }
        }
    }
    Err(last)
}

async fn attempt(part: &Path, digest: B256, source: &dyn Source) -> Result<(), FetchError> {
    let unavailable = |what: String| FetchError::Unavailable { digest, what };
    let had = match tokio::fs::metadata(part).await {
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    let mut chunks = source.open(digest, had).await.map_err(unavailable)?;
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .await
        .map_err(|error| local("open", part, &error))?;
    let (mut have, mut length) = (had, None);
    loop {
        let next = tokio::time::timeout(CHUNK_TIMEOUT, chunks.next()).await;
        let Some((total, chunk)) = next
            .map_err(|_| unavailable("no chunk in time".into()))?
            .map_err(unavailable)?
        else {
            break;
        };
        if *length.get_or_insert(total) != total || total > MAX_FILE_BYTES || have + chunk.len() as u64 > total {
            return Err(FetchError::Protocol {
                digest,
                what: format!("{total} bytes said, {have} and {} given", chunk.len()),
            });
        }
        file.write_all(&chunk)
            .await
            .map_err(|error| local("write", part, &error))?;
        have += chunk.len() as u64;
    }
    file.sync_all().await.map_err(|error| local("write", part, &error))?;
    if length.is_some_and(|length| have < length) {
        return Err(unavailable(format!("the stream ended after {have} bytes")));
    }
    let actual = digest_of(part).await?;
    if actual == digest {
        Ok(())
    } else {
        Err(FetchError::Digest {
            expected: digest,
            actual,
        })
    }
}

async fn digest_of(path: &Path) -> Result<B256, FetchError> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || file_digest(&path)).await;
    hashed.map_err(|error| FetchError::Local(error.to_string()))?
}

fn file_digest(path: &Path) -> Result<B256, FetchError> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).map_err(|error| local("open", path, &error))?;
    let (mut hasher, mut buffer) = (Keccak256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|error| local("read", path, &error))? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn local(what: &str, path: &Path, error: &std::io::Error) -> FetchError {
    FetchError::Local(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use alloy_primitives::keccak256;

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

    #[tokio::test]
    async fn an_interrupted_file_is_resumed_and_served_from_disk_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(4);
        let digest = keccak256(&server.bytes);
        let path = fetch(folder.path(), digest, &server).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), server.bytes);
        assert_eq!(server.served.load(Ordering::SeqCst), 100, "no byte twice");
        fetch(folder.path(), digest, &server).await.unwrap();
        assert_eq!(server.served.load(Ordering::SeqCst), 100);
    }

    #[tokio::test]
    async fn a_damaged_file_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(100);
        let digest = keccak256(&server.bytes);
        let path = fetch(folder.path(), digest, &server).await.unwrap();
        std::fs::write(&path, b"damaged").unwrap();
        let again = fetch(folder.path(), digest, &server).await.unwrap();
        assert_eq!(std::fs::read(again).unwrap(), server.bytes);
    }

    #[tokio::test]
    async fn another_file_is_refused_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(folder.path(), B256::repeat_byte(1), &server(100))
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::Digest { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_does_not_come_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(folder.path(), B256::repeat_byte(1), &server(1))
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::Unavailable { .. }), "{error}");
    }

    #[tokio::test]
    async fn more_bytes_than_said_are_refused() {
        struct Liar;
        impl Source for Liar {
            fn open(&self, _: B256, _: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
                Box::pin(async { Ok(Box::new(Part(vec![(5, vec![0; 6])], false)) as Box<dyn Chunks>) })
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(folder.path(), B256::repeat_byte(1), &Liar).await.unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. }), "{error}");
    }
}
