//! What judging one element costs at worst: bytes of witness, gas of the verdict (PROTOCOL.md sections 5 and 6).

use touchstone_protocol::{
    descriptor::{Code, Descriptor, Operand, Place},
    merkle,
    model::{Kind, Profile},
    parts,
    tensor::chunk_count,
};

use crate::{
    ir::{self, Op, Value},
    limits::{self, CHUNK_BYTES},
    plan::Plan,
};

/// Greatest number of chunks that an operand's terms span for any element, from above.
pub(crate) fn worst_chunks(op: &Op, operand: usize, value: &Value) -> u64 {
    let map = &op.operands[operand];
    let extents: Vec<u32> = op.extents().collect();
    chunks(
        &extents,
        op.axes.len(),
        map.base,
        &map.strides,
        map.bounds.is_empty(),
        value.dtype.size(),
        value.bytes(),
    )
}

fn chunks(
    extents: &[u32],
    outputs: usize,
    base: i64,
    strides: &[i64],
    unbounded: bool,
    size: usize,
    bytes: u64,
) -> u64 {
    let total = chunk_count(bytes);
    let terms = extents[outputs..].iter().zip(&strides[outputs..]);
    let reach = terms.fold(0u64, |reach, (extent, stride)| {
        reach.saturating_add((u64::from(*extent).saturating_sub(1)).saturating_mul(stride.unsigned_abs()))
    });
    let span = reach.saturating_add(1).saturating_mul(size as u64);
    // Every span starts at a multiple of this.
    let mixed = !unbounded || strides[outputs..].iter().any(|stride| *stride < 0);
    let starts = extents
        .iter()
        .zip(strides)
        .take(if mixed { extents.len() } else { outputs });
    let steps = starts
        .filter(|(extent, _)| **extent > 1)
        .map(|(_, stride)| stride.unsigned_abs());
    let align = steps
        .chain([base.unsigned_abs()])
        .fold(CHUNK_BYTES, |align, step| gcd(align, step.saturating_mul(size as u64)));
    let first = CHUNK_BYTES - align.min(CHUNK_BYTES);
    (first.saturating_add(span - 1) / CHUNK_BYTES + 1).min(total)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Worst cost of one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Bytes of a witness, from above.
    pub witness_bytes: u64,
    /// Gas of a verdict as a transaction of its own, from above for data that are not chosen to be dear.
    pub verdict_gas: u64,
}

/// Gas of such a word: its calldata, reading, adding and hashing it.
const PART_WORD_GAS: u64 = 1_000;
/// Words of calldata that a move on parts may carry beside its witness and the sums: header, positions, lengths.
const PART_HEADS: u64 = 8;
/// Sums in it: a node's and those of eight parts, and what it takes to add them up.
const PART_SUMS: u64 = 12;

