//! `models`: what the registry published.

use sqlx::PgExecutor;
use touchstone_chain::{Address, B256, U256};

use super::{
    DbError,
    convert::{address, big, from_int, hash},
};

/// A published model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Model id.
    pub id: B256,
    /// Who published it.
    pub publisher: Address,
    /// keccak256 of the model file.
    pub file_digest: B256,
    /// Root of the plan.
    pub plan_root: B256,
    /// Root of the weights.
    pub weights_root: B256,
    /// Operators of the plan.
    pub operators: u32,
    /// Weights.
    pub weights: u32,
    /// Boundary values in the trace.
    pub trace_values: u32,
    /// Layers.
    pub layers: u32,
    /// Numerics profile.
    pub profile: u64,
    /// dtypes and shapes of inputs and outputs, encoded.
    pub io: Vec<u8>,
    /// Where the publisher says the file is.
    pub uri: String,
    /// Least fee of a request, in wei.
    pub price: U256,
}

/// Adds a model, or replaces what another branch of the chain said of it.
pub async fn insert_model(db: impl PgExecutor<'_>, model: &Model) -> Result<(), DbError> {
    sqlx::query!(
        "insert into models (id, publisher, file_digest, plan_root, weights_root, operators, weights, trace_values, layers,
                             profile, io, uri, price)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric, $11, $12, $13::text::numeric)
         on conflict (id) do update set file_digest = excluded.file_digest, uri = excluded.uri, price = excluded.price",
        model.id.as_slice(),
        model.publisher.as_slice(),
        model.file_digest.as_slice(),
        model.plan_root.as_slice(),
        model.weights_root.as_slice(),
        i64::from(model.operators),
        i64::from(model.weights),
        i64::from(model.trace_values),
        i64::from(model.layers),
        model.profile.to_string(),
        &model.io,
        model.uri,
        model.price.to_string(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One model.
pub async fn select_model(db: impl PgExecutor<'_>, id: B256) -> Result<Option<Model>, DbError> {
    let row = sqlx::query!(
        r#"select id, publisher, file_digest, plan_root, weights_root, operators, weights, trace_values, layers,
                  profile::text as "profile!", io, uri, price::text as "price!"
           from models where id = $1"#,
        id.as_slice()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Model {
            id: hash("models.id", &row.id)?,
            publisher: address("models.publisher", &row.publisher)?,
            file_digest: hash("models.file_digest", &row.file_digest)?,
            plan_root: hash("models.plan_root", &row.plan_root)?,
            weights_root: hash("models.weights_root", &row.weights_root)?,
            operators: from_int("models.operators", row.operators)?,
            weights: from_int("models.weights", row.weights)?,
            trace_values: from_int("models.trace_values", row.trace_values)?,
            layers: from_int("models.layers", row.layers)?,
            profile: big("models.profile", &row.profile)?,
            io: row.io,
            uri: row.uri,
            price: big("models.price", &row.price)?,
        })
    })
    .transpose()
}
