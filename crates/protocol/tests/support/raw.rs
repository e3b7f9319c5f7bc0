//! Descriptors that may break rules: changed at random, and encoded all the same.

use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype};

use super::Stream;

/// Bytes of a descriptor, valid or not. Lists are shorter than 256.
pub fn encode(d: &Descriptor) -> Vec<u8> {
    let mut w = vec![1, d.code as u8];
    w.extend(d.layer.to_be_bytes());
    w.extend(d.layer_inner_count.to_be_bytes());
    let place = |w: &mut Vec<u8>, (kind, number): (u8, u32)| {
        w.push(kind);
        w.extend(number.to_be_bytes());
    };
    let list = |w: &mut Vec<u8>, items: &[u32]| {
        w.push(items.len() as u8);
        items.iter().for_each(|item| w.extend(item.to_be_bytes()));
    };
    place(&mut w, d.place.parts());
    w.push(d.dtype as u8);
    for items in [&d.dims, &d.output_axes, &d.reduction_axes, &d.params] {
        list(&mut w, items);
    }
    w.push(d.operands.len() as u8);
    for operand in &d.operands {
        place(&mut w, operand.place.parts());
        w.push(operand.dtype as u8);
        list(&mut w, &operand.dims);
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
    w
}

/// Changes one thing; strides keep matching the axes, because the encoding cannot say otherwise.
pub fn change(stream: &mut Stream, d: &mut Descriptor) {
    let operand = stream.below(d.operands.len().max(1) as u64) as usize;
    match stream.below(10) {
        0 | 1 => d.code = stream.pick(&Code::ALL),
        2 => d.dtype = stream.pick(&Dtype::ALL),
        3 => {
            let dtype = stream.pick(&Dtype::ALL);
            d.operands.iter_mut().skip(operand).for_each(|o| o.dtype = dtype);
        }
        4 => match stream.below(2) {
            0 => d.params.push(stream.pick(&[0, 1, 2, 0x3727_c5ac, 0x7f80_0000])),
            _ => d.params.truncate(d.params.len().saturating_sub(1)),
        },
        5 => d
            .params
            .iter_mut()
            .for_each(|param| *param = stream.pick(&[0, 1, 2, 3, 0x7f7f_ffff, 0x7f80_0000])),
        6 => {
            // One reduction axis more, with its strides, or one fewer.
            let extent = stream.pick(&[0, 1, 2, d.output_axes.last().copied().unwrap_or(1)]);
            let more = stream.below(2) == 0;
            let stride = stream.pick(&[0, 0, 1]);
            if more || !d.reduction_axes.is_empty() {
                d.operands.iter_mut().for_each(|o| {
                    if more {
                        o.strides.push(stride)
                    } else {
                        _ = o.strides.pop()
                    }
                });
                if more {
                    d.reduction_axes.push(extent)
                } else {
                    _ = d.reduction_axes.pop()
                }
            }
        }
        7 => match (stream.below(3), d.operands.get(operand).cloned()) {
            (0, _) => d.operands.truncate(d.operands.len().saturating_sub(1)),
            (_, Some(copy)) => d.operands.push(copy),
            (_, None) => {}
        },
        8 => {
            let axis = stream.below(1 + d.output_axes.len() as u64 + d.reduction_axes.len() as u64) as u8;
            let bound = Bound {
                extent: 2,
                constant: 0,
                terms: vec![(axis, 1); stream.below(6) as usize],
            };
            if let Some(operand) = d.operands.get_mut(operand) {
                operand.bounds = vec![bound; stream.below(6) as usize];
            }
        }
        _ => {
            let places = [(0, 0), (1, 1), (2, 2), (3, 1), (4, 3)];
            let (kind, number) = stream.pick(&places);
            d.place = touchstone_protocol::descriptor::Place::from_parts(kind, number).expect("a kind");
        }
    }
}