/// The worst cost of judging an element of operator `d` of `plan`; `length` is the encoded descriptor's. Of a row that is judged by parts it is
/// the dearest of its moves: the totals, or the proof of one part.
pub(crate) fn cost(plan: &Plan, d: &Descriptor, length: usize) -> Cost {
    let depth = |count: u64| u64::from(merkle::depth(count));
    let place_depth = |place: Place| match place {
        Place::Input(_) | Place::Output(_) => 0,
        Place::Weight(_) => depth(plan.weights.len() as u64),
        Place::Trace(_) => depth(u64::from(plan.trace_count)),
        Place::Inner(_) => depth(u64::from(d.layer_inner_count)),
    };
    // Chunks and hashes of one opening, from above: a range of chunks has at most two siblings a level, one chunk has one.
    let opening = |place: Place, chunks: u64, bytes: u64| {
        let siblings = if chunks <= 1 { 1 } else { 2 } * depth(chunk_count(bytes));
        (chunks, 1 + place_depth(place) + siblings)
    };
    let bytes = |dims: &[u32], size: usize| ir::elements(dims) * size as u64;
    let extents: Vec<u32> = d.output_axes.iter().chain(&d.reduction_axes).copied().collect();
    let output = opening(d.place, 1, bytes(&d.dims, d.dtype.size()));
    let long = parts::is_long(d);
    let operands = d.operands.iter().enumerate().map(|(number, operand)| {
        let bytes = bytes(&operand.dims, operand.dtype.size());
        let size = operand.dtype.size();
        let chunks = if long && number < d.code.term_operands() {
            // A part is some terms in a row, from anywhere in a chunk on.
            (parts::LEAF_TERMS * size as u64 / CHUNK_BYTES + 1).min(chunk_count(bytes))
        } else {
            let unbounded = operand.bounds.is_empty();
            let outputs = d.output_axes.len();
            chunks(
                &extents,
                outputs,
                operand.base,
                &operand.strides,
                unbounded,
                size,
                bytes,
            )
        };
        opening(operand.place, chunks, bytes)
    });
    let openings: Vec<(u64, u64)> = [output].into_iter().chain(operands).collect();
    let (chunks, hashes) = openings
        .iter()
        .fold((0, 0), |(chunks, hashes), one| (chunks + one.0, hashes + one.1));
    let lists = 2 + 32 * (plan.inputs.len() + plan.outputs.len()) as u64;
    let hashes = hashes + depth(plan.operators.len() as u64);
    let witness_bytes = 14 + length as u64 + lists + 32 * hashes + CHUNK_BYTES * chunks;
    let openings = openings.len() as u64;
    let terms = if long { parts::LEAF_TERMS } else { d.terms() };
    let each = if long { part_term_gas(d.code) } else { term_gas(d.code) };
    let each = each + rounding_gas(plan.profile, d.code);
    let walked = run_gas(d).saturating_add(each.saturating_mul(terms));
    let words = match long {
        true => PART_HEADS + PART_SUMS * parts::word_count(d, plan.profile) as u64,
        false => 0,
    };
    let computed = (50_000 + 15_000 * openings + 16 * witness_bytes + PART_WORD_GAS * words).saturating_add(walked);
    let verdict_gas = computed.max(TRANSACTION_GAS + CALLDATA_FLOOR * (CALL_BYTES + witness_bytes));
    Cost {
        witness_bytes,
        verdict_gas,
    }
}

/// Gas that every transaction costs.
pub(crate) const TRANSACTION_GAS: u64 = 21_000;
/// The least that a byte of calldata costs where little is computed (EIP-7623), were none of them 0.
const CALLDATA_FLOOR: u64 = 40;
/// Bytes of a call besides the witness: selector, the judge's context, offset, length, padding.
const CALL_BYTES: u64 = 4 + 32 * 18;

/// Gas a term, hashing its bytes included: what `crates/protocol/tests/gas.rs` measures, rounded up by about a tenth. Rows whose
/// data are chosen to be dear may cost somewhat more; the caps leave room for it.
const fn term_gas(code: Code) -> u64 {
    match code {
        Code::Contract => 450,
        Code::Sum | Code::Mean => 370,
        Code::MaxPool | Code::ArgMax => 320,
        Code::Softmax => 2_450,
        Code::LayerNorm => 870,
        Code::Erf | Code::Gelu | Code::GeluTanh | Code::Tanh | Code::Sigmoid | Code::Exp => 15_000,
        Code::Log | Code::Softplus | Code::Sin | Code::Cos | Code::Pow => 15_000,
        _ => 10_000,
    }
}

/// Gas that a term of a contraction costs more where its factors may be rounded: each product is added up twice.
pub(crate) const ROUNDING_GAS: u64 = 550;

fn rounding_gas(profile: u64, code: Code) -> u64 {
    match Profile::decode(profile).map(|profile| profile.kind) {
        Ok(Kind::Tensor(_)) if code == Code::Contract => ROUNDING_GAS,
        _ => 0,
    }
}

/// The same of a part's term: as the table *Parts* of docs/gas.md has it, rounded up.
const fn part_term_gas(code: Code) -> u64 {
    match code {
        Code::LayerNorm => 1_150,
        Code::MaxPool => 430,
        Code::ArgMax => 850,
        Code::Softmax => 1_450,
        _ => term_gas(code),
    }
}

