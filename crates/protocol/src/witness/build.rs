//! Making a witness from the values of a run.

use super::{chunk_range, opening_order, operand_span, own_span};
use crate::descriptor::{Code, Descriptor, DescriptorError, Dtype, MAX_OPERANDS, Place};
use crate::digest::B256;
use crate::index::{Map, Undecodable, unravel};
use crate::judge::{View, gather_offset, is_term_operand, operand_elements};
use crate::merkle::MerkleTree;
use crate::parts;
use crate::tensor::TensorTree;

/// Where the values are.
pub trait Source {
    /// The value committed at `place` with its chunk tree; `None` when it is not at hand. Inner values are those of the layer whose
    /// operator is opened.
    fn tensor(&self, place: Place) -> Option<&TensorTree>;
}

/// Why a witness cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The descriptor has no encoding.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// The descriptor has no meaning at this element.
    #[error("the descriptor has no meaning at element {0}")]
    Undecodable(u64),
    /// The operator is not one of the plan.
    #[error("operator {0} is not one of the plan")]
    Operator(u32),
    /// The element is not one of the output.
    #[error("element {element} of {elements}")]
    Element {
        /// The element asked for.
        element: u64,
        /// How many there are.
        elements: u64,
    },
    /// A value or its tree is not at hand.
    #[error("the value at {0:?} is not at hand")]
    Missing(Place),
    /// A value is not of the dtype and shape that the descriptor says.
    #[error("the value at {0:?} has another dtype or shape")]
    Shape(Place),
}

/// Makes witnesses for one claim.
pub struct WitnessBuilder<'a, S> {
    /// Tree of the operator leaves.
    pub plan: &'a MerkleTree,
    /// Tree of the weight commitments.
    pub weights: &'a MerkleTree,
    /// Tree of the trace values' commitments.
    pub trace: &'a MerkleTree,
    /// A layer's number with the tree of its inner values' commitments.
    pub layer: Option<(u32, &'a MerkleTree)>,
    /// Commitments of the graph inputs.
    pub inputs: &'a [B256],
    /// Commitments of the graph outputs.
    pub outputs: &'a [B256],
    /// The values.
    pub source: &'a S,
}

