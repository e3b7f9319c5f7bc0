//! Index maps (PROTOCOL.md section 3), evaluated: which element of an operand a term of an output element reads.
//!
//! Offsets and bound coordinates are affine, so each is a part of the output element plus a part of the term; the parts of the terms
//! are tabled once.

use touchstone_protocol::{
    descriptor::{Descriptor, Operand},
    tensor::element_count,
};

/// Why a map cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    /// The numbers of the map leave 62 bits.
    #[error("operand {0}: index map exceeds 62 bits")]
    TooWide(usize),
    /// An in-bounds term reads beyond the operand.
    #[error("operand {operand}: index map reads element {offset} of {elements}")]
    Outside {
        /// Which operand.
        operand: usize,
        /// The offset read.
        offset: i64,
        /// Elements that the operand has.
        elements: i64,
    },
    /// A value is needed where the operand is out of bounds.
    #[error("operand {0}: out of bounds where a value is needed")]
    Unbound(usize),
}

struct Coordinate {
    extent: i64,
    constant: i64,
    /// One coefficient per output axis.
    output: Vec<i64>,
    /// The terms' parts.
    terms: Vec<i64>,
}

/// The map of one operand.
pub(crate) struct Map {
    operand: usize,
    base: i64,
    output: Vec<i64>,
    terms: Vec<i64>,
    coordinates: Vec<Coordinate>,
    elements: i64,
}

/// The map at one output element.
pub(crate) struct Row<'a> {
    map: &'a Map,
    offset: i64,
    coordinates: Vec<i64>,
}

/// Index vectors over `axes`, row-major, last axis fastest.
pub(crate) fn indices(axes: &[u32]) -> impl Iterator<Item = Vec<i64>> + '_ {
    let count = if axes.contains(&0) {
        0
    } else {
        axes.iter().map(|axis| *axis as usize).product()
    };
    let mut next = vec![0i64; axes.len()];
    (0..count).map(move |_| {
        let current = next.clone();
        for (index, extent) in next.iter_mut().zip(axes).rev() {
            *index += 1;
            if *index < i64::from(*extent) {
                break;
            }
            *index = 0;
        }
        current
    })
}

/// A term's part; where there are no terms, what is read once an element has none.
fn part(terms: &[i64], term: usize) -> i64 {
    terms.get(term).copied().unwrap_or(0)
}

fn dot(coefficients: &[i64], index: &[i64]) -> i64 {
    coefficients.iter().zip(index).map(|(c, i)| c * i).sum()
}

/// Whether no sum of `constant` and multiples of indices below the extents leaves 62 bits.
fn is_narrow(constant: i64, coefficients: &[i64], extents: &[u32]) -> bool {
    let reach = coefficients
        .iter()
        .zip(extents)
        .map(|(c, e)| i128::from(*c).abs() * i128::from(*e))
        .sum::<i128>();
    reach + i128::from(constant).abs() < 1 << 62
}

impl Map {
    /// The map of operand number `operand`.
    pub(crate) fn new(descriptor: &Descriptor, operand: usize) -> Result<Self, MapError> {
        let Operand {
            dims,
            base,
            strides,
            bounds,
            ..
        } = &descriptor.operands[operand];
        let outputs = descriptor.output_axes.len();
        let extents: Vec<u32> = descriptor
            .output_axes
            .iter()
            .chain(&descriptor.reduction_axes)
            .copied()
            .collect();
        if !is_narrow(*base, strides, &extents) {
            return Err(MapError::TooWide(operand));
        }
        let terms: Vec<Vec<i64>> = indices(&descriptor.reduction_axes).collect();
        let table = |coefficients: &[i64]| terms.iter().map(|index| dot(coefficients, index)).collect::<Vec<i64>>();
        let mut coordinates = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let mut dense = vec![0i128; extents.len()];
            bound
                .terms
                .iter()
                .for_each(|(axis, coefficient)| dense[usize::from(*axis)] += i128::from(*coefficient));
            let dense = dense.into_iter().map(i64::try_from).collect::<Result<Vec<i64>, _>>();
            let dense = dense.map_err(|_| MapError::TooWide(operand))?;
            if !is_narrow(bound.constant, &dense, &extents) {
                return Err(MapError::TooWide(operand));
            }
            coordinates.push(Coordinate {
                extent: bound.extent.into(),
                constant: bound.constant,
                output: dense[..outputs].to_vec(),
                terms: table(&dense[outputs..]),
            });
        }
        Ok(Self {
            operand,
            base: *base,
            output: strides[..outputs].to_vec(),
            terms: table(&strides[outputs..]),
            coordinates,
            elements: element_count(dims).unwrap_or(0) as i64,
        })
    }

    /// Number of terms.
    pub(crate) fn terms(&self) -> usize {
        self.terms.len()
    }

    /// The map at output index `index`.
    pub(crate) fn row(&self, index: &[i64]) -> Row<'_> {
        Row {
            map: self,
            offset: self.base + dot(&self.output, index),
            coordinates: self
                .coordinates
                .iter()
                .map(|c| c.constant + dot(&c.output, index))
                .collect(),
        }
    }
}

impl Row<'_> {
    /// The operand's element that term `term` reads; `None` out of bounds.
    pub(crate) fn offset(&self, term: usize) -> Result<Option<usize>, MapError> {
        let bounds = self.coordinates.iter().zip(&self.map.coordinates);
        for (start, coordinate) in bounds {
            let at = start + part(&coordinate.terms, term);
            if at < 0 || at >= coordinate.extent {
                return Ok(None);
            }
        }
        let offset = self.offset + part(&self.map.terms, term);
        if offset < 0 || offset >= self.map.elements {
            return Err(MapError::Outside {
                operand: self.map.operand,
                offset,
                elements: self.map.elements,
            });
        }
        Ok(Some(offset as usize))
    }

    /// The offset where no reduction is, bounds and elements not looked at.
    pub(crate) fn start(&self) -> i64 {
        self.offset
    }

    /// What term `term` reads from `data`.
    pub(crate) fn read<T: Copy>(&self, data: &[T], term: usize) -> Result<Option<T>, MapError> {
        Ok(self.offset(term)?.map(|offset| data[offset]))
    }

    /// What an operand without bounds is read as.
    pub(crate) fn must<T: Copy>(&self, data: &[T], term: usize) -> Result<T, MapError> {
        self.read(data, term)?.ok_or(MapError::Unbound(self.map.operand))
    }
}
