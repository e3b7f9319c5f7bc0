//! A walk over the protobuf wire format before it is decoded: decoding allocates some hundred bytes for a message that
//! is two bytes on disk, so what a file holds is counted first.

use crate::{error::CompileError, limits};

/// Messages of `proto.rs` that hold something to count.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Function,
    /// No repeated parts within.
    Leaf,
}

/// What a field of a message is to the counter.
enum Field {
    Message(Kind),
    /// A packed or single varint of a repeated field.
    Varints,
    /// Fixed-width or opaque bytes: no more in memory than on disk.
    Plain,
}

fn field(kind: Kind, number: u64) -> Field {
    use Kind::*;
    match (kind, number) {
        (Model, 7) => Field::Message(Graph),
        (Model, 8) => Field::Message(Leaf),
        (Model, 25) => Field::Message(Function),
        (Graph, 1) | (Function, 7) => Field::Message(Node),
        (Graph, 5) | (Attribute, 5) => Field::Message(Tensor),
        (Graph, 11 | 12) => Field::Message(ValueInfo),
        (Graph, 15) | (Function, 4 | 5 | 9) | (Node, 1 | 2) => Field::Message(Leaf),
        (Node, 5) | (Function, 11) => Field::Message(Attribute),
        (Attribute, 8) | (Tensor, 1 | 5 | 7) => Field::Varints,
        (Tensor, 13) => Field::Message(Leaf),
        (ValueInfo, 2) => Field::Message(Type),
        (Type, 1) => Field::Message(TensorType),
        (TensorType, 2) => Field::Message(Shape),
        (Shape, 1) => Field::Message(Leaf),
        _ => Field::Plain,
    }
}

/// Refuses a model file whose decoding would exceed [`limits`]. Malformed bytes are left to the decoder.
pub(crate) fn check_model(bytes: &[u8]) -> Result<(), CompileError> {
    check(bytes, Kind::Model)
}

/// The same for a lone `TensorProto`.
pub(crate) fn check_tensor(bytes: &[u8]) -> Result<(), CompileError> {
    check(bytes, Kind::Tensor)
}

fn check(bytes: &[u8], root: Kind) -> Result<(), CompileError> {
    if bytes.len() > limits::FILE_BYTES {
        return Err(CompileError::limit(
            "file bytes",
            bytes.len() as u64,
            limits::FILE_BYTES as u64,
        ));
    }
    let (mut parts, mut varints) = (0usize, 0usize);
    let mut stack = vec![(root, bytes)];
    while let Some((kind, mut rest)) = stack.pop() {
        let depth = stack.len();
        if depth > limits::PARTS {
            return Err(CompileError::limit("messages", depth as u64, limits::PARTS as u64));
        }
        while let Some((number, wire)) = key(&mut rest) {
            let content = match wire {
                0 => varint(&mut rest).map(|_| &[][..]),
                1 => take(&mut rest, 8),
                2 => varint(&mut rest).and_then(|n| take(&mut rest, usize::try_from(n).ok()?)),
                5 => take(&mut rest, 4),
                _ => None,
            };
            let Some(content) = content else { break };
            match field(kind, number) {
                Field::Message(child) => {
                    parts += 1;
                    if !matches!(child, Kind::Leaf) {
                        stack.push((child, content));
                    }
                }
                Field::Varints => varints += content.len().max(1),
                Field::Plain => {}
            }
            if parts > limits::PARTS {
                return Err(CompileError::limit("messages", parts as u64, limits::PARTS as u64));
            }
            if varints > limits::VARINT_BYTES {
                return Err(CompileError::limit(
                    "varint bytes",
                    varints as u64,
                    limits::VARINT_BYTES as u64,
                ));
            }
        }
    }
    Ok(())
}

fn key(rest: &mut &[u8]) -> Option<(u64, u64)> {
    let key = varint(rest)?;
    Some((key >> 3, key & 7))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (content, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_messages_before_they_are_decoded() {
        let mut graph = Vec::new();
        for _ in 0..=limits::PARTS {
            graph.extend([0x0a, 0x00]);
        }
        let mut file = vec![0x3a];
        prost::encoding::encode_varint(graph.len() as u64, &mut file);
        file.extend(graph);
        assert!(matches!(check_model(&file), Err(CompileError::Limit { what, .. }) if what == "messages"));
    }

    #[test]
    fn leaves_malformed_bytes_to_the_decoder() {
        assert_eq!(check_model(&[0x3a, 0xff, 0xff, 0x03, 0x00]), Ok(()));
        assert_eq!(check_model(&[0xff; 40]), Ok(()));
    }
}
