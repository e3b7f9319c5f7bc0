//! Joins the contracts' interfaces into the one file that `bindings` is made from: the macro reads one file and no imports.

use std::{env, error::Error, fs, path::Path};

const SOURCES: [&str; 6] = [
    "types/Position.sol",
    "interfaces/IPartJudge.sol",
    "interfaces/IJudge.sol",
    "interfaces/IModelRegistry.sol",
    "interfaces/IMarket.sol",
    "interfaces/IDisputes.sol",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../contracts/src");
    let mut joined = String::new();
    for source in SOURCES {
        let path = root.join(source);
        println!("cargo:rerun-if-changed={}", path.display());
        for line in fs::read_to_string(&path)?.lines() {
            if !line.starts_with("import ") && !line.starts_with("pragma ") {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    let out = env::var("OUT_DIR")?;
    let interfaces = Path::new(&out).join("interfaces.sol");
    fs::write(&interfaces, joined)?;
    // The macro takes a literal path only, and this one is known here.
    let bindings = format!(
        "alloy::sol!(#![sol(rpc, all_derives = true)] {:?});",
        interfaces.display().to_string()
    );
    fs::write(Path::new(&out).join("bindings.rs"), bindings)?;
    Ok(())
}
