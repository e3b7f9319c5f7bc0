//! Lets go of values whose claims ended long ago.

use sqlx::PgPool;

use crate::{
    db::{self, DbError},
    values::{ValueError, ValueStore},
};

/// A sweep that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database gave no answer.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The disk failed.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Removes values that only claims which ended at or below `height` needed; returns how many.
pub async fn sweep(db: &PgPool, values: &ValueStore, height: u64) -> Result<u64, SweepError> {
    db::values::delete_finished_uses(db, height).await?;
    let mut removed = 0;
    for commitment in db::values::select_unused(db).await? {
        let _gate = values.gate().write_owned().await;
        if db::values::delete_value(db, commitment).await? {
            values.remove(commitment).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
