//! Every limit on what a model file may ask of the compiler. A file beyond one is refused by the limit's name.

/// Largest model file in bytes: the protobuf format's own limit.
pub const FILE_BYTES: usize = i32::MAX as usize;
/// Messages, strings and unpacked numbers in a file. Each may be two bytes on disk and some hundred in memory.
pub const PARTS: usize = 1 << 20;
/// Bytes of packed varint lists (`int32_data`, `int64_data`, `ints`): each byte may become eight.
pub const VARINT_BYTES: usize = 1 << 26;
/// Nodes of the graph after local functions are inlined.
pub const NODES: usize = 100_000;
/// Nesting of local functions.
pub const FUNCTION_DEPTH: usize = 16;
/// Bytes in memory of the nodes that calls of local functions become, and of the names that the calls pass.
pub const INLINED_BYTES: u64 = 1 << 28;
/// Bytes of a name.
pub const NAME_BYTES: usize = 1_024;
/// Inputs, outputs or attributes of one node or local function.
pub const NODE_VALUES: usize = 1_024;
/// Operators of the plan before those that nobody reads are dropped. Most nodes become one; those of many operands (`Max`,
/// `Concat`) become some.
pub const OPERATORS: usize = 1 << 18;
/// Rank of a tensor (PROTOCOL.md section 2).
pub const RANK: usize = 8;
/// Bytes of a tensor (PROTOCOL.md section 2).
pub const TENSOR_BYTES: u64 = 1 << 31;
/// Graph inputs, and graph outputs (PROTOCOL.md section 4).
pub const IO_VALUES: usize = touchstone_protocol::model::MAX_IO_VALUES;
/// Bytes of all graph inputs, and of all graph outputs (PROTOCOL.md section 4).
pub const IO_BYTES: u64 = TENSOR_BYTES;
/// Trace values, and inner values of a layer: as many commitments travel in one message.
pub const COMMITMENTS: u64 = touchstone_protocol::model::MAX_COMMITMENTS as u64;
/// Elements that constant folding may compute with arithmetic.
pub const FOLD_ARITHMETIC: u64 = 1 << 24;
/// Bytes of all values of a run, by default: inputs, boundary and inner values, as an engine that keeps them all for a dispute
/// would hold. Ordinary models of some hundred million parameters take 1 to 3 GiB; machines of 16 GiB can serve every plan.
pub const RUN_BYTES: u64 = 1 << 33;
/// Bytes of all weights, by default: the 2 GiB that a file may hold and as much again laid out anew for their readers.
pub const WEIGHT_BYTES: u64 = 1 << 32;
/// Terms that a run computes, by default. At 10^9 terms a second, what one core of the plain reference engine does at best, this
/// is 18 minutes; beyond, neither a worker's deadline nor a challenge window could be kept.
pub const RUN_TERMS: u64 = 1 << 40;
/// Bytes of the constants that folding computes.
pub const FOLD_BYTES: u64 = 1 << 28;
/// Bytes of constants in float16 or bfloat16 that become float32, as weights stored in two bytes do.
pub const WIDENED_BYTES: u64 = 1 << 31;
/// Bytes of the weights that are laid out anew for their readers.
pub const LAYOUT_BYTES: u64 = 1 << 31;
/// Elements of a constant that is read as a shape, axes or the like.
pub const PARAMETER_ELEMENTS: u64 = 1_024;
/// Elements of a `Range`.
pub const RANGE_ELEMENTS: u64 = 1 << 20;
/// First and last version of the default operator set.
pub const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;

// Terms of a row: [`touchstone_protocol::parts::most_terms`].
/// Bytes of a witness (PROTOCOL.md section 5).
pub const WITNESS_BYTES: u64 = 61_440;
/// Gas of a verdict (PROTOCOL.md section 5).
pub const VERDICT_GAS: u64 = 1 << 23;
/// Chunks that a scattered window may span.
pub const SPAN_CHUNKS: u64 = 64;
/// Runs along the last reduction axis that a scattered window may have before it is laid out.
pub const SPAN_RUNS: u64 = 64;
/// Bytes of a chunk.
pub const CHUNK_BYTES: u64 = 256;
