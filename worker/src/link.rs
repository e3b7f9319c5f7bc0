//! The present session with the coordinator, as the rest of the worker sees it: there or not.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use touchstone_wire::worker::{FromWorker, Welcome};

/// Messages that may wait for the network.
pub(crate) const QUEUE: usize = 64;

/// The session, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Link {
    open: Mutex<Option<(mpsc::Sender<FromWorker>, Welcome)>>,
}

impl Link {
    /// A session is open.
    pub(crate) fn set(&self, sender: mpsc::Sender<FromWorker>, welcome: Welcome) {
        *self.lock() = Some((sender, welcome));
    }

    /// It is over.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    /// The coordinator's terms of the present session.
    pub(crate) fn welcome(&self) -> Option<Welcome> {
        self.lock().as_ref().map(|(_, welcome)| welcome.clone())
    }

    /// Whether the message was handed to a session. What has to arrive is stored, and sent again at the next one.
    pub(crate) async fn send(&self, message: FromWorker) -> bool {
        let sender = self.lock().as_ref().map(|(sender, _)| sender.clone());
        match sender {
            Some(sender) => sender.send(message).await.is_ok(),
            None => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(mpsc::Sender<FromWorker>, Welcome)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
