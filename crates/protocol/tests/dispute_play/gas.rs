//! Gas of each call as a transaction of its own, calldata included, without the judge's part: held against `docs/gas.md`.
//! The table may be off by 2 %; nothing may need more than half of a transaction's gas.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::SolCall;
use touchstone_protocol::dispute::turns_of_model;
use touchstone_protocol::parts::{Header, node_word};

use super::chain::{self, BASE_FEE, CHALLENGER, Chain, Clocks, DEPLOYER, OTHER, Options, PROVIDER, START};
use super::model::{LONG, Model};

/// Half of what EIP-7825 gives a transaction.
const LIMIT: u64 = 1 << 23;

/// Words of a contraction's node, the most that a code has.
const WORDS: usize = 9;

struct Table {
    chain: Chain,
    model: Model,
    rows: Vec<(String, u64)>,
    /// Whether every move so far was metered as what it cost.
    fair: bool,
}

impl Table {
    fn state(&mut self) -> B256 {
        self.chain.view(
            self.chain.disputes,
            chain::stateDigestCall {
                dispute: self.chain.dispute,
            },
        )
    }

    fn costs(&mut self) -> (U256, U256) {
        let d = self.chain.view(
            self.chain.disputes,
            chain::disputeOfCall {
                dispute: self.chain.dispute,
            },
        );
        (d.challengerCost, d.workerCost)
    }

    /// A move, and whether its metering is fair: what it cost, within a tenth.
    fn play<C: SolCall>(&mut self, name: &str, from: alloy_primitives::Address, call: C) {
        let (challenger, worker) = self.costs();
        self.chain.must(self.chain.disputes, from, 0, call);
        let used = self.chain.used;
        self.rows.push((name.into(), used));
        let (challenger_after, worker_after) = self.costs();
        let metered = (challenger_after - challenger + worker_after - worker) / U256::from(BASE_FEE);
        if !["concede", "timeout"].contains(&name) {
            let metered: u64 = metered.to();
            println!("{name}: {metered} metered of {used}");
            self.fair &= metered * 10 > used * 9 && metered * 10 < used * 12;
        }
    }

    /// Goes back, so that several ends of one game can be played.
    fn branch(&mut self, play: impl FnOnce(&mut Self)) {
        let snapshot = self.chain.snapshot();
        play(self);
        self.chain.restore(&snapshot);
        self.chain.at(START);
    }
}

/// A long operator with as many words a node as any has, down to a leaf.
fn parts(t: &mut Table) {
    let dispute = t.chain.dispute;
    let descriptor: Bytes = t.model.descriptors[LONG as usize].clone().into();
    let proof = t.model.plan.proof(LONG.into()).expect("a proof");
    let head = [&LONG.to_be_bytes()[..], &[0; 8], &[0, 0], &[1]].concat();
    let witness = Bytes::from(head);
    let state = t.state();
    let (operator_, element) = (LONG, 0);
    let point = chain::pointCall {
        dispute,
        state,
        operator_,
        element,
        descriptor,
        proof,
    };
    t.play("point at a long operator", CHALLENGER, point);
    let free = U256::from(7);
    let header = [free, U256::ZERO, U256::ZERO];
    let words = vec![U256::MAX; 8 * WORDS];
    let sums = words[..WORDS].to_vec();
    let sign = |t: &mut Table, words: &[U256]| {
        let node = node_word(&Header::from_words(header), words);
        let d = t.chain.view(t.chain.disputes, chain::disputeOfCall { dispute });
        let (depth, index, claim) = (d.position.depth, d.position.index, t.chain.claim);
        let call = chain::partsDigestCall {
            claim,
            operator_,
            element,
            depth,
            index,
            node,
        };
        let digest = t.chain.view(t.chain.disputes, call);
        t.chain.sign(digest)
    };
    let state = t.state();
    let signature = sign(t, &words);
    let total = chain::totalCall {
        dispute,
        state,
        witness: witness.clone(),
        free,
        parts: words.clone(),
        signature,
    };
    t.play("total", PROVIDER, total);
    let part = |t: &mut Table, name: &str, parts: Vec<U256>| {
        let state = t.state();
        let child = U256::from(parts.len() / WORDS - 1);
        let call = chain::partCall {
            dispute,
            state,
            child,
            header,
            parts,
        };
        t.play(name, CHALLENGER, call);
    };
    part(t, "part", words);
    // 2^14 leaves lie 14 levels below the root: parts at 11, 8, 5, 2 and 0.
    for depth in [11, 8, 5, 2] {
        let count = if depth == 2 { 4 } else { 8 };
        let mut words = vec![U256::ZERO; count * WORDS];
        words[(count - 1) * WORDS..].copy_from_slice(&sums);
        let state = t.state();
        let signature = sign(t, &words);
        let split = chain::splitCall {
            dispute,
            state,
            header,
            sums: sums.clone(),
            parts: words.clone(),
            signature,
        };
        let rows = t.rows.len();
        t.play("split", PROVIDER, split);
        part(t, "part to a leaf", words);
        // The first split, and the way to a leaf, stand for the others.
        if depth != 11 {
            t.rows.remove(rows);
        }
        if depth != 2 {
            t.rows.pop();
        }
    }
    let state = t.state();
    let prove = chain::proveCall {
        dispute,
        state,
        header,
        sums,
        witness,
    };
    t.play("prove", PROVIDER, prove);
}

