//! Operators that give bits as they are: Copy, Gather, Where.

use half::{bf16, f16};
use touchstone_protocol::descriptor::{Code, Descriptor};

use super::{OperatorError, data::Data, maps};
use crate::map::{MapError, indices};

/// Runs a Copy, Gather or Where.
pub(super) fn evaluate(d: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    let sources = match d.code {
        Code::Where => &operands[1..],
        Code::Gather => &operands[..1],
        _ => operands,
    };
    let fill = if d.code == Code::Copy {
        u64::from(d.params[0]) << 32 | u64::from(d.params[1])
    } else {
        0
    };
    macro_rules! typed {
        ($variant:ident, $fill:expr) => {{
            let sources = sources
                .iter()
                .map(|data| {
                    if let Data::$variant(data) = data {
                        Some(data.as_slice())
                    } else {
                        None
                    }
                })
                .collect::<Option<Vec<_>>>()
                .ok_or(OperatorError::Dtypes(d.code))?;
            Ok(Data::$variant(select(d, operands, &sources, $fill)?))
        }};
    }
    match sources[0] {
        Data::F32(_) => typed!(F32, f32::from_bits(fill as u32)),
        Data::F16(_) => typed!(F16, f16::from_bits(fill as u16)),
        Data::Bf16(_) => typed!(Bf16, bf16::from_bits(fill as u16)),
        Data::U8(_) => typed!(U8, fill as u8),
        Data::I32(_) => typed!(I32, fill as i32),
        Data::I64(_) => typed!(I64, fill as i64),
        Data::Bool(_) => typed!(Bool, fill as u8 != 0),
    }
}

fn select<T: Copy>(d: &Descriptor, operands: &[&Data], sources: &[&[T]], fill: T) -> Result<Vec<T>, OperatorError> {
    let maps = maps(d)?;
    indices(&d.output_axes)
        .map(|o| match (d.code, operands) {
            (Code::Where, [Data::Bool(condition), ..]) => {
                let side = if maps[0].row(&o).must(condition, 0)? { 0 } else { 1 };
                Ok(maps[side + 1].row(&o).must(sources[side], 0)?)
            }
            (Code::Gather, [_, index]) => {
                let k = match index {
                    Data::I64(index) => maps[1].row(&o).must(index, 0)?,
                    Data::I32(index) => maps[1].row(&o).must(index, 0)?.into(),
                    _ => return Err(OperatorError::Dtypes(d.code)),
                };
                let (extent, stride) = (i64::from(d.params[0]), i64::from(d.params[1]));
                let k = if k < 0 { k.saturating_add(extent) } else { k };
                let offset = maps[0].row(&o).start() + k.clamp(0, extent - 1) * stride;
                let element = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| sources[0].get(offset))
                    .copied();
                Ok(element.ok_or(MapError::Outside {
                    operand: 0,
                    offset,
                    elements: sources[0].len() as i64,
                })?)
            }
            (Code::Copy, _) => {
                for (map, source) in maps.iter().zip(sources) {
                    if let Some(element) = map.row(&o).read(source, 0)? {
                        return Ok(element);
                    }
                }
                Ok(fill)
            }
            _ => Err(OperatorError::Dtypes(d.code)),
        })
        .collect()
}
