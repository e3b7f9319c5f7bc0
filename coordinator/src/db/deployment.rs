//! `deployment`: the chain and market that this database is about, one row.

use sqlx::PgExecutor;
use touchstone_chain::Address;

use super::{
    DbError,
    convert::{address, big},
};

/// Chain id and market of this database, once it has been used.
pub async fn select_deployment(db: impl PgExecutor<'_>) -> Result<Option<(u64, Address)>, DbError> {
    let row = sqlx::query!(r#"select chain_id::text as "chain_id!", market from deployment"#)
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok((
            big("deployment.chain_id", &row.chain_id)?,
            address("deployment.market", &row.market)?,
        ))
    })
    .transpose()
}

/// Binds the database to a chain and a market.
pub async fn insert_deployment(db: impl PgExecutor<'_>, chain_id: u64, market: Address) -> Result<(), DbError> {
    sqlx::query!(
        "insert into deployment (chain_id, market) values ($1::text::numeric, $2)",
        chain_id.to_string(),
        market.as_slice()
    )
    .execute(db)
    .await?;
    Ok(())
}
