//! The rules of the repository, as ordinary tests (CONTRIBUTING.md).

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Tracked and new files that git does not ignore, relative to the root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let mut list: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .filter(|f| root().join(f).is_file())
        .collect();
    list.sort();
    list.dedup();
    list
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn in_tests(file: &str) -> bool {
    file.starts_with("tests/")
        || file.contains("/tests/")
        || file.contains("/test/")
        || file.ends_with("tests.rs")
        || file.ends_with(".t.sol")
}

fn dependencies(manifest: &str) -> Vec<String> {
    let text = read(manifest);
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.starts_with("dependencies");
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.push(name.to_owned());
        }
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    let own = |manifest: &str| -> Vec<String> {
        dependencies(manifest)
            .into_iter()
            .filter(|d| d.starts_with("touchstone-"))
            .collect()
    };
    let allowed: &[(&str, &[&str])] = &[
        ("crates/protocol/Cargo.toml", &[]),
        ("crates/model/Cargo.toml", &["touchstone-protocol"]),
        ("crates/wire/Cargo.toml", &["touchstone-protocol"]),
        ("crates/chain/Cargo.toml", &["touchstone-protocol"]),
        ("crates/service/Cargo.toml", &["touchstone-wire", "touchstone-chain"]),
        ("crates/engine/Cargo.toml", &["touchstone-protocol", "touchstone-model"]),
        (
            "coordinator/Cargo.toml",
            &[
                "touchstone-protocol",
                "touchstone-wire",
                "touchstone-chain",
                "touchstone-service",
            ],
        ),
        (
            "worker/Cargo.toml",
            &[
                "touchstone-protocol",
                "touchstone-model",
                "touchstone-engine",
                "touchstone-wire",
                "touchstone-chain",
                "touchstone-service",
            ],
        ),
        (
            "challenger/Cargo.toml",
            &[
                "touchstone-protocol",
                "touchstone-model",
                "touchstone-engine",
                "touchstone-wire",
                "touchstone-chain",
                "touchstone-service",
            ],
        ),
        (
            "cli/Cargo.toml",
            &[
                "touchstone-protocol",
                "touchstone-model",
                "touchstone-engine",
                "touchstone-wire",
                "touchstone-chain",
            ],
        ),
    ];
    for (manifest, may) in allowed {
        for dependency in own(manifest) {
            assert!(
                may.contains(&dependency.as_str()),
                "{manifest} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn only_the_coordinator_has_sql_and_only_engine_has_tch() {
    for file in files().iter().filter(|f| f.ends_with("Cargo.toml")) {
        let found = dependencies(file);
        let has = |name: &str| found.iter().any(|d| d == name);
        assert!(
            !has("sqlx") || file.starts_with("coordinator/") || file.starts_with("tests/"),
            "{file} has sqlx"
        );
        assert!(!has("tch") || file.starts_with("crates/engine/"), "{file} has tch");
    }
}

/// Whole words of code outside comments.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(number, line)| {
        let code = line.split("//").next().unwrap_or("");
        code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(move |word| (number + 1, word))
    })
}

#[test]
fn the_rules_are_integers_without_panics_or_hash_maps() {
    const BANNED: &[&str] = &[
        "f32",
        "f64",
        "HashMap",
        "HashSet",
        "SystemTime",
        "Instant",
        "unsafe",
        "panic",
        "unreachable",
    ];
    for file in files()
        .iter()
        .filter(|f| f.starts_with("crates/protocol/src/") && !in_tests(f))
    {
        let text = read(file);
        let production = text.split("#[cfg(test)]").next().unwrap_or("");
        for (line, word) in words(production) {
            assert!(!BANNED.contains(&word), "{file}:{line} uses {word}");
        }
    }
}

#[test]
fn files_are_short() {
    for file in files() {
        let limit = match Path::new(&file).extension().and_then(|e| e.to_str()) {
            Some("rs") => 500,
            Some("sol") => 300,
            _ => continue,
        };
        if in_tests(&file) {
            continue;
        }
        let text = read(&file);
        let lines = text.lines().count();
        assert!(
            lines <= limit || text.contains("Longer than the house size"),
            "{file} has {lines} lines, the house says {limit}: split it, or say why in its module doc"
        );
    }
}

#[test]
fn nothing_is_unfinished_or_skipped() {
    let banned: Vec<String> = [
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("#[ign", "ore"),
        ("vm.", "skip("),
        ("FIX", "ME"),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    for file in files()
        .iter()
        .filter(|f| f.ends_with(".rs") || f.ends_with(".sol") || f.ends_with(".sh"))
    {
        let text = read(file);
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{file} contains {word}");
        }
    }
}

#[test]
fn links_in_pages_lead_somewhere() {
    for file in files().iter().filter(|f| f.ends_with(".md")) {
        let text = read(file);
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or("").split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let base = root().join(file);
            let base = base.parent().unwrap_or(Path::new(""));
            assert!(
                base.join(target).exists(),
                "{file} links to {target}, which is not there"
            );
        }
    }
}
