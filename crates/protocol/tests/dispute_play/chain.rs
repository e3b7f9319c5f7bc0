//! The market and the disputes contract in an in-process EVM, with the judge that believes the witness or with the real one.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use k256::ecdsa::SigningKey;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{ExecuteEvm, MainBuilder, MainContext, MainnetEvm};

use super::model::Model;

sol! {
    struct Parameters {
        uint64 windowSeconds; uint64 deadlineSeconds; uint64 limitSeconds; uint64 clockSeconds; uint64 extensionSeconds;
        uint16 maxTurns; uint16 workerShare; uint16 posterShare; uint16 publisherShare; uint128 workerBond; uint128 bondFloor;
        uint64 answerGas;
    }
    struct Header {
        bytes32 planRoot; bytes32 weightsRoot; uint32 operators; uint32 weights; uint32 traceValues; uint32 layers; uint64 profile;
    }
    struct Options { uint8 mode; uint32 callbackGas; uint128 callbackGasPrice; bytes32 tag; }
    struct Terms { uint256 request; uint32 attempt; address worker; bytes32 traceRoot; address poster; uint64 validUntil; }
    struct Claim {
        uint8 status; uint32 attempt; uint32 openDisputes; address worker; address node; uint64 windowEnd; address poster;
        uint256 request; bytes32 outputs; bytes32 traceRoot;
    }
    struct Ledger { uint256 stakes; uint256 escrow; uint256 bonds; uint256 setAside; uint256 credits; uint256 burned; }
    struct OnChainPosition {
        uint32 moves; uint8 phase; uint8 tree; uint32 layer; bytes32 node; uint8 depth; uint32 index; uint32 operator_;
        uint64 element;
    }
    struct OnChainDispute {
        bytes32 claim; address challenger; OnChainPosition position; uint32 count; uint16 turns; uint64 deadline;
        uint32 challengerLeft; uint32 workerLeft; uint256 bond; uint256 challengerCost; uint256 workerCost;
    }

    function publish(Header header, bytes io, string uri, bytes32 digest, uint256 price) returns (bytes32);

    function stake();
    function setNode(address node);
    function request(bytes32 model, bytes inputs, Options options) returns (uint256);
    function claim(Terms terms, bytes outputs, bytes signature) returns (bytes32);
    function claimDigest(Terms terms, bytes outputs) returns (bytes32);
    function finalize(uint256 request);
    function deliver(uint256 request, bytes outputs);
    function withdraw(address to) returns (uint256);
    function claimOf(bytes32 claim) returns (Claim);
    function creditOf(address account) returns (uint256);
    function ledger() returns (Ledger);

    function open(bytes32 claim, uint256 salt) returns (bytes32);
    function openAndConvict(bytes32 claim, uint256 salt, bytes witness) returns (bytes32);
    function ask(bytes32 dispute, bytes32 state);
    function reveal(bytes32 dispute, bytes32 state, bytes32[] children);
    function descend(bytes32 dispute, bytes32 state, uint256 child, bytes32[] children);
    function skip(bytes32 dispute, bytes32 state, uint256 index, bytes32 leaf, bytes32[] proof);
    function layer(bytes32 dispute, bytes32 state, uint32 operator_, bytes descriptor, bytes32[] proof);
    function answerLayer(bytes32 dispute, bytes32 state, bytes32 root, bytes signature);
    function point(bytes32 dispute, bytes32 state, uint32 operator_, uint64 element, bytes descriptor, bytes32[] proof);
    function defend(bytes32 dispute, bytes32 state, bytes witness);
    function total(bytes32 dispute, bytes32 state, bytes witness, uint256 free, uint256[] parts, bytes signature);
    function part(bytes32 dispute, bytes32 state, uint256 child, uint256[3] header, uint256[] parts);
    function split(bytes32 dispute, bytes32 state, uint256[3] header, uint256[] sums, uint256[] parts, bytes signature);
    function prove(bytes32 dispute, bytes32 state, uint256[3] header, uint256[] sums, bytes witness);
    function partsDigest(bytes32 claim, uint32 operator_, uint64 element, uint8 depth, uint32 index, bytes32 node) returns (bytes32);
    function convict(bytes32 dispute, bytes32 state, bytes witness);
    function concede(bytes32 dispute, bytes32 state);
    function timeout(bytes32 dispute, bytes32 state);
    function settle(bytes32 dispute);
    function disputeOf(bytes32 dispute) returns (OnChainDispute);
    function stateDigest(bytes32 dispute) returns (bytes32);
    function layerRootOf(bytes32 claim, uint32 layer) returns (bool stands, bytes32 root);
    function layerDigest(bytes32 claim, uint32 layer, bytes32 root) returns (bytes32);
}

