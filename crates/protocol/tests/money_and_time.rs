//! Clocks and money against the vectors that the contracts are tested against too (`contracts/test/vectors`).

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

use alloy_primitives::U256;
use serde_json::Value;
use touchstone_protocol::{bond, clock};

fn vectors(name: &str) -> Value {
    let path = format!(
        "{}/../../contracts/test/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("vectors are JSON")
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().expect("a list");
    assert!(!list.is_empty());
    list
}

fn number(v: &Value, name: &str) -> u64 {
    v[name].as_u64().unwrap_or_else(|| panic!("{name} of {v}"))
}

fn wei(v: &Value, name: &str) -> U256 {
    v[name]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{name} of {v}"))
}

fn flag(v: &Value, name: &str) -> bool {
    v[name].as_bool().unwrap_or_else(|| panic!("{name} of {v}"))
}

#[test]
fn clocks() {
    let vectors = vectors("clock");
    for v in list(&vectors, "at") {
        let (deadline, now) = (number(v, "deadline"), number(v, "now"));
        assert_eq!(clock::expired(deadline, now), flag(v, "expired"), "{v}");
        assert_eq!(u64::from(clock::stop(deadline, now)), number(v, "stop"), "{v}");
    }
    for v in list(&vectors, "start") {
        let (left, extension) = (number(v, "left") as u32, number(v, "extension") as u32);
        assert_eq!(
            clock::start(left, extension, number(v, "now")),
            number(v, "deadline"),
            "{v}"
        );
    }
    for v in list(&vectors, "longest") {
        let (clock, extension) = (number(v, "clock") as u32, number(v, "extension") as u32);
        assert_eq!(
            clock::longest(clock, extension, number(v, "max_turns") as u16),
            number(v, "longest"),
            "{v}"
        );
    }
}

#[test]
fn extremes_do_not_overflow() {
    assert_eq!(clock::start(u32::MAX, 0, u64::MAX), u64::MAX);
    assert_eq!(clock::stop(u64::MAX, 0), u32::MAX);
    assert_eq!(bond::required(U256::ZERO, u64::MAX, U256::MAX), U256::MAX);
    assert_eq!(bond::refund(U256::from(1), U256::ZERO, U256::MAX), U256::ZERO);
}

#[test]
fn money() {
    let vectors = vectors("bond");
    for v in list(&vectors, "required") {
        let bond = bond::required(wei(v, "floor"), number(v, "answer_gas"), wei(v, "base_fee"));
        assert_eq!(bond, wei(v, "bond"), "{v}");
    }
    for v in list(&vectors, "lost") {
        let lost = bond::lost(wei(v, "bond"), wei(v, "worker_cost"), flag(v, "conceded"));
        let (to_worker, to_challenger, burned) = (wei(v, "to_worker"), wei(v, "to_challenger"), wei(v, "burned"));
        assert_eq!(
            lost,
            bond::Lost {
                to_worker,
                to_challenger,
                burned
            },
            "{v}"
        );
        assert_eq!(to_worker + to_challenger + burned, wei(v, "bond"), "{v}");
    }
    for v in list(&vectors, "struck") {
        let struck = bond::struck(wei(v, "bond"), wei(v, "metered"), wei(v, "own"));
        let (reward, set_aside, burned) = (wei(v, "reward"), wei(v, "set_aside"), wei(v, "burned"));
        assert_eq!(
            struck,
            bond::Struck {
                reward,
                set_aside,
                burned,
                pool: wei(v, "pool"),
            },
            "{v}"
        );
        assert_eq!(reward + set_aside + burned, wei(v, "bond"), "{v}");
    }
    for v in list(&vectors, "split") {
        let (poster, publisher) = (number(v, "poster_share") as u16, number(v, "publisher_share") as u16);
        let split = bond::split(wei(v, "fee"), poster, publisher);
        let (to_worker, to_poster, to_publisher) = (wei(v, "to_worker"), wei(v, "to_poster"), wei(v, "to_publisher"));
        assert_eq!(
            split,
            bond::Split {
                to_worker,
                to_poster,
                to_publisher
            },
            "{v}"
        );
        assert_eq!(to_worker + to_poster + to_publisher, wei(v, "fee"), "{v}");
    }
}

/// What is set aside suffices for all that is refunded from it, whatever the parts.
#[test]
fn refunds_never_exceed_what_is_set_aside() {
    for metered in [300u64, 500, 501, 999, 12_345] {
        for own in [0, 1, metered / 3] {
            let struck = bond::struck(U256::from(1000), U256::from(metered), U256::from(own));
            let others = metered - own;
            let mut rest = others;
            let mut refunded = U256::ZERO;
            while rest > 0 {
                let part = rest.min(1 + rest / 3);
                refunded += bond::refund(struck.pool, U256::from(others), U256::from(part));
                rest -= part;
            }
            assert!(refunded <= struck.set_aside, "{metered} {own}");
        }
    }
}
