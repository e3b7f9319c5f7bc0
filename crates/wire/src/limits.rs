//! Limits of the wire. Both sides apply them: a sender never exceeds what a receiver accepts.

use std::time::Duration;

/// Largest gRPC message, both ways.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of one chunk of a value or a file.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Commitments in one list (trace values of a claim, inner values of a layer).
pub const MAX_COMMITMENTS: usize = touchstone_protocol::model::MAX_COMMITMENTS;
/// Input or output bytes of a request, inline (PROTOCOL.md section 7).
pub const MAX_INLINE_BYTES: usize = touchstone_protocol::model::MAX_INLINE_BYTES;
/// Bytes of a witness (PROTOCOL.md section 5).
pub const MAX_WITNESS_BYTES: usize = 61_440;
/// Largest value that the protocol knows (PROTOCOL.md section 2).
pub const MAX_VALUE_BYTES: u64 = 1 << 31;
/// Dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// Nodes in one reveal: `2^3`.
pub const MAX_CHILDREN: usize = 8;
/// Words of the sums of one part of a long operator; contractions under the tensor-core profiles have the most, 18.
pub const MAX_SUM_WORDS: usize = 20;
/// Models that a worker announces.
pub const MAX_MODELS: usize = 1_024;
/// Jobs at once of one worker.
pub const MAX_CAPACITY: u32 = 1_024;
/// Bytes of a human-readable detail.
pub const MAX_TEXT_BYTES: usize = 512;

/// A connection attempt that takes longer has failed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A unary call that takes longer has failed.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// HTTP/2 pings on an idle connection, so that a dead peer is noticed.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

// A list of commitments and a witness fit into one message, with room for the rest of it.
const _: () = assert!(MAX_COMMITMENTS * (32 + 2) + 1_024 <= MAX_MESSAGE_BYTES);
const _: () = assert!(MAX_WITNESS_BYTES + 1_024 <= MAX_MESSAGE_BYTES);
const _: () = assert!(CHUNK_BYTES + 1_024 <= MAX_MESSAGE_BYTES);
