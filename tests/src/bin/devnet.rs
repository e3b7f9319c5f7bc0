//! The demo's network, left running until Ctrl-C: chain, contracts, coordinator, an honest worker, a challenger.

use std::fs;

use alloy::primitives::hex;
use anyhow::Result;
use touchstone_tests::{network::Network, paths, process, scenario};

#[tokio::main]
async fn main() -> Result<()> {
    let dir = paths::root().join(".state/devnet");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let network = Network::start(Some(&dir)).await?;
    let model = network.publish(&paths::digits()).await?;
    let consumer = network.consumer("DigitStore", model.id).await?;
    let provider = network.stake(0).await?;
    let mut coordinator = network.coordinator()?.start()?;
    process::listening(network.coordinator_port, scenario::START).await?;
    let mut worker = network.worker("worker", "touchstone-worker", &provider).start()?;
    let mut challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let key_file = dir.join("key");
    fs::write(&key_file, hex::encode_prefixed(network.owner_key()?.to_bytes()))?;

    println!(
        "# The network runs until Ctrl-C; logs are in {}. In another shell:",
        dir.join("logs").display()
    );
    println!("export TOUCHSTONE_RPC_URL={}", network.anvil.url);
    println!("export TOUCHSTONE_MARKET={}", network.deployment.market);
    println!("export TOUCHSTONE_KEY_FILE={}", key_file.display());
    println!(
        "# disputes {}, registry {}, example consumer {consumer}",
        network.deployment.disputes, network.deployment.registry
    );
    println!("# coordinator {}", network.coordinator_url());
    println!(
        "touchstone request {} --input models/digits_vit/inputs/digit_0_label_7.npy",
        model.id
    );
    println!("touchstone status 1 --timeline");
    tokio::signal::ctrl_c().await?;
    for service in [&mut challenger, &mut worker, &mut coordinator] {
        service.kill().await?;
    }
    Ok(())
}
