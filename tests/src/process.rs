//! A service as a process of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::paths;

/// How often files and ports are looked at while waiting for them.
const POLL: Duration = Duration::from_millis(50);

/// A running program whose output goes to a log file. It is killed when dropped.
#[derive(Debug)]
pub struct Service {
    name: String,
    log: PathBuf,
    child: Child,
}

/// How to start a service; it can be started again after a kill.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Name of the log file, without ending.
    pub name: String,
    /// Program of the workspace.
    pub program: String,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Environment besides the inherited one.
    pub environment: Vec<(String, String)>,
    /// Folder of the log file.
    pub logs: PathBuf,
}

impl Launch {
    /// The same with one more variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.logs.join(format!("{}.log", self.name))
    }

    /// Starts it. The log of an earlier start is kept, this one's is appended.
    ///
    /// # Errors
    /// The program is not built or cannot be started.
    pub fn start(&self) -> Result<Service> {
        let program = paths::binary(&self.program)?;
        fs::create_dir_all(&self.logs)?;
        let log = self.log();
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
            )
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        Ok(Service {
            name: self.name.clone(),
            log,
            child,
        })
    }
}

impl Service {
    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds `text`.
    ///
    /// # Errors
    /// It ended, or did not say so in time; the error shows the end of its log.
    pub async fn says(&mut self, text: &str, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            if self.log().contains(text) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} before it said {text:?}:\n{}",
                    self.name,
                    self.tail()
                );
            }
            if Instant::now() > until {
                bail!("{} did not say {text:?} within {within:?}:\n{}", self.name, self.tail());
            }
            sleep(POLL).await;
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&mut self) -> Result<()> {
        if self.is_running()? {
            self.child.kill().await.with_context(|| format!("kill {}", self.name))?;
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A port on loopback that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until something listens on a loopback port.
///
/// # Errors
/// Nothing does in time.
pub async fn listening(port: u16, within: Duration) -> Result<()> {
    let until = Instant::now() + within;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > until {
            bail!("nothing listens on port {port} after {within:?}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Waits until a file is there and whole: `read` makes something of it.
///
/// # Errors
/// It is not, in time.
pub async fn appears<T>(path: &Path, within: Duration, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    let until = Instant::now() + within;
    loop {
        if let Some(value) = fs::read_to_string(path).ok().as_deref().and_then(&read) {
            return Ok(value);
        }
        if Instant::now() > until {
            bail!("{} did not appear within {within:?}", path.display());
        }
        sleep(POLL).await;
    }
}
