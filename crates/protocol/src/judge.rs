//! Judges elements of operators whose operands are at hand as bytes: the same rules that [`crate::witness`] applies to openings.
//!
//! [`judge_operator`] holds every element of an operator against its envelope; [`judge_element`] one.
//!
//! Longer than the house size: one match over all codes, so that none is forgotten.

use std::ops::Range;

use crate::check::Check;
use crate::descriptor::{Code, Descriptor, DescriptorError, Dtype, Operand};
use crate::enclosure::{self, LayerNormRow, SoftmaxRow};
use crate::index::{Map, Undecodable, for_each_run_in, unravel};
use crate::leaf::contraction::Sums;
use crate::leaf::exact;
use crate::leaf::reduction::{ArgMaximum, Maximum};
use crate::model::{Profile, ProfileError};
use crate::parts::most_terms;
use crate::tensor;

/// Verdict on one element whose evidence is not in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A conforming engine may have produced the element.
    Inside,
    /// No conforming engine can have.
    Outside,
    /// The descriptor has no meaning at this element.
    Undecodable,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// The profile is not known.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The descriptor breaks a rule.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// Not one byte slice an operand.
    #[error("operator takes {expected} operands, got {actual}")]
    Operands {
        /// Operands of the descriptor.
        expected: usize,
        /// Slices given.
        actual: usize,
    },
    /// A tensor is not as long as its shape says.
    #[error("tensor {which} has {expected} bytes, got {actual}")]
    Length {
        /// Operand number; the output is `operands.len()`.
        which: usize,
        /// Bytes by the shape.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
    /// The element is not one of the output.
    #[error("element {element} of {elements}")]
    Element {
        /// The element asked for.
        element: u64,
        /// How many there are.
        elements: u64,
    },
    /// The descriptor has no meaning at the element.
    #[error("the descriptor has no meaning at element {element}")]
    Undecodable {
        /// The element asked for.
        element: u64,
    },
    /// A header's word is none that its operator takes.
    #[error(
        "the header is none of this operator: its free word is one that no worker may choose, or another is no element's bits"
    )]
    Header,
}

/// What judging a range of elements found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Elements judged.
    pub elements: u64,
    /// How many are outside their envelope.
    pub outside: u64,
    /// The first one outside.
    pub first_outside: Option<u64>,
    /// The element with the greatest share of its envelope, with that share (see [`Check::share`]); the first of equals.
    pub worst: Option<(u64, u64)>,
    /// The first element at which the descriptor has no meaning.
    pub first_undecodable: Option<u64>,
}

impl Report {
    /// Takes in the report on another range; the worst of equals stays.
    pub fn merge(&mut self, other: &Report) {
        let earlier = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        self.elements += other.elements;
        self.outside += other.outside;
        self.first_outside = earlier(self.first_outside, other.first_outside);
        self.first_undecodable = earlier(self.first_undecodable, other.first_undecodable);
        if other
            .worst
            .is_some_and(|(_, share)| self.worst.is_none_or(|(_, worst)| share > worst))
        {
            self.worst = other.worst;
        }
    }
}

/// Judges one element, given whole tensors as row-major little-endian bytes.
///
/// # Errors
/// The descriptor breaks a rule, the profile is not known, the tensors are not the descriptor's, or the element is not one of the
/// output.
pub fn judge_element(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    output: &[u8],
    element: u64,
) -> Result<Verdict, JudgeError> {
    if element >= descriptor.elements() {
        return Err(JudgeError::Element {
            element,
            elements: descriptor.elements(),
        });
    }
    let report = judge_range(descriptor, profile, operands, output, element..element + 1)?;
    Ok(match report {
        Report {
            first_undecodable: Some(_),
            ..
        } => Verdict::Undecodable,
        Report { outside: 0, .. } => Verdict::Inside,
        Report { .. } => Verdict::Outside,
    })
}

/// Judges every element of an operator.
///
/// # Errors
/// As [`judge_element`].
pub fn judge_operator(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    output: &[u8],
) -> Result<Report, JudgeError> {
    judge_range(descriptor, profile, operands, output, 0..descriptor.elements())
}

