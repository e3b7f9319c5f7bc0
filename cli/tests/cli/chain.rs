//! Against the contracts on a local node.

use std::{fs, path::Path, time::Duration};

use touchstone_chain::{
    ChainReader, U256,
    bindings::IMarket,
    deploy::{deploy, devnet_parameters},
};

use crate::{anvil::Anvil, output, text, with_closed_output};

const DIGIT: &str = "digits_vit/inputs/digit_0_label_7.npy";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_early_misses_words_and_nothing_else() {
    let anvil = Anvil::start(&[]).await;
    let reader = ChainReader::new(&anvil.url, Duration::from_secs(10)).unwrap();
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/artifacts");
    let deployed = deploy(&reader, &anvil.key(0), &artifacts, &devnet_parameters()).await;
    let market = deployed.unwrap().market;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chain-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let key = folder.join("key");
    fs::write(&key, anvil.key(1).to_bytes().to_string()).unwrap();
    let (market_text, key) = (market.to_string(), key.to_str().unwrap().to_owned());
    let view = ["--rpc", anvil.url.as_str(), "--market", market_text.as_str()];
    let signing = [&view[..], &["--key-file", key.as_str()]].concat();
    let with = |command: &[&'static str], more: &[&str]| -> Vec<String> {
        command.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let run = |words: Vec<String>| output(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let run_closed = |words: Vec<String>| with_closed_output(&words.iter().map(String::as_str).collect::<Vec<_>>());

    let publish = with(
        &["model", "publish", "digits_vit/model.onnx", "--input", DIGIT],
        &signing,
    );
    let (status, remark) = run_closed(publish);
    assert_eq!(status, Some(0), "{remark}");
    assert!(remark.starts_with("published model.onnx in transaction"), "{remark}");
    assert!(
        remark.contains("slack of output logits on this input: ") && remark.contains("under fast"),
        "{remark}"
    );

    // It is published: asking for it works. The id is what inspect says under the publisher.
    let publisher = anvil.key(1).address().to_string();
    let json = output(&[
        "model",
        "inspect",
        "digits_vit/model.onnx",
        "--json",
        "--publisher",
        &publisher,
    ]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let model = json["model_id"].as_str().unwrap();
    let request = with(&["request"], &[&[model, "--input", DIGIT][..], &signing].concat());
    let (status, remark) = run_closed(request.clone());
    assert_eq!(status, Some(0), "{remark}");
    let second = run(request);
    assert_eq!(
        (second.status.code(), text(&second.stdout)),
        (Some(0), "2\n".to_owned())
    );
    let head = reader.head().await.unwrap();
    let count = reader.call(market, &IMarket::requestCountCall {}, head.hash).await;
    assert_eq!(count.unwrap(), U256::from(2));

    let status = with(&["status", "1", "--timeline"], &view);
    assert_eq!(run_closed(status.clone()), (Some(0), String::new()));
    let read = text(&run(status).stdout);
    assert!(
        read.contains("waiting for a worker") && read.contains("            tx 0x"),
        "{read}"
    );
    // Beside the model's file, whether the answer is certain.
    let certain = run(with(&["status", "1", "--model", "digits_vit/model.onnx"], &view));
    let read = text(&certain.stdout);
    assert!(
        read.contains("answer        logits row 0: place 7; margin ") && read.contains("is certain to first order"),
        "{read} {}",
        text(&certain.stderr)
    );
    let other = run(with(&["status", "1", "--model", "suite/mlp_dynamo.onnx"], &view));
    assert_eq!(other.status.code(), Some(1));
    let error = text(&other.stderr);
    assert!(
        error.contains("suite/mlp_dynamo.onnx is not the model of the request"),
        "{error}"
    );
    let missing = run(with(&["status", "3"], &view));
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("there is no request 3; the last one is 2"));
    fs::remove_dir_all(&folder).unwrap();
}
