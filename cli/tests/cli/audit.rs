//! `touchstone audit` on what ONNX Runtime and libtorch computed for the suite's models.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value as Json;
use touchstone_engine::{Engine as _, Family, Keep, Options, Torch, Value};
use touchstone_model::{
    CompileOptions, Plan, Tensor, compile,
    names::Origin,
    tensor_file::{read_npy, write_npy},
};
use touchstone_protocol::{
    descriptor::{Dtype, Place},
    model::Profile,
};

use crate::{models, output, text, with_closed_output, zip::zip};

/// A folder of values that is gone when its test ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("values")).unwrap();
        let inputs = read_npy(&fs::read(models().join("suite/inputs.npy")).unwrap()).unwrap();
        let first = Tensor {
            dims: vec![1, 1, 8, 8],
            bytes: inputs.bytes[..256].into(),
            ..inputs
        };
        fs::write(path.join("input.npy"), write_npy(&first)).unwrap();
        Self(path)
    }

    /// What ONNX Runtime computed for the suite's first input. The label, an integer, is not among the recorded values.
    fn recorded(name: &str, model: &str) -> Self {
        let folder = Self::new(name);
        let npz = fs::read(models().join(format!("suite/values/{model}/0.npz"))).unwrap();
        for (file, bytes) in zip(&npz) {
            fs::write(folder.file(&file), bytes).unwrap();
        }
        if model.starts_with("reader") {
            let scores = floats(&folder.tensor("probabilities.npy"));
            let best = (0..scores.len())
                .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
                .unwrap();
            let label = Tensor::new(Dtype::I64, vec![1], (best as i64).to_le_bytes()).unwrap();
            folder.put("label.npy", &label);
        }
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("values").join(name)
    }

    fn tensor(&self, name: &str) -> Tensor {
        read_npy(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    fn put(&self, name: &str, tensor: &Tensor) {
        fs::write(self.file(name), write_npy(tensor)).unwrap();
    }

    /// Adds one to one element of a file.
    fn change(&self, name: &str, element: usize) {
        let mut tensor = self.tensor(name);
        let mut elements = floats(&tensor);
        elements[element] += 1.0;
        tensor.bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.put(name, &tensor);
    }

    fn arguments(&self, model: &str, more: &[&str]) -> Vec<String> {
        let path = |name: &str| self.0.join(name).to_str().unwrap().to_owned();
        let words = [
            "audit".to_owned(),
            model.to_owned(),
            "--input".to_owned(),
            path("input.npy"),
            "--values".to_owned(),
            path("values"),
        ];
        words
            .into_iter()
            .chain(more.iter().map(|word| (*word).to_owned()))
            .collect()
    }

    /// Exit status, standard output and standard error.
    fn audit(&self, model: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let words = self.arguments(model, more);
        let output = output(&words.iter().map(String::as_str).collect::<Vec<_>>());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn json(&self, model: &str, more: &[&str]) -> (Option<i32>, Json) {
        let (status, out, error) = self.audit(model, &[&["--json"], more].concat());
        (status, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{error}")))
    }

    fn refusal(&self, model: &str) -> String {
        let (status, out, error) = self.audit(model, &[]);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{error}");
        error
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let words = tensor.bytes.as_chunks::<4>().0;
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn plan(model: &str, profile: Profile) -> Arc<Plan> {
    let options = CompileOptions {
        profile: profile.encode(),
        ..Default::default()
    };
    Arc::new(compile(&fs::read(models().join(model)).unwrap(), &options).unwrap())
}

/// The operators that are out.
fn out(json: &Json) -> Vec<&Json> {
    let operators = json["operators"].as_array().unwrap();
    operators
        .iter()
        .filter(|operator| operator["inside"] == false)
        .collect()
}

fn named<'a>(json: &'a Json, value: &str) -> &'a Json {
    let operators = json["operators"].as_array().unwrap();
    operators.iter().find(|operator| operator["value"] == value).unwrap()
}

#[test]
fn onnx_runtime_is_in_on_every_model() {
    let mut audited = 0;
    for entry in fs::read_dir(models().join("suite/values")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = Folder::recorded(&name, &name);
        let file = format!("suite/{name}.onnx");
        let (status, json) = folder.json(&file, &[]);
        assert_eq!((status, &json["inside"]), (Some(0), &true.into()), "{name}: {json:#}");
        let worst = json["worst"]["share"].as_f64().unwrap();
        assert!(worst > 0.0 && worst < 1.0, "{name}: {worst}");
        assert_eq!((&json["profile"], &json["outside"]), (&"fast".into(), &0.into()));
        // Every operator is there, with a node's name wherever the value has an ONNX name and its node one.
        let plan = plan(&file, Profile::FAST);
        let operators = json["operators"].as_array().unwrap();
        assert_eq!(operators.len(), plan.operators.len());
        let elements: u64 = operators.iter().map(|o| o["elements"].as_u64().unwrap()).sum();
        assert_eq!(json["elements"], elements);
        for operator in operators {
            assert_eq!(operator["given"], !operator["value"].is_null(), "{name}: {operator}");
            assert_eq!(
                operator["node"].is_null(),
                operator["value"].is_null(),
                "{name}: {operator}"
            );
            assert_eq!(operator["against"], Json::Array(Vec::new()), "{name}: {operator}");
        }
        audited += 1;
    }
    assert_eq!(audited, 10);
}

#[test]
fn libtorch_is_in_under_the_profile_it_ran_and_out_under_a_tighter_one() {
    let torch = Torch::new(Options {
        device: Default::default(),
        threads: 2,
    })
    .unwrap();
    let model = "suite/vit_torchscript.onnx";
    let folder = Folder::new("libtorch");
    let input = read_npy(&fs::read(folder.0.join("input.npy")).unwrap()).unwrap();
    let input = Value::new(input.dtype, input.dims, input.bytes).unwrap();
    for profile in [Profile::FAST, Profile::WIDE] {
        let plan = plan(model, profile);
        let run = torch.run(&plan, std::slice::from_ref(&input), Keep::All).unwrap();
        for value in &plan.values {
            let Some((operator, dims)) = value.homes.iter().find_map(|home| match home.origin {
                Origin::Operator(operator) if home.in_order(&value.dims) => Some((operator, &value.dims)),
                _ => None,
            }) else {
                continue;
            };
            let found = run.output_of(&plan.operators[operator as usize]).unwrap();
            let tensor = Tensor::new(found.dtype, dims.clone(), found.bytes.clone()).unwrap();
            folder.put(&format!("{}.npy", value.name.replace('/', "_")), &tensor);
        }
        let wide = folder.audit(model, &["--profile", "wide"]);
        let fast = folder.audit(model, &[]);
        assert_eq!(fast.0, Some(0), "{}{}", fast.1, fast.2);
        let expected = if profile == Profile::WIDE { 0 } else { 3 };
        assert_eq!(wide.0, Some(expected), "{}{}", wide.1, wide.2);
    }
}

#[test]
fn one_changed_element_is_out_and_named() {
    let model = "suite/vit_torchscript.onnx";
    let attention = "_blocks_blocks.1_attn_Softmax_output_0.npy";
    let folder = Folder::recorded("changed", "vit_torchscript");
    let dims = folder.tensor(attention).dims;
    let element = 123;
    folder.change(attention, element);
    let (status, json) = folder.json(model, &[]);
    assert_eq!((status, &json["inside"]), (Some(3), &false.into()));
    let first = out(&json)[0];
    assert_eq!(first["value"], "/blocks/blocks.1/attn/Softmax_output_0");
    assert_eq!(
        (&first["node"], &first["code"]),
        (&"/blocks/blocks.1/attn/Softmax".into(), &"Softmax".into())
    );
    assert_eq!((&first["outside"], &first["element"]), (&1.into(), &element.into()));
    let mut rest = element as u32;
    let mut index: Vec<u32> = Vec::new();
    for dim in dims.iter().rev() {
        index.insert(0, rest % dim);
        rest /= dim;
    }
    assert_eq!(first["index"], serde_json::to_value(&index).unwrap());
    let (status, table, _) = folder.audit(model, &[]);
    assert_eq!(status, Some(3));
    assert!(
        table.contains(&format!(
            "OUT  given     /blocks/blocks.1/attn/Softmax_output_0 at {index:?}, 1 of"
        )),
        "{table}"
    );
    // The answer does not depend on how many judge.
    assert_eq!(folder.json(model, &["--threads", "1"]).1, json);
    let words = folder.arguments(model, &[]);
    let closed = with_closed_output(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(closed, (Some(3), String::new()));
}

#[test]
fn a_value_has_the_coordinates_of_its_own_shape() {
    // The last element of the patches: channels and places are the other way round after the transpose.
    let model = "suite/vit_torchscript.onnx";
    let folder = Folder::recorded("alias", "vit_torchscript");
    let dims = folder.tensor("_Transpose_output_0.npy").dims;
    let last = dims.iter().product::<u32>() as usize - 2;
    folder.change("_Transpose_output_0.npy", last);
    let (status, json) = folder.json(model, &[]);
    assert_eq!((status, out(&json).len()), (Some(3), 0), "{json:#}");
    let differing = &json["differing"][0];
    assert_eq!(differing["file"], "_Transpose_output_0.npy");
    assert_eq!(differing["value"], "/Transpose_output_0");
    assert_eq!(differing["first_file"], "_patch_Conv_output_0.npy");
    let index = [0, dims[1] - 1, dims[2] - 2];
    assert_eq!(differing["index"], serde_json::to_value(index).unwrap());
    assert_eq!(json["differing"].as_array().unwrap().len(), 1);

    // Under another of its names alone, the value is as good.
    for other in ["_patch_Conv_output_0.npy", "_Reshape_output_0.npy"] {
        fs::remove_file(folder.file(other)).unwrap();
    }
    let (status, json) = folder.json(model, &[]);
    let patches = named(&json, "/patch/Conv_output_0");
    assert_eq!(
        (status, &patches["given"], &patches["inside"]),
        (Some(3), &true.into(), &false.into())
    );
    // The element as the convolution has it, and not as the file.
    assert_eq!(patches["index"], serde_json::to_value([0, dims[2] - 2, 3, 3]).unwrap());
}

#[test]
fn what_is_not_given_is_computed() {
    for name in ["vit_torchscript", "cnn_dynamo", "reader_dynamo"] {
        let model = format!("suite/{name}.onnx");
        let folder = Folder::recorded(&format!("subset-{name}"), name);
        let plan = plan(&model, Profile::FAST);
        let boundary = |operator: u32| !matches!(plan.operators[operator as usize].place, Place::Inner(_));
        for value in &plan.values {
            let at_an_end = |origin| matches!(origin, Origin::Operator(operator) if boundary(operator));
            if !value.homes.iter().any(|home| at_an_end(home.origin)) {
                let _ = fs::remove_file(folder.file(&format!("{}.npy", value.name.replace('/', "_"))));
            }
        }
        for engine in ["reference", "libtorch"] {
            let (status, json) = folder.json(&model, &["--engine", engine]);
            assert_eq!(status, Some(0), "{name}: {json:#}");
            let operators = json["operators"].as_array().unwrap();
            for (number, operator) in operators.iter().enumerate() {
                assert_eq!(operator["given"], boundary(number as u32), "{name}: {operator}");
            }
            // Each is held against what was computed here by rounding, and says so.
            let unsure = unsure(&plan, &boundary);
            for (operator, expected) in operators.iter().zip(&unsure) {
                let against = operator["against"].as_array().unwrap();
                assert_eq!(against.len(), *expected, "{name}: {operator}");
            }
            assert!(
                unsure.iter().any(|count| *count > 0) || name.starts_with("reader"),
                "{name}"
            );
        }
    }
}

/// For each operator how many values it reads that were computed here, if only those at ends of layers are given, and are not exact
/// functions of what is given.
fn unsure(plan: &Plan, given: &dyn Fn(u32) -> bool) -> Vec<usize> {
    let mut rounded = BTreeSet::new();
    let mut counts = Vec::new();
    for (number, d) in (0..).zip(&plan.operators) {
        let read: BTreeSet<_> = d.operands.iter().map(|operand| (d.layer, operand.place)).collect();
        counts.push(read.intersection(&rounded).count());
        let exact = matches!(Family::of(d.code), Family::Copy | Family::Exact) && counts[number as usize] == 0;
        if !given(number) && !exact {
            rounded.insert((d.layer, d.place));
        }
    }
    counts
}

#[test]
fn an_inner_value_is_computed_from_what_is_given() {
    let model = "suite/mlp_torchscript.onnx";
    let folder = Folder::recorded("inner", "mlp_torchscript");
    let plan = plan(model, Profile::FAST);
    let relu = plan
        .operators
        .iter()
        .position(|d| format!("{:?}", d.code) == "Relu")
        .unwrap();
    assert!(matches!(plan.operators[relu].place, Place::Inner(_)));
    fs::remove_file(folder.file(&format!("{}.npy", plan.names[relu].replace('/', "_")))).unwrap();
    let (status, json) = folder.json(model, &[]);
    let operators = json["operators"].as_array().unwrap();
    assert_eq!((status, &operators[relu]["given"]), (Some(0), &false.into()));
    // An exact function of what is given is what every conforming engine gives: nothing to be unsure of.
    assert!(
        operators
            .iter()
            .all(|operator| operator["against"] == Json::Array(Vec::new()))
    );
}

#[test]
fn missing_ends_of_layers_are_named_at_once() {
    let folder = Folder::recorded("missing", "mlp_dynamo");
    for file in ["linear.npy", "logits.npy"] {
        fs::remove_file(folder.file(file)).unwrap();
    }
    let error = folder.refusal("suite/mlp_dynamo.onnx");
    assert!(error.contains("linear (linear.npy, float32 [1, "), "{error}");
    assert!(error.contains("logits (logits.npy, float32 [1, 10])"), "{error}");
    assert!(!error.contains("linear_1"), "{error}");
}

#[test]
fn files_that_are_not_the_value_are_refused_at_once() {
    let folder = Folder::recorded("hostile", "mlp_dynamo");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.file(name), bytes).unwrap();
    let whole = fs::read(folder.file("linear.npy")).unwrap();
    let header = |text: &str| {
        [
            b"\x93NUMPY\x01\x00",
            &(text.len() as u16).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let of = |descr: &str, order: &str, shape: &str| {
        header(&format!(
            "{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"
        ))
    };
    let cases: [(&[u8], &str); 13] = [
        (b"", "it does not start with the magic bytes"),
        (b"PK\x03\x04 an archive", "it does not start with the magic bytes"),
        (&whole[..9], "it ends within the header"),
        (&whole[..40], "it ends within the header"),
        (&whole[..whole.len() - 1], "save it again"),
        (&[&whole[..], b"x"].concat(), "save it again"),
        (
            &[b"\x93NUMPY\x02\x00", &[0xff; 4][..], &[b' '; 99]].concat(),
            "a header of 4294967295 bytes",
        ),
        (&of("<f8", "False", "(1, 128)"), "dtype `<f8`"),
        (&of(">f4", "False", "(1, 128)"), "dtype `>f4`"),
        (&of("<f4", "True", "(1, 128)"), "np.ascontiguousarray"),
        (&of("<f4", "False", "(128, 1)"), "the value is float32 [1, "),
        (&of("<i4", "False", "(1, 128)"), "it holds int32 [1, 128]"),
        (
            &of("<f4", "False", "(4294967295, 4294967295, 4294967295)"),
            "is larger than 2^31 bytes",
        ),
    ];
    for (bytes, reason) in cases {
        write("linear.npy", bytes);
        let error = folder.refusal("suite/mlp_dynamo.onnx");
        assert!(
            error.contains("linear.npy: ") && error.contains(reason),
            "{reason}: {error}"
        );
    }
    // Several at once, and one that is no file.
    write("linear.npy", b"");
    fs::remove_file(folder.file("logits.npy")).unwrap();
    fs::create_dir(folder.file("logits.npy")).unwrap();
    let error = folder.refusal("suite/mlp_dynamo.onnx");
    assert!(
        error.contains("linear.npy: ") && error.contains("logits.npy: it is no file"),
        "{error}"
    );
}

#[test]
fn a_bool_is_zero_or_one() {
    let folder = Folder::recorded("bool", "reader_dynamo");
    let label = folder.tensor("label.npy");
    folder.put("label.npy", &Tensor::new(Dtype::Bool, vec![1], vec![1]).unwrap());
    assert!(
        folder
            .refusal("suite/reader_dynamo.onnx")
            .contains("it holds bool [1], the value is int64 [1]")
    );
    // Another label is another answer.
    let other = i64::from(label.bytes[0] == 0);
    folder.put(
        "label.npy",
        &Tensor::new(Dtype::I64, vec![1], other.to_le_bytes()).unwrap(),
    );
    let (status, json) = folder.json("suite/reader_dynamo.onnx", &[]);
    assert_eq!((status, &named(&json, "label")["inside"]), (Some(3), &false.into()));
    assert_eq!(named(&json, "label")["share"], 4_294_967_296.0);
}

#[test]
fn names_that_become_one_file_name_are_refused_where_it_matters() {
    let folder = Folder::recorded("ambiguous", "mlp_dynamo");
    let bytes = fs::read(models().join("suite/mlp_dynamo.onnx")).unwrap();
    let mut renamed = bytes.clone();
    let places: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| &bytes[*at..at + 8] == b"linear_2")
        .collect();
    assert!(places.len() >= 2);
    for at in places {
        renamed[at..at + 8].copy_from_slice(b"linear/1");
    }
    let model = folder.0.join("renamed.onnx");
    fs::write(&model, renamed).unwrap();
    let error = folder.refusal(model.to_str().unwrap());
    assert!(
        error.contains("linear_1.npy: values [\"linear_1\", \"linear/1\"]") && error.contains("rename"),
        "{error}"
    );
}

#[test]
fn other_files_are_listed_and_a_folder_without_values_is_refused() {
    let folder = Folder::recorded("ignored", "vit_torchscript");
    fs::write(folder.file("notes.txt"), "made today").unwrap();
    fs::write(folder.file("nothing.npy"), "").unwrap();
    let (status, json) = folder.json("suite/vit_torchscript.onnx", &[]);
    assert_eq!(status, Some(0));
    let reason = |file: &str| {
        let ignored = json["ignored"].as_array().unwrap();
        ignored.iter().find(|i| i["file"] == file).unwrap()["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(reason("notes.txt").contains("not an .npy file"));
    assert!(reason("nothing.npy").contains("no node of the model"));
    assert!(reason("_blocks_blocks.0_act_Erf_output_0.npy").contains("taken into another operator"));

    let empty = Folder::new("empty");
    let error = empty.refusal("suite/mlp_dynamo.onnx");
    assert!(
        error.contains("no file in") && error.contains("logits would be logits.npy"),
        "{error}"
    );
    fs::remove_dir(empty.0.join("values")).unwrap();
    assert!(empty.refusal("suite/mlp_dynamo.onnx").contains("read the folder"));
}

#[test]
fn values_of_another_input_are_noticed() {
    let folder = Folder::recorded("input", "mlp_dynamo");
    let input = read_npy(&fs::read(folder.0.join("input.npy")).unwrap()).unwrap();
    folder.put("image.npy", &input);
    assert_eq!(folder.audit("suite/mlp_dynamo.onnx", &[]).0, Some(0));
    folder.change("image.npy", 7);
    let error = folder.refusal("suite/mlp_dynamo.onnx");
    assert!(
        error.contains("image.npy is not the image that --input gives, element [0, 0, 0, 7]"),
        "{error}"
    );
    // Without the file it shows in the first operator that reads it.
    let changed = folder.tensor("image.npy");
    fs::remove_file(folder.file("image.npy")).unwrap();
    fs::write(folder.0.join("input.npy"), write_npy(&changed)).unwrap();
    let (status, json) = folder.json("suite/mlp_dynamo.onnx", &[]);
    assert_eq!((status, &out(&json)[0]["operator"]), (Some(3), &0.into()));
}

#[test]
fn shares_of_a_run_do_not_depend_on_who_asks() {
    // The audit and a worker's own check are the same judge on the same values.
    let folder = Folder::recorded("judge", "cnn_torchscript");
    let model = "suite/cnn_torchscript.onnx";
    let (_, json) = folder.json(model, &[]);
    let plan = plan(model, Profile::FAST);
    let first = plan
        .operators
        .iter()
        .position(|d| format!("{:?}", d.code) == "Contract")
        .unwrap();
    let value = folder.tensor(&format!("{}.npy", plan.names[first].replace('/', "_")));
    let value = Value::new(value.dtype, plan.operators[first].dims.clone(), value.bytes).unwrap();
    let input = read_npy(&fs::read(folder.0.join("input.npy")).unwrap()).unwrap();
    let input = Value::new(input.dtype, input.dims, input.bytes).unwrap();
    let rows = touchstone_engine::operator::compute(&touchstone_engine::Reference, &plan, 0, &[input]).unwrap();
    let weights = plan.operators[first].operands[1..]
        .iter()
        .map(|operand| match operand.place {
            Place::Weight(n) => Value::from(&plan.weights[n as usize]),
            place => panic!("{place:?}"),
        });
    let operands: Vec<Value> = [rows].into_iter().chain(weights).collect();
    for threads in 1..4 {
        let threads = NonZero::new(threads).unwrap();
        let judged =
            touchstone_engine::operator::judge(&plan.operators[first], plan.profile, &operands, &value, threads)
                .unwrap();
        let (_, share) = judged.worst.unwrap();
        assert_eq!(json["operators"][first]["share"], share as f64 / 4_294_967_296.0);
    }
}
