//! The compiled judge in an in-process EVM.

use std::path::Path;

use alloy_primitives::{Address, Bytes, TxKind, U256, hex, keccak256};
use alloy_sol_types::{SolCall, sol};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm};
use touchstone_protocol::parts::Header;
use touchstone_protocol::witness::{Context, Outcome, judge, judge_part, judge_totals};

type Evm = MainnetEvm<revm::handler::MainnetContext<CacheDB<EmptyDB>>>;

/// Cap on one transaction's gas (EIP-7825).
const GAS: u64 = 1 << 24;

sol! {
    struct OnChainContext {
        bytes32 planRoot; bytes32 weightsRoot; bytes32 traceRoot; bytes32 layerRoot; uint32 layer; bool layerStands;
        bytes32 inputs; bytes32 outputs; uint32 operators; uint32 weights; uint32 traceValues; uint32 inputCount;
        uint32 outputCount; uint64 profile;
    }
    struct OnChainOutcome { uint8 verdict; uint8 reason; uint32 operator_; uint32 layer; uint64 element; }
    function judgeTotals(OnChainContext context, bytes witness, uint256 free, uint256[] totals)
        returns (OnChainOutcome outcome, uint256[3] header);
    function judgePart(OnChainContext context, bytes witness, uint32 leaf, uint256[3] header, uint256[] sums)
        returns (OnChainOutcome outcome);
}

/// A chain with the judge on it.
pub struct Chain {
    evm: Evm,
    judge: Address,
    parts: Address,
    selector: [u8; 4],
}

/// What the contract answers: verdict, reason, operator, layer, element.
pub type Answer = (u8, u8, u32, u32, u64);

impl Chain {
    pub fn new() -> Self {
        let context = revm::Context::mainnet()
            .with_db(CacheDB::<EmptyDB>::default())
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
                cfg.disable_nonce_check = true;
            });
        let mut chain = Self {
            evm: context.build_mainnet(),
            judge: Address::ZERO,
            parts: Address::ZERO,
            selector: selector(),
        };
        chain.parts = chain.deploy("PartJudge", &[]);
        let parts = chain.parts.into_word();
        chain.judge = chain.deploy("Judge", parts.as_slice());
        chain
    }

    /// Deploys a contract of `contracts/artifacts` with ABI-encoded constructor arguments.
    pub fn deploy(&mut self, name: &str, arguments: &[u8]) -> Address {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../contracts/artifacts/{name}.json"));
        let text = std::fs::read_to_string(&path).expect("artifact");
        let artifact: serde_json::Value = serde_json::from_str(&text).expect("artifact is JSON");
        let code: Bytes = artifact["bytecode"]
            .as_str()
            .expect("bytecode")
            .parse()
            .expect("bytecode is hexadecimal");
        let code = Bytes::from([&code, arguments].concat());
        let transaction = TxEnv::builder()
            .gas_limit(GAS)
            .kind(TxKind::Create)
            .data(code)
            .build()
            .expect("transaction");
        let result = self.evm.transact_commit(transaction).expect("deployment");
        match result {
            ExecutionResult::Success {
                output: Output::Create(_, Some(address)),
                ..
            } => address,
            other => panic!("{name} was not deployed: {other:?}"),
        }
    }

    /// Output and gas, calldata included, of a call that must succeed.
    pub fn call(&mut self, to: Address, data: Bytes) -> (Bytes, u64) {
        let transaction = TxEnv::builder()
            .gas_limit(GAS)
            .kind(TxKind::Call(to))
            .data(data)
            .build()
            .expect("transaction");
        let result = self.evm.transact(transaction).expect("call").result;
        match result {
            ExecutionResult::Success {
                output: Output::Call(bytes),
                gas,
                ..
            } => (bytes, gas.tx_gas_used()),
            other => panic!("the call did not succeed: {other:?}"),
        }
    }

    /// The contract's answer and its gas.
    pub fn judge(&mut self, context: &Context, witness: &[u8]) -> (Answer, u64) {
        let (bytes, gas) = self.call(self.judge, calldata(self.selector, context, witness));
        assert_eq!(bytes.len(), 160);
        let word = |at: usize| U256::from_be_slice(&bytes[32 * at..32 * at + 32]);
        (
            (word(0).to(), word(1).to(), word(2).to(), word(3).to(), word(4).to()),
            gas,
        )
    }

    /// Asks both for the verdict by totals, holds them equal; what they say, and the contract's gas.
    pub fn totals(&mut self, context: &Context, witness: &[u8], free: U256, totals: &[U256]) -> (Outcome, Header, u64) {
        let (ours, header) = judge_totals(context, witness, free, totals);
        let call = judgeTotalsCall {
            context: on_chain(context),
            witness: witness.to_vec().into(),
            free,
            totals: totals.to_vec(),
        };
        let (bytes, gas) = self.call(self.parts, call.abi_encode().into());
        let theirs = judgeTotalsCall::abi_decode_returns(&bytes).expect("an outcome");
        let what = || format!("free {free}, totals {totals:?}, witness 0x{}", hex::encode(witness));
        assert_eq!(answer(&ours), answer_of(&theirs.outcome), "{}", what());
        assert_eq!(header.words(), theirs.header, "{}", what());
        (ours, header, gas)
    }

    /// Asks both for the verdict on a leaf, holds them equal; what they say, and the contract's gas.
    pub fn part(
        &mut self,
        context: &Context,
        witness: &[u8],
        leaf: u32,
        header: &Header,
        sums: &[U256],
    ) -> (Outcome, u64) {
        let ours = judge_part(context, witness, leaf, header, sums);
        let call = judgePartCall {
            context: on_chain(context),
            witness: witness.to_vec().into(),
            leaf,
            header: header.words(),
            sums: sums.to_vec(),
        };
        let (bytes, gas) = self.call(self.parts, call.abi_encode().into());
        let theirs = judgePartCall::abi_decode_returns(&bytes).expect("an outcome");
        let what = || format!("{leaf} {header:?} {sums:?}, witness 0x{}", hex::encode(witness));
        assert_eq!(answer(&ours), answer_of(&theirs), "{}", what());
        (ours, gas)
    }

    /// Asks both judges, holds them equal, gives what they say.
    pub fn both(&mut self, context: &Context, witness: &[u8]) -> Outcome {
        let outcome = judge(context, witness);
        let (verdict, reason) = outcome.verdict.codes();
        let ours = (verdict, reason, outcome.operator, outcome.layer, outcome.element);
        let (theirs, _) = self.judge(context, witness);
        assert_eq!(
            ours,
            theirs,
            "Rust says the first, the contract the second; witness 0x{}",
            alloy_primitives::hex::encode(witness)
        );
        outcome
    }
}

