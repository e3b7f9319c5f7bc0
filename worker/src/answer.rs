//! Answers to what a dispute asks: children of a node, a layer's root, a witness for one element; what is said of long operators is in `parts`.
//!
//! Answers are computed from what is stored and what the runner gives again; the same question always gets the same answer. A layer's
//! root is made once a claim and stored with its inner values before it is given to anybody.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use touchstone_chain::{PrivateKeySigner, signature};
use touchstone_engine::Value;
use touchstone_protocol::{
    claim::{Domain, LayerAnswer},
    descriptor::{Descriptor, Place},
    digest::hash_parts,
    judge::JudgeError,
    merkle::MerkleTree,
    parts,
    tensor::{TensorError, TensorTree},
    witness::{self, Context, Source, Verdict, WitnessBuilder, WitnessError},
};
use touchstone_wire::worker::{Ask, Job, Reply, Tree};

use crate::{
    model::Model,
    record::{LayerRecord, Signed, Terms},
    runner::{RunError, Runner},
    store::{Store, StoreError, Values},
};

/// Levels that one reveal opens.
const REVEAL_LEVELS: u32 = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The question does not fit the claim: whoever asks it is wrong.
    #[error("the question does not fit the claim: {0}")]
    Invalid(String),
    /// Our own code says that the answer would lose.
    #[error("operator {operator}, element {element}: the judge's verdict would be {verdict:?}")]
    Indefensible {
        /// The operator.
        operator: u32,
        /// The element.
        element: u64,
        /// What the judge says.
        verdict: Verdict,
    },
    /// The layer does not come out again.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A value is not as committed.
    #[error("value at {place:?}: {source}")]
    Value {
        /// Where.
        place: Place,
        /// What is wrong.
        source: TensorError,
    },
    /// No witness can be made.
    #[error("witness: {0}")]
    Witness(#[from] WitnessError),
    /// A long operator's sums cannot be made.
    #[error("sums: {0}")]
    Sums(#[from] JudgeError),
    /// The key could not sign.
    #[error(transparent)]
    Sign(#[from] signature::SignError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no answer for another reason.
    #[error("{0}")]
    Unable(String),
}

/// Everything an answer is made from.
pub struct Case<'a> {
    /// The model of the claim.
    pub model: &'a Model,
    /// What was leased.
    pub terms: &'a Terms,
    /// What was signed.
    pub signed: &'a Signed,
    /// The runner that made the run.
    pub runner: &'a dyn Runner,
    /// Where the run is kept.
    pub store: &'a Store,
    /// The node key.
    pub key: &'a PrivateKeySigner,
    /// What is signed for.
    pub domain: Domain,
}

/// Decides what is said in a dispute. The honest worker is [`Honest`]; adversaries of the tests wrap it.
pub trait Responder: Send + Sync + 'static {
    /// The answer to a question. Blocks.
    fn respond(&self, case: &Case<'_>, ask: &Ask) -> Result<Reply, AnswerError>;
}

/// Says what is so.
pub struct Honest;

impl Responder for Honest {
    fn respond(&self, case: &Case<'_>, ask: &Ask) -> Result<Reply, AnswerError> {
        match *ask {
            Ask::Reveal {
                tree,
                node,
                depth,
                index,
            } => case.reveal(tree, node, depth, index).map(Reply::Reveal),
            Ask::Layer(layer) => {
                let LayerRecord {
                    root,
                    signature,
                    commitments,
                } = case.layer(layer)?;
                Ok(Reply::Layer {
                    root,
                    signature,
                    commitments,
                })
            }
            Ask::Defend { operator, element } => case.defend(operator, element).map(Reply::Defend),
            Ask::Total { operator, element } => case.total(operator, element),
            Ask::Split {
                operator,
                element,
                depth,
                index,
            } => case.split(operator, element, depth, index),
            Ask::Prove {
                operator,
                element,
                index,
            } => case.prove(operator, element, index),
        }
    }
}

impl Case<'_> {
    /// Which job it is about.
    pub fn job(&self) -> Job {
        self.terms.job()
    }

    /// The `2^min(3, depth)` descendants of a node, left to right.
    pub fn reveal(&self, tree: Tree, node: B256, depth: u32, index: u64) -> Result<Vec<B256>, AnswerError> {
        let tree = match tree {
            Tree::Trace => MerkleTree::new(self.signed.trace.clone()),
            Tree::Layer(layer) => MerkleTree::new(self.standing(layer)?.commitments),
        };
        if tree.node_at(depth, index) != Some(node) {
            return Err(AnswerError::Invalid(format!(
                "node {index}, {depth} above the leaves, is not {node}"
            )));
        }
        let levels = depth.min(REVEAL_LEVELS);
        (0..1u64 << levels)
            .map(|child| tree.node_at(depth - levels, (index << levels) + child))
            .collect::<Option<_>>()
            .ok_or_else(|| AnswerError::Invalid("the node has no descendants".into()))
    }

    /// The layer's signed root; made, checked and stored the first time.
    pub fn layer(&self, layer: u32) -> Result<LayerRecord, AnswerError> {
        if let Some(standing) = self.store.select_layer(self.signed.claim, layer)? {
            return Ok(standing);
        }
        let known = self.model.plan.layers.get(layer as usize);
        let known = known.ok_or_else(|| AnswerError::Invalid(format!("there is no layer {layer}")))?;
        if known.inner_count == 0 {
            return Err(AnswerError::Invalid(format!("layer {layer} has no inner values")));
        }
        let inner = match self.kept(layer, known.inner_count)? {
            Some(inner) => inner,
            None => self
                .runner
                .reopen(self.model, layer, &|place| self.value(layer, place).ok())?,
        };
        let commitments = inner
            .iter()
            .enumerate()
            .map(|(number, value)| Ok(hash_value(Place::Inner(number as u32), value)?.commitment()))
            .collect::<Result<Vec<_>, AnswerError>>()?;
        let root = MerkleTree::new(commitments.clone()).root();
        let digest = LayerAnswer {
            claim: self.signed.claim,
            layer,
            root,
        }
        .digest(&self.domain);
        let answer = LayerRecord {
            root,
            signature: signature::sign(self.key, digest)?,
            commitments,
        };
        let values = inner
            .into_iter()
            .enumerate()
            .map(|(number, value)| (Place::Inner(number as u32), value))
            .collect();
        Ok(self
            .store
            .insert_layer(self.signed.claim, &answer, &Values { layer, values })?)
    }

    /// A witness for one element, which our own judge finds inside.
    pub fn defend(&self, operator: u32, element: u64) -> Result<Vec<u8>, AnswerError> {
        self.opened(operator, element, |opening| {
            if parts::is_long(opening.descriptor) {
                return Err(AnswerError::Invalid(format!("operator {operator} is judged by parts")));
            }
            let witness = opening.builder.witness(operator, opening.descriptor, element)?;
            let verdict = witness::judge(&opening.context, &witness).verdict;
            opening.inside(verdict).map(|()| witness)
        })
    }

    /// Opens an element of an operator, as committed.
    pub fn opened<T>(
        &self,
        operator: u32,
        element: u64,
        then: impl FnOnce(&Opening<'_>) -> Result<T, AnswerError>,
    ) -> Result<T, AnswerError> {
        let descriptor = self.model.plan.operators.get(operator as usize);
        let descriptor = descriptor.ok_or_else(|| AnswerError::Invalid(format!("there is no operator {operator}")))?;
        if element >= descriptor.elements() {
            let elements = descriptor.elements();
            return Err(AnswerError::Invalid(format!(
                "operator {operator} has {elements} elements, there is no element {element}"
            )));
        }
        let layer = match descriptor.touches_inner() {
            true => Some((
                descriptor.layer,
                MerkleTree::new(self.standing(descriptor.layer)?.commitments),
            )),
            false => None,
        };
        let mut tensors = Tensors {
            model: self.model,
            own: BTreeMap::new(),
        };
        for place in descriptor
            .operands
            .iter()
            .map(|operand| operand.place)
            .chain([descriptor.place])
        {
            if !matches!(place, Place::Weight(_)) && !tensors.own.contains_key(&place) {
                tensors
                    .own
                    .insert(place, hash_value(place, &self.value(descriptor.layer, place)?)?);
            }
        }
        let inputs: Vec<B256> = (0..self.model.plan.inputs.len() as u32)
            .map(|number| Ok(hash_value(Place::Input(number), &self.value(0, Place::Input(number))?)?.commitment()))
            .collect::<Result<_, AnswerError>>()?;
        let trace = MerkleTree::new(self.signed.trace.clone());
        let builder = WitnessBuilder {
            plan: &self.model.trees.operators,
            weights: &self.model.trees.weights,
            trace: &trace,
            layer: layer.as_ref().map(|(number, tree)| (*number, tree)),
            inputs: &inputs,
            outputs: &self.signed.outputs,
            source: &tensors,
        };
        let root = layer.as_ref().map(|(number, tree)| (*number, tree.root()));
        then(&Opening {
            operator,
            element,
            descriptor,
            builder,
            context: self.model.context(self.terms, self.signed, root),
        })
    }

    /// The answer that stands for a layer.
    fn standing(&self, layer: u32) -> Result<LayerRecord, AnswerError> {
        let standing = self.store.select_layer(self.signed.claim, layer)?;
        standing.ok_or_else(|| AnswerError::Invalid(format!("layer {layer} has not been asked for")))
    }

    /// The layer's inner values, if the run's were kept.
    fn kept(&self, layer: u32, count: u32) -> Result<Option<Vec<Value>>, StoreError> {
        (0..count)
            .map(|number| self.store.select_value(self.signed.claim, layer, Place::Inner(number)))
            .collect()
    }

    /// A value of the run.
    pub fn value(&self, layer: u32, place: Place) -> Result<Value, AnswerError> {
        let stored = self.store.select_value(self.signed.claim, layer, place)?;
        stored.ok_or(AnswerError::Witness(WitnessError::Missing(place)))
    }
}

/// An element with what its witnesses are made from.
pub struct Opening<'a> {
    /// The operator's number.
    pub operator: u32,
    /// The element of its output.
    pub element: u64,
    /// The operator.
    pub descriptor: &'a Descriptor,
    /// Makes witnesses.
    pub builder: WitnessBuilder<'a, Tensors<'a>>,
    /// What the judge holds them against.
    pub context: Context,
}

