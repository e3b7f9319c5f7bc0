//! Makes the program: what the operators of `ops/` call.

use std::{collections::BTreeMap, sync::Arc};

use touchstone_protocol::descriptor::{Code, Dtype, MAX_OPERANDS};

use crate::{
    error::{Refusal, refuse},
    fold::{self, Budget},
    ir::{Limits, Map, Op, Program, Source, Value, ValueId, elements, row_major},
    limits,
    names::Named,
    view::{View, broadcast, check_dims},
};

/// The program so far.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) program: Program,
    /// ONNX name of the first output of the node that is being compiled.
    pub(crate) name: String,
    budget: Budget,
    /// Copies made for views, so that each is made once.
    copies: BTreeMap<(ValueId, i64, Vec<u32>, Vec<i64>), View>,
}

/// An operator without its output.
pub(crate) struct Draft {
    pub(crate) code: Code,
    pub(crate) dtype: Dtype,
    /// Shape of the output.
    pub(crate) dims: Vec<u32>,
    /// Factoring of the output's elements, row-major.
    pub(crate) axes: Vec<u32>,
    pub(crate) reduction: Vec<u32>,
    pub(crate) params: Vec<u32>,
    pub(crate) row: Option<usize>,
    pub(crate) operands: Vec<Map>,
}

impl Draft {
    /// One axis a dimension and no reduction.
    pub(crate) fn new(code: Code, dtype: Dtype, dims: Vec<u32>, operands: Vec<Map>) -> Self {
        let axes = dims.clone();
        Self {
            code,
            dtype,
            dims,
            axes,
            reduction: Vec::new(),
            params: Vec::new(),
            row: None,
            operands,
        }
    }
}

impl Default for Build {
    fn default() -> Self {
        Self {
            program: Program::default(),
            name: String::new(),
            budget: Budget::folding(),
            copies: BTreeMap::new(),
        }
    }
}

impl Build {
    /// A new value.
    pub(crate) fn value(&mut self, name: &str, dtype: Dtype, dims: &[u32], source: Source) -> View {
        self.program.values.push(Value {
            name: name.into(),
            dtype,
            dims: dims.into(),
            source,
        });
        View::whole(self.program.values.len() - 1, name, dtype, dims)
    }

    /// A constant of these little-endian bytes, as many as dtype and shape say.
    pub(crate) fn constant(&mut self, dtype: Dtype, dims: &[u32], bytes: impl Into<Arc<[u8]>>) -> View {
        let name = self.name.clone();
        self.value(&name, dtype, dims, Source::Constant(bytes.into()))
    }

    /// A scalar f32 constant of these bits.
    pub(crate) fn scalar(&mut self, bits: u32) -> View {
        self.constant(Dtype::F32, &[], bits.to_le_bytes())
    }

