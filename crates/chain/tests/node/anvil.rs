//! anvil, mining with each transaction unless told otherwise.

use std::{path::Path, process::Stdio, time::Duration};

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    primitives::{TxKind, U256},
    providers::{Provider as _, ProviderBuilder, RootProvider},
    signers::SignerSync as _,
    sol_types::SolError as _,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use touchstone_chain::{Address, ChainReader, PrivateKeySigner, bindings::IMarket};

pub struct Anvil {
    pub address: String,
    pub key: PrivateKeySigner,
    provider: RootProvider,
    _child: Child,
}

impl Anvil {
    pub async fn start() -> Self {
        let anvil = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.state/bin/anvil");
        let mut child = Command::new(anvil)
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--hardfork",
                "osaka",
                "--enable-tx-gas-limit",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("anvil is set up (scripts/setup.sh)");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut key = None;
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("anvil says where it listens");
            if let Some(address) = line.strip_prefix("Listening on ") {
                break address.to_owned();
            }
            // "(0) 0x…" is an address of 20 bytes or a key of 32.
            if let Some(text) = line.split_whitespace().nth(1).filter(|word| word.len() == 66) {
                key = key.or(text.parse().ok());
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}").parse().unwrap();
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_http(url);
        Self {
            address,
            key: key.unwrap(),
            provider,
            _child: child,
        }
    }

    pub async fn automine(&self, _reader: &ChainReader, on: bool) {
        let _: () = self
            .provider
            .raw_request("evm_setAutomine".into(), (on,))
            .await
            .unwrap();
    }

    pub async fn mine(&self, _reader: &ChainReader) {
        let _: String = self.provider.raw_request("evm_mine".into(), ()).await.unwrap();
    }

    /// Creates a contract from this account, which uses a nonce behind the sender's back.
    pub async fn create(&self, reader: &ChainReader, code: &[u8]) -> Address {
        let nonce = reader.nonce(self.key.address()).await.unwrap();
        let transaction = TxEip1559 {
            chain_id: super::CHAIN_ID,
            nonce,
            gas_limit: 1_000_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Create,
            value: U256::ZERO,
            access_list: Default::default(),
            input: code.to_vec().into(),
        };
        let signature = self.key.sign_hash_sync(&transaction.signature_hash()).unwrap();
        reader
            .broadcast(&TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
            .await
            .unwrap();
        let mined = async {
            while reader.nonce(self.key.address()).await.unwrap() == nonce {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), mined)
            .await
            .expect("the contract is mined");
        self.key.address().create(nonce)
    }
}

/// Bytes of a custom error of the market.
pub fn not_found() -> Vec<u8> {
    IMarket::UnknownRequest { request: U256::from(9) }.abi_encode()
}

/// Creation code of a contract that reverts with these 36 bytes, whatever it is called with.
pub fn reverting(data: &[u8]) -> Vec<u8> {
    assert_eq!(data.len(), 36);
    let mut runtime = vec![0x7f];
    runtime.extend(&data[..32]);
    runtime.extend([0x5f, 0x52, 0x63]); // store them at 0; then the last four, left-aligned, at 32
    runtime.extend(&data[32..]);
    runtime.extend([0x60, 0xe0, 0x1b, 0x60, 0x20, 0x52, 0x60, 0x24, 0x5f, 0xfd]);
    let length = u8::try_from(runtime.len()).unwrap();
    let mut code = vec![0x60, length, 0x60, 9, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    code[3] = u8::try_from(code.len()).unwrap();
    code.extend(runtime);
    code
}
