//! Engines under the numerics profiles: what they give is inside, is what the profile asks for, and is not what another one gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::num::NonZero;

use common::{Noise, TORCH, compiled, models, operand, plan, profiles, rows, under, vector};
use touchstone_engine::{Engine, Keep, Reference, Run, Value, judge_run};
use touchstone_protocol::descriptor::{Code, Dtype};

const TWO: NonZero<usize> = NonZero::new(2).unwrap();

#[test]
fn whole_models_stay_inside_under_every_profile() {
    let images = rows("digits_vit/inputs/images.npy");
    let plan = compiled(&models().join("digits_vit/model.onnx"));
    for (name, word) in profiles() {
        let plan = under(&plan, word);
        let mut largest = [0.0f64; 2];
        for image in &images[..10] {
            for (side, engine) in [(0, &*TORCH as &dyn Engine), (1, &Reference)] {
                let run = engine.run(&plan, std::slice::from_ref(image), Keep::All).unwrap();
                let report = judge_run(&plan, &run, TWO).unwrap();
                assert!(report.is_right(), "{name} on {}: {report:?}", engine.name());
                largest[side] = report.families.values().map(|w| w.share).fold(largest[side], f64::max);
            }
        }
        println!(
            "{name}: largest honest share libtorch {:.5}, reference {:.5}",
            largest[0], largest[1]
        );
    }
}

/// A worker that saves itself the width is outside: the engine's numbers under one profile do not pass under a narrower one.
#[test]
fn a_run_under_fast_does_not_pass_as_wide() {
    let images = rows("digits_vit/inputs/images.npy");
    let plan = compiled(&models().join("digits_vit/model.onnx"));
    let [(_, fast), _, (_, wide), ..] = profiles();
    let run = TORCH
        .run(&under(&plan, fast), std::slice::from_ref(&images[0]), Keep::All)
        .unwrap();
    let report = judge_run(&under(&plan, wide), &run, TWO).unwrap();
    assert!(
        report.outside > 1000,
        "{} of {} elements",
        report.outside,
        report.elements
    );
    println!(
        "{} of {} elements of a fast run are outside under wide",
        report.outside, report.elements
    );
}

/// Nor does one whose factors were rounded pass where they must not be: bf16 is outside of every other profile.
#[test]
fn a_run_under_bf16_passes_as_nothing_else() {
    let images = rows("digits_vit/inputs/images.npy");
    let plan = compiled(&models().join("digits_vit/model.onnx"));
    let [(_, fast), (_, blocked), (_, wide), (_, tf32), (_, bf16), (_, fp16)] = profiles();
    let run = |word| {
        TORCH
            .run(&under(&plan, word), std::slice::from_ref(&images[0]), Keep::All)
            .unwrap()
    };
    let outside = |run: &Run, word: u64| judge_run(&under(&plan, word), run, TWO).unwrap().outside;
    let rounded = run(bf16);
    for word in [fast, blocked, wide, tf32, fp16] {
        let outside = outside(&rounded, word);
        println!("{outside} elements of a bf16 run are outside under {word:#x}");
        assert!(outside > 0, "{word:#x}");
    }
    // What is rounded less passes where more may be.
    let half = run(fp16);
    assert_ne!(half, rounded);
    assert!(outside(&half, fast) > 0);
    for (from, word) in [
        (fp16, bf16),
        (fp16, tf32),
        (fast, tf32),
        (fast, bf16),
        (fast, fp16),
        (wide, fp16),
    ] {
        assert_eq!(outside(&run(from), word), 0, "{from:#x} under {word:#x}");
    }
    // On the processor TF32 is not used.
    assert_eq!(run(tf32), run(fast));
}

