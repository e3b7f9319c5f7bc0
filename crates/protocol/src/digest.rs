//! Keccak256 and the domain words that every hash of the protocol begins with (PROTOCOL.md, first paragraph).

pub use alloy_primitives::B256;
use alloy_primitives::Keccak256;

/// Keccak256 of `bytes`.
pub fn hash(bytes: impl AsRef<[u8]>) -> B256 {
    alloy_primitives::keccak256(bytes)
}

/// Keccak256 of the parts, joined without padding.
pub fn hash_parts(parts: &[&[u8]]) -> B256 {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// `TAG(name)`: `keccak256("touchstone." + name + ".1")`.
pub fn tag(name: &str) -> B256 {
    hash_parts(&[b"touchstone.", name.as_bytes(), b".1"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_the_hash_of_the_whole_name() {
        assert_eq!(tag("tensor"), hash(b"touchstone.tensor.1"));
        assert_ne!(tag("tensor"), tag("operator"));
    }
}
