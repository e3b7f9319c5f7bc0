//! A database of one's own on the checkout's private cluster, or on `DATABASE_URL`.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};

use crate::paths;

/// A database that is dropped with its cluster.
#[derive(Debug)]
pub struct Database {
    /// How to reach it.
    pub url: String,
    // The cluster runs until the last holder's standard input closes, however the holder ends.
    _stdin: ChildStdin,
    _holder: Child,
}

impl Database {
    /// Makes an empty database.
    ///
    /// # Errors
    /// Postgres does not come up, or refuses.
    pub async fn create() -> Result<Self> {
        let mut holder = Command::new(paths::root().join("scripts/postgres.sh"))
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start Postgres")?;
        let stdin = holder.stdin.take().context("hold Postgres")?;
        let stdout = holder.stdout.take().context("read the address of Postgres")?;
        let mut server = String::new();
        BufReader::new(stdout).read_line(&mut server).await?;
        let server = server.trim();
        ensure!(
            !server.is_empty(),
            "Postgres did not start: see .state/logs/postgres.log"
        );
        let name = format!("e2e_{:016x}", rand());
        let (base, _) = server
            .rsplit_once('/')
            .context("the address of Postgres names no database")?;
        let output = Command::new("psql")
            .args(["-X", "-q", "-d", server, "-c", &format!("create database {name}")])
            .output()
            .await
            .context("run psql")?;
        ensure!(
            output.status.success(),
            "create a database: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            url: format!("{base}/{name}"),
            _stdin: stdin,
            _holder: holder,
        })
    }
}

/// Eight bytes that no other test has.
fn rand() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
