//! The compiled judge in an in-process EVM.

use std::path::Path;

use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm};
use touchstone_protocol::witness::{Context, Outcome, judge};

type Evm = MainnetEvm<revm::handler::MainnetContext<CacheDB<EmptyDB>>>;

/// Cap on one transaction's gas (EIP-7825).
const GAS: u64 = 1 << 24;

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
