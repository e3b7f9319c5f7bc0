//! `blocks`: the chain of blocks that everything else was read from.

use sqlx::PgExecutor;
use touchstone_chain::{B256, Block};

use super::{
    DbError,
    convert::{from_int, hash, int},
};

/// A block that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
    /// Wei per gas.
    pub base_fee: u64,
}

/// The last applied block.
pub async fn select_tip(db: impl PgExecutor<'_>) -> Result<Option<StoredBlock>, DbError> {
    let row = sqlx::query!("select number, hash, timestamp, base_fee from blocks order by number desc limit 1")
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(StoredBlock {
            number: from_int("blocks.number", row.number)?,
            hash: hash("blocks.hash", &row.hash)?,
            timestamp: from_int("blocks.timestamp", row.timestamp)?,
            base_fee: from_int("blocks.base_fee", row.base_fee)?,
        })
    })
    .transpose()
}

/// Adds the next block. The parent must be the tip, or the table empty; says whether it was.
pub async fn insert_block(db: impl PgExecutor<'_>, block: &Block) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "insert into blocks (number, hash, parent, timestamp, base_fee)
         select $1::bigint, $2::bytea, $3::bytea, $4::bigint, $5::bigint
         where not exists (select from blocks)
            or exists (select from blocks where number = $1 - 1 and hash = $3
                       and not exists (select from blocks where number >= $1))",
        int("blocks.number", block.number)?,
        block.hash.as_slice(),
        block.parent.as_slice(),
        int("blocks.timestamp", block.timestamp)?,
        int("blocks.base_fee", block.base_fee)?,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes the tip if it is this block.
pub async fn delete_block(db: impl PgExecutor<'_>, block: B256) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "delete from blocks where hash = $1 and number = (select max(number) from blocks)",
        block.as_slice()
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