type Db = CacheDB<EmptyDB>;
type Evm = MainnetEvm<revm::handler::MainnetContext<Db>>;

pub const CHAIN_ID: u64 = 1;
pub const START: u64 = 1_000_000;
pub const BASE_FEE: u64 = 1_000_000_000;
pub const BOND: u128 = 50_000_000_000_000_000;
pub const WORKER_BOND: u128 = 1_000_000_000_000_000_000;
pub const CHALLENGER: Address = Address::repeat_byte(0xc4);
pub const OTHER: Address = Address::repeat_byte(0xc5);
pub const PROVIDER: Address = Address::repeat_byte(0xa2);
pub const DEPLOYER: Address = Address::repeat_byte(0xd0);
const GAS: u64 = 1 << 24;

/// What a call gave: its output, or the data it reverted with.
pub type Called = Result<Bytes, Bytes>;

/// Everything on chain at one moment of a game. Cloning it is going back to it later.
#[derive(Clone)]
pub struct Snapshot {
    number: u64,
    db: Db,
}

/// A chain on which a claim stands and its dispute is open.
pub struct Chain {
    evm: Evm,
    pub disputes: Address,
    pub market: Address,
    pub registry: Address,
    pub claim: B256,
    pub model: B256,
    pub dispute: B256,
    /// Another challenger's dispute, which waits for the root of layer 1 since the start.
    pub other: B256,
    /// Gas of the last transaction that succeeded, calldata included.
    pub used: u64,
    /// The same of each call on the way to the open dispute, by function name.
    pub costs: Vec<(&'static str, u64)>,
    snapshots: u64,
    /// The snapshot that the chain is at; `None` once something happened since.
    current: Option<u64>,
    key: SigningKey,
}

/// Times and turns of a deployment.
#[derive(Clone, Copy)]
pub struct Clocks {
    pub clock: u64,
    pub extension: u64,
    pub max_turns: u16,
}

impl Chain {
    /// Up to an open dispute over `model`, with the judge that believes the witness.
    pub fn new(model: &Model, terms: Clocks) -> Self {
        let mut chain = Self::deployed("ToyJudge", terms);
        chain.play(model);
        chain
    }

    /// The contracts alone, with this judge.
    pub fn deployed(judge: &str, terms: Clocks) -> Self {
        let mut db = Db::default();
        for account in [DEPLOYER, CHALLENGER, OTHER, PROVIDER] {
            db.insert_account_info(
                account,
                AccountInfo {
                    balance: U256::from(1) << 120,
                    ..AccountInfo::default()
                },
            );
        }
        let context = revm::Context::mainnet().with_db(db).modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
            cfg.disable_nonce_check = true;
        });
        let key = SigningKey::from_slice(&[7; 32]).expect("a key");
        let (zero, none) = (Address::ZERO, B256::ZERO);
        let evm = context.build_mainnet();
        let mut chain = Self {
            evm,
            disputes: zero,
            market: zero,
            registry: zero,
            claim: none,
            model: none,
            dispute: none,
            other: none,
            used: 0,
            costs: Vec::new(),
            snapshots: 0,
            current: None,
            key,
        };
        chain.evm.ctx.block.basefee = BASE_FEE;
        chain.at(START);

