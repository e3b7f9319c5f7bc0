//! What a conviction costs, family by family: the real judge inside `convict`, on a network of the real contracts, each call a
//! transaction of its own with its calldata; and the verdict alone. Held against `docs/gas.md`, which may be off by 2 %.
//! `TOUCHSTONE_UPDATE=1` writes the page's table.
//!
//! Limits: half of a transaction's gas (EIP-7825), half of the 128 KiB that nodes pass on, and per verdict what the protocol promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "dispute_play/chain.rs"]
mod chain;
#[path = "dispute_play/model.rs"]
mod model;
mod support;

use chain::{BOND, CHALLENGER, Clocks, Header, Options, START};
use support::{PROFILES, Stage, Stream, TENSOR, bytes_of, elementwise, matmul, operand};
use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::digest::{B256, hash};
use touchstone_protocol::dispute::turns_of_model;
use touchstone_protocol::merkle::MerkleTree;
use touchstone_protocol::model::Profile;
use touchstone_protocol::tensor::TensorTree;

/// Half of what EIP-7825 gives a transaction.
const GAS_LIMIT: u64 = 1 << 23;
/// Bytes of a witness that compile admits.
const WITNESS_LIMIT: usize = 61_440;
/// Bytes of a whole call: half of what nodes pass on.
const CALLDATA_LIMIT: usize = 1 << 16;
/// Operators of the plan, trace values, weights.
const SIZES: [u64; 3] = [128, 64, 64];
/// 1e-5.
const EPSILON: u32 = 0x3727_c5ac;
const F: Dtype = Dtype::F32;

/// An operator, and what its verdict alone may cost.
struct Case {
    name: &'static str,
    descriptor: Descriptor,
    limit: u64,
}

fn case(name: &'static str, descriptor: Descriptor, limit: u64) -> Case {
    Case {
        name,
        descriptor,
        limit,
    }
}

/// Sums and maxima of rows of `n`.
fn row(code: Code, n: u32, params: Vec<u32>) -> Descriptor {
    Descriptor {
        dims: vec![4],
        output_axes: vec![4],
        reduction_axes: vec![n],
        params,
        operands: vec![operand(Place::Trace(0), F, &[4, n], &[n.into(), 1])],
        ..elementwise(code, F, &[], 4)
    }
}

/// Row by row: the element's place is its index on axis 1; scale and bias go by place.
fn rows(code: Code, n: u32, params: Vec<u32>, more: usize) -> Descriptor {
    let mut operands = vec![operand(Place::Trace(0), F, &[4, n], &[n.into(), 0, 1])];
    operands.extend((0..more).map(|_| operand(Place::Weight(0), F, &[n], &[0, 1, 0])));
    Descriptor {
        dims: vec![4, n],
        output_axes: vec![4, n],
        reduction_axes: vec![n],
        params,
        operands,
        ..elementwise(code, F, &[], 0)
    }
}

/// A window over channels that is not contiguous: runs of three terms, each with two bounds.
fn window(channels: u32) -> Descriptor {
    let bounds = [(0, 3), (1, 4)].map(|(out, kernel)| Bound {
        extent: 8,
        constant: -1,
        terms: vec![(out, 1), (kernel, 1)],
    });
    Descriptor {
        dims: vec![8, 8],
        output_axes: vec![8, 8],
        reduction_axes: vec![channels, 3, 3],
        operands: vec![
            Operand {
                base: -9,
                bounds: bounds.to_vec(),
                ..operand(Place::Trace(0), F, &[channels, 8, 8], &[8, 1, 64, 8, 1])
            },
            operand(Place::Weight(0), F, &[channels, 3, 3], &[0, 0, 9, 3, 1]),
        ],
        ..elementwise(Code::Contract, F, &[], 0)
    }
}

fn copy(count: u32) -> Descriptor {
    Descriptor {
        params: vec![0, 0],
        ..elementwise(Code::Copy, F, &[F], count)
    }
}

