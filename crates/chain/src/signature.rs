//! EIP-712 digests signed by node keys, and the address behind a signature.

use alloy::{
    primitives::{Address, B256, FixedBytes, Signature, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolStruct, eip712_domain},
};

/// A signature as 65 bytes `r ‖ s ‖ v`, v 27 or 28, s in the lower half.
pub type SignatureBytes = FixedBytes<65>;

alloy::sol! {
    /// What a worker signs to open a session with a coordinator.
    struct Hello {
        address provider;
        address node;
        address coordinator;
        bytes32 nonce;
    }
}

/// The key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("sign a digest: {0}")]
pub struct SignError(#[from] alloy::signers::Error);

/// Signs a digest.
pub fn sign(key: &PrivateKeySigner, digest: B256) -> Result<SignatureBytes, SignError> {
    Ok(FixedBytes(key.sign_hash_sync(&digest)?.as_bytes()))
}

/// The address whose key made the signature over the digest; `None` where it is not a canonical signature.
pub fn recover(digest: B256, signature: &SignatureBytes) -> Option<Address> {
    if !matches!(signature.0[64], 27 | 28) {
        return None;
    }
    let parsed = Signature::from_raw_array(&signature.0).ok()?;
    if parsed.normalize_s().is_some() {
        return None;
    }
    parsed.recover_address_from_prehash(&digest).ok()
}

/// 32 bytes that nobody can guess.
pub fn nonce() -> B256 {
    keccak256(PrivateKeySigner::random().to_bytes())
}

/// The digest of a worker's proof of key, in the domain of the market.
pub fn hello_digest(
    chain_id: u64,
    market: Address,
    provider: Address,
    node: Address,
    coordinator: Address,
    nonce: B256,
) -> B256 {
    let domain = eip712_domain! {
        name: "Touchstone",
        version: "1",
        chain_id: chain_id,
        verifying_contract: market,
    };
    Hello {
        provider,
        node,
        coordinator,
        nonce,
    }
    .eip712_signing_hash(&domain)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U256, uint};

    use super::*;

    /// Order of secp256k1.
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    #[test]
    fn recovers_the_signer_and_refuses_variants() {
        let key = PrivateKeySigner::random();
        let digest = B256::repeat_byte(7);
        let signature = sign(&key, digest).unwrap();
        assert_eq!(recover(digest, &signature), Some(key.address()));
        assert_ne!(recover(B256::repeat_byte(8), &signature), Some(key.address()));
        let mut v = signature;
        v.0[64] -= 27;
        assert_eq!(recover(digest, &v), None, "v must be 27 or 28");
        let parsed = Signature::from_raw_array(&signature.0).unwrap();
        let high = Signature::new(parsed.r(), ORDER - parsed.s(), !parsed.v());
        assert_eq!(
            recover(digest, &FixedBytes(high.as_bytes())),
            None,
            "s must be in the lower half"
        );
    }

    #[test]
    fn hello_binds_every_field() {
        let [a, b] = [Address::repeat_byte(1), Address::repeat_byte(2)];
        let [n, m] = [B256::repeat_byte(3), B256::repeat_byte(4)];
        let base = hello_digest(1, a, a, a, a, n);
        for other in [
            hello_digest(2, a, a, a, a, n),
            hello_digest(1, b, a, a, a, n),
            hello_digest(1, a, b, a, a, n),
            hello_digest(1, a, a, b, a, n),
            hello_digest(1, a, a, a, b, n),
            hello_digest(1, a, a, a, a, m),
        ] {
            assert_ne!(base, other);
        }
    }
}
