//! The folder of an audit: which file is which value. Everything that can be known from names and headers is checked before
//! anything is computed, and reported at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use touchstone_engine::Value;
use touchstone_model::{
    Plan,
    inspect::dtype_name,
    names::{Home, NamedValue, Origin},
    tensor_file::{NPY_HEAD, npy_head},
};
use touchstone_protocol::{
    descriptor::{Descriptor, Place},
    tensor::byte_length,
};

use crate::tensors;

/// A file that holds a value of the plan.
struct Given {
    path: PathBuf,
    /// The value's number among the file's.
    number: usize,
    value: NamedValue,
    home: Home,
}

impl Given {
    /// That it differs from another source of the same value, at this element of the plan's value.
    fn differing(&self, first: &str, element: u64) -> Differing {
        let index = self.home.index(&self.value.dims, element);
        Differing {
            file: shown(&self.path),
            value: self.value.name.clone(),
            first_file: first.to_owned(),
            element: flat(&self.value.dims, &index),
            index,
        }
    }
}

/// The number of the element at these coordinates.
pub(crate) fn flat(dims: &[u32], index: &[u32]) -> u64 {
    let steps = dims.iter().zip(index);
    steps.fold(0, |flat, (dim, i)| flat * u64::from(*dim) + u64::from(*i))
}

/// A file whose elements are not those of another file of the same value, or of the input that it shows.
pub(crate) struct Differing {
    pub(crate) file: String,
    pub(crate) value: String,
    pub(crate) first_file: String,
    pub(crate) element: u64,
    pub(crate) index: Vec<u32>,
}

/// The values that a folder gives.
pub(crate) struct Values {
    given: BTreeMap<Origin, Vec<Given>>,
    /// Files that are no value of the plan, with the reason.
    pub(crate) ignored: Vec<(String, &'static str)>,
    /// What reading found.
    pub(crate) differing: Vec<Differing>,
    compared: BTreeSet<Origin>,
}

/// The file of an ONNX value.
fn file_name(value: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name: String = value.chars().map(|c| if keep(c) { c } else { '_' }).collect();
    name + ".npy"
}

fn shown(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

impl Values {
    /// Looks at the files of a folder.
    ///
    /// # Errors
    /// All at once: files that may be two values, files that are not what the value is, values at the ends of layers that are
    /// missing. Or no file is a value of the plan.
    pub(crate) fn open(dir: &Path, plan: &Plan, names: &Names<'_>) -> Result<Self> {
        let mut named: BTreeMap<String, Vec<(usize, &NamedValue)>> = BTreeMap::new();
        for (number, value) in plan.values.iter().enumerate() {
            named.entry(file_name(&value.name)).or_default().push((number, value));
        }
        let mut values = Self {
            given: BTreeMap::new(),
            ignored: Vec::new(),
            differing: Vec::new(),
            compared: BTreeSet::new(),
        };
        let mut problems = Vec::new();
        for path in list(dir)? {
            let file = shown(&path);
            let (number, value) = match named.get(&file).map(Vec::as_slice) {
                None if !file.ends_with(".npy") => {
                    values.ignored.push((file, "not an .npy file"));
                    continue;
                }
                None => {
                    values
                        .ignored
                        .push((file, "no node of the model gives a value of this name"));
                    continue;
                }
                Some([one]) => *one,
                Some(several) => {
                    let names: Vec<&str> = several.iter().map(|(_, value)| value.name.as_str()).collect();
                    problems.push(format!(
                        "{file}: values {names:?} of the model all go by this name: remove the file, or rename the values in the model"
                    ));
                    continue;
                }
            };
            if value.homes.is_empty() {
                let reason =
                    "not a value of the plan: constant, taken into another operator, or a part of another value";
                values.ignored.push((file, reason));
                continue;
            }
            if let Err(error) = check(&path, value) {
                problems.push(format!("{file}: {error:#}"));
            }
            for home in &value.homes {
                values.given.entry(home.origin).or_default().push(Given {
                    path: path.clone(),
                    number,
                    value: value.clone(),
                    home: home.clone(),
                });
            }
        }
        for files in values.given.values_mut() {
            files.sort_by_key(|given| (!given.home.in_order(&given.value.dims), given.number));
        }
        ensure!(
            !values.given.is_empty() || !problems.is_empty(),
            "no file in {} is named after a value of the model: {} would be {}",
            dir.display(),
            plan.outputs.first().map_or("", |output| &output.name),
            plan.outputs
                .first()
                .map_or_else(String::new, |output| file_name(&output.name))
        );
        problems.extend(values.missing(plan, names));
        ensure!(problems.is_empty(), "{}:\n  {}", dir.display(), problems.join("\n  "));
        Ok(values)
    }

    /// Values at the ends of layers that no file gives, as one problem. One without an ONNX name is computed.
    fn missing(&self, plan: &Plan, names: &Names<'_>) -> Option<String> {
        let mut missing = Vec::new();
        for (number, descriptor) in (0..).zip(&plan.operators) {
            let origin = Origin::Operator(number);
            if matches!(descriptor.place, Place::Inner(_)) || self.has(origin) {
                continue;
            }
            let shown = names.get(origin).map(|(value, _)| {
                let dtype = dtype_name(value.dtype);
                format!("{} ({}, {dtype} {:?})", value.name, file_name(&value.name), value.dims)
            });
            missing.extend(shown);
        }
        (!missing.is_empty()).then(|| {
            format!(
                "values at the ends of layers are missing; save them too: {}",
                missing.join(", ")
            )
        })
    }

    /// Whether a file gives the value.
    pub(crate) fn has(&self, origin: Origin) -> bool {
        self.given.contains_key(&origin)
    }

    /// Holds files of graph inputs and of their views, should there be any, against the inputs.
    ///
    /// # Errors
    /// A file holds another input.
    pub(crate) fn check_inputs(&mut self, plan: &Plan, inputs: &[Value]) -> Result<()> {
        for ((number, input), io) in (0..).zip(inputs).zip(&plan.inputs) {
            for given in self.given.get(&Origin::Input(number)).into_iter().flatten() {
                let Some(element) = first_difference(&input.bytes, &load(given)?, input.dtype.size()) else {
                    continue;
                };
                let differing = given.differing("--input", element);
                ensure!(
                    given.value.name != io.name,
                    "{} is not the {} that --input gives, element {:?} is another: give the input that the values were computed from",
                    given.path.display(),
                    differing.value,
                    differing.index
                );
                self.differing.push(differing);
            }
        }
        Ok(())
    }

    /// The value that files give, in the plan's order of elements. The first time, all its files are compared.
    ///
    /// # Errors
    /// A file cannot be read any more.
    pub(crate) fn read(&mut self, origin: Origin, descriptor: &Descriptor) -> Result<Option<Value>> {
        let Some([first, others @ ..]) = self.given.get(&origin).map(Vec::as_slice) else {
            return Ok(None);
        };
        let bytes = load(first)?;
        if self.compared.insert(origin) {
            for other in others {
                if let Some(element) = first_difference(&bytes, &load(other)?, descriptor.dtype.size()) {
                    self.differing.push(other.differing(&shown(&first.path), element));
                }
            }
        }
        let value = Value::new(descriptor.dtype, descriptor.dims.clone(), bytes);
        value.with_context(|| first.path.display().to_string()).map(Some)
    }
}

/// The ONNX value of each of the plan's values: the first with its elements in order, or else in another.
pub(crate) struct Names<'a>(BTreeMap<Origin, (&'a NamedValue, &'a Home)>);

impl<'a> Names<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let mut names: BTreeMap<Origin, (&NamedValue, &Home)> = BTreeMap::new();
        for (value, home) in plan
            .values
            .iter()
            .flat_map(|value| value.homes.iter().map(move |home| (value, home)))
        {
            let known = names.entry(home.origin).or_insert((value, home));
            if home.in_order(&value.dims) && !known.1.in_order(&known.0.dims) {
                *known = (value, home);
            }
        }
        Self(names)
    }

