//! Tensors in files: ONNX `TensorProto` (`.pb`) and NumPy (`.npy`, format 1.0 to 3.0).
//!
//! `.npy`: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use prost::Message;
use touchstone_protocol::descriptor::Dtype;

use crate::{
    proto::TensorProto,
    scan,
    tensor::{Tensor, dims_of},
};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header of an `.npy` file: five keys' worth is some hundred bytes.
const MAX_HEADER: usize = 1 << 16;
/// Bytes within which the header of an `.npy` file ends: magic, version, length, header.
pub const NPY_HEAD: usize = MAX_HEADER + 12;

/// Why a tensor file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorFileError {
    /// Not an ONNX `TensorProto`.
    #[error("not an ONNX tensor: {0}")]
    Pb(String),
    /// Not an `.npy` file that can be read.
    #[error("not a usable .npy file: {0}")]
    Npy(String),
}

/// Reads a serialized ONNX `TensorProto` of dtype float32, float16, bfloat16, uint8, int32, int64 or bool.
///
/// # Errors
/// It does not decode, its data is in another file, or dtype, shape and data contradict one another.
pub fn read_pb(bytes: &[u8]) -> Result<Tensor, TensorFileError> {
    scan::check_tensor(bytes).map_err(|error| TensorFileError::Pb(error.to_string()))?;
    let proto = TensorProto::decode(bytes).map_err(|error| TensorFileError::Pb(error.to_string()))?;
    Tensor::from_proto(proto).map_err(|error| TensorFileError::Pb(error.to_string()))
}

/// Reads an `.npy` file: little-endian, C order, dtype float32, float16, bfloat16 (as two bytes, `V2`), uint8, int32, int64 or bool.
///
/// # Errors
/// Another format version, byte order, memory order or dtype, or a length that does not fit the shape.
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, TensorFileError> {
    npy(bytes).map_err(TensorFileError::Npy)
}

fn npy(bytes: &[u8]) -> Result<Tensor, String> {
    let (dtype, dims, data) = parts(bytes)?;
    Tensor::new(dtype, dims, data)
}

/// Dtype, shape and length of the header of an `.npy` file, given its first [`NPY_HEAD`] bytes or all of it: a look at a file
/// whose data may be large.
///
/// # Errors
/// As [`read_npy`], but for the length of the data.
pub fn npy_head(bytes: &[u8]) -> Result<(Dtype, Vec<u32>, usize), TensorFileError> {
    let (dtype, dims, data) = parts(bytes).map_err(TensorFileError::Npy)?;
    Ok((dtype, dims, bytes.len() - data.len()))
}

/// Dtype, shape and what stands behind the header.
fn parts(bytes: &[u8]) -> Result<(Dtype, Vec<u32>, &[u8]), String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not start with the magic bytes")?;
    let ([major, _], rest) = rest.split_first_chunk::<2>().ok_or("it ends within the header")?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or("it ends within the header")?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or("it ends within the header")?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(format!("format version {other} is not supported")),
    };
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes"));
    }
    let (header, data) = rest.split_at_checked(length).ok_or("it ends within the header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    let (descr, fortran, shape) = parse_header(header)?;
    let dtype = match descr.as_str() {
        "<f4" => Dtype::F32,
        "|u1" => Dtype::U8,
        "<i4" => Dtype::I32,
        "<i8" => Dtype::I64,
        "|b1" => Dtype::Bool,
        "<f2" => Dtype::F16,
        // NumPy has no bfloat16 and writes the one of `ml_dtypes` as two bytes without a meaning.
        "<V2" | "|V2" => Dtype::Bf16,
        other => {
            return Err(format!(
                "dtype `{other}`; use <f4, <f2, <V2 (bfloat16), |u1, <i4, <i8 or |b1"
            ));
        }
    };
    // Both orders are the same for a vector.
    if fortran && shape.len() > 1 {
        return Err("it is in Fortran order; save np.ascontiguousarray(array)".into());
    }
    Ok((dtype, dims_of(&shape)?, data))
}

