//! Contracts made by hand.

use std::time::Duration;

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    primitives::{TxKind, U256},
    signers::SignerSync as _,
    sol_types::SolError as _,
};
use touchstone_chain::{Address, ChainReader, PrivateKeySigner, bindings::IMarket};

/// Creates a contract from this account, which uses a nonce behind a sender's back.
pub async fn create(key: &PrivateKeySigner, reader: &ChainReader, code: &[u8]) -> Address {
    let nonce = reader.nonce(key.address()).await.unwrap();
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
    let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
    reader
        .broadcast(&TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
        .await
        .unwrap();
    let mined = async {
        while reader.nonce(key.address()).await.unwrap() == nonce {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), mined)
        .await
        .expect("the contract is mined");
    key.address().create(nonce)
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
