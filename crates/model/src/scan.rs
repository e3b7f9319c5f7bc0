//! A walk over the protobuf wire format before it is decoded: decoding allocates some hundred bytes for a message that
//! is two bytes on disk, so what a file holds is counted first.
//!
//! The decoder must not get to see a byte that was not counted. It skips groups, and it reads a message that is longer than
//! the one around it before it notices; here both are refused, as is all else that the walk cannot follow.

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

/// Refuses a model file whose decoding would exceed [`limits`], and bytes that are no protobuf message of known wire types.
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
        while !rest.is_empty() {
            let (number, content) = next(&mut rest)?;
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

/// The next field: its number, and its bytes if they have a length.
fn next<'a>(rest: &mut &'a [u8]) -> Result<(u64, &'a [u8]), CompileError> {
    let broken = || CompileError::Decode("a field ends beyond the message around it".into());
    let key = varint(rest).ok_or_else(broken)?;
    let content = match key & 7 {
        0 => varint(rest).map(|_| &[][..]),
        1 => take(rest, 8),
        2 => varint(rest).and_then(|n| take(rest, usize::try_from(n).ok()?)),
        5 => take(rest, 4),
        wire @ (3 | 4) => {
            return Err(CompileError::Decode(format!(
                "field {} is a group (wire type {wire}), which ONNX files do not have",
                key >> 3
            )));
        }
        wire => return Err(CompileError::Decode(format!("field {} has wire type {wire}", key >> 3))),
    };
    Ok((key >> 3, content.ok_or_else(broken)?))
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

    /// 1.2 million empty nodes, which would take some hundred megabytes as messages.
    fn nodes() -> Vec<u8> {
        [0x0a, 0x00].repeat(1_200_000)
    }

    fn message(field: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![field << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend(content);
        bytes
    }

    fn reason(bytes: &[u8]) -> String {
        check_model(bytes).unwrap_err().to_string()
    }

    #[test]
    fn nothing_hides_behind_a_group() {
        // An empty group of field 100, which the decoder skips and goes on.
        for field in [[0xa3, 0x06, 0xa4, 0x06], [0x0b, 0x0c, 0x0b, 0x0c]] {
            let in_graph = message(7, &[&field[..], &nodes()].concat());
            let before_graph = [&field[..], &message(7, &nodes())].concat();
            for file in [in_graph, before_graph] {
                assert!(reason(&file).contains("is a group"), "{}", reason(&file));
            }
        }
        let tensor = [&[0xa3, 0x06, 0xa4, 0x06][..], &[0x08, 0x00].repeat(10)].concat();
        assert!(check_tensor(&tensor).is_err());
    }

    #[test]
    fn nothing_hides_behind_a_message_that_is_too_long() {
        // A graph of one node of 2 bytes that says it has all that follows: the decoder would read it before it noticed.
        let names = nodes();
        let mut node = vec![0x0a];
        prost::encoding::encode_varint(names.len() as u64, &mut node);
        let mut file = message(7, &node);
        file.extend(&names);
        assert!(
            reason(&file).contains("beyond the message around it"),
            "{}",
            reason(&file)
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &[0x3a, 0xff, 0xff, 0x03, 0x00][..],
            &[0xff; 40],
            &[0x3e],
            &[0x3a],
            &[0x80],
        ] {
            assert!(matches!(check_model(bytes), Err(CompileError::Decode(_))), "{bytes:?}");
        }
    }
}
