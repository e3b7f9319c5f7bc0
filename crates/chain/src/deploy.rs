//! Puts the contracts on a development network.

use std::{fs, path::Path, time::Duration};

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    primitives::{Address, Bytes, TxKind, U256},
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::SolValue,
};

use crate::{ChainError, ChainReader, bindings::IMarket, event::Deployment, sender::MAX_TRANSACTION_GAS};

/// A deployment that failed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The artifact is not there or has no bytecode.
    #[error("read the artifact {path}: {reason}")]
    Artifact {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The chain gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key could not sign.
    #[error("sign a transaction: {0}")]
    Sign(#[from] alloy::signers::Error),
    /// The constructor reverted or ran out of gas.
    #[error("deploy {name}: the transaction failed")]
    Failed {
        /// The contract.
        name: String,
    },
}

/// The numbers of a development network (`docs/decisions`): times in seconds, shares in 1/10,000.
pub fn devnet_parameters() -> IMarket::Parameters {
    IMarket::Parameters {
        windowSeconds: 20,
        deadlineSeconds: 60,
        limitSeconds: 600,
        clockSeconds: 60,
        extensionSeconds: 4,
        maxTurns: 10,
        workerShare: 9_000,
        posterShare: 500,
        publisherShare: 500,
        workerBond: 1_000_000_000_000_000_000,
        bondFloor: 50_000_000_000_000_000,
        answerGas: 8_000_000,
    }
}

/// Deploys judges, registry, market and disputes contract from `<artifacts>/<Name>.json`.
///
/// The key must send nothing else meanwhile: the contracts name each other by their predicted addresses.
pub async fn deploy(
    reader: &ChainReader,
    key: &PrivateKeySigner,
    artifacts: &Path,
    parameters: &IMarket::Parameters,
) -> Result<Deployment, DeployError> {
    let parts = deploy_contract(reader, key, artifacts, "PartJudge", Vec::new()).await?;
    let judge = deploy_contract(reader, key, artifacts, "Judge", (parts,).abi_encode_params()).await?;
    let registry = deploy_contract(reader, key, artifacts, "ModelRegistry", Vec::new()).await?;
    let nonce = reader.nonce(key.address()).await?;
    let disputes = key.address().create(nonce + 1);
    let arguments = (parameters.clone(), registry, disputes).abi_encode_params();
    let market = deploy_contract(reader, key, artifacts, "Market", arguments).await?;
    deploy_contract(reader, key, artifacts, "Disputes", (market, judge).abi_encode_params()).await?;
    let deployment = Deployment {
        registry,
        market,
        disputes,
    };
    let head = reader.head().await?;
    deployment.check(reader, head.hash).await?;
    Ok(deployment)
}

/// Deploys one contract from `<artifacts>/<name>.json` with ABI-encoded constructor arguments; waits until it is mined.
pub async fn deploy_contract(
    reader: &ChainReader,
    key: &PrivateKeySigner,
    artifacts: &Path,
    name: &str,
    arguments: Vec<u8>,
) -> Result<Address, DeployError> {
    let mut code = bytecode(&artifacts.join(format!("{name}.json")))?.to_vec();
    code.extend(arguments);
    let nonce = reader.nonce(key.address()).await?;
    let fee = 2 * u128::from(reader.head().await?.base_fee) + 1_000_000_000;
    let transaction = TxEip1559 {
        chain_id: reader.chain_id().await?,
        nonce,
        gas_limit: MAX_TRANSACTION_GAS,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Create,
        value: U256::ZERO,
        access_list: Default::default(),
        input: code.into(),
    };
    let signature = key.sign_hash_sync(&transaction.signature_hash())?;
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    reader.broadcast(&envelope.encoded_2718()).await?;
    let receipt = wait_for_receipt(reader, *envelope.tx_hash()).await?;
    if !receipt.status() {
        return Err(DeployError::Failed { name: name.to_owned() });
    }
    Ok(key.address().create(nonce))
}

async fn wait_for_receipt(
    reader: &ChainReader,
    transaction: alloy::primitives::B256,
) -> Result<alloy::rpc::types::TransactionReceipt, ChainError> {
    let timeout = Duration::from_secs(60);
    let wait = async {
        loop {
            if let Some(receipt) = reader.receipt(transaction).await? {
                return Ok(receipt);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(timeout, wait)
        .await
        .unwrap_or(Err(ChainError::Timeout {
            what: "mine a deployment",
            timeout,
        }))
}

/// The creation bytecode of an artifact: `bytecode` as a hex string, or Foundry's `bytecode.object`.
fn bytecode(path: &Path) -> Result<Bytes, DeployError> {
    let wrong = |reason: String| DeployError::Artifact {
        path: path.display().to_string(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let field = &json["bytecode"];
    let hex = field
        .as_str()
        .or_else(|| field["object"].as_str())
        .ok_or_else(|| wrong("no bytecode".to_owned()))?;
    hex.parse()
        .map_err(|_| wrong("bytecode is not hexadecimal, or has unlinked libraries".to_owned()))
}
