//! Kills the coordinator as `kill -9` does, after each step of its work or at random moments, and starts it again each time.
//!
//! A step is whatever the chain or the coordinator's own log says for the first time: an event of the timeline, a lease offered or accepted,
//! a result checked, a transaction ordered. Steps that are seen at once (events of one block) are one.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;
use touchstone_chain::{bindings::IDisputes::IDisputesEvents as D, describe, event::Body};

use crate::{
    chain::Follower,
    network::Network,
    process::{Launch, Service},
};

/// How often the log is looked at: well below the time between two of its lines that wait for anybody else.
const LOOK: Duration = Duration::from_millis(1);
/// How often the chain is: well below a block.
const POLL: Duration = Duration::from_millis(50);

/// Log messages of the coordinator that say that its work is a step further; the others are about connections.
const STEPS: &[&str] = &[
    "request seen",
    "job offered",
    "job accepted",
    "commitments stored",
    "result checked",
    "transaction ordered",
    "order ended",
    "claim seen",
    "dispute opened",
    "worker asked",
    "answer taken",
    "dispute ended",
    "claim struck",
];
/// What tells steps of one kind apart.
const NAMES: &[&str] = &["request", "attempt", "order", "claim_id", "dispute_id"];

/// When to kill.
#[derive(Clone, Debug)]
pub enum When {
    /// After each step.
    EachStep,
    /// After random times up to this many milliseconds, by this seed.
    AtRandom(u64, u64),
}

/// Keeps a coordinator running by killing it.
#[derive(Debug)]
pub struct Keeper {
    launch: Launch,
    service: Service,
    log: Tail,
    known: BTreeSet<String>,
    when: When,
    /// What was seen just before each kill.
    pub kills: Vec<Vec<String>>,
}

impl Keeper {
    /// Starts the coordinator.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(network: &Network, when: When) -> Result<Self> {
        let launch = network.coordinator()?.with("TOUCHSTONE_LOG_FORMAT", "json");
        Ok(Self {
            service: launch.start()?,
            log: Tail::new(launch.log()),
            launch,
            known: BTreeSet::new(),
            when,
            kills: Vec::new(),
        })
    }

    /// Kills and restarts for ever; what happened on chain before the call is no step.
    ///
    /// # Errors
    /// The node or the log does not answer, or the coordinator ended by itself.
    pub async fn run(&mut self, network: &Network) -> Result<Infallible> {
        match self.when {
            When::EachStep => self.after_each_step(network).await,
            When::AtRandom(seed, most) => self.at_random(seed, most).await,
        }
    }

    async fn after_each_step(&mut self, network: &Network) -> Result<Infallible> {
        let mut events = network.follow();
        events.poll().await?;
        let (sender, mut on_chain) = mpsc::unbounded_channel();
        let watcher = tokio::spawn(watch(events, sender));
        // It ends with us.
        let _watcher = AbortOnDrop(watcher.abort_handle());
        loop {
            let mut steps = self.log.steps()?;
            while let Ok(step) = on_chain.try_recv() {
                steps.push(step);
            }
            ensure!(!watcher.is_finished(), "the chain is not followed any more");
            steps.retain(|step| self.known.insert(step.clone()));
            if !steps.is_empty() {
                self.kill(steps).await?;
            }
            self.alive()?;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn at_random(&mut self, seed: u64, most: u64) -> Result<Infallible> {
        let mut random = seed;
        loop {
            let pause = Duration::from_millis(next(&mut random) % most);
            tokio::time::sleep(pause).await;
            self.alive()?;
            let steps = self.log.steps()?;
            self.kill(steps).await?;
        }
    }

    async fn kill(&mut self, steps: Vec<String>) -> Result<()> {
        self.service.kill().await?;
        self.kills.push(steps);
        self.service = self.launch.start()?;
        Ok(())
    }

    fn alive(&mut self) -> Result<()> {
        ensure!(
            self.service.is_running()?,
            "the coordinator ended by itself:\n{}",
            self.service.tail()
        );
        Ok(())
    }

    /// Whether a kill came right after a step whose description contains each of `words`.
    pub fn killed_after(&self, words: &[&str]) -> bool {
        let fits = |step: &String| words.iter().all(|word| step.contains(word));
        self.kills.iter().any(|steps| steps.iter().any(fits))
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells each event of the timeline from now on.
async fn watch(mut events: Follower, steps: mpsc::UnboundedSender<String>) -> Result<()> {
    loop {
        let from = events.seen.len();
        events.poll().await?;
        for seen in &events.seen[from..] {
            let step = match (&seen.event.body, describe::describe(&seen.event.body)) {
                (Body::Disputes(D::Moved(e)), _) => Some(format!("move {} {:?}", e.position.moves, e.r#move)),
                (_, line) => line,
            };
            if let Some(step) = step {
                steps.send(format!("chain: {step}")).context("nobody listens")?;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads what a log in JSON gained since the last look.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    read: u64,
    rest: String,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            rest: String::new(),
        }
    }

    fn steps(&mut self) -> Result<Vec<String>> {
        let mut file = File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        self.read += file.read_to_end(&mut bytes)? as u64;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let mut steps = Vec::new();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            steps.extend(step(line));
            self.rest = rest.to_owned();
        }
        Ok(steps)
    }
}

/// What a line of the coordinator's log says about its work. A line that a kill cut short says nothing.
fn step(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = json.get("fields")?;
    let message = fields.get("message")?.as_str()?;
    if !STEPS.contains(&message) {
        return None;
    }
    let mut step = format!("log: {message}");
    for name in NAMES {
        if let Some(value) = fields.get(name) {
            step.push_str(&format!(" {name}={}", value.to_string().trim_matches('"')));
        }
    }
    Some(step)
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