/// Judges a range of elements; ranges of one operator can be judged side by side and merged.
///
/// # Errors
/// As [`judge_element`].
pub fn judge_range(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    output: &[u8],
    range: Range<u64>,
) -> Result<Report, JudgeError> {
    let values = Values::checked(descriptor, profile, operands, Some(output))?;
    let elements = descriptor.elements();
    if range.end > elements {
        return Err(JudgeError::Element {
            element: range.end - 1,
            elements,
        });
    }
    let mut bench = Bench::new(descriptor, profile);
    let mut report = Report::default();
    for element in range {
        report.elements += 1;
        match bench.check(values.views(), element, values.y(element)) {
            Err(Undecodable) => {
                report.first_undecodable.get_or_insert(element);
            }
            Ok(check) => {
                if !check.inside {
                    report.outside += 1;
                    report.first_outside.get_or_insert(element);
                }
                if report.worst.is_none_or(|(_, share)| check.share > share) {
                    report.worst = Some((element, check.share));
                }
            }
        }
    }
    Ok(report)
}

/// An operator's whole tensors, found to be what the descriptor says.
pub(crate) struct Values<'a> {
    descriptor: &'a Descriptor,
    views: [View<'a>; crate::descriptor::MAX_OPERANDS],
    output: View<'a>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(
        descriptor: &'a Descriptor,
        profile: u64,
        operands: &[&'a [u8]],
        output: &'a [u8],
        element: u64,
    ) -> Result<Self, JudgeError> {
        Self::checked(descriptor, profile, operands, Some(output))?.with(element)
    }

    /// Without the output, which is not read then.
    pub(crate) fn of_operands(
        descriptor: &'a Descriptor,
        profile: u64,
        operands: &[&'a [u8]],
        element: u64,
    ) -> Result<Self, JudgeError> {
        Self::checked(descriptor, profile, operands, None)?.with(element)
    }

    fn checked(
        descriptor: &'a Descriptor,
        profile: u64,
        operands: &[&'a [u8]],
        output: Option<&'a [u8]>,
    ) -> Result<Self, JudgeError> {
        Profile::decode(profile)?;
        descriptor.check()?;
        if descriptor.terms() > most_terms(profile) {
            return Err(DescriptorError::Terms(descriptor.terms()).into());
        }
        if operands.len() != descriptor.operands.len() {
            return Err(JudgeError::Operands {
                expected: descriptor.operands.len(),
                actual: operands.len(),
            });
        }
        let shapes = descriptor
            .operands
            .iter()
            .map(|o| (o.dtype, &o.dims))
            .chain([(descriptor.dtype, &descriptor.dims)]);
        for (which, ((dtype, dims), bytes)) in shapes.zip(operands.iter().chain(&output)).enumerate() {
            let expected = tensor::byte_length(dtype, dims).unwrap_or(u64::MAX);
            if bytes.len() as u64 != expected {
                return Err(JudgeError::Length {
                    which,
                    expected,
                    actual: bytes.len() as u64,
                });
            }
        }
        let mut views = [View::default(); crate::descriptor::MAX_OPERANDS];
        for (view, bytes) in views.iter_mut().zip(operands) {
            *view = View { bytes, first: 0 };
        }
        let output = View {
            bytes: output.unwrap_or_default(),
            first: 0,
        };
        Ok(Self {
            descriptor,
            views,
            output,
        })
    }

    fn with(self, element: u64) -> Result<Self, JudgeError> {
        let elements = self.descriptor.elements();
        if element >= elements {
            return Err(JudgeError::Element { element, elements });
        }
        Ok(self)
    }

    fn views(&self) -> &[View<'a>] {
        &self.views[..self.descriptor.operands.len()]
    }

    pub(crate) fn y(&self, element: u64) -> u64 {
        self.output.element(self.descriptor.dtype, element)
    }

    pub(crate) fn element(&self, element: u64) -> Element<'_> {
        Element::new(self.descriptor, self.views(), element)
    }
}

/// Part of an operand's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View<'a> {
    /// Row-major little-endian.
    pub(crate) bytes: &'a [u8],
    /// Number of the first element in them.
    pub(crate) first: u64,
}