/// Runs of terms along the last reduction axis that an element has: the judge walks an index map run by run.
pub(crate) fn runs(reduction: &[u32]) -> u64 {
    let outer = reduction.split_last().map_or(&[][..], |(_, outer)| outer);
    outer
        .iter()
        .fold(1, |runs: u64, extent| runs.saturating_mul((*extent).into()))
}

/// Gas of walking the runs of the operands that are read at every term, from above. Measured a run and operand, over all walks:
/// 7,300, and 3,850 for each bound.
fn run_gas(d: &Descriptor) -> u64 {
    let operands = d.operands.iter().take(d.code.term_operands());
    let gas = operands.fold(0, |gas, operand| gas + 8_500 + 4_000 * operand.bounds.len() as u64);
    runs(&d.reduction_axes).saturating_mul(gas)
}

/// Whether an operand's terms are not consecutive elements.
fn is_scattered(d: &Descriptor, operand: &Operand) -> bool {
    let terms = &operand.strides[d.output_axes.len()..];
    let dense = operand.bounds.is_empty() && terms == ir::row_major(&d.reduction_axes);
    !(d.reduction_axes.is_empty() || dense)
}

/// Greatest number of chunks that the first operand's terms span, where they are not consecutive elements.
fn scattered_chunks(d: &Descriptor) -> Option<u64> {
    let operand = d.operands.first().filter(|operand| is_scattered(d, operand))?;
    let extents: Vec<u32> = d.output_axes.iter().chain(&d.reduction_axes).copied().collect();
    let size = operand.dtype.size();
    let bytes = ir::elements(&operand.dims) * size as u64;
    Some(chunks(
        &extents,
        d.output_axes.len(),
        operand.base,
        &operand.strides,
        operand.bounds.is_empty(),
        size,
        bytes,
    ))
}

/// Whether a row is longer than a profile allows, with the remedy. Such a row may have no descriptor, so this is looked at first.
pub(crate) fn too_long(d: &Descriptor, profile: u64) -> Option<String> {
    let (terms, most) = (d.terms(), parts::most_terms(profile));
    if terms <= most {
        return None;
    }
    let remedy = if terms <= parts::most_terms(Profile::WIDE.encode()) {
        "publish it under the profile `wide`, or split it"
    } else {
        "split it"
    };
    Some(format!(
        "a row of {terms} terms, at most {most} can be judged under this profile: {remedy}"
    ))
}

