//! `layers` and `layer_commitments`: layer answers and what they commit to.

use sqlx::{PgConnection, PgExecutor};
use touchstone_chain::{B256, signature::SignatureBytes};

use super::{
    DbError,
    convert::{hash, int},
};

/// A layer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Tree of the commitments.
    pub root: B256,
    /// The node key's signature.
    pub signature: SignatureBytes,
    /// Tensor commitments of the inner values.
    pub commitments: Vec<B256>,
}

/// Stores an answer, unless there is one: the first that was signed stands.
pub async fn insert_layer(db: &mut PgConnection, claim: B256, layer: u32, answer: &Layer) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "insert into layers (claim, layer, root, signature) values ($1, $2, $3, $4) on conflict do nothing",
        claim.as_slice(),
        i64::from(layer),
        answer.root.as_slice(),
        answer.signature.as_slice(),
    )
    .execute(&mut *db)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let numbers: Vec<i64> = (0..int("layer_commitments.number", answer.commitments.len())?).collect();
    let commitments: Vec<Vec<u8>> = answer
        .commitments
        .iter()
        .map(|commitment| commitment.to_vec())
        .collect();
    sqlx::query!(
        "insert into layer_commitments (claim, layer, number, commitment)
         select $1, $2, number, commitment from unnest($3::bigint[], $4::bytea[]) as rows (number, commitment)",
        claim.as_slice(),
        i64::from(layer),
        &numbers,
        &commitments,
    )
    .execute(&mut *db)
    .await?;
    Ok(true)
}

/// A layer's answer.
pub async fn select_layer(db: &mut PgConnection, claim: B256, layer: u32) -> Result<Option<Layer>, DbError> {
    let row = sqlx::query!(
        "select root, signature from layers where claim = $1 and layer = $2",
        claim.as_slice(),
        i64::from(layer)
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let commitments = sqlx::query_scalar!(
        "select commitment from layer_commitments where claim = $1 and layer = $2 order by number",
        claim.as_slice(),
        i64::from(layer)
    )
    .fetch_all(&mut *db)
    .await?;
    Ok(Some(Layer {
        root: hash("layers.root", &row.root)?,
        signature: SignatureBytes::try_from(row.signature.as_slice()).map_err(|_| DbError::Corrupt {
            column: "layers.signature",
        })?,
        commitments: commitments
            .iter()
            .map(|bytes| hash("layer_commitments.commitment", bytes))
            .collect::<Result<_, _>>()?,
    }))
}

/// The layer's root that a worker signed first, if any.
pub async fn select_root(db: impl PgExecutor<'_>, claim: B256, layer: u32) -> Result<Option<B256>, DbError> {
    let root = sqlx::query_scalar!(
        "select root from layers where claim = $1 and layer = $2",
        claim.as_slice(),
        i64::from(layer)
    )
    .fetch_optional(db)
    .await?;
    root.map(|root| hash("layers.root", &root)).transpose()
}