impl View<'_> {
    /// Bits of element `offset`; 0 where the view does not reach, which its maker rules out.
    #[inline]
    pub(crate) fn element(&self, dtype: Dtype, offset: u64) -> u64 {
        let size = dtype.size();
        let at = offset.wrapping_sub(self.first) as usize;
        let Some(bytes) = at
            .checked_mul(size)
            .and_then(|from| self.bytes.get(from..from.checked_add(size)?))
        else {
            return 0;
        };
        tensor::element_bits(bytes)
    }

    /// Bits of the fp32 element `offset`.
    #[inline]
    fn word(&self, offset: u64) -> u32 {
        let from = (offset.wrapping_sub(self.first) as usize).wrapping_mul(4);
        self.bytes
            .get(from..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The fp32 elements from `offset` on, at most `count`.
    #[inline]
    fn slice(&self, offset: u64, count: u64) -> &[u8] {
        let from = (offset.wrapping_sub(self.first) as usize).wrapping_mul(4);
        self.bytes
            .get(from..)
            .map_or(&[], |rest| &rest[..rest.len().min(count as usize * 4)])
    }
}

/// Whether an operand is read at every term, or once an element.
pub(crate) fn is_term_operand(descriptor: &Descriptor, operand: usize) -> bool {
    operand < descriptor.code.term_operands()
}

/// Element count of an operand whose descriptor has been checked.
pub(crate) fn operand_elements(operand: &Operand) -> u64 {
    tensor::element_count(&operand.dims).unwrap_or(0)
}

/// Offset that a Gather's index adds: `k`, plus the extent if it is negative, clamped to the extent, times the stride.
pub(crate) fn gather_offset(descriptor: &Descriptor, index: u64) -> i128 {
    let (extent, stride) = match descriptor.params[..] {
        [extent, stride, ..] => (i128::from(extent), i128::from(stride)),
        _ => (1, 0),
    };
    let k = match descriptor.operands.get(1).map(|o| o.dtype) {
        Some(Dtype::I32) => i128::from(index as i32),
        _ => i128::from(index as i64),
    };
    let k = if k < 0 { k + extent } else { k };
    k.clamp(0, extent - 1) * stride
}

/// Judges the elements of one operator, one after the other; keeps what one row costs for the elements that share it.
pub(crate) struct Bench<'a> {
    descriptor: &'a Descriptor,
    profile: u64,
    /// The terms read last, and what was made of `known` before.
    row: Vec<u32>,
    known: Vec<u32>,
    /// Where that row begins.
    first: Option<u64>,
    softmax: Option<SoftmaxRow>,
    layer_norm: Option<LayerNormRow>,
}

impl<'a> Bench<'a> {
    /// For a descriptor that passes [`Descriptor::check`] and a profile that is known.
    pub(crate) fn new(descriptor: &'a Descriptor, profile: u64) -> Self {
        Self {
            descriptor,
            profile,
            row: Vec::new(),
            known: Vec::new(),
            first: None,
            softmax: None,
            layer_norm: None,
        }
    }

    /// Reads the element's row; true when it is another one than before. Where it begins says which it is, as its operand has no bounds.
    fn next_row(&mut self, element: &Element<'_>) -> Result<bool, Undecodable> {
        let first = element.term_offset(0)?;
        if first.is_some() && first == self.first {
            return Ok(false);
        }
        self.first = None;
        std::mem::swap(&mut self.row, &mut self.known);
        self.row.clear();
        let row = &mut self.row;
        element.terms(|_, x| row.push(x as u32))?;
        self.first = first;
        Ok(self.row != self.known)
    }