fn gather() -> Descriptor {
    Descriptor {
        dims: vec![16, 64],
        output_axes: vec![16, 64],
        params: vec![512, 64],
        operands: vec![
            operand(Place::Weight(0), F, &[512, 64], &[0, 1]),
            operand(Place::Trace(0), Dtype::I64, &[16], &[1, 0]),
        ],
        ..elementwise(Code::Gather, F, &[], 0)
    }
}

/// Typical sizes, and the widest that compile admits.
fn cases() -> Vec<Case> {
    vec![
        case("copy", copy(4096), 250_000),
        case("copy of a tensor of 2^20", copy(1 << 20), 250_000),
        case("gather", gather(), 250_000),
        case("add", elementwise(Code::Add, F, &[F, F], 4096), 250_000),
        case("div", elementwise(Code::Div, F, &[F, F], 4096), 250_000),
        case("sqrt", elementwise(Code::Sqrt, F, &[F], 4096), 250_000),
        case("max 256", row(Code::MaxPool, 256, vec![]), 250_000),
        case(
            "position of a maximum, 256",
            Descriptor {
                dtype: Dtype::I64,
                ..row(Code::ArgMax, 256, vec![])
            },
            250_000,
        ),
        case(
            "the same of int64",
            Descriptor {
                dtype: Dtype::I64,
                operands: vec![operand(Place::Trace(0), Dtype::I64, &[4, 256], &[256, 1])],
                ..row(Code::ArgMax, 256, vec![])
            },
            250_000,
        ),
        case("erf", elementwise(Code::Erf, F, &[F], 4096), 250_000),
        case("gelu", elementwise(Code::Gelu, F, &[F], 4096), 250_000),
        case("gelu, tanh form", elementwise(Code::GeluTanh, F, &[F], 4096), 250_000),
        case("tanh", elementwise(Code::Tanh, F, &[F], 4096), 250_000),
        case("sigmoid", elementwise(Code::Sigmoid, F, &[F], 4096), 250_000),
        case("exp", elementwise(Code::Exp, F, &[F], 4096), 250_000),
        case("log", elementwise(Code::Log, F, &[F], 4096), 250_000),
        case("softplus", elementwise(Code::Softplus, F, &[F], 4096), 250_000),
        case("sin", elementwise(Code::Sin, F, &[F], 4096), 250_000),
        case("cos", elementwise(Code::Cos, F, &[F], 4096), 250_000),
        case("pow", elementwise(Code::Pow, F, &[F, F], 4096), 250_000),
        case("contraction 64 + 1", matmul(128, 64, 16, 1), 400_000),
        case("contraction 384 + 1", matmul(128, 384, 16, 1), 600_000),
        case("contraction 1,536 + 1", matmul(16, 1536, 16, 1), 1_200_000),
        case("contraction 4,096 + 1", matmul(4, 4096, 4, 1), 2_500_000),
        case("window of 3 × 3 over 32 channels", window(32), 2_000_000),
        case("sum 4,096", row(Code::Sum, 4096, vec![]), 2_500_000),
        case("mean 512", row(Code::Mean, 512, vec![0]), 600_000),
        case("mean 4,096", row(Code::Mean, 4096, vec![0]), 2_500_000),
        case("softmax 64", rows(Code::Softmax, 64, vec![1], 0), 600_000),
        case("softmax 512", rows(Code::Softmax, 512, vec![1], 0), 2_500_000),
        case("softmax 1,024", rows(Code::Softmax, 1024, vec![1], 0), 5_000_000),
        case("layer norm 64", rows(Code::LayerNorm, 64, vec![EPSILON, 1], 2), 400_000),
        case(
            "layer norm 1,024",
            rows(Code::LayerNorm, 1024, vec![EPSILON, 1], 2),
            1_500_000,
        ),
        case(
            "layer norm 2,048",
            rows(Code::LayerNorm, 2048, vec![EPSILON, 1], 2),
            3_000_000,
        ),
        case(
            "batch norm",
            Descriptor {
                params: vec![EPSILON],
                ..elementwise(Code::BatchNorm, F, &[F; 5], 4096)
            },
            350_000,
        ),
    ]
}