impl<S: Source> WitnessBuilder<'_, S> {
    /// The witness that opens `element` of `operator`, whose descriptor the caller knows.
    ///
    /// # Errors
    /// A value is missing or of another shape, or operator or element do not exist.
    pub fn witness(&self, operator: u32, descriptor: &Descriptor, element: u64) -> Result<Vec<u8>, WitnessError> {
        let mut w = self.beginning(operator, descriptor, element)?;
        self.openings(&mut w, descriptor, element, false)?;
        Ok(w)
    }

    /// The witness that goes with the totals of `element` of the long `operator`: of operands that are read at every term it opens the
    /// element's own term, or nothing.
    ///
    /// # Errors
    /// As [`WitnessBuilder::witness`].
    pub fn head(&self, operator: u32, descriptor: &Descriptor, element: u64) -> Result<Vec<u8>, WitnessError> {
        let mut w = self.beginning(operator, descriptor, element)?;
        self.openings(&mut w, descriptor, element, true)?;
        Ok(w)
    }

    /// The witness that opens the terms of leaf `leaf` of `element` of the long `operator`.
    ///
    /// # Errors
    /// As [`WitnessBuilder::witness`].
    pub fn part(
        &self,
        operator: u32,
        descriptor: &Descriptor,
        element: u64,
        leaf: u32,
    ) -> Result<Vec<u8>, WitnessError> {
        let d = descriptor;
        let mut w = self.beginning(operator, d, element)?;
        let index = unravel(&d.output_axes, element);
        let terms = parts::terms(d, 0, leaf);
        for o in d.operands.iter().take(d.code.term_operands()) {
            let map = Map::new(o, d.output_axes.len(), operand_elements(o), &index);
            let span = map
                .span_in(&d.reduction_axes, &terms)
                .map_err(|_| WitnessError::Undecodable(element))?;
            if let Some(span) = span {
                self.opening(&mut w, d, o.place, o.dtype, &o.dims, span)?;
            }
        }
        Ok(w)
    }

    /// What every witness begins with.
    fn beginning(&self, operator: u32, descriptor: &Descriptor, element: u64) -> Result<Vec<u8>, WitnessError> {
        let bytes = descriptor.encode()?;
        let proof = self
            .plan
            .proof(operator.into())
            .ok_or(WitnessError::Operator(operator))?;
        let elements = descriptor.elements();
        if element >= elements {
            return Err(WitnessError::Element { element, elements });
        }
        let mut w = Vec::with_capacity(4096);
        w.extend(operator.to_be_bytes());
        w.extend(element.to_be_bytes());
        // At most 4,096 bytes.
        w.extend((bytes.len() as u16).to_be_bytes());
        w.extend(bytes);
        proof.iter().for_each(|sibling| w.extend(sibling.0));
        for list in [self.inputs, self.outputs] {
            w.push(list.len() as u8);
            list.iter().for_each(|commitment| w.extend(commitment.0));
        }
        Ok(w)
    }

    fn openings(&self, w: &mut Vec<u8>, d: &Descriptor, element: u64, by_totals: bool) -> Result<(), WitnessError> {
        let undecodable = |_: Undecodable| WitnessError::Undecodable(element);
        let index = unravel(&d.output_axes, element);
        let outputs = d.output_axes.len();
        let map = |operand: usize| {
            Map::new(
                &d.operands[operand],
                outputs,
                operand_elements(&d.operands[operand]),
                &index,
            )
        };
        let output = self.opening(w, d, d.place, d.dtype, &d.dims, (element, element))?;
        let y = View {
            bytes: output.bytes(),
            first: 0,
        }
        .element(d.dtype, element);
        let mut views = [View::default(); MAX_OPERANDS];
        for operand in opening_order(d) {
            let o = &d.operands[operand];
            let span = if d.code == Code::Gather && operand == 0 {
                let at = map(1).offset_plus(0).map_err(undecodable)?;
                let k = views[1].element(d.operands[1].dtype, at);
                let offset = map(0).offset_plus(gather_offset(d, k)).map_err(undecodable)?;
                Some((offset, offset))
            } else if by_totals && is_term_operand(d, operand) {
                own_span(d, element, y).map_err(undecodable)?
            } else {
                operand_span(d, operand, &map(operand)).map_err(undecodable)?
            };
            if let Some(span) = span {
                let tensor = self.opening(w, d, o.place, o.dtype, &o.dims, span)?;
                views[operand] = View {
                    bytes: tensor.bytes(),
                    first: 0,
                };
            }
        }
        Ok(())
    }

    fn opening(
        &self,
        w: &mut Vec<u8>,
        d: &Descriptor,
        place: Place,
        dtype: Dtype,
        dims: &[u32],
        span: (u64, u64),
    ) -> Result<&TensorTree, WitnessError> {
        let missing = || WitnessError::Missing(place);
        let tensor = self.source.tensor(place).ok_or_else(missing)?;
        if tensor.dtype() != dtype || tensor.dims() != dims {
            return Err(WitnessError::Shape(place));
        }
        w.extend(tensor.chunk_root().0);
        let tree = match place {
            Place::Input(_) | Place::Output(_) => None,
            Place::Weight(_) => Some(self.weights),
            Place::Trace(_) => Some(self.trace),
            Place::Inner(_) => {
                let (_, tree) = self.layer.filter(|(layer, _)| *layer == d.layer).ok_or_else(missing)?;
                Some(tree)
            }
        };
        if let Some(tree) = tree {
            let (_, number) = place.parts();
            tree.proof(number.into())
                .ok_or_else(missing)?
                .iter()
                .for_each(|sibling| w.extend(sibling.0));
        }
        let (lo, hi) = chunk_range(dtype.size(), span);
        let range = tensor.open(lo, hi).ok_or_else(missing)?;
        w.extend(range.chunks);
        range.siblings.iter().for_each(|sibling| w.extend(sibling.0));
        Ok(tensor)
    }
}
