//! The demo's story with the coordinator killed all the time: it ends as the demo does, and the books are the same.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::U256;
use touchstone_tests::{
    books,
    chain::now,
    keeper::{Keeper, When},
    network::STAKE,
    story::{Quiet, Stage},
};

/// Each thing happens within this, however often the coordinator is killed.
const PATIENCE: Duration = Duration::from_secs(240);

/// Plays the story with a coordinator that is killed as `when` says.
async fn played(when: When) -> Result<Keeper> {
    let stage = Stage::set(None, PATIENCE).await?;
    let network = &stage.network;
    let mut keeper = Keeper::start(network, when)?;
    let mut quiet = Quiet;
    let played = tokio::select! {
        played = stage.play(&mut quiet) => played,
        ended = keeper.run(network) => match ended? {},
    };
    let seen = played.with_context(|| format!("killed after {:#?}", keeper.kills))?;
    let staked = U256::from(STAKE);
    books::honest(network, &seen, &stage.honest, staked).await?;
    books::slashed(network, &stage.cheat, staked).await?;
    books::rewarded(network, &seen, network.challenger_key()?.address(), 1).await?;
    books::balance(network, &seen).await?;
    Ok(keeper)
}

/// What must have been the last thing before a kill: every event of the demo's timeline but its last one, and every step of the
/// coordinator's own work that no other party can take off it. Words of one step's description each.
const STEPS: &[&[&str]] = &[
    &["chain: request 1 by"],
    &["log: request seen request=1"],
    &["log: job offered request=1 attempt=1"],
    &["log: job accepted request=1 attempt=1"],
    &["log: commitments stored request=1 attempt=1"],
    &["log: result checked request=1"],
    &["log: transaction ordered order=claim:"],
    &["chain: request 1 claimed"],
    &["log: claim seen request=1"],
    &["log: order ended order=claim:"],
    &["log: transaction ordered order=finalize:1:1"],
    &["chain: request 1 final"],
    &["log: transaction ordered order=deliver:1"],
    &["chain: request 1 delivered"],
    &["log: order ended order=deliver:1"],
    &["chain: request 2 by"],
    &["log: request seen request=2"],
    &["log: job offered request=2 attempt=1"],
    &["log: job accepted request=2 attempt=1"],
    &["log: commitments stored request=2 attempt=1"],
    &["log: result checked request=2"],
    &["chain: request 2 claimed", "attempt 1"],
    &["chain: dispute", "opened"],
    &["log: dispute opened"],
    &["chain: move 1 Open"],
    &["chain: move 2 Layer"],
    &["chain: move 3 AnswerLayer"],
    &["chain: worker commits to the inside of layer"],
    &["chain: move 4 Convict"],
    &["chain: judge:", "outside"],
    &["chain: claim", "struck"],
    &["log: claim struck"],
    &["log: job offered request=2 attempt=2"],
    &["log: job accepted request=2 attempt=2"],
    &["log: commitments stored request=2 attempt=2"],
    &["chain: request 2 claimed", "attempt 2"],
    &["log: transaction ordered order=finalize:2:2"],
    &["chain: request 2 final"],
    &["log: transaction ordered order=deliver:2"],
];

#[tokio::test]
async fn the_demo_ends_well_with_the_coordinator_killed_after_each_step() -> Result<()> {
    let keeper = played(When::EachStep).await?;
    println!("killed {} times, after:", keeper.kills.len());
    for steps in &keeper.kills {
        println!("  {}", steps.join(" + "));
    }
    for step in STEPS {
        ensure!(keeper.killed_after(step), "no kill came right after {step:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_demo_ends_well_with_the_coordinator_killed_at_random() -> Result<()> {
    let seed = match std::env::var("TOUCHSTONE_SEED") {
        Ok(seed) => seed.parse().context("TOUCHSTONE_SEED is no number")?,
        Err(_) => now(),
    };
    println!("TOUCHSTONE_SEED={seed}");
    let keeper = played(When::AtRandom(seed, 5_000)).await?;
    println!("killed {} times", keeper.kills.len());
    ensure!(keeper.kills.len() >= 10, "only {} kills", keeper.kills.len());
    Ok(())
}
