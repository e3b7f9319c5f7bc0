//! `disputes`: identity from the event, position from the view.

use sqlx::PgExecutor;
use touchstone_chain::{Address, B256};
use touchstone_wire::worker::Tree;

use super::{
    DbError,
    convert::{big, from_int, hash, int, text_enum},
};

text_enum!(
    /// Where a dispute stands on chain.
    Phase, "disputes.phase", {
        /// Challenger's turn, at a node.
        Choosing = "choosing",
        /// Worker's turn, to reveal descendants.
        Revealing = "revealing",
        /// Challenger's turn, descendants known.
        Picking = "picking",
        /// Worker's turn, to sign a layer's root.
        Layering = "layering",
        /// Worker's turn, to open one element.
        Defending = "defending",
        /// Worker's turn, to give a long operator's totals.
        Totalling = "totalling",
        /// Challenger's turn, the sums of parts known.
        Parting = "parting",
        /// Worker's turn, to split a part.
        Splitting = "splitting",
        /// Worker's turn, to prove a part.
        Proving = "proving",
        /// The claim was struck by it.
        Struck = "struck",
        /// The challenger was wrong or late.
        Lost = "lost",
        /// The challenger gave up.
        Conceded = "conceded",
        /// The model does not decode.
        Voided = "voided",
        /// Its claim ended otherwise.
        Moot = "moot",
        /// As moot, and paid.
        Settled = "settled",
        /// Not on the present chain.
        Orphaned = "orphaned",
    }
);

/// Where a dispute stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeState {
    /// Phase.
    pub phase: Phase,
    /// Tree it walks.
    pub tree: Tree,
    /// Layer asked for.
    pub layer: u32,
    /// Node of the tree.
    pub node: B256,
    /// Levels below the node.
    pub depth: u32,
    /// The node's index in its level.
    pub index: u64,
    /// Operator pointed at.
    pub operator: u32,
    /// Element pointed at.
    pub element: u64,
    /// Digest that the next move names.
    pub digest: B256,
    /// Unix seconds of the last moment in time.
    pub deadline: u64,
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Dispute id.
    pub id: B256,
    /// The claim.
    pub claim: B256,
    /// Its state.
    pub state: DisputeState,
}

macro_rules! dispute {
    ($row:expr) => {{
        let row = $row;
        let layer = from_int("disputes.layer", row.layer)?;
        Ok(Dispute {
            id: hash("disputes.id", &row.id)?,
            claim: hash("disputes.claim", &row.claim)?,
            state: DisputeState {
                phase: Phase::parse(&row.phase)?,
                tree: match row.tree.as_str() {
                    "trace" => Tree::Trace,
                    "layer" => Tree::Layer(layer),
                    _ => {
                        return Err(DbError::Corrupt {
                            column: "disputes.tree",
                        });
                    }
                },
                layer,
                node: hash("disputes.node", &row.node)?,
                depth: from_int("disputes.depth", row.depth)?,
                index: from_int("disputes.position", row.position)?,
                operator: from_int("disputes.operator", row.operator)?,
                element: big("disputes.element", &row.element)?,
                digest: hash("disputes.state", &row.state)?,
                deadline: from_int("disputes.deadline", row.deadline)?,
            },
        })
    }};
}

