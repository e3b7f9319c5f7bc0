//! A database of one's own on the checkout's private cluster, or on `DATABASE_URL`.

use std::{
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};

use super::root;

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub struct Database {
    pub url: String,
    // The cluster runs until the last holder's standard input closes, however the holder ends.
    _stdin: ChildStdin,
    _holder: Child,
}

impl Database {
    pub async fn create() -> Self {
        let mut holder = Command::new(root().join("scripts/postgres.sh"))
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = holder.stdin.take().unwrap();
        let mut server = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut server)
            .await
            .unwrap();
        let server = server.trim();
        let name = format!(
            "coordinator_{}_{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let mut connection = PgConnection::connect(server).await.expect("Postgres runs");
        for statement in [
            format!("drop database if exists {name}"),
            format!("create database {name}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let (base, _) = server.rsplit_once('/').unwrap();
        Self {
            url: format!("{base}/{name}"),
            _stdin: stdin,
            _holder: holder,
        }
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}
