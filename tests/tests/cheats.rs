//! Every cheat of the list is convicted on the digits transformer: under `wide` whatever it is, under `fast` from the size on that leaves
//! the envelope; and honest work, which is each cheat of size nothing, never is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, sync::Arc};

use touchstone_engine::{Device, Options, Torch, Value};
use touchstone_model::{CompileOptions, compile, tensor_file::read_npy};
use touchstone_protocol::model::Profile;
use touchstone_tests::{
    cheats::{Kind, Measured, Subject, measure, measure::cheats},
    paths,
};

/// What the list has to hold: nothing may fall out of it because a model was read otherwise.
const LIST: [&str; 14] = [
    "a bit flip in one inner element",
    "a changed epsilon",
    "a pruned head",
    "a skipped layer",
    "another input",
    "bf16-rounded weights",
    "early exit",
    "fp16-rounded weights",
    "infinity injected",
    "int8-quantized weights",
    "NaN injected",
    "one weight matrix scaled by 1 + 1e-4",
    "outputs permuted",
    "TF32-style input rounding",
];

fn image(name: &str) -> Value {
    let folder = paths::root().join("models/digits_vit/inputs");
    let tensor = read_npy(&fs::read(folder.join(name)).unwrap()).unwrap();
    Value::new(tensor.dtype, tensor.dims.clone(), tensor.bytes.to_vec()).unwrap()
}

fn engine() -> Torch {
    let options = Options {
        device: Device::Cpu,
        threads: 1,
    };
    Torch::new(options).unwrap()
}

fn with_subject<T>(profile: Profile, ask: impl FnOnce(&Subject<'_>) -> T) -> T {
    let options = CompileOptions {
        profile: profile.encode(),
        ..CompileOptions::default()
    };
    let plan = Arc::new(compile(&fs::read(paths::digits()).unwrap(), &options).unwrap());
    let engine = engine();
    let (input, other) = (image("digit_0_label_7.npy"), image("digit_1_label_6.npy"));
    ask(&Subject::new(&engine, &plan, &[input], &[other]).unwrap())
}

fn measured(profile: Profile) -> Vec<Measured> {
    with_subject(profile, |subject| {
        let list = cheats(subject).unwrap();
        list.iter().map(|cheat| measure(subject, cheat).unwrap()).collect()
    })
}

#[test]
fn every_cheat_is_convicted_under_wide() {
    let found = measured(Profile::WIDE);
    for m in &found {
        println!("{m:?}");
        assert!(m.outside > 0, "{} is not convicted: {m:?}", m.name);
        assert!(m.share.is_none_or(|share| share > 1.0), "{m:?}");
    }
    for name in LIST {
        assert!(found.iter().any(|m| m.name == name), "{name} is not on the list");
    }
}

/// `fast` is wider, so its smallest convicted sizes are no smaller; and each cheat has a size that it convicts.
#[test]
fn every_cheat_has_a_size_from_which_on_fast_convicts_it() {
    let wide = measured(Profile::WIDE);
    for (fast, wide) in measured(Profile::FAST).iter().zip(&wide) {
        println!("{fast:?}");
        assert_eq!(fast.name, wide.name);
        match (&fast.smallest, &wide.smallest) {
            (Some((_, fast_size)), Some((_, wide_size))) => {
                assert!(fast_size >= wide_size, "{}: {fast_size} {wide_size}", fast.name)
            }
            (None, None) => assert!(fast.outside > 0, "{fast:?}"),
            sizes => panic!("{}: {sizes:?}", fast.name),
        }
    }
}

#[test]
fn a_cheat_of_size_nothing_is_honest() {
    for profile in [Profile::FAST, Profile::WIDE] {
        with_subject(profile, |subject| {
            for cheat in cheats(subject).unwrap() {
                let kind = cheat.smaller.map_or(cheat.full.0, |smaller| smaller.kind);
                let nothing = match kind {
                    Kind::RoundedWeights { .. } | Kind::RoundedInputs => 24.0,
                    Kind::QuantizedWeights | Kind::FlippedBit { .. } | Kind::Injected { .. } | Kind::Swapped { .. } => {
                        continue;
                    }
                    _ => 0.0,
                };
                let report = subject.run(&kind, nothing).unwrap();
                assert_eq!(report.outside, 0, "{}: {report:?}", cheat.name);
                assert!(report.elements > 0);
            }
        });
    }
}