    pub(crate) fn get(&self, origin: Origin) -> Option<(&'a NamedValue, &'a Home)> {
        self.0.get(&origin).copied()
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || format!("read the folder {}", dir.display());
    let entries = fs::read_dir(dir).with_context(read)?;
    let mut paths = entries
        .map(|entry| Ok(entry.with_context(read)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether header and length are the value's.
fn check(path: &Path, value: &NamedValue) -> Result<()> {
    let about = fs::metadata(path).context("it cannot be read")?;
    ensure!(about.is_file(), "it is no file");
    let mut head = Vec::new();
    let file = File::open(path).context("it cannot be read")?;
    file.take(NPY_HEAD as u64)
        .read_to_end(&mut head)
        .context("it cannot be read")?;
    let (dtype, dims, length) = npy_head(&head)?;
    ensure!(
        (dtype, &dims) == (value.dtype, &value.dims),
        "it holds {} {dims:?}, the value is {} {:?}: save the value as the model with these shapes gives it",
        dtype_name(dtype),
        dtype_name(value.dtype),
        value.dims
    );
    let expected = byte_length(dtype, &dims)? + length as u64;
    ensure!(
        about.len() == expected,
        "it has {} bytes, {expected} with its header are due: save it again",
        about.len()
    );
    Ok(())
}

/// The elements of a file in the plan's order.
fn load(given: &Given) -> Result<Vec<u8>> {
    check(&given.path, &given.value).with_context(|| given.path.display().to_string())?;
    let tensor = tensors::read(&given.path)?;
    let dims = &given.value.dims;
    Ok(if given.home.in_order(dims) {
        tensor.bytes.to_vec()
    } else {
        given.home.bytes(dims, tensor.dtype.size(), &tensor.bytes)
    })
}

fn first_difference(a: &[u8], b: &[u8], size: usize) -> Option<u64> {
    let at = a.iter().zip(b).position(|(a, b)| a != b)?;
    Some((at / size) as u64)
}
