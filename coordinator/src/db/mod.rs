//! The database: one file per table, functions named `select_`, `insert_`, `update_`, `delete_`.
//!
//! Rows and domain types are converted here and nowhere else. Writes that depend on a state say so in their `where` and
//! report whether they found it.

pub mod blocks;
pub mod claims;
pub mod convert;
pub mod deployment;
pub mod disputes;
pub mod layers;
pub mod leases;
pub mod models;
pub mod outbox;
pub mod requests;
pub mod submissions;
pub mod trace;
pub mod values;

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The schema's migrations, built in.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The connection or the statement failed.
    #[error("use the database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The migrations could not be applied.
    #[error("apply the migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not what the column's type promises.
    #[error("column {column} holds a value that does not convert")]
    Corrupt {
        /// Which column.
        column: &'static str,
    },
    /// A number does not fit into its column.
    #[error("{column} is too large to be stored")]
    TooLarge {
        /// Which column.
        column: &'static str,
    },
}

/// Connects, with a limit on every wait, and brings the schema up to date.
pub async fn connect(options: PgConnectOptions, timeout: Duration) -> Result<PgPool, DbError> {
    let milliseconds = timeout.as_millis().to_string();
    let options = options
        .application_name("touchstone-coordinator")
        .options([("statement_timeout", milliseconds)]);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(timeout)
        .connect_with(options)
        .await?;
    MIGRATIONS.run(&pool).await?;
    Ok(pool)
}
