//! What a worker signs: EIP-712 digests of claims, layer answers and parts of sums (PROTOCOL.md section 4).

use alloy_primitives::{Address, U256};

use crate::digest::{B256, hash, hash_parts, tag};
use crate::model::{Words, word};

/// EIP-712 domain of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Chain id.
    pub chain_id: u64,
    /// The market's address.
    pub market: Address,
}

impl Domain {
    /// The domain separator: name `Touchstone`, version `1`.
    pub fn separator(&self) -> B256 {
        let words = [
            hash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            hash("Touchstone"),
            hash("1"),
            word(self.chain_id),
            self.market.into_word(),
        ];
        hash(words.as_flattened_bytes())
    }

    fn digest(&self, words: &[B256]) -> B256 {
        let hashed = hash(words.as_flattened_bytes());
        hash_parts(&[b"\x19\x01", self.separator().as_slice(), hashed.as_slice()])
    }
}

/// The bonded statement that a request's model and inputs give these outputs by this trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The request.
    pub request: U256,
    /// Which attempt at the request.
    pub attempt: u64,
    /// The provider whose bond stands behind the claim.
    pub worker: Address,
    /// Model id.
    pub model: B256,
    /// [`inputs_hash`].
    pub inputs: B256,
    /// [`outputs_hash`].
    pub outputs: B256,
    /// [`bound_trace`].
    pub bound_trace: B256,
    /// The model's numerics profile.
    pub profile: u64,
    /// Who is paid for posting the claim.
    pub poster: Address,
    /// Unix time in seconds after which the claim may no longer be posted.
    pub valid_until: u64,
}

impl Claim {
    /// EIP-712 digest, signed by the worker's node key; the claim id.
    pub fn digest(&self, domain: &Domain) -> B256 {
        domain.digest(&[
            hash(
                "Claim(uint256 request,uint256 attempt,address worker,bytes32 model,bytes32 inputs,bytes32 outputs,\
                 bytes32 boundTrace,uint64 profile,address poster,uint64 validUntil)",
            ),
            self.request.into(),
            word(self.attempt),
            self.worker.into_word(),
            self.model,
            self.inputs,
            self.outputs,
            self.bound_trace,
            word(self.profile),
            self.poster.into_word(),
            word(self.valid_until),
        ])
    }
}

/// A worker's answer to a layer: the root of its inner values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerAnswer {
    /// The claim id.
    pub claim: B256,
    /// Which layer.
    pub layer: u32,
    /// Root of the tree of the layer's inner values' commitments.
    pub root: B256,
}

impl LayerAnswer {
    /// EIP-712 digest, signed by the worker's node key.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let kind = hash("Layer(bytes32 claim,uint256 layer,bytes32 root)");
        domain.digest(&[kind, self.claim, word(self.layer.into()), self.root])
    }
}

/// A worker's answer with the sums of the parts of a long operator's node. It names the node's place in the claim, not a dispute: what is
/// true of it is so in every dispute, and who signs it needs to know no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsAnswer {
    /// Digest of the claim.
    pub claim: B256,
    /// The operator.
    pub operator: u32,
    /// Its element.
    pub element: u64,
    /// Levels below the node whose parts are given: for the totals [`crate::parts::depth`].
    pub depth: u32,
    /// The node's place on its level: for the totals 0.
    pub index: u32,
    /// [`crate::parts::node_word`] of header and parts.
    pub node: B256,
}

impl PartsAnswer {
    /// EIP-712 digest, signed by the worker's node key.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let kind =
            hash("Parts(bytes32 claim,uint256 operator,uint256 element,uint256 depth,uint256 index,bytes32 node)");
        domain.digest(&[
            kind,
            self.claim,
            word(self.operator.into()),
            word(self.element),
            word(self.depth.into()),
            word(self.index.into()),
            self.node,
        ])
    }
}

/// `H(TAG("inputs") ‖ commitment × n)`, in graph order.
pub fn inputs_hash(commitments: &[B256]) -> B256 {
    list_hash("inputs", commitments)
}

/// `H(TAG("outputs") ‖ commitment × n)`, in graph order.
pub fn outputs_hash(commitments: &[B256]) -> B256 {
    list_hash("outputs", commitments)
}

/// `H(abi.encode(worker, trace root))`: makes a copied claim useless to the copier.
pub fn bound_trace(worker: Address, trace_root: B256) -> B256 {
    hash([worker.into_word(), trace_root].as_flattened_bytes())
}

fn list_hash(name: &str, commitments: &[B256]) -> B256 {
    hash_parts(&[tag(name).as_slice(), &commitments.as_flattened_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            request: U256::from(7),
            attempt: 1,
            worker: Address::repeat_byte(0x22),
            model: hash("model"),
            inputs: inputs_hash(&[hash("a"), hash("b")]),
            outputs: outputs_hash(&[hash("c")]),
            bound_trace: bound_trace(Address::repeat_byte(0x22), hash("trace")),
            profile: crate::model::Profile::FAST.encode(),
            poster: Address::repeat_byte(0x33),
            valid_until: 1_800_000_000,
        }
    }

    #[test]
    fn every_field_and_the_domain_are_in_the_digest() {
        let domain = Domain {
            chain_id: 31337,
            market: Address::repeat_byte(0x44),
        };
        let c = claim();
        let digests = [
            c.digest(&domain),
            c.digest(&Domain { chain_id: 1, ..domain }),
            c.digest(&Domain {
                market: Address::ZERO,
                ..domain
            }),
            Claim {
                request: U256::MAX,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                attempt: 2,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                worker: Address::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                model: B256::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                inputs: B256::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                outputs: B256::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                bound_trace: B256::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                profile: 0,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                poster: Address::ZERO,
                ..c.clone()
            }
            .digest(&domain),
            Claim {
                valid_until: 0,
                ..c.clone()
            }
            .digest(&domain),
            LayerAnswer {
                claim: c.digest(&domain),
                layer: 0,
                root: B256::ZERO,
            }
            .digest(&domain),
            LayerAnswer {
                claim: c.digest(&domain),
                layer: 1,
                root: B256::ZERO,
            }
            .digest(&domain),
            LayerAnswer {
                claim: c.digest(&domain),
                layer: 1,
                root: hash("r"),
            }
            .digest(&domain),
        ];
        let parts = PartsAnswer {
            claim: c.digest(&domain),
            operator: 1,
            element: 2,
            depth: 3,
            index: 4,
            node: hash("n"),
        };
        let digests: Vec<B256> = digests
            .into_iter()
            .chain(
                [
                    parts,
                    PartsAnswer {
                        claim: B256::ZERO,
                        ..parts
                    },
                    PartsAnswer { operator: 0, ..parts },
                    PartsAnswer { element: 0, ..parts },
                    PartsAnswer { depth: 0, ..parts },
                    PartsAnswer { index: 0, ..parts },
                    PartsAnswer {
                        node: B256::ZERO,
                        ..parts
                    },
                ]
                .map(|answer| answer.digest(&domain)),
            )
            .collect();
        for (i, digest) in digests.iter().enumerate() {
            assert!(!digests[i + 1..].contains(digest), "{i}");
        }
    }

    #[test]
    fn inputs_and_outputs_of_the_same_values_differ() {
        assert_ne!(inputs_hash(&[hash("a")]), outputs_hash(&[hash("a")]));
        assert_ne!(inputs_hash(&[]), inputs_hash(&[B256::ZERO]));
    }
}
