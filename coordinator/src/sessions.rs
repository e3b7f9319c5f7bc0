//! Workers that are connected now. What must outlive a connection is in the database.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use touchstone_chain::{Address, B256};
use touchstone_wire::worker::ToWorker;

/// One worker's connection.
#[derive(Debug)]
pub struct Session {
    /// The provider.
    pub worker: Address,
    /// Its node key.
    pub node: Address,
    /// Names the session in uploads.
    pub token: B256,
    /// Models it serves; empty: any.
    pub models: HashSet<B256>,
    /// Jobs at once.
    pub capacity: u64,
    /// Messages to it; bounded, so that a worker that does not read is noticed.
    pub outgoing: mpsc::Sender<ToWorker>,
    /// KiB of uploads in flight.
    pub upload: Arc<Semaphore>,
    /// Ends the session.
    pub end: CancellationToken,
}

impl Session {
    /// Whether it runs this model.
    pub fn serves(&self, model: B256) -> bool {
        self.models.is_empty() || self.models.contains(&model)
    }
}

/// All sessions, one per provider.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    by_worker: Arc<Mutex<HashMap<Address, Arc<Session>>>>,
}

impl Sessions {
    /// Adds a session; an earlier one of the same provider ends.
    pub fn insert(&self, session: Arc<Session>) {
        if let Some(old) = self.lock().insert(session.worker, session) {
            old.end.cancel();
        }
    }

    /// Removes the session, unless another one took its place.
    pub fn remove(&self, session: &Session) -> bool {
        let mut sessions = self.lock();
        let present = sessions
            .get(&session.worker)
            .is_some_and(|present| present.token == session.token);
        if present {
            sessions.remove(&session.worker);
        }
        present
    }

    /// The session that an upload names.
    pub fn by_token(&self, token: B256) -> Option<Arc<Session>> {
        self.lock().values().find(|session| session.token == token).cloned()
    }

    /// A provider's session.
    pub fn by_worker(&self, worker: Address) -> Option<Arc<Session>> {
        self.lock().get(&worker).cloned()
    }

    /// All sessions.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Arc<Session>>> {
        self.by_worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(worker: u8, token: u8) -> Arc<Session> {
        Arc::new(Session {
            worker: Address::repeat_byte(worker),
            node: Address::ZERO,
            token: B256::repeat_byte(token),
            models: HashSet::new(),
            capacity: 1,
            outgoing: mpsc::channel(1).0,
            upload: Arc::new(Semaphore::new(1)),
            end: CancellationToken::new(),
        })
    }

    #[test]
    fn a_second_session_ends_the_first_and_survives_its_removal() {
        let sessions = Sessions::default();
        let (first, second) = (session(1, 1), session(1, 2));
        sessions.insert(Arc::clone(&first));
        sessions.insert(Arc::clone(&second));
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        assert!(!sessions.remove(&first));
        assert!(sessions.by_token(second.token).is_some() && sessions.by_token(first.token).is_none());
        assert!(sessions.remove(&second));
        assert!(sessions.all().is_empty());
    }
}