    /// Holds the bits `y` of `element` against its envelope. The views reach every in-bounds offset of the element.
    pub(crate) fn check(&mut self, views: &[View<'_>], element: u64, y: u64) -> Result<Check, Undecodable> {
        let d = self.descriptor;
        let e = Element::new(d, views, element);
        match d.code {
            Code::Copy => e.copy(y),
            Code::Gather => e.gather(y),
            Code::Where => {
                let (c, a, b) = (e.once(0)?, e.once(1)?, e.once(2)?);
                Ok(Check::exact(y == if c == 0 { b } else { a }))
            }
            Code::Add | Code::Sub | Code::Mul | Code::Div | Code::Min | Code::Max | Code::And | Code::Or => {
                e.exact(y, 2)
            }
            Code::Equal | Code::Less | Code::LessEq | Code::Greater | Code::GreaterEq => e.exact(y, 2),
            Code::Sqrt | Code::Neg | Code::Abs | Code::Relu | Code::Cast | Code::Not => e.exact(y, 1),
            Code::MaxPool => {
                let mut maximum = Maximum::default();
                e.terms(|_, x| maximum.value(x as u32))?;
                Ok(maximum.check(y as u32))
            }
            Code::ArgMax => {
                let mut maximum = ArgMaximum::new(d.operands[0].dtype, e.claimed(y));
                e.terms(|position, x| maximum.value(position, x))?;
                Ok(maximum.check())
            }
            Code::Contract => e.contract(self.profile, y as u32),
            Code::Sum | Code::Mean => {
                let mut sums = Sums::under(self.profile, d.terms());
                let mut count = 0;
                e.terms(|_, x| {
                    count += 1;
                    sums.value(x as u32);
                })?;
                Ok(match (d.code, d.params.first()) {
                    (Code::Sum, _) => sums.check_sum(count, y as u32),
                    (_, Some(0)) => sums.check_mean(count, count, y as u32),
                    _ => sums.check_mean(count, d.terms(), y as u32),
                })
            }
            Code::Erf | Code::Gelu | Code::GeluTanh | Code::Tanh | Code::Sigmoid | Code::Exp => {
                e.bounded(self.profile, y)
            }
            Code::Log | Code::Softplus | Code::Sin | Code::Cos => e.bounded(self.profile, y),
            Code::Pow => {
                let (x, exponent) = (e.once(0)? as u32, e.once(1)? as u32);
                Ok(enclosure::power(self.profile, x, exponent, y as u32))
            }
            Code::Softmax => {
                if self.next_row(&e)? {
                    self.softmax = None;
                }
                let row = self
                    .softmax
                    .get_or_insert_with(|| SoftmaxRow::new(self.profile, &self.row));
                Ok(row.check(e.row_place(d.params[0]), y as u32))
            }
            Code::LayerNorm => {
                if self.next_row(&e)? {
                    self.layer_norm = None;
                }
                let row = self
                    .layer_norm
                    .get_or_insert_with(|| LayerNormRow::new(self.profile, &self.row, d.params[0]));
                let (scale, bias) = (e.once(1)? as u32, e.once(2)? as u32);
                Ok(row.check(e.row_place(d.params[1]), scale, bias, y as u32))
            }
            Code::BatchNorm => {
                let [x, scale, bias, mean, var] =
                    [e.once(0)?, e.once(1)?, e.once(2)?, e.once(3)?, e.once(4)?].map(|v| v as u32);
                Ok(enclosure::batch_norm(
                    self.profile,
                    x,
                    scale,
                    bias,
                    mean,
                    var,
                    d.params[0],
                    y as u32,
                ))
            }
        }
    }
}

/// One element with its index and its operands' bytes.
pub(crate) struct Element<'a> {
    pub(crate) d: &'a Descriptor,
    views: &'a [View<'a>],
    index: [u32; crate::descriptor::MAX_OUTPUT_AXES],
}

impl<'a> Element<'a> {
    pub(crate) fn new(d: &'a Descriptor, views: &'a [View<'a>], element: u64) -> Self {
        Self {
            d,
            views,
            index: unravel(&d.output_axes, element),
        }
    }

    /// The position that an ArgMax's bits `y` are.
    pub(crate) fn claimed(&self, y: u64) -> i64 {
        if self.d.dtype == Dtype::I32 {
            i64::from(y as i32)
        } else {
            y as i64
        }
    }

    /// Where term `place` of the one reduction axis lies in operand 0; `None` where it is out of bounds.
    pub(crate) fn term_offset(&self, place: u64) -> Result<Option<u64>, Undecodable> {
        let length = self.d.reduction_axes.last().copied().unwrap_or(1);
        let run = self.map(0).run(&[], length)?;
        Ok((run.lo..run.hi).contains(&place).then(|| run.offset(place)))
    }

    fn map(&self, operand: usize) -> Map<'a> {
        let o = &self.d.operands[operand];
        Map::new(o, self.d.output_axes.len(), operand_elements(o), &self.index)
    }

    pub(crate) fn read(&self, operand: usize, offset: u64) -> u64 {
        self.views[operand].element(self.d.operands[operand].dtype, offset)
    }

    /// Bits of an operand without bounds that is read once.
    pub(crate) fn once(&self, operand: usize) -> Result<u64, Undecodable> {
        Ok(self.read(operand, self.map(operand).offset_plus(0)?))
    }

    pub(crate) fn row_place(&self, axis: u32) -> usize {
        self.index.get(axis as usize).map_or(0, |at| *at as usize)
    }

    fn copy(&self, y: u64) -> Result<Check, Undecodable> {
        let mut first = None;
        for operand in 0..self.d.operands.len() {
            // Every in-bounds offset must lie in its operand, not only the one that counts.
            if let Some(offset) = self.map(operand).offset()? {
                first = first.or_else(|| Some(self.read(operand, offset)));
            }
        }
        let fill = match self.d.params[..] {
            [high, low, ..] => (u64::from(high) << 32) | u64::from(low),
            _ => 0,
        };
        let mask = u64::MAX >> (64 - 8 * self.d.dtype.size());
        Ok(Check::exact(y == first.unwrap_or(fill & mask)))
    }

