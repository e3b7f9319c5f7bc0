//! Tensors from and to files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use touchstone_engine::Value;
use touchstone_model::{
    Tensor,
    tensor_file::{read_npy, read_pb, write_npy},
};

/// Reads an ONNX TensorProto (`.pb`) or a NumPy file (`.npy`).
pub(crate) fn read(path: &Path) -> Result<Tensor> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensor = match path.extension().and_then(|ending| ending.to_str()) {
        Some("pb") => read_pb(&bytes),
        Some("npy") => read_npy(&bytes),
        _ => bail!(
            "{}: inputs are ONNX TensorProto files (.pb) or NumPy files (.npy)",
            path.display()
        ),
    };
    tensor.with_context(|| format!("read {}", path.display()))
}

/// Reads graph inputs, in order.
pub(crate) fn read_inputs(paths: &[PathBuf]) -> Result<Vec<Value>> {
    paths
        .iter()
        .map(|path| {
            let tensor = read(path)?;
            Value::new(tensor.dtype, tensor.dims, tensor.bytes).with_context(|| format!("read {}", path.display()))
        })
        .collect()
}

/// Writes a value as a NumPy file.
pub(crate) fn write(path: &Path, value: &Value) -> Result<()> {
    let tensor = Tensor {
        dtype: value.dtype,
        dims: value.dims.clone(),
        bytes: value.bytes.clone(),
    };
    fs::write(path, write_npy(&tensor)).with_context(|| format!("write {}", path.display()))
}

/// `name=1,128` as a name and a shape.
pub(crate) fn shape(text: &str) -> Result<(String, Vec<u32>), String> {
    let (name, dims) = text.split_once('=').ok_or("expected NAME=D,D,… as in input=1,128")?;
    let dims: Result<Vec<u32>, _> = dims.split(',').map(|dim| dim.trim().parse()).collect();
    Ok((
        name.to_owned(),
        dims.map_err(|_| format!("{text:?} has a dimension that is not a number below 2^32"))?,
    ))
}

/// `name=FILE` as a name and a path.
pub(crate) fn bind(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=FILE")?;
    Ok((name.to_owned(), path.into()))
}

/// Reads the tensors of `--bind`.
pub(crate) fn read_binds(binds: &[(String, PathBuf)]) -> Result<BTreeMap<String, Tensor>> {
    binds
        .iter()
        .map(|(name, path)| Ok((name.clone(), read(path)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_a_name_and_numbers() {
        assert_eq!(shape("input=1,128"), Ok(("input".to_owned(), vec![1, 128])));
        assert!(shape("input").is_err());
        assert!(shape("input=1,x").is_err());
        assert!(shape("input=-1").is_err());
    }

    #[test]
    fn an_unknown_ending_is_named_with_what_is_read() {
        let dir = std::env::temp_dir().join(format!("touchstone-tensors-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("input.txt");
        fs::write(&path, b"1 2 3").unwrap();
        let message = format!("{:#}", read(&path).unwrap_err());
        fs::remove_dir_all(&dir).unwrap();
        assert!(message.contains("input.txt") && message.contains(".npy"), "{message}");
    }
}
