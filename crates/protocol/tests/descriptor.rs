//! Descriptors: one encoding each, and a named refusal for every rule.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Stream, elementwise, families, matmul, operand};
use touchstone_protocol::descriptor::{Bound, Code, Descriptor, DescriptorError as E, Dtype, Place};

fn bound(axis: u8) -> Bound {
    Bound {
        extent: 1,
        constant: 0,
        terms: vec![(axis, 1)],
    }
}

#[test]
fn encoding_and_decoding_are_inverse() {
    let mut stream = Stream(31);
    for round in 0..400 {
        let make = [
            families::copy,
            families::exact,
            families::contraction,
            families::reduction,
        ][round % 4];
        let descriptor = make(&mut stream).descriptor;
        let bytes = descriptor.encode().unwrap();
        assert_eq!(Descriptor::decode(&bytes), Ok(descriptor));
        for cut in 0..bytes.len() {
            assert!(Descriptor::decode(&bytes[..cut]).is_err());
        }
        // Whatever decodes encodes to the same bytes.
        let mut changed = bytes.clone();
        let at = stream.below(bytes.len() as u64) as usize;
        changed[at] ^= 1 << stream.below(8);
        if let Ok(other) = Descriptor::decode(&changed) {
            assert_eq!(other.encode().unwrap(), changed);
        }
        changed = bytes.clone();
        changed.push(0);
        assert_eq!(Descriptor::decode(&changed), Err(E::Trailing(1)));
    }
}

#[test]
fn heads_that_mean_nothing_are_named() {
    let bytes = matmul(2, 3, 4, 1).encode().unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Descriptor::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), E::Version(2));
    assert_eq!(with(1, 0x7f), E::Code(0x7f));
    assert_eq!(with(10, 5), E::Kind(5));
    assert_eq!(with(10, 1), E::OutputPlace(Place::Weight(2)));
    assert_eq!(with(15, 3), E::Dtype(3));
    assert_eq!(
        with(16, 9),
        E::TooMany {
            what: "dimensions",
            count: 9,
            limit: 8
        }
    );
    assert_eq!(Descriptor::decode(&[1; 5000]), Err(E::TooLong(5000)));
}