    fn gather(&self, y: u64) -> Result<Check, Undecodable> {
        let index = self.once(1)?;
        let offset = self.map(0).offset_plus(gather_offset(self.d, index))?;
        Ok(Check::exact(y == self.read(0, offset)))
    }

    fn exact(&self, y: u64, operands: usize) -> Result<Check, Undecodable> {
        let a = self.once(0)?;
        let b = if operands == 2 { self.once(1)? } else { 0 };
        Ok(exact::check(
            self.d.code,
            self.d.operands[0].dtype,
            self.d.dtype,
            a,
            b,
            y,
        ))
    }

    fn bounded(&self, profile: u64, y: u64) -> Result<Check, Undecodable> {
        Ok(enclosure::bounded(self.d.code, profile, self.once(0)? as u32, y as u32))
    }

    /// Calls `each(position, bits)` for the in-bounds terms of operand 0, in order. Positions count along the last reduction axis.
    fn terms(&self, each: impl FnMut(u64, u64)) -> Result<(), Undecodable> {
        self.terms_in(&(0..u64::MAX), each)
    }

    /// The same for the terms of `range`.
    pub(crate) fn terms_in(&self, range: &Range<u64>, mut each: impl FnMut(u64, u64)) -> Result<(), Undecodable> {
        let map = self.map(0);
        let dtype = self.d.operands[0].dtype;
        let view = &self.views[0];
        for_each_run_in(&self.d.reduction_axes, range, |outer, length, places| {
            let run = map.run(outer, length)?;
            let (lo, hi) = run.within(&places);
            if lo >= hi {
                return Ok(());
            }
            if dtype == Dtype::F32 && run.stride == 1 {
                for (x, term) in view.slice(run.offset(lo), hi - lo).chunks_exact(4).zip(lo..) {
                    each(term, u64::from(word(x)));
                }
            } else {
                (lo..hi).for_each(|term| each(term, view.element(dtype, run.offset(term))));
            }
            Ok(())
        })
    }

    fn contract(&self, profile: u64, y: u32) -> Result<Check, Undecodable> {
        let mut sums = Sums::under(profile, self.d.terms());
        let products = self.products_in(&(0..u64::MAX), &mut sums)?;
        let values = self.addends(&mut sums)?;
        Ok(sums.check_contraction(products, values, y))
    }

    /// Adds the products of the terms of `range`; how many are in bounds.
    pub(crate) fn products_in(&self, range: &Range<u64>, sums: &mut Sums) -> Result<u64, Undecodable> {
        let (a, b) = (self.map(0), self.map(1));
        let (va, vb) = (&self.views[0], &self.views[1]);
        let mut products = 0;
        for_each_run_in(&self.d.reduction_axes, range, |outer, length, places| {
            let (ra, rb) = (a.run(outer, length)?, b.run(outer, length)?);
            let ((from_a, to_a), (from_b, to_b)) = (ra.within(&places), rb.within(&places));
            let (lo, hi) = (from_a.max(from_b), to_a.min(to_b));
            // Also where the intersection is empty, and then `lo` may be beyond `hi`.
            for (run, view, from, to) in [(&ra, va, from_a, to_a), (&rb, vb, from_b, to_b)] {
                if (from, to) != (lo, hi) {
                    let unpaired = (from..to).filter(|term| !(lo..hi).contains(term));
                    unpaired.for_each(|term| sums.unpaired(view.word(run.offset(term))));
                }
            }
            if lo >= hi {
                return Ok(());
            }
            products += hi - lo;
            if ra.stride == 1 && rb.stride == 1 {
                let a = va.slice(ra.offset(lo), hi - lo).chunks_exact(4);
                let b = vb.slice(rb.offset(lo), hi - lo).chunks_exact(4);
                a.zip(b).for_each(|(a, b)| sums.product(word(a), word(b)));
            } else {
                (lo..hi).for_each(|term| sums.product(va.word(ra.offset(term)), vb.word(rb.offset(term))));
            }
            Ok(())
        })?;
        Ok(products)
    }

    /// Adds the addends; how many are in bounds.
    pub(crate) fn addends(&self, sums: &mut Sums) -> Result<u64, Undecodable> {
        let mut values = 0;
        for addend in 2..self.d.operands.len() {
            if let Some(offset) = self.map(addend).offset()? {
                sums.value(self.views[addend].word(offset));
                values += 1;
            }
        }
        Ok(values)
    }
}

/// Little-endian bits of four bytes; the slices that come here have four.
#[inline]
fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