/// Elements of moderate numbers; scores for a softmax, so that no term is negligible; indices for a gather.
fn values(stream: &mut Stream, code: Code, operand: &Operand) -> Vec<u8> {
    let count: u32 = operand.dims.iter().product();
    match (code, operand.dtype) {
        (_, Dtype::I64) => (0..u64::from(count)).flat_map(|i| (i * 31).to_le_bytes()).collect(),
        (Code::Softmax, _) => {
            let score = |stream: &mut Stream| (stream.below(8_000) as f32 / 1000.0 - 4.0).to_bits();
            bytes_of(&(0..count).map(|_| score(stream)).collect::<Vec<_>>())
        }
        // Growing terms: each is the greatest so far.
        (Code::MaxPool | Code::ArgMax, _) => {
            bytes_of(&(0..count).map(|i| (1.0 + i as f32 / 7.0).to_bits()).collect::<Vec<_>>())
        }
        // No variance is negative, no root is NaN: those have short verdicts.
        (Code::BatchNorm | Code::Sqrt, _) => {
            bytes_of(&(0..count).map(|_| stream.number() & 0x7fff_ffff).collect::<Vec<_>>())
        }
        _ => bytes_of(&(0..count).map(|_| stream.number()).collect::<Vec<_>>()),
    }
}

/// A model around the operator, whose values are all in the trace or weights, and a run of it with every element wrong.
fn stage(descriptor: &Descriptor) -> Stage {
    let mut d = descriptor.clone();
    d.layer_inner_count = 0;
    d.place = Place::Trace(7);
    for (number, operand) in (0u32..).zip(&mut d.operands) {
        operand.place = if number == 0 {
            Place::Trace(1)
        } else {
            Place::Weight(number)
        };
    }
    let mut stream = Stream(7);
    let operands: Vec<Vec<u8>> = d.operands.iter().map(|o| values(&mut stream, d.code, o)).collect();
    let count: u32 = d.dims.iter().product();
    // A softmax's results are at most 1; about 2/n too much is wrong, and nothing is short about it.
    let output = match d.code {
        Code::Softmax => bytes_of(&vec![(3.0 / d.terms() as f32).to_bits(); count as usize]),
        Code::ArgMax => vec![0; 8 * count as usize],
        _ => bytes_of(&(0..count).map(|_| stream.number()).collect::<Vec<_>>()),
    };
    let mut stage = Stage::new(&d, &operands, &output);
    let grown = |tree: &MerkleTree, count: u64| {
        let more = (tree.len()..count).map(|i| hash([9, i as u8]));
        MerkleTree::new(tree.leaves().iter().copied().chain(more).collect())
    };
    stage.plan = grown(&stage.plan, SIZES[0]);
    stage.trace = grown(&stage.trace, SIZES[1]);
    stage.weights = grown(&stage.weights, SIZES[2]);
    // What the request and the claim carry: a byte each.
    let byte = TensorTree::new(Dtype::U8, &[1], vec![0]).unwrap().commitment();
    (stage.inputs, stage.outputs) = (vec![byte], vec![byte]);
    stage
}

/// A dispute on a claim of this run: its id and its state.
fn dispute(chain: &mut chain::Chain, stage: &Stage) -> (B256, B256) {
    let model = chain.publish(Header {
        planRoot: stage.plan.root(),
        weightsRoot: stage.weights.root(),
        operators: stage.plan.len() as u32,
        weights: stage.weights.len() as u32,
        traceValues: stage.trace.len() as u32,
        layers: 4,
        profile: Profile::FAST.encode(),
    });
    let options = Options {
        mode: 0,
        callbackGas: 0,
        callbackGasPrice: 0,
        tag: B256::ZERO,
    };
    let (_, claim) = chain.request_and_claim(stage.trace.root(), model, 0, options, START);
    let salt = alloy_primitives::U256::ZERO;
    let dispute = chain.must(chain.disputes, CHALLENGER, BOND, chain::openCall { claim, salt });
    (dispute, chain.view(chain.disputes, chain::stateDigestCall { dispute }))
}

