//! Following the chain: reorganisations, fresh syncs, and refusals to start.

use crate::common::{Account, Net, anvil::CHAIN_ID, worker::Worker};
use sqlx::PgPool;
use touchstone_chain::{Address, U256, bindings::IMarket::RequestStatus};
use touchstone_coordinator::{
    config::{Config, Settings},
    db,
    follower::Follower,
};
use touchstone_wire::worker::ClaimState;

/// What two databases that saw the same chain agree on.
async fn picture(pool: &PgPool) -> Vec<String> {
    let queries = [
        "select number::text || encode(hash, 'hex') from blocks order by number",
        "select encode(id, 'hex') || uri from models order by id",
        "select id::text || encode(inputs, 'hex') || status || delivery || attempt || ' ' || deadline from requests
         where status <> 'orphaned' order by id",
        "select encode(id, 'hex') || status || window_end || ' ' || open_disputes from claims
         where status <> 'orphaned' order by id",
        "select encode(id, 'hex') || phase || encode(state, 'hex') from disputes where phase <> 'orphaned' order by id",
    ];
    let mut rows = Vec::new();
    for query in queries {
        rows.extend(sqlx::query_scalar::<_, String>(query).fetch_all(pool).await.unwrap());
    }
    rows
}

async fn sync(net: &Net, follower: &Follower) {
    crate::common::eventually("the follower has caught up", async || {
        let progress = follower.step().await.ok()?;
        (progress.caught_up && progress.tip.hash == net.reader.head().await.unwrap().hash).then_some(())
    })
    .await;
}

async fn pool(url: &str) -> PgPool {
    db::connect(url.parse().unwrap(), std::time::Duration::from_secs(10))
        .await
        .unwrap()
}

#[tokio::test]
async fn after_a_reorganisation_the_database_is_that_of_a_fresh_sync() {
    let net = Net::start().await;
    // Blocks only with transactions and when we say so.
    net.node.ask("evm_setIntervalMining", serde_json::json!([0])).await;
    net.node.ask("evm_setAutomine", serde_json::json!([true])).await;
    let first = net.request().await;
    net.node.mine(2).await;
    let before = net.node.ask("evm_snapshot", serde_json::json!([])).await;
    let second = net.request().await;
    net.node.mine(1).await;
    let here = pool(&net.database.url).await;
    let follower = Follower::new(here.clone(), net.reader.clone(), net.deployment, 0);
    sync(&net, &follower).await;
    assert!(db::requests::select_request(&here, second).await.unwrap().is_some());

    // Reorganised with the transactions mined again, then without the second request at all.
    for depth in [1, 2, 3, 0] {
        if depth == 0 {
            net.node.ask("evm_revert", serde_json::json!([before])).await;
            net.node.mine(1).await;
        } else {
            net.node.reorganise(depth).await;
        }
        sync(&net, &follower).await;
        let fresh = crate::common::postgres::Database::create().await;
        let there = pool(&fresh.url).await;
        sync(
            &net,
            &Follower::new(there.clone(), net.reader.clone(), net.deployment, 0),
        )
        .await;
        assert_eq!(picture(&here).await, picture(&there).await, "depth {depth}");
    }
    let state = async |id: U256| {
        db::requests::select_request(&here, id)
            .await
            .unwrap()
            .unwrap()
            .state
            .status
    };
    assert_eq!(state(first).await, db::requests::RequestStatus::Requested);
    assert_eq!(state(second).await, db::requests::RequestStatus::Orphaned);

    // The number is used again by another request.
    let again = net.request().await;
    assert_eq!(again, second);
    sync(&net, &follower).await;
    assert_eq!(state(second).await, db::requests::RequestStatus::Requested);
}

#[tokio::test]
async fn a_claim_survives_a_reorganisation() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let request = net.request().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    net.node.mine(8).await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    worker.told(ClaimState::Posted).await;
    net.node.reorganise(3).await;
    net.until_status(request, RequestStatus::Claimed).await;
    net.node.pass(25).await;
    net.until_status(request, RequestStatus::Final).await;
    assert_eq!(net.request().await, request + U256::ONE);
    coordinator.stop().await;
}

#[tokio::test]
async fn it_refuses_to_start_on_what_is_not_its_chain() {
    let net = Net::start().await;
    let check = async |change: fn(&mut Settings), expect: &str| {
        let mut settings = net.settings();
        settings.listen = Some(([127, 0, 0, 1], 0).into());
        change(&mut settings);
        let config = Config::try_from(settings).unwrap();
        let run = touchstone_coordinator::run(config, Default::default());
        let error = tokio::time::timeout(crate::common::PATIENCE, run)
            .await
            .unwrap()
            .unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expect), "{error}");
    };
    check(|s| s.chain_id = Some(CHAIN_ID + 1), "the configuration says 31338").await;
    check(
        |s| s.market = Some(Address::repeat_byte(1)),
        "no contract at the market's address",
    )
    .await;
    check(
        |s| s.rpc_url = Some("http://127.0.0.1:1".to_owned()),
        "ask the node for its chain",
    )
    .await;
    // A database that another deployment's coordinator has used.
    let database = pool(&net.database.url).await;
    db::deployment::insert_deployment(&database, CHAIN_ID, Address::repeat_byte(2))
        .await
        .unwrap();
    check(|_| {}, "the database belongs to market").await;
}