/// Adds a dispute. Its state is read from the contract.
pub async fn insert_dispute(
    db: impl PgExecutor<'_>,
    id: B256,
    claim: B256,
    challenger: Address,
    block: u64,
) -> Result<(), DbError> {
    let zero = B256::ZERO;
    sqlx::query!(
        "insert into disputes (id, claim, challenger, phase, tree, layer, node, depth, position, operator, element, state,
                               deadline, touched, dirty)
         values ($1, $2, $3, 'choosing', 'trace', 0, $4, 0, 0, 0, 0, $4, 0, $5, true)
         on conflict (id) do update set touched = excluded.touched, dirty = true",
        id.as_slice(),
        claim.as_slice(),
        challenger.as_slice(),
        zero.as_slice(),
        int("disputes.touched", block)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Something happened to the dispute in this block.
pub async fn update_touched(db: impl PgExecutor<'_>, id: B256, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update disputes set touched = $2, dirty = true where id = $1",
        id.as_slice(),
        int("disputes.touched", block)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The claim changed in this block, and its disputes with it.
pub async fn update_touched_of_claim(db: impl PgExecutor<'_>, claim: B256, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update disputes set touched = $2, dirty = true where claim = $1",
        claim.as_slice(),
        int("disputes.touched", block)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Everything last touched at or above this height has to be read again.
pub async fn update_dirty_from(db: impl PgExecutor<'_>, height: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update disputes set dirty = true where touched >= $1",
        int("disputes.touched", height)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Disputes that have to be read again.
pub async fn select_dirty(db: impl PgExecutor<'_>) -> Result<Vec<B256>, DbError> {
    let rows = sqlx::query_scalar!("select id from disputes where dirty order by deadline")
        .fetch_all(db)
        .await?;
    rows.iter().map(|id| hash("disputes.id", id)).collect()
}

/// Stores what the contract said.
pub async fn update_state(db: impl PgExecutor<'_>, id: B256, state: &DisputeState) -> Result<(), DbError> {
    let tree = match state.tree {
        Tree::Trace => "trace",
        Tree::Layer(_) => "layer",
    };
    sqlx::query!(
        "update disputes set phase = $2, tree = $3, layer = $4, node = $5, depth = $6, position = $7, operator = $8,
             element = $9::text::numeric, state = $10, deadline = $11, dirty = false
         where id = $1",
        id.as_slice(),
        state.phase.as_str(),
        tree,
        i64::from(state.layer),
        state.node.as_slice(),
        i64::from(state.depth),
        int("disputes.position", state.index)?,
        i64::from(state.operator),
        state.element.to_string(),
        state.digest.as_slice(),
        int("disputes.deadline", state.deadline)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The contract knows no such dispute.
pub async fn update_orphaned(db: impl PgExecutor<'_>, id: B256) -> Result<(), DbError> {
    sqlx::query!(
        "update disputes set phase = 'orphaned', dirty = false where id = $1",
        id.as_slice()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One dispute.
pub async fn select_dispute(db: impl PgExecutor<'_>, id: B256) -> Result<Option<Dispute>, DbError> {
    let row = sqlx::query!(
        r#"select id, claim, phase, tree, layer, node, depth, position, operator, element::text as "element!", state, deadline
           from disputes where id = $1"#,
        id.as_slice()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| dispute!(row)).transpose()
}

/// Disputes in which there is something to ask this worker, most urgent first: it is its turn; or they are inside a layer whose commitments or
/// values are not here, because it answered on chain while we were away, or we went away between its answer and its values.
pub async fn select_questions(db: impl PgExecutor<'_>, worker: Address) -> Result<Vec<Dispute>, DbError> {
    let rows = sqlx::query!(
        r#"select d.id, d.claim, d.phase, d.tree, d.layer, d.node, d.depth, d.position, d.operator,
                  d.element::text as "element!", d.state, d.deadline
           from disputes d join claims c on c.id = d.claim
           where c.worker = $1 and c.status = 'open' and not d.dirty
             and (d.phase in ('revealing', 'layering', 'defending', 'totalling', 'splitting', 'proving')
               or (d.phase in ('choosing', 'picking', 'parting') and d.tree = 'layer'
                 and (not exists (select from layers l where l.claim = d.claim and l.layer = d.layer)
                   or exists (select from layer_commitments l where l.claim = d.claim and l.layer = d.layer
                     and not exists (select from stored_values v where v.commitment = l.commitment)))))
           order by d.deadline"#,
        worker.as_slice()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| dispute!(row)).collect()
}

/// Live disputes in which the side to move is out of time, the challenger's at `now`, the worker's at `worker_now`. Those not tried
/// yet come first: one that waits for a layer's root which stands by another dispute is refused until its challenger's turn is over.
pub async fn select_timed_out(db: impl PgExecutor<'_>, now: u64, worker_now: u64) -> Result<Vec<Dispute>, DbError> {
    let rows = sqlx::query!(
        r#"select d.id, d.claim, d.phase, d.tree, d.layer, d.node, d.depth, d.position, d.operator,
                  d.element::text as "element!", d.state, d.deadline
           from disputes d join claims c on c.id = d.claim
             left join outbox o on o.key = 'timeout:' || encode(d.id, 'hex') || ':' || encode(d.state, 'hex')
           where c.status = 'open' and not d.dirty and o.status is distinct from 'open'
             and ((d.phase in ('choosing', 'picking', 'parting') and d.deadline < $1)
               or (d.phase in ('revealing', 'layering', 'defending', 'totalling', 'splitting', 'proving') and d.deadline < $2))
           order by coalesce(o.updated_at, 0), d.deadline limit 64"#,
        int("now", now)?,
        int("now", worker_now)?
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| dispute!(row)).collect()
}
