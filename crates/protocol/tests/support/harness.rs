//! A contract of the test folder in an in-process EVM: built by Foundry, put in place, called without state.
#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::{Address, Bytes, TxKind, U256, hex, keccak256};
use revm::bytecode::Bytecode;
use revm::context::{Context, TxEnv};
use revm::database::InMemoryDB;
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{ExecuteEvm, MainBuilder, MainContext};

const CONTRACT: Address = Address::repeat_byte(0xc0);

/// A contract without constructor arguments or storage.
pub struct Harness {
    database: InMemoryDB,
}

impl Harness {
    /// Builds `contracts/test/unit/<name>.sol` in a folder of its own and puts its run-time code into an EVM.
    pub fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contracts").join(name);
        // One build at a time; the later ones find it done.
        static BUILD: Mutex<()> = Mutex::new(());
        let _one = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
        let forge = root.join(".state/bin/forge");
        let built = Command::new(&forge)
            .current_dir(root.join("contracts"))
            .arg("build")
            .arg(format!("test/unit/{name}.sol"))
            .arg("--out")
            .arg(&out)
            .arg("--cache-path")
            .arg(out.join("cache"))
            .output()
            .unwrap_or_else(|error| panic!("start {}: {error}; run scripts/setup.sh", forge.display()));
        let said = [built.stdout, built.stderr].concat();
        assert!(
            built.status.success(),
            "forge build {name}: {}",
            String::from_utf8_lossy(&said)
        );
        let artifact = std::fs::read(out.join(format!("{name}.sol/{name}.json"))).expect("artifact");
        let artifact: serde_json::Value = serde_json::from_slice(&artifact).expect("artifact is JSON");
        let code = artifact["deployedBytecode"]["object"].as_str().expect("run-time code");
        let code = Bytecode::new_raw(hex::decode(code).expect("hexadecimal code").into());
        let mut database = InMemoryDB::default();
        database.insert_account_info(CONTRACT, AccountInfo::default().with_code(code));
        Self { database }
    }

    /// Calls `signature` with ABI-encoded arguments; what it returns.
    pub fn call(&mut self, signature: &str, arguments: &[Argument<'_>]) -> Bytes {
        let mut data = keccak256(signature.as_bytes())[..4].to_vec();
        let mut tail = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Number(value) => data.extend(U256::from(*value).to_be_bytes::<32>()),
                Argument::Bytes(bytes) => {
                    data.extend(U256::from(32 * arguments.len() + tail.len()).to_be_bytes::<32>());
                    tail.extend(U256::from(bytes.len()).to_be_bytes::<32>());
                    tail.extend_from_slice(bytes);
                    tail.resize(tail.len().next_multiple_of(32), 0);
                }
            }
        }
        data.extend(tail);
        let mut evm = Context::mainnet()
            .with_db(&mut self.database)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
                cfg.tx_gas_limit_cap = Some(u64::MAX);
                cfg.disable_nonce_check = true;
            })
            .modify_block_chained(|block: &mut revm::context::BlockEnv| block.gas_limit = u64::MAX)
            .build_mainnet();
        let call = TxEnv::builder()
            .kind(TxKind::Call(CONTRACT))
            .data(data.into())
            .gas_limit(1 << 40)
            .build()
            .expect("a call");
        let result = evm.transact(call).expect("a call without state").result;
        assert!(result.is_success(), "{signature}: {result:?}");
        result.into_output().unwrap_or_default()
    }
}

/// An ABI argument.
pub enum Argument<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The word at `index` of ABI data.
pub fn word(data: &[u8], index: usize) -> u64 {
    let bytes = data[32 * index + 24..32 * index + 32].try_into().expect("eight bytes");
    u64::from_be_bytes(bytes)
}
