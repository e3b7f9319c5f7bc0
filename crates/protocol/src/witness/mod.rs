//! Witnesses: the openings that decide one element, and the judge that reads them (PROTOCOL.md section 6).
//!
//! [`judge`] is total: any bytes give an [`Outcome`]. `contracts/src/Judge.sol` is the same function. Long operators have two judges
//! instead, [`judge_totals`] and [`judge_part`], which are `contracts/src/PartJudge.sol`. [`WitnessBuilder`] makes the bytes for whoever
//! holds the values.
//!
//! Longer than the house size: the reasons and the three judges share the opening.

mod build;
mod read;

pub use build::{Source, WitnessBuilder, WitnessError};

use alloy_primitives::U256;

use crate::check::Check;
use crate::descriptor::{self, Code, Descriptor, MAX_OPERANDS, Place};
use crate::digest::B256;
use crate::index::{Map, Undecodable, unravel};
use crate::judge::{Bench, Element, View, gather_offset, is_term_operand, operand_elements};
use crate::merkle;
use crate::model::Profile;
use crate::parts::{self, Header};
use crate::tensor::{self, CHUNK};
use read::Reader;

/// What a claim and its model commit to, as far as the judge looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Root of the tree of operator leaves.
    pub plan_root: B256,
    /// Root of the tree of weight commitments.
    pub weights_root: B256,
    /// Root of the tree of the trace values' commitments.
    pub trace_root: B256,
    /// The layer whose root stands, with the root.
    pub layer: Option<(u32, B256)>,
    /// [`crate::claim::inputs_hash`].
    pub inputs: B256,
    /// [`crate::claim::outputs_hash`].
    pub outputs: B256,
    /// Number of operators.
    pub operators: u32,
    /// Number of weights.
    pub weights: u32,
    /// Number of values placed in the trace.
    pub trace_values: u32,
    /// Number of graph inputs.
    pub input_count: u32,
    /// Number of graph outputs.
    pub output_count: u32,
    /// The profile's word.
    pub profile: u64,
}

/// Why evidence is refused; the number is the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Reason {
    /// The witness ends early.
    #[error("the witness ends early")]
    Truncated = 1,
    /// Bytes follow the last opening.
    #[error("bytes follow the last opening")]
    Trailing = 2,
    /// The operator is not one of the plan.
    #[error("the operator is not one of the plan")]
    OperatorIndex = 3,
    /// The descriptor is not the plan's.
    #[error("the descriptor is not the plan's")]
    PlanProof = 4,
    /// The input commitments are not the request's.
    #[error("the input commitments are not the request's")]
    InputsList = 5,
    /// The output commitments are not the claim's.
    #[error("the output commitments are not the claim's")]
    OutputsList = 6,
    /// The element is not one of the output.
    #[error("the element is not one of the output")]
    ElementIndex = 7,
    /// A place's number is beyond its kind's count.
    #[error("a place's number is beyond its count")]
    PlaceIndex = 8,
    /// A tensor is not the one committed at its place.
    #[error("a tensor is not the one committed at its place")]
    PlaceProof = 9,
    /// An inner value's layer has no root.
    #[error("an inner value's layer has no root")]
    LayerRootMissing = 10,
    /// Chunks do not lead to their tensor's root.
    #[error("chunks do not lead to their tensor's root")]
    ChunkRange = 11,
    /// The profile is not known.
    #[error("the profile is not known")]
    Profile = 12,
    /// The operator is judged by parts, or it is not.
    #[error("the operator is long and judged by parts, or short and judged at once")]
    Long = 13,
    /// No terms have these totals beside the element.
    #[error("no terms have these totals, or this header, beside the element")]
    Totals = 14,
}

/// A verdict on a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The evidence does not open. Nothing follows for anybody.
    Refused(Reason),
    /// A conforming engine may have produced the element.
    Inside,
    /// No conforming engine can have produced it.
    Outside,
    /// The operator's descriptor is bound by the plan root and has no meaning (at this element).
    Undecodable,
}

impl Verdict {
    /// The contract's `(verdict, reason)`.
    pub const fn codes(self) -> (u8, u8) {
        match self {
            Verdict::Refused(reason) => (0, reason as u8),
            Verdict::Inside => (1, 0),
            Verdict::Outside => (2, 0),
            Verdict::Undecodable => (3, 0),
        }
    }
}

