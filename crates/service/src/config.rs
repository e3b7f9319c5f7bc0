//! Pieces of a configuration: default < file < environment < flag, checked into typed units, shown without secrets.

use std::{fmt, path::Path, str::FromStr as _};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use touchstone_chain::PrivateKeySigner;

/// What a TOML file sets; without a file, nothing.
///
/// # Errors
/// It cannot be read, or has a key that nobody knows.
pub fn read<T: DeserializeOwned + Default>(file: Option<&Path>) -> anyhow::Result<T> {
    let Some(path) = file else {
        return Ok(T::default());
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

/// A value that has no default.
///
/// # Errors
/// It is not set; the error says how to set it.
pub fn required<T>(name: &str, value: Option<T>) -> anyhow::Result<T> {
    value.with_context(|| {
        format!(
            "{name} is missing: set --{} or the key {name} of the file",
            name.replace('_', "-")
        )
    })
}

/// A private key: prints its address only.
#[derive(Clone)]
pub struct Key(pub PrivateKeySigner);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key of {}", self.0.address())
    }
}

impl Key {
    /// Reads a key; `place` says where the text is from.
    ///
    /// # Errors
    /// It is no key in hex; the error does not repeat it.
    pub fn parse(text: &str, place: &str) -> anyhow::Result<Self> {
        // The parser's error could repeat the key.
        let key = PrivateKeySigner::from_str(text.trim())
            .map_err(|_| anyhow::anyhow!("{place} holds no private key of 32 hexadecimal bytes"))?;
        Ok(Self(key))
    }

    /// The key that an environment variable holds, else the one in a file, if there is either.
    ///
    /// # Errors
    /// The file cannot be read, or there is no key in it.
    pub fn load(variable: &str, held: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        match (held, file) {
            (Some(text), _) => Self::parse(text, variable).map(Some),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                Self::parse(&text, &path.display().to_string()).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// Addresses of nodes often carry keys in path, query or user part: only scheme and host are shown.
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let tail = if path.trim_matches('/').is_empty() { "" } else { "/…" };
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const KEY: &str = "4646464646464646464646464646464646464646464646464646464646464646";

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        threads: Option<u8>,
    }

    #[test]
    fn a_file_sets_what_it_names_and_unknown_keys_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("threads = 2");
        assert_eq!(read::<Options>(Some(&file)).unwrap().threads, Some(2));
        assert_eq!(read::<Options>(None).unwrap(), Options::default());
        write("thraeds = 2");
        let error = read::<Options>(Some(&file)).unwrap_err();
        assert!(format!("{error:#}").contains("thraeds"), "{error:#}");
        let error = read::<Options>(Some(&folder.path().join("b.toml"))).unwrap_err();
        assert!(error.to_string().contains("b.toml"), "{error}");
        let error = required::<u8>("chain_id", None).unwrap_err().to_string();
        assert!(error.contains("--chain-id") && error.contains("chain_id"), "{error}");
    }

    #[test]
    fn a_key_is_taken_from_the_variable_first_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("0x{}1\n", "0".repeat(63))).unwrap();
        let load = |held| Key::load("THE_VARIABLE", held, Some(&file)).unwrap().unwrap();
        let (held, filed) = (load(Some(KEY)), load(None));
        assert_ne!(held.0.address(), filed.0.address());
        assert!(!format!("{held:?}").contains("4646"), "{held:?}");
        assert!(Key::load("THE_VARIABLE", None, None).unwrap().is_none());
        let error = Key::load("THE_VARIABLE", Some("0xsecret"), None).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("THE_VARIABLE") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn of_an_address_scheme_and_host_are_shown() {
        for (url, shown) in [
            (
                "https://user:pass@node.example:8545/v2/key?key=k",
                "https://node.example:8545/…",
            ),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
            ("node.example?key=k", "://node.example/…"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