fn answer(outcome: &Outcome) -> Answer {
    let (verdict, reason) = outcome.verdict.codes();
    (verdict, reason, outcome.operator, outcome.layer, outcome.element)
}

fn answer_of(outcome: &OnChainOutcome) -> Answer {
    let o = outcome;
    (o.verdict, o.reason, o.operator_, o.layer, o.element)
}

fn on_chain(c: &Context) -> OnChainContext {
    let (layer, root) = c.layer.unwrap_or_default();
    OnChainContext {
        planRoot: c.plan_root,
        weightsRoot: c.weights_root,
        traceRoot: c.trace_root,
        layerRoot: root,
        layer,
        layerStands: c.layer.is_some(),
        inputs: c.inputs,
        outputs: c.outputs,
        operators: c.operators,
        weights: c.weights,
        traceValues: c.trace_values,
        inputCount: c.input_count,
        outputCount: c.output_count,
        profile: c.profile,
    }
}

fn selector() -> [u8; 4] {
    let context =
        "(bytes32,bytes32,bytes32,bytes32,uint32,bool,bytes32,bytes32,uint32,uint32,uint32,uint32,uint32,uint64)";
    let hash = keccak256(format!("judge({context},bytes)"));
    [hash[0], hash[1], hash[2], hash[3]]
}

fn calldata(selector: [u8; 4], c: &Context, witness: &[u8]) -> Bytes {
    let number = |value: u64| U256::from(value).to_be_bytes::<32>();
    let (layer, layer_root) = c.layer.unwrap_or_default();
    let mut data = selector.to_vec();
    for word in [c.plan_root, c.weights_root, c.trace_root, layer_root] {
        data.extend(word.0);
    }
    data.extend(number(layer.into()));
    data.extend(number(c.layer.is_some().into()));
    data.extend(c.inputs.0);
    data.extend(c.outputs.0);
    for count in [c.operators, c.weights, c.trace_values, c.input_count, c.output_count] {
        data.extend(number(count.into()));
    }
    data.extend(number(c.profile));
    data.extend(number(15 * 32));
    data.extend(number(witness.len() as u64));
    data.extend(witness);
    data.resize(data.len().next_multiple_of(32) + 4, 0);
    data.into()
}