/// A verdict and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The operator that the witness names, 0 when it ends before.
    pub operator: u32,
    /// The descriptor's layer, 0 unless it decodes.
    pub layer: u32,
    /// The element that the witness names, 0 when it ends before.
    pub element: u64,
    /// How the element stands in its envelope, when it was held against it.
    pub check: Option<Check>,
}

/// Judges the element that `witness` opens.
///
/// The order of what is looked at is the contract's: profile, operator, plan proof, descriptor, terms, element, lists, then the openings
/// one after the other, then the end of the bytes, then the envelope.
pub fn judge(context: &Context, witness: &[u8]) -> Outcome {
    outcome(|outcome| {
        let (head, r) = open_head(context, witness, Way::AtOnce, outcome)?;
        let opened = open_element(context, &head, r, outcome.element, false)?;
        let y = opened.y;
        Ok(Bench::new(&head.d, context.profile).check(&opened.views[..head.d.operands.len()], outcome.element, y)?)
    })
}

/// Judges an element of a long operator by the sums over all its terms, `free` being the worker's choice; gives the header that these
/// and the sums of parts are relative to. The witness opens what [`judge`]'s does, of operands that are read at every term only the
/// element's own term where it has one.
pub fn judge_totals(context: &Context, witness: &[u8], free: U256, totals: &[U256]) -> (Outcome, Header) {
    let mut header = Header::default();
    let outcome = outcome(|outcome| {
        let (head, r) = open_head(context, witness, Way::Totals, outcome)?;
        let opened = open_element(context, &head, r, outcome.element, true)?;
        let e = Element::new(&head.d, &opened.views[..head.d.operands.len()], outcome.element);
        let own = e.own(opened.y)?;
        let check = e
            .check_totals(context.profile, free, opened.y, own, totals)?
            .ok_or(Reason::Totals)?;
        header = Header {
            free,
            y: U256::from(opened.y),
            own: U256::from(own.unwrap_or(0)),
        };
        Ok(check)
    });
    (outcome, header)
}

/// Judges the sums of one leaf of a long operator's terms: inside if its terms, which the witness opens, have these sums. The witness
/// begins as every one does, and goes on with the operands that are read at every term, opened over the leaf's terms alone.
pub fn judge_part(context: &Context, witness: &[u8], leaf: u32, header: &Header, sums: &[U256]) -> Outcome {
    outcome(|outcome| {
        let (head, mut r) = open_head(context, witness, Way::Leaf(leaf), outcome)?;
        let d = &head.d;
        let terms = parts::terms(d, 0, leaf);
        let index = unravel(&d.output_axes, outcome.element);
        let mut opener = head.opener(context, &mut r);
        let mut views = [View::default(); MAX_OPERANDS];
        for (operand, view) in views.iter_mut().enumerate().take(d.code.term_operands()) {
            let o = &d.operands[operand];
            let map = Map::new(o, d.output_axes.len(), operand_elements(o), &index);
            if let Some(span) = map.span_in(&d.reduction_axes, &terms)? {
                *view = opener.open(o.place, o.dtype, &o.dims, span)?;
            }
        }
        r.finish()?;
        let e = Element::new(d, &views[..d.operands.len()], outcome.element);
        let frame = e.frame(header).ok_or(Reason::Totals)?;
        Ok(Check::exact(e.sums(context.profile, &frame, &terms)? == sums))
    })
}

/// What stops a judge, or the check that it comes to.
fn outcome(judge: impl FnOnce(&mut Outcome) -> Result<Check, Stop>) -> Outcome {
    let mut outcome = Outcome {
        verdict: Verdict::Inside,
        operator: 0,
        layer: 0,
        element: 0,
        check: None,
    };
    match judge(&mut outcome) {
        Ok(check) => {
            outcome.verdict = if check.inside {
                Verdict::Inside
            } else {
                Verdict::Outside
            };
            outcome.check = Some(check);
        }
        Err(Stop::Refused(reason)) => outcome.verdict = Verdict::Refused(reason),
        Err(Stop::Undecodable) => outcome.verdict = Verdict::Undecodable,
    }
    outcome
}

