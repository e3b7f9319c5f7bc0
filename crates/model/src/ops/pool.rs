//! Pooling.
//!
//! <https://onnx.ai/onnx/operators/onnx__MaxPool.html>, `AveragePool`, `GlobalAveragePool`, `GlobalMaxPool`

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{
    Operator, Outcome,
    reduce::reduced,
    window::{MAX_SPATIAL, Window, kernel},
};
use crate::{
    build::{Build, Draft},
    error::refuse,
    lower::Call,
};

const fn global(name: &'static str, lower: fn(&mut Build, &Call) -> Outcome) -> Operator {
    Operator {
        name,
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &[],
        lower,
    }
}

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "MaxPool",
        since: 1,
        inputs: 1..=1,
        outputs: 2,
        attributes: &[
            "auto_pad",
            "ceil_mode",
            "dilations",
            "kernel_shape",
            "pads",
            "storage_order",
            "strides",
        ],
        lower: |build, call| pool(build, call, Code::MaxPool),
    },
    Operator {
        name: "AveragePool",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &[
            "auto_pad",
            "ceil_mode",
            "count_include_pad",
            "dilations",
            "kernel_shape",
            "pads",
            "strides",
        ],
        lower: |build, call| pool(build, call, Code::Mean),
    },
    global("GlobalAveragePool", |build, call| whole(build, call, Code::Mean)),
    global("GlobalMaxPool", |build, call| whole(build, call, Code::MaxPool)),
];

fn pool(build: &mut Build, call: &Call, code: Code) -> Outcome {
    let x = call.input(0)?;
    let spatial = x.rank().saturating_sub(2);
    if x.dtype != Dtype::F32 || !(1..=MAX_SPATIAL).contains(&spatial) {
        refuse!(
            "{:?} of rank {}; f32 with one or two spatial axes is supported",
            x.dtype,
            x.rank()
        );
    }
    let window = Window::read(call, &x.dims[2..], kernel(call, spatial)?)?;
    window.check_filled(&x.dims[2..])?;
    let axes = 2 + 2 * spatial;
    let mut map = window.map(x, axes, 2, 2 + spatial);
    map.strides[..2].copy_from_slice(&x.strides[..2]);
    let mut params = Vec::new();
    if code == Code::Mean {
        let all = call.flag("count_include_pad", false)? && window.is_padded();
        if all && window.overhangs(&x.dims[2..]) {
            refuse!("count_include_pad with windows that go beyond the padding");
        }
        params.push(u32::from(all));
    }
    let dims = [&x.dims[..2], &window.output[..]].concat();
    let mut draft = Draft::new(code, Dtype::F32, dims, vec![map]);
    draft.reduction = window.kernel;
    draft.params = params;
    Ok(vec![build.emit(draft)?])
}

fn whole(build: &mut Build, call: &Call, code: Code) -> Outcome {
    let x = call.input(0)?;
    if x.dtype != Dtype::F32 || x.rank() < 3 {
        refuse!("{:?} of rank {}; f32 with spatial axes is expected", x.dtype, x.rank());
    }
    let axes: Vec<usize> = (2..x.rank()).collect();
    Ok(vec![reduced(build, x, code, &axes, true)?])
}
