//! Bytes of a descriptor.

use super::{
    Bound, Code, Descriptor, DescriptorError, Dtype, MAX_BOUND_TERMS, MAX_BOUNDS, MAX_BYTES, MAX_OPERANDS,
    MAX_OUTPUT_AXES, MAX_PARAMS, MAX_REDUCTION_AXES, Operand, Place,
};
use crate::tensor::MAX_RANK;

/// The encoding's version, its first byte.
const VERSION: u8 = 1;

impl Descriptor {
    /// The canonical bytes.
    ///
    /// # Errors
    /// The descriptor breaks a rule that decoding checks, so it has none.
    pub fn encode(&self) -> Result<Vec<u8>, DescriptorError> {
        self.check()?;
        let mut w = Vec::with_capacity(256);
        w.extend([VERSION, self.code as u8]);
        w.extend(self.layer.to_be_bytes());
        w.extend(self.layer_inner_count.to_be_bytes());
        put_place(&mut w, self.place);
        w.push(self.dtype as u8);
        put_list(&mut w, &self.dims);
        put_list(&mut w, &self.output_axes);
        put_list(&mut w, &self.reduction_axes);
        put_list(&mut w, &self.params);
        w.push(self.operands.len() as u8);
        for operand in &self.operands {
            put_place(&mut w, operand.place);
            w.push(operand.dtype as u8);
            put_list(&mut w, &operand.dims);
            w.extend(operand.base.to_be_bytes());
            operand.strides.iter().for_each(|stride| w.extend(stride.to_be_bytes()));
            w.push(operand.bounds.len() as u8);
            for bound in &operand.bounds {
                w.extend(bound.extent.to_be_bytes());
                w.extend(bound.constant.to_be_bytes());
                w.push(bound.terms.len() as u8);
                for (axis, coefficient) in &bound.terms {
                    w.push(*axis);
                    w.extend(coefficient.to_be_bytes());
                }
            }
        }
        if w.len() > MAX_BYTES {
            return Err(DescriptorError::TooLong(w.len()));
        }
        Ok(w)
    }

    /// Reads a whole descriptor and checks every rule of PROTOCOL.md sections 3 and 5 that concerns it.
    ///
    /// # Errors
    /// The first rule that is broken; the descriptor is then *undecodable*.
    pub fn decode(bytes: &[u8]) -> Result<Self, DescriptorError> {
        if bytes.len() > MAX_BYTES {
            return Err(DescriptorError::TooLong(bytes.len()));
        }
        let mut r = Reader { bytes };
        let version = r.u8()?;
        if version != VERSION {
            return Err(DescriptorError::Version(version));
        }
        let code = r.u8()?;
        let code = Code::from_code(code).ok_or(DescriptorError::Code(code))?;
        let layer = r.u32()?;
        let layer_inner_count = r.u32()?;
        let place = r.place()?;
        let dtype = r.dtype()?;
        let dims = r.list(MAX_RANK, "dimensions")?;
        let output_axes = r.list(MAX_OUTPUT_AXES, "output axes")?;
        let reduction_axes = r.list(MAX_REDUCTION_AXES, "reduction axes")?;
        let params = r.list(MAX_PARAMS, "parameters")?;
        let axes = output_axes.len() + reduction_axes.len();
        let operands = (0..r.count(MAX_OPERANDS, "operands")?)
            .map(|_| r.operand(axes))
            .collect::<Result<_, _>>()?;
        if !r.bytes.is_empty() {
            return Err(DescriptorError::Trailing(r.bytes.len()));
        }
        let descriptor = Self {
            code,
            layer,
            layer_inner_count,
            place,
            dtype,
            dims,
            output_axes,
            reduction_axes,
            params,
            operands,
        };
        descriptor.check()?;
        Ok(descriptor)
    }
}

fn put_place(w: &mut Vec<u8>, place: Place) {
    let (kind, number) = place.parts();
    w.push(kind);
    w.extend(number.to_be_bytes());
}

fn put_list(w: &mut Vec<u8>, list: &[u32]) {
    w.push(list.len() as u8);
    list.iter().for_each(|item| w.extend(item.to_be_bytes()));
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DescriptorError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(DescriptorError::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, DescriptorError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, DescriptorError> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, DescriptorError> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self, limit: usize, what: &'static str) -> Result<usize, DescriptorError> {
        let count = usize::from(self.u8()?);
        if count > limit {
            Err(DescriptorError::TooMany { what, count, limit })
        } else {
            Ok(count)
        }
    }

    fn list(&mut self, limit: usize, what: &'static str) -> Result<Vec<u32>, DescriptorError> {
        (0..self.count(limit, what)?).map(|_| self.u32()).collect()
    }

    fn dtype(&mut self) -> Result<Dtype, DescriptorError> {
        let code = self.u8()?;
        Dtype::from_code(code).ok_or(DescriptorError::Dtype(code))
    }

    fn place(&mut self) -> Result<Place, DescriptorError> {
        let (kind, number) = (self.u8()?, self.u32()?);
        Place::from_parts(kind, number).ok_or(DescriptorError::Kind(kind))
    }

    fn operand(&mut self, axes: usize) -> Result<Operand, DescriptorError> {
        let place = self.place()?;
        let dtype = self.dtype()?;
        let dims = self.list(MAX_RANK, "dimensions")?;
        let base = self.i64()?;
        let strides = (0..axes).map(|_| self.i64()).collect::<Result<_, _>>()?;
        let bounds = (0..self.count(MAX_BOUNDS, "bounds")?)
            .map(|_| self.bound())
            .collect::<Result<_, _>>()?;
        Ok(Operand {
            place,
            dtype,
            dims,
            base,
            strides,
            bounds,
        })
    }

    fn bound(&mut self) -> Result<Bound, DescriptorError> {
        let extent = self.u32()?;
        let constant = self.i64()?;
        let terms = (0..self.count(MAX_BOUND_TERMS, "terms of a bound")?)
            .map(|_| Ok((self.u8()?, self.i64()?)))
            .collect::<Result<_, DescriptorError>>()?;
        Ok(Bound {
            extent,
            constant,
            terms,
        })
    }
}