/// Why the judge stops before the envelope.
enum Stop {
    Refused(Reason),
    Undecodable,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Stop::Refused(reason)
    }
}

impl From<Undecodable> for Stop {
    fn from(_: Undecodable) -> Self {
        Stop::Undecodable
    }
}

/// What a witness is for.
#[derive(Clone, Copy)]
enum Way {
    AtOnce,
    Totals,
    Leaf(u32),
}

/// What a witness begins with.
struct Head<'a> {
    d: Descriptor,
    inputs: &'a [u8],
    outputs: &'a [u8],
}

impl<'a> Head<'a> {
    fn opener<'b>(&'b self, context: &'b Context, r: &'b mut Reader<'a>) -> Opener<'a, 'b> {
        Opener {
            context,
            d: &self.d,
            inputs: self.inputs,
            outputs: self.outputs,
            r,
        }
    }
}

fn open_head<'a>(
    context: &Context,
    witness: &'a [u8],
    way: Way,
    outcome: &mut Outcome,
) -> Result<(Head<'a>, Reader<'a>), Stop> {
    Profile::decode(context.profile).map_err(|_| Reason::Profile)?;
    let mut r = Reader::new(witness);
    outcome.operator = r.u32()?;
    outcome.element = r.u64()?;
    let length = r.u16()?;
    let bytes = r.bytes(length.into())?;
    if outcome.operator >= context.operators {
        return Err(Reason::OperatorIndex.into());
    }
    let depth = merkle::depth(context.operators.into());
    if r.proof_root(&descriptor::leaf(bytes), outcome.operator.into(), depth)? != context.plan_root {
        return Err(Reason::PlanProof.into());
    }
    let d = Descriptor::decode(bytes).map_err(|_| Stop::Undecodable)?;
    outcome.layer = d.layer;
    if d.terms() > parts::most_terms(context.profile) {
        return Err(Stop::Undecodable);
    }
    if parts::is_long(&d) == matches!(way, Way::AtOnce) {
        return Err(Reason::Long.into());
    }
    let beyond = matches!(way, Way::Leaf(leaf) if leaf >= parts::leaves(&d));
    if outcome.element >= d.elements() || beyond {
        return Err(Reason::ElementIndex.into());
    }
    let inputs = r.list("inputs", context.input_count, &context.inputs, Reason::InputsList)?;
    let outputs = r.list("outputs", context.output_count, &context.outputs, Reason::OutputsList)?;
    Ok((Head { d, inputs, outputs }, r))
}

/// What a witness opens beside its head.
struct Opened<'a> {
    y: u64,
    views: [View<'a>; MAX_OPERANDS],
}

/// Opens the output, then the operands; `by_totals`: of those that are read at every term the element's own term alone.
fn open_element<'a>(
    context: &Context,
    head: &Head<'a>,
    mut r: Reader<'a>,
    element: u64,
    by_totals: bool,
) -> Result<Opened<'a>, Stop> {
    let d = &head.d;
    let mut opener = head.opener(context, &mut r);
    let index = unravel(&d.output_axes, element);
    let output = opener.open(d.place, d.dtype, &d.dims, (element, element))?;
    let y = output.element(d.dtype, element);
    let mut views = [View::default(); MAX_OPERANDS];
    for operand in opening_order(d) {
        let o = &d.operands[operand];
        let map = Map::new(o, d.output_axes.len(), operand_elements(o), &index);
        let span = if d.code == Code::Gather && operand == 0 {
            let k = views[1].element(
                d.operands[1].dtype,
                Map::new(
                    &d.operands[1],
                    d.output_axes.len(),
                    operand_elements(&d.operands[1]),
                    &index,
                )
                .offset_plus(0)?,
            );
            let offset = map.offset_plus(gather_offset(d, k))?;
            Some((offset, offset))
        } else if by_totals && is_term_operand(d, operand) {
            own_span(d, element, y)?
        } else {
            operand_span(d, operand, &map)?
        };
        if let Some(span) = span {
            views[operand] = opener.open(o.place, o.dtype, &o.dims, span)?;
        }
    }
    r.finish()?;
    Ok(Opened { y, views })
}