#[test]
fn every_rule_has_its_refusal() {
    let product = matmul(2, 3, 4, 1);
    let add = elementwise(Code::Add, Dtype::F32, &[Dtype::F32; 2], 4);
    let refused = |base: &Descriptor, change: &dyn Fn(&mut Descriptor)| {
        let mut d = base.clone();
        change(&mut d);
        let error = d.check().unwrap_err();
        assert_eq!(d.encode().unwrap_err(), error);
        error
    };
    let params = |code, what| E::Params { code, what };

    assert_eq!(
        refused(&product, &|d| d.output_axes = vec![2, 3]),
        E::OutputAxes {
            axes: vec![2, 3],
            dims: vec![2, 4]
        }
    );
    assert_eq!(
        refused(&product, &|d| d.reduction_axes = vec![(1 << 24) + 1]),
        E::Terms((1 << 24) + 1)
    );
    assert!(matches!(
        refused(&product, &|d| d.operands[1].dims = vec![1 << 30]),
        E::Tensor { what: "operand", .. }
    ));
    assert!(matches!(
        refused(&product, &|d| d.operands[0].strides.truncate(2)),
        E::Strides { operand: 0, .. }
    ));
    assert_eq!(
        refused(&product, &|d| d.operands[0].bounds = vec![bound(3)]),
        E::BoundAxis { operand: 0, axis: 3 }
    );
    assert_eq!(refused(&product, &|d| d.operands[2].strides[2] = 1), E::Dependence(2));
    assert_eq!(
        refused(&product, &|d| d.operands[2].bounds = vec![bound(2)]),
        E::Dependence(2)
    );
    assert!(matches!(
        refused(&product, &|d| d.operands[0].bounds = vec![bound(0); 5]),
        E::TooMany { what: "bounds", .. }
    ));
    assert!(matches!(
        refused(&product, &|d| d.operands[0].bounds = vec![Bound {
            terms: vec![(0, 1); 5],
            ..bound(0)
        }]),
        E::TooMany {
            what: "terms of a bound",
            ..
        }
    ));
    assert_eq!(
        refused(&product, &|d| d.operands.truncate(1)),
        E::Arity {
            code: Code::Contract,
            operands: 1
        }
    );
    assert_eq!(refused(&product, &|d| d.dtype = Dtype::I32), E::Dtypes(Code::Contract));
    assert_eq!(
        refused(&product, &|d| d.params = vec![0]),
        params(Code::Contract, "number of parameters")
    );
    let full = |d: &mut Descriptor| d.operands = vec![d.operands[2].clone(); 17];
    assert!(matches!(refused(&product, &full), E::TooMany { what: "operands", .. }));

    assert_eq!(refused(&add, &|d| d.operands[0].bounds = vec![bound(0)]), E::Bounds(0));
    assert_eq!(
        refused(&add, &|d| d.operands.truncate(1)),
        E::Arity {
            code: Code::Add,
            operands: 1
        }
    );
    assert_eq!(
        refused(&add, &|d| d.operands[1].dtype = Dtype::I32),
        E::Dtypes(Code::Add)
    );
    let reduced = |d: &mut Descriptor| {
        d.reduction_axes = vec![1];
        d.operands.iter_mut().for_each(|o| o.strides.push(0));
    };
    assert_eq!(refused(&add, &reduced), params(Code::Add, "number of reduction axes"));
    let bytes = |d: &mut Descriptor| {
        d.dtype = Dtype::U8;
        d.operands.iter_mut().for_each(|o| o.dtype = Dtype::U8);
    };
    assert_eq!(refused(&add, &bytes), E::Dtypes(Code::Add));

    for half in [Dtype::F16, Dtype::Bf16] {
        let of = |code, arity: usize| elementwise(code, half, &vec![half; arity], 4).check();
        for code in [Code::Add, Code::Sub, Code::Mul, Code::Div, Code::Min, Code::Max] {
            assert_eq!(of(code, 2), Ok(()));
        }
        for code in [Code::Sqrt, Code::Neg, Code::Abs, Code::Relu] {
            assert_eq!(of(code, 1), Ok(()));
        }
        for code in [Code::Exp, Code::Erf, Code::Cos] {
            assert_eq!(of(code, 1), Err(E::Dtypes(code)));
        }
        assert_eq!(of(Code::Contract, 2), Err(E::Dtypes(Code::Contract)));
        assert_eq!(of(Code::Pow, 2), Err(E::Dtypes(Code::Pow)));
        let cast = |from, to| elementwise(Code::Cast, to, &[from], 4).check();
        assert_eq!((cast(half, Dtype::F32), cast(Dtype::F32, half)), (Ok(()), Ok(())));
        for other in [Dtype::U8, Dtype::I32, Dtype::I64, Dtype::Bool, Dtype::F16, Dtype::Bf16] {
            assert_eq!(cast(half, other), Err(E::Dtypes(Code::Cast)));
            assert_eq!(cast(other, half), Err(E::Dtypes(Code::Cast)));
        }
        assert_eq!(elementwise(Code::Less, Dtype::Bool, &[half; 2], 4).check(), Ok(()));
        assert_eq!(
            elementwise(Code::Where, half, &[Dtype::Bool, half, half], 4).check(),
            Ok(())
        );
    }
    let root = elementwise(Code::Sqrt, Dtype::I32, &[Dtype::I32], 4);
    assert_eq!(root.check(), Err(E::Dtypes(Code::Sqrt)));

    let gather = Descriptor {
        params: vec![4, 1],
        ..elementwise(Code::Gather, Dtype::F32, &[Dtype::F32, Dtype::I64], 4)
    };
    assert_eq!(gather.check(), Ok(()));
    assert_eq!(
        refused(&gather, &|d| d.params[0] = 0),
        params(Code::Gather, "extent is 0")
    );
    assert_eq!(
        refused(&gather, &|d| d.operands[1].dtype = Dtype::F32),
        E::Dtypes(Code::Gather)
    );

    let softmax = Descriptor {
        params: vec![1],
        reduction_axes: vec![4],
        dims: vec![2, 4],
        output_axes: vec![2, 4],
        operands: vec![operand(Place::Trace(0), Dtype::F32, &[2, 4], &[4, 0, 1])],
        ..elementwise(Code::Softmax, Dtype::F32, &[], 0)
    };
    assert_eq!(softmax.check(), Ok(()));
    let row = "row axis is not an output axis of the row's length";
    assert_eq!(refused(&softmax, &|d| d.params[0] = 0), params(Code::Softmax, row));
    assert_eq!(refused(&softmax, &|d| d.params[0] = 2), params(Code::Softmax, row));

    let norm = Descriptor {
        params: vec![0x3727_c5ac],
        ..elementwise(Code::BatchNorm, Dtype::F32, &[Dtype::F32; 5], 4)
    };
    assert_eq!(norm.check(), Ok(()));
    for epsilon in [0, 0x007f_ffff, 0x7f80_0000, 0x7fc0_0000, 0x8000_0000, 0xb727_c5ac] {
        let error = refused(&norm, &|d| d.params[0] = epsilon);
        assert_eq!(
            error,
            params(Code::BatchNorm, "epsilon is not a positive normal number")
        );
    }
    let mean = Descriptor {
        params: vec![2],
        ..elementwise(Code::Mean, Dtype::F32, &[Dtype::F32], 4)
    };
    assert_eq!(mean.check(), Err(params(Code::Mean, "mode is neither 0 nor 1")));
}
