//! Honest work is never outside: 200 runs over the digits test images, a worker on libtorch and a challenger on the reference engine,
//! every element of every operator judged. Prints how much of its envelope each family takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::num::NonZero;

use common::{compiled, models, rows};
use touchstone_engine::{Engine, Keep, Options, Reference, Report, Torch, judge_run};

const RUNS: usize = 200;
const TWO: NonZero<usize> = NonZero::new(2).unwrap();

#[test]
fn two_hundred_honest_runs_stay_inside() {
    let plan = compiled(&models().join("digits_vit/model.onnx"));
    let images = rows("digits_vit/inputs/images.npy");
    let torch = |threads| {
        Torch::new(Options {
            device: Default::default(),
            threads,
        })
        .unwrap()
    };
    let workers = [torch(1), torch(2)];
    let (mut worker, mut challenger) = (Report::default(), Report::default());
    let (mut apart, mut differing) = (0.0f32, 0);
    for image in &images[..RUNS] {
        let run = |engine: &dyn Engine| engine.run(&plan, std::slice::from_ref(image), Keep::All).unwrap();
        let by_worker = run(&workers[0]);
        let on_two = run(&workers[1]);
        let by_challenger = run(&Reference);
        worker.merge(&judge_run(&plan, &by_worker, TWO).unwrap());
        // The same bits have the same verdict.
        if on_two != by_worker {
            differing += 1;
            worker.merge(&judge_run(&plan, &on_two, TWO).unwrap());
        }
        challenger.merge(&judge_run(&plan, &by_challenger, TWO).unwrap());
        let (a, b) = (
            by_worker.outputs[0].to_f32().unwrap(),
            by_challenger.outputs[0].to_f32().unwrap(),
        );
        apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
    }
    println!(
        "{RUNS} runs; {differing} differ in bits between 1 and 2 threads; logits of worker and challenger at most {apart:e} apart"
    );
    for (family, worst) in &worker.families {
        let other = challenger.families[family].share;
        println!(
            "{family:?}: largest honest share libtorch {:.5}, reference {other:.5}",
            worst.share
        );
    }
    for (side, report) in [("worker", &worker), ("challenger", &challenger)] {
        assert!(
            report.is_right(),
            "{side}: {:?} of {} elements: {:?}",
            report.outside,
            report.elements,
            report.worst_outside
        );
    }
    assert!(worker.elements >= RUNS as u64 * 50_000);
}