/// The offset of the element's own term, if it has one.
fn own_span(d: &Descriptor, element: u64, y: u64) -> Result<Option<(u64, u64)>, Undecodable> {
    let e = Element::new(d, &[], element);
    let Some(place) = e.own_place(y) else {
        return Ok(None);
    };
    Ok(e.term_offset(place)?.map(|offset| (offset, offset)))
}

/// The order in which operands are opened: as they stand, but a Gather's index before its data, because it says where to look.
fn opening_order(d: &Descriptor) -> impl Iterator<Item = usize> + use<> {
    let swap = d.code == Code::Gather;
    (0..d.operands.len()).map(move |operand| if swap { 1 - operand.min(1) } else { operand })
}

/// Least and greatest offset that the element reads of an operand, a Gather's data excepted.
fn operand_span(d: &Descriptor, operand: usize, map: &Map<'_>) -> Result<Option<(u64, u64)>, Undecodable> {
    if is_term_operand(d, operand) {
        map.span(&d.reduction_axes)
    } else {
        Ok(map.offset()?.map(|offset| (offset, offset)))
    }
}

/// Chunks `[lo, hi)` that hold elements `span.0` to `span.1`.
fn chunk_range(size: usize, span: (u64, u64)) -> (u64, u64) {
    let chunk = |offset: u64| offset * size as u64 / CHUNK as u64;
    (chunk(span.0), chunk(span.1) + 1)
}

/// Reads openings and holds them against the context.
struct Opener<'a, 'b> {
    context: &'b Context,
    d: &'b Descriptor,
    inputs: &'a [u8],
    outputs: &'a [u8],
    r: &'b mut Reader<'a>,
}

impl<'a> Opener<'a, '_> {
    fn open(
        &mut self,
        place: Place,
        dtype: descriptor::Dtype,
        dims: &[u32],
        span: (u64, u64),
    ) -> Result<View<'a>, Stop> {
        let count = match place {
            Place::Input(_) => self.context.input_count,
            Place::Weight(_) => self.context.weights,
            Place::Trace(_) => self.context.trace_values,
            Place::Output(_) => self.context.output_count,
            Place::Inner(_) => self.d.layer_inner_count,
        };
        let (_, number) = place.parts();
        if number >= count {
            return Err(Reason::PlaceIndex.into());
        }
        let root = match (place, self.context.layer) {
            (Place::Input(_) | Place::Output(_), _) => None,
            (Place::Weight(_), _) => Some(self.context.weights_root),
            (Place::Trace(_), _) => Some(self.context.trace_root),
            (Place::Inner(_), Some((layer, root))) if layer == self.d.layer => Some(root),
            (Place::Inner(_), _) => return Err(Reason::LayerRootMissing.into()),
        };
        let chunk_root = self.r.word()?;
        let commitment = tensor::commitment(dtype, dims, &chunk_root);
        let bound = match (root, place) {
            (Some(root), _) => {
                self.r
                    .proof_root(&commitment, number.into(), merkle::depth(count.into()))?
                    == root
            }
            (None, Place::Input(_)) => word_at(self.inputs, number) == Some(commitment.as_slice()),
            (None, _) => word_at(self.outputs, number) == Some(commitment.as_slice()),
        };
        if !bound {
            return Err(Reason::PlaceProof.into());
        }
        let bytes = tensor::byte_length(dtype, dims).map_err(|_| Stop::Undecodable)?;
        let (lo, hi) = chunk_range(dtype.size(), span);
        let depth = merkle::depth(tensor::chunk_count(bytes));
        let chunks = self.r.bytes((hi - lo) * CHUNK as u64)?;
        let siblings = self.r.words(merkle::range_sibling_count(lo, hi, depth))?;
        if tensor::opened_root(chunks, lo, bytes, &siblings) != Some(chunk_root) {
            return Err(Reason::ChunkRange.into());
        }
        Ok(View {
            bytes: chunks,
            first: lo * (CHUNK / dtype.size()) as u64,
        })
    }
}

fn word_at(list: &[u8], number: u32) -> Option<&[u8]> {
    list.chunks_exact(32).nth(number as usize)
}
