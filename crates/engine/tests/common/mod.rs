//! One-operator plans built by hand, both engines, and a third, naive reading of the index maps.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use touchstone_engine::{Engine, Keep, Options, Reference, Torch, Value};
use touchstone_model::{
    CompileOptions, compile,
    plan::{Io, Layer, Plan},
    tensor_file::read_npy,
};
use touchstone_protocol::{
    descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place},
    model::Profile,
};

pub static TORCH: LazyLock<Torch> = LazyLock::new(|| {
    Torch::new(Options {
        device: Default::default(),
        threads: 2,
    })
    .unwrap()
});

/// An operand to be: its value, base, strides over output and reduction axes, bounds.
pub struct Operand_ {
    pub value: Value,
    pub base: i64,
    pub strides: Vec<i64>,
    pub bounds: Vec<Bound>,
}

pub fn operand(value: Value, base: i64, strides: &[i64]) -> Operand_ {
    Operand_ {
        value,
        base,
        strides: strides.to_vec(),
        bounds: Vec::new(),
    }
}

/// Extent, constant, and axis–coefficient pairs of a bound.
pub type Limit<'a> = (u32, i64, &'a [(u8, i64)]);

pub fn bounded(value: Value, base: i64, strides: &[i64], bounds: &[Limit<'_>]) -> Operand_ {
    let bounds = bounds.iter().map(|(extent, constant, terms)| Bound {
        extent: *extent,
        constant: *constant,
        terms: terms.to_vec(),
    });
    Operand_ {
        value,
        base,
        strides: strides.to_vec(),
        bounds: bounds.collect(),
    }
}

/// A plan of one operator from inputs to the output.
pub fn plan(
    code: Code,
    dtype: Dtype,
    output: &[u32],
    reduction: &[u32],
    params: &[u32],
    operands: Vec<Operand_>,
) -> (Arc<Plan>, Vec<Value>) {
    let (values, operands): (Vec<Value>, Vec<Operand>) = operands
        .into_iter()
        .enumerate()
        .map(|(n, o)| {
            let place = Place::Input(n as u32);
            let (dtype, dims) = (o.value.dtype, o.value.dims.clone());
            (
                o.value,
                Operand {
                    place,
                    dtype,
                    dims,
                    base: o.base,
                    strides: o.strides,
                    bounds: o.bounds,
                },
            )
        })
        .unzip();
    let io = |v: &Value| Io {
        name: "x".into(),
        dtype: v.dtype,
        dims: v.dims.clone(),
    };
    let descriptor = Descriptor {
        code,
        layer: 0,
        layer_inner_count: 0,
        place: Place::Output(0),
        dtype,
        dims: output.to_vec(),
        output_axes: output.to_vec(),
        reduction_axes: reduction.to_vec(),
        params: params.to_vec(),
        operands,
    };
    let plan = Plan {
        profile: Profile::FAST.encode(),
        inputs: values.iter().map(io).collect(),
        outputs: vec![Io {
            name: "y".into(),
            dtype,
            dims: output.to_vec(),
        }],
        weights: Vec::new(),
        operators: vec![descriptor],
        names: vec!["y".into()],
        values: Vec::new(),
        layers: vec![Layer {
            operators: 0..1,
            inner_count: 0,
        }],
        trace_count: 0,
    };
    (Arc::new(plan), values)
}

/// A profile of each kind and format; the block is short, so that rows of tests have several.
pub fn profiles() -> [(&'static str, u64); 6] {
    [
        ("fast", Profile::FAST.encode()),
        ("blocked:16", Profile::blocked(16).unwrap().encode()),
        ("wide", Profile::WIDE.encode()),
        ("tf32", Profile::TF32.encode()),
        ("bf16", Profile::BF16.encode()),
        ("fp16", Profile::FP16.encode()),
    ]
}

/// The plan under another profile.
pub fn under(plan: &Plan, profile: u64) -> Arc<Plan> {
    Arc::new(Plan {
        profile,
        ..plan.clone()
    })
}

/// Both engines' outputs: libtorch's, then the reference's.
pub fn both(case: &(Arc<Plan>, Vec<Value>)) -> (Value, Value) {
    let run = |engine: &dyn Engine| engine.run(&case.0, &case.1, Keep::All).unwrap().outputs.remove(0);
    (run(&*TORCH), run(&Reference))
}

/// The offset that operand `k` is read at for output element `e` and term `t`, straight from the protocol's text.
pub fn offset(d: &Descriptor, k: usize, e: u64, t: u64) -> Option<usize> {
    let digits = |mut n: u64, axes: &[u32]| {
        let mut index: Vec<i64> = axes
            .iter()
            .rev()
            .map(|axis| {
                let i = n % u64::from(*axis);
                n /= u64::from(*axis);
                i as i64
            })
            .collect();
        index.reverse();
        index
    };
    let i = [digits(e, &d.output_axes), digits(t, &d.reduction_axes)].concat();
    let o = &d.operands[k];
    let inside = o.bounds.iter().all(|b| {
        let at = b.constant + b.terms.iter().map(|(axis, c)| c * i[usize::from(*axis)]).sum::<i64>();
        at >= 0 && at < i64::from(b.extent)
    });
    inside.then(|| {
        (o.base + o.strides.iter().zip(&i).map(|(s, i)| s * i).sum::<i64>())
            .try_into()
            .unwrap()
    })
}

pub fn elements(d: &Descriptor) -> u64 {
    d.output_axes.iter().map(|a| u64::from(*a)).product()
}

pub fn terms(d: &Descriptor) -> u64 {
    d.reduction_axes.iter().map(|a| u64::from(*a)).product()
}

/// A fixed sequence of numbers (SplitMix64).
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In −1 … 1.
    pub fn float(&mut self) -> f32 {
        (self.next() as i64 as f64 / 2f64.powi(63)) as f32
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Any bits.
    pub fn bits(&mut self) -> f32 {
        f32::from_bits(self.next() as u32)
    }
}

pub fn f32s(dims: &[u32], noise: &mut Noise) -> Value {
    let count = dims.iter().product::<u32>() as usize;
    Value::from_f32(dims, &noise.floats(count)).unwrap()
}

pub fn i64s(dims: &[u32], data: &[i64]) -> Value {
    Value::new(
        Dtype::I64,
        dims,
        data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>(),
    )
    .unwrap()
}

pub fn i32s(dims: &[u32], data: &[i32]) -> Value {
    Value::new(
        Dtype::I32,
        dims,
        data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>(),
    )
    .unwrap()
}

pub fn bools(data: &[bool]) -> Value {
    Value::new(
        Dtype::Bool,
        [data.len() as u32],
        data.iter().map(|x| u8::from(*x)).collect::<Vec<u8>>(),
    )
    .unwrap()
}

pub fn vector(data: &[f32]) -> Value {
    Value::from_f32([data.len() as u32], data).unwrap()
}

/// Zeros, subnormals, limits, infinities, NaNs, ties, and what lies around integers' limits.
pub fn specials() -> Vec<f32> {
    let mut all = vec![
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        3.0,
        0.1,
        1e-20,
        1e20,
        127.5,
        255.0,
        255.5,
        256.0,
        2147483520.0,
        2147483648.0,
        9.2233715e18,
        9.223372e18,
        1.8446744e19,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::EPSILON,
        f32::INFINITY,
        f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        f32::from_bits(3),
        1.0 + f32::EPSILON,
        16777217.0,
        8388609.5,
    ];
    all.extend(all.clone().iter().map(|x| -x));
    all.extend([f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]);
    all
}

pub const U: f64 = 1.0 / 16777216.0;

pub fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

pub fn compiled(path: &Path) -> Arc<Plan> {
    Arc::new(
        compile(&std::fs::read(path).unwrap(), &CompileOptions::default()).unwrap_or_else(|e| panic!("{path:?}: {e}")),
    )
}

/// The rows of a float32 file [n, …] as inputs [1, …].
pub fn rows(path: &str) -> Vec<Value> {
    let file = read_npy(&std::fs::read(models().join(path)).unwrap()).unwrap();
    let mut dims = file.dims.clone();
    let count = std::mem::replace(&mut dims[0], 1) as usize;
    let size = file.bytes.len() / count;
    file.bytes
        .chunks(size)
        .map(|bytes| Value::new(Dtype::F32, dims.clone(), bytes).unwrap())
        .collect()
}
