//! What can be wrong with a model file.

use std::fmt;

/// An operator that cannot be compiled, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Position among the nodes of the graph, local functions inlined.
    pub index: usize,
    /// The node's name, or the name of its first output.
    pub node: String,
    /// ONNX operator type.
    pub op_type: String,
    /// ONNX domain; empty for the default one.
    pub domain: String,
    /// What about it is not supported.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = if self.domain.is_empty() {
            String::new()
        } else {
            format!("{}.", self.domain)
        };
        write!(
            f,
            "node {} `{}`: {domain}{}: {}",
            self.index, self.node, self.op_type, self.reason
        )
    }
}

/// An operator that no witness within the caps can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooCostly {
    /// Operator number.
    pub operator: usize,
    /// ONNX name of its output.
    pub name: String,
    /// The cap and by how much it is missed.
    pub reason: String,
}

impl fmt::Display for TooCostly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator {} `{}`: {}", self.operator, self.name, self.reason)
    }
}

/// Why a model file does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The file asks for more than a limit of [`crate::limits`].
    #[error("{what}: {found} exceeds the limit of {limit}")]
    Limit {
        /// What is limited.
        what: String,
        /// What the file has.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The plan would ask more of a machine than a limit of [`crate::PlanLimits`].
    #[error(
        "the plan is too large: {found} {what}, at most {limit}; export the model with smaller inputs or fewer layers, or raise \
         `{option}` on machines that can take it (workers and challengers of a network keep the default)"
    )]
    PlanTooLarge {
        /// What is limited.
        what: &'static str,
        /// The field of [`crate::PlanLimits`] that limits it.
        option: &'static str,
        /// What the plan has.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The file is not a protobuf message of the ONNX schema.
    #[error("not an ONNX model: {0}")]
    Decode(String),
    /// The file decodes but contradicts the ONNX specification or itself.
    #[error("malformed model: {0}")]
    Malformed(String),
    /// A graph input has no fixed shape.
    #[error("input `{input}` has the symbolic shape {shape}; fix it with a shape option")]
    SymbolicShape {
        /// The input's name.
        input: String,
        /// Its shape as the file has it.
        shape: String,
    },
    /// A compile option names something that the model does not have, or contradicts it.
    #[error("option for `{name}`: {reason}")]
    Option {
        /// The name the option gives.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Operators that are not supported: all of them, in graph order.
    #[error("{} unsupported operator(s):\n{}", .0.len(), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// Operators that cannot be judged within the caps of PROTOCOL.md section 5: all of them.
    #[error("{} operator(s) beyond what one verdict may cost:\n{}", .0.len(), list(.0))]
    TooCostly(Vec<TooCostly>),
}

impl CompileError {
    pub(crate) fn limit(what: impl Into<String>, found: u64, limit: u64) -> Self {
        Self::Limit {
            what: what.into(),
            found,
            limit,
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(|item| format!("  {item}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Why one node cannot be compiled; its place is added by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Shorthand for `Err(Refusal)` with a formatted reason.
macro_rules! refuse {
    ($($part:tt)*) => {
        return Err($crate::error::Refusal::new(format!($($part)*)))
    };
}
pub(crate) use refuse;