    /// A vector of i64.
    pub(crate) fn integers(&mut self, values: &[i64]) -> View {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Dtype::I64, &[values.len() as u32], bytes)
    }

    /// Takes the bytes of a constant that is computed without folding from what folding may still make.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.budget.spend(true, 0, bytes)
    }

    pub(crate) fn is_constant(&self, view: &View) -> bool {
        self.program.values[view.value].is_constant()
    }

    /// Adds an operator, or computes it if its operands are constant and the rules allow it.
    pub(crate) fn emit(&mut self, draft: Draft) -> Result<View, Refusal> {
        let name = self.name.clone();
        self.emit_named(draft, &name)
    }

    fn emit_named(&mut self, draft: Draft, name: &str) -> Result<View, Refusal> {
        check_dims(draft.dtype, &draft.dims)?;
        let Draft {
            code,
            dtype,
            dims,
            axes,
            reduction,
            params,
            row,
            operands,
        } = draft;
        let op = Op {
            code,
            output: self.program.values.len(),
            axes,
            reduction,
            params,
            row,
            operands,
        };
        for map in &op.operands {
            map.check(op.extents())?;
        }
        let constant = op
            .operands
            .iter()
            .all(|map| self.program.values[map.value].is_constant());
        if constant && fold::foldable(code) {
            let bytes = fold::fold(&op, &self.program.values, dtype, &mut self.budget)?;
            return Ok(self.value(name, dtype, &dims, Source::Constant(bytes.into())));
        }
        if elements(&dims) == 0 {
            refuse!("its output of shape {dims:?} has no elements");
        }
        if op.reduction.contains(&0) {
            refuse!("it reduces over no elements");
        }
        let view = self.value(name, dtype, &dims, Source::Operator);
        self.push(op)?;
        Ok(view)
    }

    /// An operator applied element by element to operands that broadcast.
    pub(crate) fn elementwise(&mut self, code: Code, dtype: Dtype, operands: &[&View]) -> Result<View, Refusal> {
        let shapes: Vec<&[u32]> = operands.iter().map(|view| view.dims.as_slice()).collect();
        let dims = broadcast(&shapes)?;
        let maps = operands
            .iter()
            .map(|view| Ok(view.expand(&dims)?.map()))
            .collect::<Result<_, Refusal>>()?;
        self.emit(Draft::new(code, dtype, dims, maps))
    }

    /// A copy of a view; asked for twice, made once.
    pub(crate) fn copy(&mut self, view: &View) -> Result<View, Refusal> {
        let key = (view.value, view.base, view.dims.clone(), view.strides.clone());
        if let Some(copy) = self.copies.get(&key) {
            return Ok(copy.clone());
        }
        let copy = self.fresh_copy(view)?;
        self.copies.insert(key, copy.clone());
        Ok(copy)
    }

    fn fresh_copy(&mut self, view: &View) -> Result<View, Refusal> {
        let mut draft = Draft::new(Code::Copy, view.dtype, view.dims.clone(), vec![view.map()]);
        draft.params = vec![0, 0];
        self.emit_named(draft, &view.name)
    }

    /// The output of a copy operator of its own, even where the source is constant: graph outputs are computed.
    pub(crate) fn output_copy(&mut self, name: &str, view: &View) -> Result<ValueId, Refusal> {
        check_dims(view.dtype, &view.dims)?;
        view.map().check(view.dims.iter().copied())?;
        let output = self.value(name, view.dtype, &view.dims, Source::Operator).value;
        self.push(Op {
            code: Code::Copy,
            output,
            axes: view.dims.clone(),
            reduction: Vec::new(),
            params: vec![0, 0],
            row: None,
            operands: vec![view.map()],
        })?;
        Ok(output)
    }

    /// Notes that the file has a value of this name.
    pub(crate) fn note(&mut self, name: &str, node: &str, view: &View) {
        self.program.named.push(Named {
            name: name.into(),
            node: node.into(),
            view: view.clone(),
        });
    }

    /// Notes for every copy made for a view that the view's names are the copy's too.
    pub(crate) fn note_copies(&mut self) {
        let copied = self.program.named.iter().filter_map(|named| {
            let view = &named.view;
            let key = (view.value, view.base, view.dims.clone(), view.strides.clone());
            self.copies.get(&key).map(|copy| Named {
                view: copy.clone(),
                ..named.clone()
            })
        });
        let copied: Vec<Named> = copied.collect();
        self.program.named.extend(copied);
    }

    fn push(&mut self, op: Op) -> Result<(), Refusal> {
        if self.program.ops.len() >= limits::OPERATORS {
            refuse!("the plan has more than {} operators", limits::OPERATORS);
        }
        self.program.ops.push(op);
        Ok(())
    }

    /// The same elements in row-major order under another shape.
    pub(crate) fn reshape(&mut self, view: &View, dims: &[u32]) -> Result<View, Refusal> {
        check_dims(view.dtype, dims)?;
        if elements(dims) != view.elements() {
            refuse!("shape {:?} cannot be reshaped to {dims:?}", view.dims);
        }
        if let Some(reshaped) = view.reshape(dims) {
            return Ok(reshaped);
        }
        let copy = self.copy(view)?;
        copy.reshape(dims)
            .ok_or_else(|| Refusal::new("a copy that cannot be reshaped"))
    }

    /// Joins views along an axis; the caller has checked their shapes.
    pub(crate) fn concat(&mut self, views: &[View], axis: usize) -> Result<View, Refusal> {
        if let [view] = views {
            return Ok(view.clone());
        }
        if views.len() > MAX_OPERANDS {
            let parts = views
                .chunks(MAX_OPERANDS)
                .map(|part| self.concat(part, axis))
                .collect::<Result<Vec<_>, _>>()?;
            return self.concat(&parts, axis);
        }
        let mut dims = views[0].dims.clone();
        let mut total = 0u64;
        let mut operands = Vec::new();
        for view in views {
            let start = i64::try_from(total).unwrap_or(i64::MAX);
            let mut map = view.map();
            map.base = map.base.saturating_sub(start.saturating_mul(view.strides[axis]));
            let mut coefficients = vec![0; dims.len()];
            coefficients[axis] = 1;
            map.bounds.push(Limits {
                extent: view.dims[axis],
                constant: -start,
                coefficients,
            });
            operands.push(map);
            total += u64::from(view.dims[axis]);
        }
        dims[axis] = u32::try_from(total).map_err(|_| Refusal::new("the joined dimension exceeds 2^32"))?;
        let mut draft = Draft::new(Code::Copy, views[0].dtype, dims, operands);
        draft.params = vec![0, 0];
        self.emit(draft)
    }

    /// The elements of a constant that serves as a parameter, as integers; `None` if it is not constant.
    pub(crate) fn parameter(&self, view: &View) -> Result<Option<Vec<i64>>, Refusal> {
        let Some(bytes) = self.parameter_bytes(view)? else {
            return Ok(None);
        };
        if !matches!(view.dtype, Dtype::I64 | Dtype::I32) {
            refuse!("`{}` has dtype {:?} where integers are needed", view.name, view.dtype);
        }
        Ok(Some(
            bytes
                .chunks(view.dtype.size())
                .map(|bytes| crate::exact::integer(bytes, view.dtype))
                .collect(),
        ))
    }

    /// The little-endian elements of a constant that serves as a parameter; `None` if it is not constant.
    pub(crate) fn parameter_bytes(&self, view: &View) -> Result<Option<Vec<u8>>, Refusal> {
        let Source::Constant(bytes) = &self.program.values[view.value].source else {
            return Ok(None);
        };
        if view.elements() > limits::PARAMETER_ELEMENTS {
            refuse!(
                "`{}` has {} elements, too many for a parameter",
                view.name,
                view.elements()
            );
        }
        let size = view.dtype.size();
        let steps = row_major(&view.dims);
        let mut result = Vec::new();
        for element in 0..view.elements() as i64 {
            let offset = (0..view.rank()).try_fold(view.base, |offset, axis| {
                let index = (element / steps[axis]) % i64::from(view.dims[axis]);
                offset.checked_add(index.checked_mul(view.strides[axis])?)
            });
            let read = offset
                .and_then(|offset| usize::try_from(offset).ok()?.checked_mul(size))
                .and_then(|start| bytes.get(start..start.checked_add(size)?));
            result.extend(read.ok_or_else(|| Refusal::new("a parameter read out of bounds"))?);
        }
        Ok(Some(result))
    }

    /// A parameter that must be known at compile.
    pub(crate) fn known(&self, view: &View, what: &str) -> Result<Vec<i64>, Refusal> {
        match self.parameter(view)? {
            Some(values) => Ok(values),
            None => refuse!(
                "{what} `{}` is computed at run time; it must be known at compile (bind it)",
                view.name
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_reach_beyond_63_bits_are_not_made() {
        let mut build = Build::default();
        let x = build.value("x", Dtype::U8, &[2], Source::Input(0));
        let far = View {
            base: i64::MAX,
            ..x.clone()
        };
        assert!(build.output_copy("near", &x).is_ok() && build.copy(&x).is_ok());
        for refused in [build.output_copy("far", &far).map(|_| ()), build.copy(&far).map(|_| ())] {
            assert_eq!(refused, Err(Refusal::new("it reads at offsets beyond 63 bits")));
        }
        // Neither left half of itself behind.
        assert_eq!(build.program.ops.len(), 2);
    }
}
