//! Sliding windows of convolutions and pools: `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad`, `ceil_mode`.

use crate::{
    error::{Refusal, refuse},
    ir::{Limits, Map},
    lower::Call,
    view::View,
};

/// One entry a spatial axis.
pub(super) struct Window {
    pub(super) kernel: Vec<u32>,
    strides: Vec<u32>,
    dilations: Vec<u32>,
    /// Padding before the first element.
    begin: Vec<u32>,
    /// Padding after the last element.
    end: Vec<u32>,
    /// Extents of the result.
    pub(super) output: Vec<u32>,
}

/// Spatial axes that are supported.
pub(super) const MAX_SPATIAL: usize = 2;

/// An attribute of one positive number an axis, 1 by default.
fn positive(call: &Call, name: &str, axes: usize) -> Result<Vec<u32>, Refusal> {
    let Some(list) = call.ints(name)? else {
        return Ok(vec![1; axes]);
    };
    if list.len() != axes {
        refuse!("attribute `{name}` has {} entries for {axes} spatial axes", list.len());
    }
    list.iter()
        .map(|value| match i32::try_from(*value) {
            Ok(value) if value > 0 => Ok(value as u32),
            _ => Err(Refusal::new(format!("attribute `{name}` has the entry {value}"))),
        })
        .collect()
}

/// The `kernel_shape` attribute of a pool.
pub(super) fn kernel(call: &Call, axes: usize) -> Result<Vec<u32>, Refusal> {
    if !call.has("kernel_shape") {
        refuse!("attribute `kernel_shape` is missing");
    }
    positive(call, "kernel_shape", axes)
}

/// Elements from a window's first to its last, both counted.
fn reach(kernel: u32, dilation: u32) -> i64 {
    (i64::from(kernel) - 1)
        .saturating_mul(i64::from(dilation))
        .saturating_add(1)
}

impl Window {
    /// Reads the attributes for an operand with these spatial extents.
    pub(super) fn read(call: &Call, spatial: &[u32], kernel: Vec<u32>) -> Result<Self, Refusal> {
        let axes = spatial.len();
        let strides = positive(call, "strides", axes)?;
        let dilations = positive(call, "dilations", axes)?;
        let ceil = call.flag("ceil_mode", false)?;
        let auto = call.string_or("auto_pad", "NOTSET")?;
        let pads = match call.ints("pads")? {
            Some(pads) if pads.len() != 2 * axes => {
                refuse!("attribute `pads` has {} entries for {axes} axes", pads.len())
            }
            Some(pads) => pads
                .iter()
                .map(|pad| i32::try_from(*pad).ok().and_then(|pad| u32::try_from(pad).ok()))
                .collect::<Option<Vec<u32>>>()
                .ok_or_else(|| Refusal::new(format!("attribute `pads` is {pads:?}")))?,
            None => vec![0; 2 * axes],
        };
        if auto != "NOTSET" && pads.iter().any(|pad| *pad != 0) {
            refuse!("both `pads` and `auto_pad` are given");
        }
        let (mut begin, mut end) = (pads[..axes].to_vec(), pads[axes..].to_vec());
        let mut output = Vec::with_capacity(axes);
        for axis in 0..axes {
            let extent = i64::from(spatial[axis]);
            let stride = i64::from(strides[axis]);
            let reach = reach(kernel[axis], dilations[axis]);
            let count = match auto {
                "NOTSET" | "VALID" => {
                    let padded = extent + i64::from(begin[axis]) + i64::from(end[axis]);
                    if reach > padded {
                        refuse!("a window of {reach} over {padded} elements");
                    }
                    // `padded` is below 2^34.
                    let floor = (padded - reach) / stride + 1;
                    // A window that would start in the padding at the end is left out.
                    let more =
                        ceil && (padded - reach) % stride != 0 && floor * stride < extent + i64::from(begin[axis]);
                    floor + i64::from(more)
                }
                "SAME_UPPER" | "SAME_LOWER" => {
                    let count = (extent + stride - 1) / stride;
                    // The last window starts within the extent.
                    let total = ((count - 1) * stride)
                        .saturating_add(reach)
                        .saturating_sub(extent)
                        .max(0);
                    let (small, large) = (total / 2, total - total / 2);
                    let (before, after) = if auto == "SAME_UPPER" {
                        (small, large)
                    } else {
                        (large, small)
                    };
                    let pad = |pad: i64| u32::try_from(pad).map_err(|_| Refusal::new("the padding is too wide"));
                    (begin[axis], end[axis]) = (pad(before)?, pad(after)?);
                    count
                }
                other => refuse!("auto_pad `{other}` is not known"),
            };
            output.push(u32::try_from(count).map_err(|_| Refusal::new(format!("an output extent of {count}")))?);
        }
        Ok(Self {
            kernel,
            strides,
            dilations,
            begin,
            end,
            output,
        })
    }

    /// Refuses windows without an element, which pools have no value for.
    pub(super) fn check_filled(&self, spatial: &[u32]) -> Result<(), Refusal> {
        for (axis, extent) in spatial.iter().enumerate() {
            let reach = reach(self.kernel[axis], self.dilations[axis]);
            let (begin, end) = (i64::from(self.begin[axis]), i64::from(self.end[axis]));
            let padded = begin + end > 0;
            if begin >= reach || end >= reach || (padded && self.dilations[axis] > *extent) {
                refuse!("padding {begin} and {end} leaves windows of {reach} without an element");
            }
        }
        Ok(())
    }

    pub(super) fn is_padded(&self) -> bool {
        self.begin.iter().chain(&self.end).any(|pad| *pad != 0)
    }

    /// Whether the last window goes beyond the padding (`ceil_mode`).
    pub(super) fn overhangs(&self, spatial: &[u32]) -> bool {
        spatial.iter().enumerate().any(|(axis, extent)| {
            let start = (i64::from(self.output[axis]) - 1).saturating_mul(i64::from(self.strides[axis]));
            let end = start.saturating_add(reach(self.kernel[axis], self.dilations[axis]));
            end > i64::from(*extent) + i64::from(self.begin[axis]) + i64::from(self.end[axis])
        })
    }

    /// The operand that reads `view`, whose last axes are the spatial ones, through the windows.
    ///
    /// The reader's axes are `axes` in number; its spatial output axes begin at `output`, its window axes at `term`. Strides of
    /// the other axes are left 0 for the caller.
    pub(super) fn map(&self, view: &View, axes: usize, output: usize, term: usize) -> Map {
        let first = view.rank() - self.kernel.len();
        let mut map = Map {
            value: view.value,
            base: view.base,
            strides: vec![0; axes],
            bounds: Vec::new(),
        };
        for axis in 0..self.kernel.len() {
            let stride = view.strides[first + axis];
            let (step, dilation) = (i64::from(self.strides[axis]), i64::from(self.dilations[axis]));
            let constant = -i64::from(self.begin[axis]);
            map.base = map.base.saturating_add(constant.saturating_mul(stride));
            map.strides[output + axis] = step.saturating_mul(stride);
            map.strides[term + axis] = dilation.saturating_mul(stride);
            let mut coefficients = vec![0; axes];
            coefficients[output + axis] = step;
            coefficients[term + axis] = dilation;
            map.bounds.push(Limits {
                extent: view.dims[first + axis],
                constant,
                coefficients,
            });
        }
        map
    }
}