impl Opening<'_> {
    /// Whether a verdict of our own judge is the one that we defend.
    pub(crate) fn inside(&self, verdict: Verdict) -> Result<(), AnswerError> {
        match verdict {
            Verdict::Inside => Ok(()),
            verdict => Err(AnswerError::Indefensible {
                operator: self.operator,
                element: self.element,
                verdict,
            }),
        }
    }
}

/// Values hashed for one witness, and the model's weights.
pub struct Tensors<'a> {
    model: &'a Model,
    own: BTreeMap<Place, TensorTree>,
}

impl Source for Tensors<'_> {
    fn tensor(&self, place: Place) -> Option<&TensorTree> {
        match place {
            Place::Weight(number) => self.model.trees.tensors.get(number as usize),
            Place::Input(_) | Place::Trace(_) | Place::Output(_) | Place::Inner(_) => self.own.get(&place),
        }
    }
}

/// A value with its chunk tree.
pub(crate) fn hash_value(place: Place, value: &Value) -> Result<TensorTree, AnswerError> {
    TensorTree::new(value.dtype, &value.dims, value.bytes.clone())
        .map_err(|source| AnswerError::Value { place, source })
}

/// The key under which a question is answered once.
pub(crate) fn question_key(dispute: B256, state: B256) -> B256 {
    hash_parts(&[dispute.as_slice(), state.as_slice()])
}

/// Whether the failure means that a claim of ours is wrong, or that we could not show that it is right.
pub(crate) fn is_alarming(error: &AnswerError) -> bool {
    match error {
        AnswerError::Indefensible { .. } | AnswerError::Run(_) | AnswerError::Value { .. } | AnswerError::Sums(_) => {
            true
        }
        AnswerError::Witness(error) => !matches!(error, WitnessError::Element { .. } | WitnessError::Operator(_)),
        AnswerError::Invalid(_) | AnswerError::Sign(_) | AnswerError::Store(_) | AnswerError::Unable(_) => false,
    }
}
