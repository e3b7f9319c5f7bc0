//! Checks a worker's result: everything that can be said about it without running the model.

use touchstone_chain::{Address, B256, signature};
use touchstone_protocol::{
    claim::{Claim, Domain, bound_trace, outputs_hash},
    merkle,
    model::{Io, Spec},
    tensor,
};
use touchstone_wire::worker::RunResult;

/// What a result has to fit.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Signing domain.
    pub domain: Domain,
    /// The provider.
    pub worker: Address,
    /// Its node key.
    pub node: Address,
    /// Model id.
    pub model: B256,
    /// The model's io bytes.
    pub io: &'a [u8],
    /// The model's profile.
    pub profile: u64,
    /// Values of the model's trace.
    pub trace_values: u32,
    /// Digest of the inputs' commitments.
    pub inputs: B256,
    /// Payee of the coordinator's share.
    pub poster: Address,
    /// Trace commitments that the worker sent before.
    pub trace: &'a [B256],
    /// Bounds of valid-until, both included, unix seconds.
    pub valid_until: (u64, u64),
}

/// A result that is refused: the worker is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultRefusal {
    /// The registry's io bytes do not decode; the model cannot be served.
    #[error("the model's io does not decode")]
    Io,
    /// The outputs do not have the model's length.
    #[error("{actual} output bytes, the model has {expected}")]
    OutputLength {
        /// Of the model.
        expected: u64,
        /// Sent.
        actual: u64,
    },
    /// The trace commitments are missing or incomplete.
    #[error("{actual} trace commitments, the model has {expected}")]
    TraceLength {
        /// Of the model.
        expected: u32,
        /// Sent.
        actual: usize,
    },
    /// The trace root is not the tree of the commitments.
    #[error("trace root {actual} is not that of the commitments, {expected}")]
    TraceRoot {
        /// Of the commitments.
        expected: B256,
        /// Sent.
        actual: B256,
    },
    /// Valid-until is out of bounds.
    #[error("valid until {actual}, not within {min} to {max}")]
    ValidUntil {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
        /// Sent.
        actual: u64,
    },
    /// The signature is not the node key's over this claim.
    #[error("the signature is not node key {expected}'s over claim {claim}")]
    Signature {
        /// The node key.
        expected: Address,
        /// The claim it should sign.
        claim: B256,
    },
}

/// The id of the claim that the result makes, if it is well-formed and signed.
pub fn check(expected: &Expected<'_>, result: &RunResult) -> Result<B256, ResultRefusal> {
    let RunResult {
        job,
        output,
        trace_root,
        valid_until,
        signature,
    } = result;
    let io = Io::decode(expected.io).map_err(|_| ResultRefusal::Io)?;
    let outputs = split(&io.outputs, output)?;
    if expected.trace.len() != expected.trace_values as usize {
        return Err(ResultRefusal::TraceLength {
            expected: expected.trace_values,
            actual: expected.trace.len(),
        });
    }
    let root = merkle::root(expected.trace);
    if root != *trace_root {
        return Err(ResultRefusal::TraceRoot {
            expected: root,
            actual: *trace_root,
        });
    }
    let (min, max) = expected.valid_until;
    if *valid_until < min || *valid_until > max {
        return Err(ResultRefusal::ValidUntil {
            min,
            max,
            actual: *valid_until,
        });
    }
    let claim = Claim {
        request: job.request,
        attempt: job.attempt,
        worker: expected.worker,
        model: expected.model,
        inputs: expected.inputs,
        outputs: outputs_hash(&outputs),
        bound_trace: bound_trace(expected.worker, *trace_root),
        profile: expected.profile,
        poster: expected.poster,
        valid_until: *valid_until,
    };
    let digest = claim.digest(&expected.domain);
    if signature::recover(digest, signature) != Some(expected.node) {
        return Err(ResultRefusal::Signature {
            expected: expected.node,
            claim: digest,
        });
    }
    Ok(digest)
}

/// Commitments of the outputs that the bytes hold.
fn split(specs: &[Spec], bytes: &[u8]) -> Result<Vec<B256>, ResultRefusal> {
    let lengths: Vec<u64> = specs
        .iter()
        .map(|spec| tensor::byte_length(spec.dtype, &spec.dims))
        .collect::<Result<_, _>>()
        .map_err(|_| ResultRefusal::Io)?;
    let expected = lengths.iter().sum();
    let wrong = ResultRefusal::OutputLength {
        expected,
        actual: bytes.len() as u64,
    };
    if expected != bytes.len() as u64 {
        return Err(wrong);
    }
    let mut rest = bytes;
    let mut commitments = Vec::with_capacity(specs.len());
    for (spec, length) in specs.iter().zip(lengths) {
        let Some((head, tail)) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
        else {
            return Err(wrong);
        };
        commitments.push(tensor::commit(spec.dtype, &spec.dims, head).map_err(|_| ResultRefusal::Io)?);
        rest = tail;
    }
    Ok(commitments)
}