        // The real judge is deployed with the judge of parts, the one that believes is both.
        let (judge, nonce) = if judge == "Judge" {
            let parts = chain.deploy("PartJudge", &[], 0);
            (chain.deploy("Judge", &parts.abi_encode(), 1), 2)
        } else {
            (chain.deploy(judge, &[], 0), 1)
        };
        chain.registry = chain.deploy("ModelRegistry", &[], nonce);
        chain.disputes = DEPLOYER.create(nonce + 2);
        let parameters = Parameters {
            windowSeconds: 5,
            deadlineSeconds: 5,
            limitSeconds: 100_000,
            clockSeconds: terms.clock,
            extensionSeconds: terms.extension,
            maxTurns: terms.max_turns,
            workerShare: 9000,
            posterShare: 500,
            publisherShare: 500,
            workerBond: WORKER_BOND,
            bondFloor: BOND,
            answerGas: 8_000_000,
        };
        chain.market = chain.deploy(
            "Market",
            &(parameters, chain.registry, chain.disputes).abi_encode_params(),
            nonce + 1,
        );
        assert_eq!(
            chain.deploy("Disputes", &(chain.market, judge).abi_encode_params(), nonce + 2),
            chain.disputes
        );
        chain
    }

    /// A published model of one byte in and one byte out.
    pub fn publish(&mut self, header: Header) -> B256 {
        let io = hex!("0102010000000101020100000001");
        let publish = publishCall {
            header,
            io: io.into(),
            uri: String::new(),
            digest: B256::ZERO,
            price: U256::ZERO,
        };
        self.must(self.registry, DEPLOYER, 0, publish)
    }

    /// A worker with its stake and node key.
    pub fn join(&mut self) {
        self.must(self.market, PROVIDER, 2 * WORKER_BOND, stakeCall {});
        let node = Address::from_public_key(self.key.verifying_key());
        self.must(self.market, PROVIDER, 0, setNodeCall { node });
    }

    /// Up to an open dispute.
    fn play(&mut self, model: &Model) {
        let id = self.publish(Header {
            planRoot: model.plan.root(),
            weightsRoot: B256::ZERO,
            operators: model.operators(),
            weights: 0,
            traceValues: model.trace_values,
            layers: 2,
            profile: 0x0804_0000,
        });
        self.model = id;
        self.join();
        let options = Options {
            mode: 0,
            callbackGas: 0,
            callbackGasPrice: 0,
            tag: B256::ZERO,
        };
        (_, self.claim) = self.request_and_claim(model.trace.root(), id, 0, options, START);
        let open = openCall {
            claim: self.claim,
            salt: U256::ZERO,
        };
        self.dispute = self.must(self.disputes, CHALLENGER, BOND, open.clone());
        self.other = self.must(self.disputes, OTHER, BOND, open);
        let layer = layerCall {
            dispute: self.other,
            state: self.view(self.disputes, stateDigestCall { dispute: self.other }),
            operator_: 1,
            descriptor: model.descriptors[1].clone().into(),
            proof: model.plan.proof(1).unwrap_or_default(),
        };
        self.must(self.disputes, OTHER, 0, layer);
    }

    /// A request and a claim for it, made at `now`.
    pub fn request_and_claim(
        &mut self,
        trace_root: B256,
        id: B256,
        value: u128,
        options: Options,
        now: u64,
    ) -> (U256, B256) {
        let request = requestCall {
            model: id,
            inputs: vec![0].into(),
            options,
        };
        let request = self.must(self.market, DEPLOYER, value, request);
        let terms = Terms {
            request,
            attempt: 1,
            worker: PROVIDER,
            traceRoot: trace_root,
            poster: DEPLOYER,
            validUntil: now,
        };
        let digest = claimDigestCall {
            terms: terms.clone(),
            outputs: vec![0].into(),
        };
        let digest = self.view(self.market, digest);
        let claim = claimCall {
            terms,
            outputs: vec![0].into(),
            signature: self.sign(digest),
        };
        (request, self.must(self.market, DEPLOYER, 0, claim))
    }

    /// The worker answers the other dispute.
    pub fn answer_other(&mut self, root: B256) -> Called {
        let state = self.view(self.disputes, stateDigestCall { dispute: self.other });
        let digest = self.view(
            self.disputes,
            layerDigestCall {
                claim: self.claim,
                layer: 1,
                root,
            },
        );
        let call = answerLayerCall {
            dispute: self.other,
            state,
            root,
            signature: self.sign(digest),
        };
        self.send(self.disputes, PROVIDER, 0, call.abi_encode().into())
    }

    /// The other dispute strikes the claim.
    pub fn strike_other(&mut self, witness: Bytes) -> Called {
        let state = self.view(self.disputes, stateDigestCall { dispute: self.other });
        let call = convictCall {
            dispute: self.other,
            state,
            witness,
        };
        self.send(self.disputes, OTHER, 0, call.abi_encode().into())
    }

    fn deploy(&mut self, name: &str, arguments: &[u8], nonce: u64) -> Address {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../contracts/artifacts/{name}.json"));
        let text = std::fs::read_to_string(&path).expect("artifact");
        let artifact: serde_json::Value = serde_json::from_str(&text).expect("artifact is JSON");
        let code: Bytes = artifact["bytecode"]
            .as_str()
            .expect("bytecode")
            .parse()
            .expect("bytecode is hexadecimal");
        let data = [code.as_ref(), arguments].concat();
        let transaction = self.transaction(TxKind::Create, DEPLOYER, 0, data.into(), nonce);
        match self.commit(transaction) {
            ExecutionResult::Success {
                output: Output::Create(_, Some(address)),
                ..
            } => address,
            other => panic!("{name} was not deployed: {other:?}"),
        }
    }

    fn transaction(&self, kind: TxKind, from: Address, value: u128, data: Bytes, nonce: u64) -> TxEnv {
        TxEnv::builder()
            .gas_limit(GAS)
            .gas_price(u128::from(BASE_FEE))
            .caller(from)
            .kind(kind)
            .value(U256::from(value))
            .data(data)
            .nonce(nonce)
            .build()
            .expect("transaction")
    }

    fn commit(&mut self, transaction: TxEnv) -> ExecutionResult {
        use revm::ExecuteCommitEvm;
        self.evm.transact_commit(transaction).expect("transaction")
    }

    /// The time of the next transactions.
    pub fn at(&mut self, now: u64) {
        self.evm.ctx.block.timestamp = U256::from(now);
    }

    pub fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        self.current = Some(self.snapshots);
        Snapshot {
            number: self.snapshots,
            db: self.evm.ctx.journaled_state.database.clone(),
        }
    }

    pub fn restore(&mut self, snapshot: &Snapshot) {
        if self.current != Some(snapshot.number) {
            self.evm.ctx.journaled_state.database = snapshot.db.clone();
            self.current = Some(snapshot.number);
        }
    }

    /// Sends a transaction; only what succeeds changes the chain.
    pub fn send(&mut self, to: Address, from: Address, value: u128, data: Bytes) -> Called {
        let transaction = self.transaction(TxKind::Call(to), from, value, data, 0);
        let result = self.evm.transact(transaction).expect("transaction");
        match result.result {
            ExecutionResult::Success {
                output: Output::Call(bytes),
                gas,
                ..
            } => {
                use revm::DatabaseCommit;
                self.used = gas.tx_gas_used();
                self.current = None;
                self.evm.ctx.journaled_state.database.commit(result.state);
                Ok(bytes)
            }
            ExecutionResult::Revert { output, .. } => Err(output),
            other => panic!("neither success nor revert: {other:?}"),
        }
    }

    /// A transaction that has to succeed.
    pub fn must<C: SolCall>(&mut self, to: Address, from: Address, value: u128, call: C) -> C::Return {
        let output = match self.send(to, from, value, call.abi_encode().into()) {
            Ok(output) => output,
            Err(reason) => panic!("{} reverted with {reason}", C::SIGNATURE),
        };
        self.costs
            .push((C::SIGNATURE.split('(').next().unwrap_or_default(), self.used));
        C::abi_decode_returns(&output).expect("return value")
    }

    /// What a view says.
    pub fn view<C: SolCall>(&mut self, to: Address, call: C) -> C::Return {
        let transaction = self.transaction(TxKind::Call(to), DEPLOYER, 0, call.abi_encode().into(), 0);
        match self.evm.transact(transaction).expect("call").result {
            ExecutionResult::Success { output, .. } => C::abi_decode_returns(output.data()).expect("return value"),
            other => panic!("{} failed: {other:?}", C::SIGNATURE),
        }
    }

    pub fn balance(&self, account: Address) -> U256 {
        self.evm
            .ctx
            .journaled_state
            .database
            .cache
            .accounts
            .get(&account)
            .map(|a| a.info.balance)
            .unwrap_or_default()
    }

    /// The node key's signature.
    pub fn sign(&self, digest: B256) -> Bytes {
        let (signature, recovery) = self.key.sign_prehash_recoverable(digest.as_slice()).expect("signature");
        let mut bytes = signature.to_bytes().to_vec();
        bytes.push(27 + recovery.to_byte());
        bytes.into()
    }
}

/// The selector of an error.
pub fn selector(signature: &str) -> [u8; 4] {
    let hash = keccak256(signature);
    [hash[0], hash[1], hash[2], hash[3]]
}