/// `(descr, fortran_order, shape)` of `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }`.
fn parse_header(header: &str) -> Result<(String, bool, Vec<i64>), String> {
    let bad = || "its header cannot be read".to_string();
    let mut rest = header.trim().strip_prefix('{').ok_or_else(bad)?;
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    loop {
        rest = rest.trim_start();
        if let Some(tail) = rest.strip_prefix('}') {
            if !tail.trim().is_empty() {
                return Err(bad());
            }
            break;
        }
        let (key, tail) = quoted(rest).ok_or_else(bad)?;
        rest = tail.trim_start().strip_prefix(':').ok_or_else(bad)?.trim_start();
        let tail = match key {
            "descr" => {
                let (value, tail) = quoted(rest).ok_or("a structured dtype is not supported")?;
                descr = Some(value.to_string());
                tail
            }
            "fortran_order" => {
                let (value, tail) = [("True", true), ("False", false)]
                    .iter()
                    .find_map(|(word, value)| Some((*value, rest.strip_prefix(word)?)))
                    .ok_or_else(bad)?;
                fortran = Some(value);
                tail
            }
            "shape" => {
                let (inside, tail) = rest
                    .strip_prefix('(')
                    .and_then(|rest| rest.split_once(')'))
                    .ok_or_else(bad)?;
                let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
                shape = Some(
                    numbers
                        .map(|number| number.parse::<i64>().map_err(|_| bad()))
                        .collect::<Result<_, _>>()?,
                );
                tail
            }
            _ => return Err(bad()),
        };
        rest = tail.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok((descr.ok_or_else(bad)?, fortran.ok_or_else(bad)?, shape.ok_or_else(bad)?))
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The `.npy` file (format 1.0) of a tensor; the bytes that NumPy itself writes.
pub fn write_npy(tensor: &Tensor) -> Vec<u8> {
    let descr = match tensor.dtype {
        Dtype::F32 => "<f4",
        Dtype::U8 => "|u1",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::Bool => "|b1",
        Dtype::F16 => "<f2",
        Dtype::Bf16 => "<V2",
    };
    let dims: Vec<String> = tensor.dims.iter().map(u32::to_string).collect();
    let shape = if dims.len() == 1 {
        format!("({},)", dims[0])
    } else {
        format!("({})", dims.join(", "))
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // NumPy aligns the data to 64 bytes and ends the header with a newline.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut file = MAGIC.to_vec();
    file.extend([1, 0]);
    // At most 8 dimensions of 10 digits: the header is far below 2^16 bytes.
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(tensor.bytes.iter());
    file
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(text: &str, major: u8, data: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([major, 0]);
        match major {
            1 => file.extend((text.len() as u16).to_le_bytes()),
            _ => file.extend((text.len() as u32).to_le_bytes()),
        }
        file.extend(text.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn what_is_written_is_read() {
        for (dtype, dims, bytes) in [
            (Dtype::F32, vec![2, 1], vec![0, 0, 128, 63, 0, 0, 0, 64]),
            (Dtype::I64, vec![], vec![1, 2, 3, 4, 5, 6, 7, 8]),
            (Dtype::Bool, vec![3], vec![0, 1, 1]),
            (Dtype::U8, vec![0, 4], vec![]),
            (Dtype::I32, vec![1], vec![9, 0, 0, 0]),
            (Dtype::F16, vec![3], vec![0, 60, 1, 0, 0, 252]),
            (Dtype::Bf16, vec![1, 1], vec![128, 63]),
        ] {
            let tensor = Tensor::new(dtype, dims, bytes).unwrap();
            let file = write_npy(&tensor);
            assert_eq!((file.len() - tensor.bytes.len()) % 64, 0);
            let head = (tensor.dtype, tensor.dims.clone(), file.len() - tensor.bytes.len());
            assert_eq!(npy_head(&file[..head.2]), Ok(head));
            assert_eq!(read_npy(&file), Ok(tensor));
        }
    }

    #[test]
    fn every_version_and_spelling() {
        for major in 1..=3 {
            let file = header(
                "{\"shape\":(2,),'fortran_order': False, 'descr':'|u1'}\n",
                major,
                &[7, 8],
            );
            let tensor = read_npy(&file).unwrap();
            assert_eq!((tensor.dims.as_slice(), &tensor.bytes[..]), (&[2][..], &[7, 8][..]));
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let reason = |text: &str, data: &[u8]| match read_npy(&header(text, 1, data)) {
            Err(TensorFileError::Npy(reason)) => reason,
            other => format!("{other:?}"),
        };
        let of = |descr: &str, fortran: &str, shape: &str| {
            reason(
                &format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"),
                &[0; 8],
            )
        };
        assert!(of("<f8", "False", "(1,)").contains("dtype `<f8`"));
        assert!(of(">f4", "False", "(2,)").contains("dtype `>f4`"));
        assert!(of("<f4", "True", "(1, 2)").contains("Fortran"));
        assert!(of("<f4", "False", "(3,)").contains("8 bytes for shape [3]"));
        assert!(of("<f4", "False", "(-2,)").contains("dimension -2"));
        assert!(of("|b1", "False", "(99999999999,)").contains("dimension"));
        assert!(reason("{'descr': [('a', '<f4')], }", &[]).contains("structured"));
        assert!(reason("not a header", &[]).contains("cannot be read"));
    }
}