#[cfg(test)]
mod tests {
    use touchstone_chain::{PrivateKeySigner, U256};
    use touchstone_protocol::{descriptor::Dtype, model::Profile};
    use touchstone_wire::worker::Job;

    use super::*;

    struct Case {
        key: PrivateKeySigner,
        io: Vec<u8>,
        trace: Vec<B256>,
        result: RunResult,
    }

    impl Case {
        fn expected(&self) -> Expected<'_> {
            Expected {
                domain: Domain {
                    chain_id: 31_337,
                    market: Address::repeat_byte(9),
                },
                worker: Address::repeat_byte(1),
                node: self.key.address(),
                model: B256::repeat_byte(2),
                io: &self.io,
                profile: Profile::FAST.encode(),
                trace_values: 2,
                inputs: B256::repeat_byte(3),
                poster: Address::repeat_byte(4),
                trace: &self.trace,
                valid_until: (100, 200),
            }
        }
    }

    fn case() -> Case {
        let key = PrivateKeySigner::random();
        let spec = |dims: &[u32]| Spec {
            dtype: Dtype::F32,
            dims: dims.to_vec(),
        };
        let io = Io {
            inputs: vec![spec(&[1])],
            outputs: vec![spec(&[2]), spec(&[1])],
        }
        .encode()
        .unwrap();
        let trace = vec![B256::repeat_byte(5), B256::repeat_byte(6)];
        let output: Vec<u8> = (0..12).collect();
        let outputs = [
            tensor::commit(Dtype::F32, &[2], &output[..8]).unwrap(),
            tensor::commit(Dtype::F32, &[1], &output[8..]).unwrap(),
        ];
        let job = Job {
            request: U256::from(7),
            attempt: 1,
        };
        let trace_root = merkle::root(&trace);
        let claim = Claim {
            request: job.request,
            attempt: 1,
            worker: Address::repeat_byte(1),
            model: B256::repeat_byte(2),
            inputs: B256::repeat_byte(3),
            outputs: outputs_hash(&outputs),
            bound_trace: bound_trace(Address::repeat_byte(1), trace_root),
            profile: Profile::FAST.encode(),
            poster: Address::repeat_byte(4),
            valid_until: 150,
        };
        let digest = claim.digest(&Domain {
            chain_id: 31_337,
            market: Address::repeat_byte(9),
        });
        let signature = signature::sign(&key, digest).unwrap();
        let result = RunResult {
            job,
            output,
            trace_root,
            valid_until: 150,
            signature,
        };
        Case { key, io, trace, result }
    }

    #[test]
    fn an_honest_result_passes() {
        let case = case();
        assert!(check(&case.expected(), &case.result).is_ok());
    }

    #[test]
    fn each_lie_is_named() {
        let case = case();
        let lie = |change: fn(&mut RunResult)| {
            let mut result = case.result.clone();
            change(&mut result);
            check(&case.expected(), &result).unwrap_err()
        };
        assert_eq!(
            lie(|r| r.output.push(0)),
            ResultRefusal::OutputLength {
                expected: 12,
                actual: 13
            }
        );
        assert!(matches!(
            lie(|r| r.trace_root = B256::ZERO),
            ResultRefusal::TraceRoot { .. }
        ));
        assert!(matches!(lie(|r| r.valid_until = 99), ResultRefusal::ValidUntil { .. }));
        assert!(matches!(lie(|r| r.valid_until = 201), ResultRefusal::ValidUntil { .. }));
        assert!(matches!(lie(|r| r.valid_until = 151), ResultRefusal::Signature { .. }));
        assert!(matches!(lie(|r| r.output[0] = 99), ResultRefusal::Signature { .. }));
        assert!(matches!(lie(|r| r.job.attempt = 2), ResultRefusal::Signature { .. }));
        assert!(matches!(
            lie(|r| r.signature.0[3] ^= 1),
            ResultRefusal::Signature { .. }
        ));
    }

    #[test]
    fn another_context_does_not_verify() {
        let case = case();
        let other = |change: fn(&mut Expected<'_>)| {
            let mut expected = case.expected();
            change(&mut expected);
            check(&expected, &case.result).unwrap_err()
        };
        assert!(matches!(
            other(|e| e.domain.chain_id = 1),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.domain.market = Address::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.worker = Address::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.model = B256::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.inputs = B256::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.poster = Address::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert!(matches!(
            other(|e| e.node = Address::ZERO),
            ResultRefusal::Signature { .. }
        ));
        assert_eq!(
            other(|e| e.trace = &[]),
            ResultRefusal::TraceLength { expected: 2, actual: 0 }
        );
    }
}