/// Factors are rounded to nearest, ties to even, subnormals of the format kept; addends are not.
#[test]
fn factors_are_rounded_to_the_format() {
    let values = [
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
        1.0 + 1.0 / 2048.0,
        1e-7,
        65_520.0,
        65_519.0,
    ];
    let n = values.len() as u32;
    let (plan, inputs) = plan(
        Code::Contract,
        Dtype::F32,
        &[n],
        &[1],
        &[],
        vec![
            operand(vector(&values), 0, &[1, 0]),
            operand(vector(&vec![1.0; n as usize]), 0, &[1, 0]),
            operand(vector(&values), 0, &[1, 0]),
        ],
    );
    let [.., (_, bf16), (_, fp16)] = profiles();
    for (word, rounded) in [
        (
            bf16,
            [1.0, 1.015_625, 1.0, f32::from_bits(0x33d7_0000), 65_536.0, 65_536.0],
        ),
        (
            fp16,
            [1.003_906_3, 1.011_718_8, 1.0, 2f32.powi(-23), f32::INFINITY, 65_504.0],
        ),
    ] {
        let run = TORCH.run(&under(&plan, word), &inputs, Keep::All).unwrap();
        let expect: Vec<f32> = values.iter().zip(rounded).map(|(c, a)| a + c).collect();
        assert_eq!(run.outputs[0].to_f32().unwrap(), expect, "{word:#x}");
        assert!(judge_run(&under(&plan, word), &run, TWO).unwrap().is_right());
    }
}

/// 2^24 and 4,095 ones: in order the ones are lost one by one, in blocks only what the blocks' sums lose.
#[test]
fn sums_are_made_in_blocks_or_in_binary64() {
    let n = 4_096u32;
    let mut ones = vec![1.0f32; n as usize];
    ones[0] = 16_777_216.0;
    let exact = 16_777_216.0 + f64::from(n - 1);
    let product = plan(
        Code::Contract,
        Dtype::F32,
        &[1],
        &[n],
        &[],
        vec![
            operand(vector(&ones), 0, &[0, 1]),
            operand(vector(&vec![1.0; n as usize]), 0, &[0, 1]),
        ],
    );
    let sum = plan(
        Code::Sum,
        Dtype::F32,
        &[1],
        &[n],
        &[],
        vec![operand(vector(&ones), 0, &[0, 1])],
    );
    for (code, (plan, inputs)) in [("Contract", product), ("Sum", sum)] {
        for (name, word) in profiles() {
            let value = |engine: &dyn Engine| {
                let run = engine.run(&under(&plan, word), &inputs, Keep::Boundary).unwrap();
                run.outputs[0].to_f32().unwrap()[0]
            };
            let (torch, reference) = (value(&*TORCH), value(&Reference));
            println!("{code} under {name}: libtorch {torch}, reference {reference}, exact {exact}");
            assert_eq!(reference, exact as f32);
            match name {
                "wide" => assert_eq!(torch, exact as f32, "{code}"),
                // 255 blocks of 16 ones, and what is left of the first.
                "blocked:16" => assert!(torch >= 16_777_216.0 + 255.0 * 16.0, "{code}: {torch}"),
                _ => {}
            }
        }
    }
}

/// Weights, widened once, give the bits that operands give.
#[test]
fn replays_give_the_same_bits_under_every_profile() {
    let images = rows("digits_vit/inputs/images.npy");
    let plan = compiled(&models().join("digits_vit/model.onnx"));
    for (_, word) in profiles() {
        touchstone_engine::torch::self_test::repeatable(&*TORCH, &under(&plan, word), std::slice::from_ref(&images[1]))
            .unwrap();
    }
}

#[test]
fn a_profile_that_is_none_is_refused_by_name() {
    let mut noise = Noise(1);
    let (plan, inputs): (_, Vec<Value>) = plan(
        Code::Relu,
        Dtype::F32,
        &[4],
        &[],
        &[],
        vec![operand(vector(&noise.floats(4)), 0, &[1])],
    );
    let error = TORCH
        .run(&under(&plan, 7 << 56), &inputs, Keep::All)
        .unwrap_err()
        .to_string();
    assert!(error.contains("profile") && error.contains("kind 7"), "{error}");
}
