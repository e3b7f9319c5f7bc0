//! Connections: counted by address, closed when nothing comes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::quota::{Permit, Quota};

/// The connections of a listener that are within the quota; others are closed as they come.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    quota: Quota,
    patience: Patience,
    /// Until then nothing is accepted, after the system had nothing left to accept with.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Before accepting is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may say nothing.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At first.
    pub hello: Duration,
    /// Later.
    pub idle: Duration,
}

impl Incoming {
    /// Takes connections from a socket that listens.
    pub fn new(listener: TcpListener, quota: Quota, patience: Patience) -> Self {
        Self {
            listener,
            quota,
            patience,
            pause: None,
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            let (stream, peer) = match self.listener.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(accepted)) => accepted,
                // Like running out of file descriptors: those who are connected must not pay for it.
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "connection not accepted");
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                    continue;
                }
            };
            match self.quota.take(peer.ip()) {
                Ok(permit) => {
                    // Small messages are answers that somebody waits for.
                    let _ = stream.set_nodelay(true);
                    return Poll::Ready(Some(Ok(Connection::new(stream, permit, self.patience))));
                }
                Err(exceeded) => tracing::warn!(%peer, %exceeded, "connection refused"),
            }
        }
    }
}

/// A connection that counts as long as it is open, and fails when nothing was read for too long.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    _permit: Permit,
}

impl<S> Connection<S> {
    fn new(stream: S, permit: Permit, Patience { hello, idle }: Patience) -> Self {
        Self {
            stream,
            idle,
            silence: Box::pin(sleep(hello)),
            _permit: permit,
        }
    }
}

impl<S: Connected> Connected for Connection<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                let next = Instant::now() + self.idle;
                self.silence.as_mut().reset(next);
                Poll::Ready(read)
            }
            Poll::Pending => self
                .silence
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer says nothing"))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::advance,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_and_every_byte_gives_it_time() {
        let quota = Quota::new(1, 1);
        let permit = quota.take(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (mut peer, stream) = tokio::io::duplex(64);
        let patience = Patience {
            hello: Duration::from_secs(5),
            idle: Duration::from_secs(20),
        };
        let mut connection = Connection::new(stream, permit, patience);
        for pause in [4, 19, 19] {
            advance(Duration::from_secs(pause)).await;
            peer.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        // The clock goes on by itself while everybody waits.
        let begun = Instant::now();
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 20);
        assert!(
            quota.take(Ipv4Addr::LOCALHOST.into()).is_err(),
            "it counts until it is dropped"
        );
        drop(connection);
        let permit = quota.take(Ipv4Addr::LOCALHOST.into()).unwrap();

        let (_peer, stream) = tokio::io::duplex(64);
        let begun = Instant::now();
        let mut silent = Connection::new(stream, permit, patience);
        assert_eq!(silent.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 5, "less patience before the first byte");
    }
}