#[test]
fn gas_of_each_call_is_as_documented() {
    let model = Model::new(64, 33, 128, 1 << 14);
    let max_turns = turns_of_model(64, 128) as u16;
    let chain = Chain::new(
        &model,
        Clocks {
            clock: 120,
            extension: 10,
            max_turns,
        },
    );
    let rows = ["publish", "stake", "setNode", "request", "claim", "open"].map(|name| {
        (
            name.into(),
            chain.costs.iter().find(|cost| cost.0 == name).expect("a call").1,
        )
    });
    let mut t = Table {
        chain,
        model,
        rows: rows.into(),
        fair: true,
    };
    let dispute = t.chain.dispute;
    let (disputes, market) = (t.chain.disputes, t.chain.market);
    let descriptor: Bytes = t.model.descriptors[9].clone().into();
    let proof = t.model.plan.proof(9).expect("a proof");
    let witness: Bytes = [&[0, 0, 0, 9][..], &[0; 8], &[0, 0], &[1]].concat().into();
    let outside: Bytes = [&witness[..14], &[2]].concat().into();

    let state = t.state();
    t.branch(|t| t.play("concede", CHALLENGER, chain::concedeCall { dispute, state }));
    t.branch(|t| {
        t.play(
            "convict",
            CHALLENGER,
            chain::convictCall {
                dispute,
                state,
                witness: outside.clone(),
            },
        )
    });
    t.branch(|t| {
        t.chain.at(START + 1000);
        t.play("timeout", DEPLOYER, chain::timeoutCall { dispute, state });
    });
    t.branch(|t| {
        t.chain.strike_other(outside.clone()).expect("strike");
        t.chain.must(disputes, OTHER, 0, chain::settleCall { dispute });
        t.rows.push(("settle".into(), t.chain.used));
    });
    t.branch(|t| {
        let leaf = t.model.trace.leaves()[40];
        let proof = t.model.trace.proof(40).expect("a proof");
        t.play(
            "skip",
            CHALLENGER,
            chain::skipCall {
                dispute,
                state,
                index: U256::from(40),
                leaf,
                proof,
            },
        );
    });
    t.branch(|t| {
        let call = chain::openCall {
            claim: t.chain.claim,
            salt: U256::from(1),
        };
        let call = chain::openAndConvictCall {
            claim: call.claim,
            salt: call.salt,
            witness: outside.clone(),
        };
        t.chain.must(disputes, CHALLENGER, chain::BOND, call);
        t.rows.push(("openAndConvict".into(), t.chain.used));
    });

    t.play("ask", CHALLENGER, chain::askCall { dispute, state });
    let children: Vec<B256> = (0..8).filter_map(|i| t.model.trace.node_at(3, i)).collect();
    let state = t.state();
    t.play(
        "reveal",
        PROVIDER,
        chain::revealCall {
            dispute,
            state,
            children: children.clone(),
        },
    );
    let state = t.state();
    t.play(
        "descend",
        CHALLENGER,
        chain::descendCall {
            dispute,
            state,
            child: U256::from(5),
            children,
        },
    );
    let children: Vec<B256> = (40..48).filter_map(|i| t.model.trace.node_at(0, i)).collect();
    let state = t.state();
    t.play(
        "reveal again",
        PROVIDER,
        chain::revealCall {
            dispute,
            state,
            children: children.clone(),
        },
    );
    let state = t.state();
    t.play(
        "descend to a leaf",
        CHALLENGER,
        chain::descendCall {
            dispute,
            state,
            child: U256::from(5),
            children,
        },
    );
    t.branch(parts);
    let state = t.state();
    let layer = chain::layerCall {
        dispute,
        state,
        operator_: 9,
        descriptor: descriptor.clone(),
        proof: proof.clone(),
    };
    t.play("layer", CHALLENGER, layer);
    let state = t.state();
    let root = t.model.inner.root();
    let digest = t.chain.view(
        disputes,
        chain::layerDigestCall {
            claim: t.chain.claim,
            layer: 1,
            root,
        },
    );
    let signature = t.chain.sign(digest);
    t.play(
        "answerLayer",
        PROVIDER,
        chain::answerLayerCall {
            dispute,
            state,
            root,
            signature,
        },
    );
    let state = t.state();
    t.play(
        "point",
        CHALLENGER,
        chain::pointCall {
            dispute,
            state,
            operator_: 9,
            element: 0,
            descriptor,
            proof,
        },
    );
    let state = t.state();
    t.play(
        "defend",
        PROVIDER,
        chain::defendCall {
            dispute,
            state,
            witness,
        },
    );

    assert!(t.fair, "a move is metered as what it does not cost");

    // A delivery pays whoever made it at least what it cost.
    let price = u128::from(BASE_FEE);
    let options = Options {
        mode: 1,
        callbackGas: 100_000,
        callbackGasPrice: price,
        tag: B256::ZERO,
    };
    let id = t.chain.model;
    let (request, _) = t
        .chain
        .request_and_claim(t.model.trace.root(), id, price << 20, options, START);
    t.chain.at(START + 6);
    t.chain.must(market, DEPLOYER, 0, chain::finalizeCall { request });
    t.rows.push(("finalize".into(), t.chain.used));
    let credit = t.chain.view(market, chain::creditOfCall { account: OTHER });
    t.chain.must(
        market,
        OTHER,
        0,
        chain::deliverCall {
            request,
            outputs: vec![0].into(),
        },
    );
    t.rows.push(("deliver, callback left out".into(), t.chain.used));
    let paid: u64 = ((t.chain.view(market, chain::creditOfCall { account: OTHER }) - credit) / U256::from(price)).to();
    let used = t.chain.used;
    assert!(paid >= used && paid * 10 < used * 15, "paid {paid} gas for {used}");
    t.chain.must(market, DEPLOYER, 0, chain::withdrawCall { to: DEPLOYER });
    t.rows.push(("withdraw".into(), t.chain.used));

    let table: String = t
        .rows
        .iter()
        .map(|(name, gas)| format!("| {name} | {gas} |\n"))
        .collect();
    let path = format!("{}/../../docs/gas.md", env!("CARGO_MANIFEST_DIR"));
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    for (name, gas) in &t.rows {
        assert!(*gas < LIMIT, "{name} takes {gas}");
        let row = committed
            .lines()
            .find_map(|line| line.strip_prefix(&format!("| {name} | "))?.strip_suffix(" |"));
        let documented: u64 = row.and_then(|gas| gas.parse().ok()).unwrap_or_default();
        assert!(
            documented.abs_diff(*gas) * 50 <= *gas,
            "docs/gas.md has {documented} for {name}; measured:\n{table}"
        );
    }
}