/// Gas of a conviction by this witness, everything that the transaction pays for.
fn convict(chain: &mut chain::Chain, stage: &Stage, witness: &[u8]) -> u64 {
    let start = chain.snapshot();
    let (dispute, state) = dispute(chain, stage);
    let witness = witness.to_vec().into();
    let call = chain::convictCall {
        dispute,
        state,
        witness,
    };
    assert!(alloy_sol_types::SolCall::abi_encode(&call).len() <= CALLDATA_LIMIT);
    chain.must(chain.disputes, CHALLENGER, 0, call);
    let used = chain.used;
    chain.restore(&start);
    chain.at(START);
    used
}

/// A row of the page: gas of the conviction, of the verdict alone, bytes of the witness.
type Row = (&'static str, u64, u64, usize);

#[test]
fn convictions_cost_what_the_page_says() {
    let mut judge = support::evm::Chain::new();
    let clocks = Clocks {
        clock: 120,
        extension: 10,
        max_turns: turns_of_model(SIZES[1] as u32, SIZES[0] as u32) as u16,
    };
    let mut network = chain::Chain::deployed("Judge", clocks);
    network.join();
    let mut table: Vec<Row> = Vec::new();
    for case in cases() {
        let stage = stage(&case.descriptor);
        let witness = stage.witness(3).unwrap();
        let (answer, verdict) = judge.judge(&stage.context(), &witness);
        assert_eq!(
            answer.0, 2,
            "{}: the element is wrong and not convicted, {answer:?}",
            case.name
        );
        let all = convict(&mut network, &stage, &witness);
        assert!(verdict <= case.limit, "{}: {verdict} gas of {}", case.name, case.limit);
        assert!(all <= GAS_LIMIT, "{}: {all} gas", case.name);
        assert!(witness.len() <= WITNESS_LIMIT, "{}: {} bytes", case.name, witness.len());
        table.push((case.name, all, verdict, witness.len()));
    }
    hold(&table);
}

/// Under every profile an element that no engine gives is convicted, and for hardly more than under `fast`.
#[test]
fn every_profile_costs_alike() {
    let mut judge = support::evm::Chain::new();
    for case in cases() {
        let stage = stage(&case.descriptor);
        let witness = stage.witness(3).unwrap();
        let [fast, blocked, wide] = PROFILES.map(|profile| {
            let context = touchstone_protocol::witness::Context {
                profile,
                ..stage.context()
            };
            let (answer, gas) = judge.judge(&context, &witness);
            assert_eq!(answer.0, 2, "{} under {profile:#x}", case.name);
            gas
        });
        println!("{}: fast {fast}, blocked {blocked}, wide {wide}", case.name);
        for gas in [blocked, wide] {
            assert!(gas <= fast + fast / 50, "{}: {gas} gas, {fast} under `fast`", case.name);
        }
        // Where factors may be rounded each product is added up twice.
        for profile in TENSOR {
            let context = touchstone_protocol::witness::Context {
                profile,
                ..stage.context()
            };
            let (answer, gas) = judge.judge(&context, &witness);
            assert_eq!(answer.0, 2, "{} under {profile:#x}", case.name);
            let rounded = documented("a term whose factors may be rounded more") * case.descriptor.terms();
            let more = if case.descriptor.code == Code::Contract {
                rounded
            } else {
                0
            };
            let most = fast + fast / 50 + more;
            assert!(
                gas <= most && gas <= GAS_LIMIT,
                "{}: {gas} gas, {fast} under `fast`",
                case.name
            );
            println!("{}: {gas} under {profile:#x}", case.name);
        }
    }
}

fn page() -> String {
    std::fs::read_to_string(format!("{}/../../docs/gas.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The number of a row of the page that has one.
fn documented(name: &str) -> u64 {
    let page = page();
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | ")));
    row.unwrap().trim_end_matches(" |").parse().unwrap()
}

/// Naming an operator by a longer descriptor and more siblings costs at most what the page says.
#[test]
fn longer_descriptors_cost_what_the_page_says() {
    let [point, byte, sibling] = ["point", "a byte of descriptor more", "a sibling more"].map(documented);
    let clocks = Clocks {
        clock: 140,
        extension: 10,
        max_turns: 9,
    };
    let mut network = chain::Chain::deployed("Judge", clocks);
    network.join();
    // The page's own.
    let toy = model::Model::new(64, 33, 128, 9).descriptors[9].len() as u64;
    let said = format!("there of {toy} bytes, and by its siblings, there 7.");
    assert!(page().contains(&said), "{toy}");
    let mut measure = |stage: &Stage| {
        let start = network.snapshot();
        let (dispute, state) = dispute(&mut network, stage);
        let descriptor = stage.descriptor.encode().unwrap();
        let length = descriptor.len() as u64;
        let call = chain::pointCall {
            dispute,
            state,
            operator_: stage.operator,
            element: 3,
            descriptor: descriptor.into(),
            proof: stage.plan.proof(u64::from(stage.operator)).unwrap(),
        };
        network.must(network.disputes, CHALLENGER, 0, call);
        let used = network.used;
        network.restore(&start);
        network.at(START);
        (length, used)
    };
    let mut dearest: f64 = 0.0;
    for case in cases() {
        let (length, used) = measure(&stage(&case.descriptor));
        let per_byte = (used as f64 - point as f64) / (length - toy) as f64;
        println!(
            "{}: descriptor of {length} bytes, {used} gas, {per_byte:.0} a byte more",
            case.name
        );
        dearest = dearest.max(per_byte);
    }
    assert!(
        dearest <= byte as f64 && dearest * 1.5 >= byte as f64,
        "{dearest} of {byte}"
    );
    let small = stage(&cases()[0].descriptor);
    let (_, before) = measure(&small);
    let mut grown = stage(&cases()[0].descriptor);
    let more = (grown.plan.len()..1 << 10).map(|i| hash([8, i as u8]));
    grown.plan = MerkleTree::new(grown.plan.leaves().iter().copied().chain(more).collect());
    let (_, after) = measure(&grown);
    let per_sibling = (after - before) / 3;
    assert!(
        per_sibling <= sibling && per_sibling * 2 >= sibling,
        "{per_sibling} of {sibling}"
    );
}

const BEGIN: &str = "<!-- table: convictions -->\n";
const END: &str = "<!-- end of table -->\n";
const HEAD: &str = "| conviction | gas | of it the verdict alone | witness bytes |\n|---|---|---|---|\n";

/// The page's table is this one, within 2 %.
fn hold(table: &[Row]) {
    let path = format!("{}/../../docs/gas.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (committed, after) = rest.split_once(END).expect("the table ends");
    let line = |(name, all, verdict, bytes): &Row| format!("| {name} | {all} | {verdict} | {bytes} |\n");
    let measured = HEAD.to_owned() + &table.iter().map(line).collect::<String>();
    println!("{measured}");
    if std::env::var_os("TOUCHSTONE_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{measured}{END}{after}")).unwrap();
        return;
    }
    let lines: Vec<&str> = committed.lines().skip(2).collect();
    assert_eq!(
        lines.len(),
        table.len(),
        "docs/gas.md has other rows; measured:\n{measured}"
    );
    for (line, (name, all, verdict, bytes)) in lines.iter().zip(table) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[1], *name, "docs/gas.md has another order of rows");
        for (cell, number) in cells[2..].iter().zip([*all, *verdict, *bytes as u64]) {
            let documented: u64 = cell.parse().unwrap_or_default();
            assert!(
                documented.abs_diff(number) * 50 <= number,
                "docs/gas.md has {documented} for {name}, measured {number}; TOUCHSTONE_UPDATE=1 writes it"
            );
        }
    }
}