/// The first cap of PROTOCOL.md section 5 that an operator exceeds.
pub(crate) fn exceeded(d: &Descriptor, cost: Cost) -> Option<String> {
    let terms = d.terms();
    if parts::is_long(d) {
        let mut operands = d.operands.iter().take(d.code.term_operands());
        if operands.any(|operand| is_scattered(d, operand)) {
            return Some(format!(
                "a row of {terms} terms that has to be judged by parts, and whose terms do not lie one after the other: pad the operand by a \
                 `Pad` of its own, or let the mean count the padding"
            ));
        }
    } else if let Some(chunks) = scattered_chunks(d).filter(|chunks| *chunks > limits::SPAN_CHUNKS) {
        return Some(format!(
            "a window that spans {chunks} chunks, at most {} can be opened",
            limits::SPAN_CHUNKS
        ));
    }
    if cost.witness_bytes > limits::WITNESS_BYTES {
        return Some(format!(
            "a witness of {} bytes, at most {}",
            cost.witness_bytes,
            limits::WITNESS_BYTES
        ));
    }
    if cost.verdict_gas > limits::VERDICT_GAS {
        return Some(format!(
            "a verdict of {} gas, at most {}",
            cost.verdict_gas,
            limits::VERDICT_GAS
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use touchstone_protocol::{model::Profile, parts};

    use crate::{CompileError, CompileOptions, Plan, compile, testing::Model};

    fn refused(model: &Model) -> String {
        match model.compile() {
            Err(error @ CompileError::TooCostly(_)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn product(terms: i64) -> Model {
        Model::new()
            .input("x", 1, &[1, terms])
            .output("y")
            .weight("w", &[terms, 2])
            .node("MatMul", "x w", "y")
    }

    fn compile_under(model: &Model, profile: Profile) -> Result<Plan, CompileError> {
        let options = CompileOptions {
            profile: profile.encode(),
            ..Default::default()
        };
        compile(&model.bytes(), &options)
    }

    #[test]
    fn rows_end_where_no_profile_can_judge_them_and_the_remedy_is_named() {
        // One row of `terms` ones, made of one: no weight of that size in the file.
        let sum = |terms: i64| {
            let model = Model::new().input("x", 1, &[1]).output("y").ints("shape", &[terms]);
            model.node("Expand", "x shape", "e").node("ReduceSum", "e", "y")
        };
        for (profile, most, remedy) in [
            (Profile::FAST, 1 << 20, "publish it under the profile `wide`"),
            (Profile::WIDE, 1 << 24, ": split it"),
        ] {
            let plan = compile_under(&sum(most), profile).unwrap();
            assert_eq!(crate::testing::codes(&plan), "Copy Sum");
            let error = compile_under(&sum(most + 1), profile).unwrap_err().to_string();
            assert!(
                error.contains("`y`")
                    && error.contains(&format!("at most {most} can be judged"))
                    && error.contains(remedy),
                "{error}"
            );
        }
        let error = compile_under(&sum((1 << 24) + 1), Profile::FAST)
            .unwrap_err()
            .to_string();
        assert!(!error.contains("`wide`"), "{error}");
    }

    #[test]
    fn what_is_judged_by_parts_costs_a_part_and_lies_in_a_row() {
        let input = |dims: &[i64]| Model::new().input("x", 1, dims).output("y");
        let models = [
            (product(4_097), "Contract"),
            (input(&[2, 5_000]).node("Softmax", "x", "y"), "Softmax"),
            (
                input(&[2, 5_000])
                    .weight("s", &[5_000])
                    .node("LayerNormalization", "x s", "y"),
                "LayerNorm",
            ),
            // Columns, not rows: laid out.
            (
                input(&[5_000, 3]).node("Softmax", "x", "y").int("axis", 0),
                "Copy Softmax",
            ),
            (
                input(&[5_000, 3]).node("ArgMax", "x", "y").int("axis", 0),
                "Copy ArgMax",
            ),
            (input(&[1_100, 1]).node("ArgMax", "x", "y").int("axis", 0), "ArgMax"),
            (
                input(&[1, 1, 80, 70])
                    .node("MaxPool", "x", "y")
                    .list("kernel_shape", &[70, 60]),
                "Copy MaxPool",
            ),
            (
                input(&[1, 1, 80, 70])
                    .node("AveragePool", "x", "y")
                    .list("kernel_shape", &[70, 60]),
                "Copy Mean",
            ),
        ];
        for (model, expected) in models {
            let plan = model.plan();
            assert_eq!(crate::testing::codes(&plan), expected);
            let long = plan.operators.last().unwrap();
            assert!(parts::is_long(long), "{long:?}");
            for operand in long.operands.iter().take(long.code.term_operands()) {
                assert!(!super::is_scattered(long, operand), "{long:?}");
            }
            let cost = plan.inspect().operators.last().unwrap().cost;
            assert!(cost.witness_bytes < 16_384 && cost.verdict_gas < 3_000_000, "{cost:?}");
        }
    }

    #[test]
    fn a_mean_that_counts_its_terms_is_not_filled_up() {
        let pool = Model::new()
            .input("x", 1, &[1, 1, 80, 70])
            .output("y")
            .node("AveragePool", "x", "y")
            .list("kernel_shape", &[70, 60])
            .list("pads", &[1; 4]);
        let error = refused(&pool);
        assert!(error.contains("judged by parts") && error.contains("`Pad`"), "{error}");
        let counted = pool.int("count_include_pad", 1);
        assert_eq!(crate::testing::codes(&counted.plan()), "Copy Mean");
    }

    #[test]
    fn wide_windows_are_laid_out_or_refused() {
        // Two rows of an image 10,000 wide: 40 KiB apart, more than 64 chunks.
        let pool = |op: &str, padding: i64| {
            let image = Model::new()
                .input("x", 1, &[1, 1, 3, 10_000])
                .output("y")
                .node(op, "x", "y");
            image
                .list("kernel_shape", &[2, 2])
                .list("pads", &[padding, 0, padding, 0])
        };
        assert_eq!(crate::testing::codes(&pool("MaxPool", 1).plan()), "Copy MaxPool");
        assert_eq!(crate::testing::codes(&pool("AveragePool", 0).plan()), "Copy Mean");
        // Filling up would change what a mean over the elements within the image divides by.
        assert!(refused(&pool("AveragePool", 1)).contains("chunks"));
    }

    #[test]
    fn all_that_is_too_costly_is_listed() {
        let pool = |model: Model, from: &str, to: &str| {
            let node = model.node("AveragePool", from, to).list("kernel_shape", &[2, 2]);
            node.list("pads", &[1, 0, 1, 0])
        };
        let image = Model::new().input("x", 1, &[1, 1, 3, 10_000]).output("y").output("q");
        let model = pool(pool(image, "x", "y").node("Relu", "y", "z"), "z", "q");
        let error = refused(&model);
        assert!(
            error.contains("2 operator(s)") && error.contains("operator 0 `y`") && error.contains("operator 2 `q`"),
            "{error}"
        );
    }

    #[test]
    fn the_estimate_of_parts_is_above_what_is_measured_and_near_it() {
        // From docs/gas.md, table *Parts*: the dearer of totals and a leaf, of 2^16 terms.
        let row = |dtype: i32, op: &str, inputs: &str| {
            let model = Model::new().input("x", dtype, &[1, 65_536]).output("y");
            let model = if op == "LayerNormalization" {
                model.weight("s", &[65_536])
            } else {
                model
            };
            model.node(op, inputs, "y")
        };
        for (model, measured) in [
            (row(1, "ReduceSum", "x"), 469_757),
            (row(1, "ReduceMean", "x"), 470_323),
            (row(1, "Softmax", "x"), 1_353_306),
            (row(1, "LayerNormalization", "x s"), 1_327_009),
            (row(1, "ReduceMax", "x"), 591_269),
            (row(7, "ArgMax", "x").int("axis", 1), 968_825),
        ] {
            let plan = model.plan();
            let gas = plan.inspect().operators[0].cost.verdict_gas;
            assert!((measured..measured * 7 / 4).contains(&gas), "{gas} against {measured}");
        }
    }

    /// What a scattered window costs is its runs, and beyond the cap neither side could send its witness.
    #[test]
    fn windows_of_many_runs_are_laid_out_or_refused() {
        let pool = |op: &str, kernel: [i64; 2], padding: i64| {
            let image = Model::new().input("x", 1, &[1, 1, kernel[0], kernel[1]]).output("y");
            let node = image.node(op, "x", "y").list("kernel_shape", &kernel);
            node.list("pads", &[padding; 4])
        };
        // 2,048 runs of two terms with two bounds: 31.2 M gas measured.
        let error = refused(&pool("AveragePool", [2_048, 2], 1));
        assert!(error.contains("gas, at most 8388608"), "{error}");
        // 1,365 of three: 20.9 M.
        let error = refused(&pool("AveragePool", [1_365, 3], 1));
        assert!(error.contains("gas, at most 8388608"), "{error}");
        // Laid out, they are one run each.
        assert_eq!(
            crate::testing::codes(&pool("MaxPool", [512, 2], 1).plan()),
            "Copy MaxPool"
        );
        let sum = Model::new()
            .input("x", 1, &[1, 1, 2])
            .output("y")
            .ints("shape", &[1_024, 2, 2])
            .node("Expand", "x shape", "e")
            .node("ReduceSum", "e", "y");
        let plan = sum.plan();
        for operator in plan.inspect().operators {
            assert!(operator.cost.verdict_gas < 4_000_000, "{operator:?}");
        }
    }
}
