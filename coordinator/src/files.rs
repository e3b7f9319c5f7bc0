//! Model files of the configured folders, by digest.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Mutex;
use touchstone_chain::B256;
use touchstone_protocol::digest;

/// A file is not looked for again within this time of a search in vain.
const RESCAN_AFTER: Duration = Duration::from_secs(2);
/// Deeper folders are not looked into.
const MAX_DEPTH: usize = 4;

/// Finds `.onnx` files by the keccak256 of their bytes.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    folders: Arc<Vec<PathBuf>>,
    index: Arc<Mutex<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    by_digest: HashMap<B256, PathBuf>,
    /// Digests of files already read, by path, with the change time and length that they had.
    seen: HashMap<PathBuf, (SystemTime, u64, B256)>,
    scanned: Option<Instant>,
}

impl ModelFiles {
    /// Files of these folders and the folders in them.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders: Arc::new(folders),
            index: Arc::default(),
        }
    }

    /// The file with this digest and its length in bytes. Looks again when it does not know it.
    pub async fn find(&self, digest: B256) -> Option<(PathBuf, u64)> {
        let mut index = self.index.lock().await;
        if !index.by_digest.contains_key(&digest) && index.scanned.is_none_or(|at| at.elapsed() > RESCAN_AFTER) {
            let folders = Arc::clone(&self.folders);
            let mut taken = std::mem::take(&mut *index);
            taken.by_digest.clear();
            let scan = tokio::task::spawn_blocking(move || {
                for folder in folders.iter() {
                    taken.scan(folder, 0);
                }
                taken.scanned = Some(Instant::now());
                taken
            });
            *index = scan.await.unwrap_or_default();
        }
        let path = index.by_digest.get(&digest)?.clone();
        let length = std::fs::metadata(&path).ok()?.len();
        Some((path, length))
    }
}

impl Index {
    /// What cannot be read is skipped: other files must not become unfindable by it.
    fn scan(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            tracing::warn!(folder = %folder.display(), "model folder not readable");
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && depth < MAX_DEPTH {
                self.scan(&path, depth + 1);
            } else if path.extension().is_some_and(|extension| extension == "onnx") {
                self.add(path);
            }
        }
    }

    fn add(&mut self, path: PathBuf) {
        let Ok(meta) = std::fs::metadata(&path) else { return };
        let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let known = self
            .seen
            .get(&path)
            .filter(|(at, length, _)| (*at, *length) == (changed, meta.len()));
        let digest = match known {
            Some((_, _, digest)) => *digest,
            None => {
                let Ok(bytes) = std::fs::read(&path) else { return };
                digest::hash(bytes)
            }
        };
        self.seen.insert(path.clone(), (changed, meta.len(), digest));
        self.by_digest.insert(digest, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn found_by_digest_in_nested_folders_only_if_it_is_a_model() {
        let root = std::env::temp_dir().join(format!("touchstone-files-{}", std::process::id()));
        let nested = root.join("a");
        std::fs::create_dir_all(&nested).unwrap();
        std::fs::write(nested.join("m.onnx"), b"model").unwrap();
        std::fs::write(nested.join("secret.txt"), b"secret").unwrap();
        let files = ModelFiles::new(vec![root.clone(), root.join("missing")]);
        assert_eq!(
            files.find(digest::hash(b"model")).await,
            Some((nested.join("m.onnx"), 5))
        );
        assert_eq!(files.find(digest::hash(b"secret")).await, None);
        std::fs::remove_dir_all(root).unwrap();
    }
}
