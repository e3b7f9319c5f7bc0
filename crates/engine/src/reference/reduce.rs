//! Reductions over terms: Contract, Sum, Mean, MaxPool, ArgMax.

use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use super::{OperatorError, data::Data, maps};
use crate::map::{Map, MapError, Row, indices};

/// Runs a reduction.
pub(super) fn evaluate(d: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    let maps = maps(d)?;
    if d.code == Code::ArgMax {
        return match operands[0] {
            Data::F32(x) => arg_max(d, &maps[0], x, |x| x.is_nan()),
            Data::I32(x) => arg_max(d, &maps[0], x, |_| false),
            Data::I64(x) => arg_max(d, &maps[0], x, |_| false),
            _ => Err(OperatorError::Dtypes(d.code)),
        };
    }
    let operands = operands
        .iter()
        .map(|operand| operand.f32(d.code))
        .collect::<Result<Vec<_>, _>>()?;
    let results = indices(&d.output_axes).map(|o| {
        let rows: Vec<Row<'_>> = maps.iter().map(|map| map.row(&o)).collect();
        element(d, maps[0].terms(), &rows, &operands)
    });
    Ok(Data::F32(results.collect::<Result<_, MapError>>()?))
}

fn element(d: &Descriptor, terms: usize, rows: &[Row<'_>], operands: &[&[f32]]) -> Result<f32, MapError> {
    let (first, mut counted) = (operands[0], 0usize);
    // MaxPool of no terms is −∞.
    let mut result = if d.code == Code::MaxPool {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    for term in 0..terms {
        let Some(a) = rows[0].read(first, term)? else { continue };
        let a = f64::from(a);
        match d.code {
            Code::Contract => {
                if let Some(b) = rows[1].read(operands[1], term)? {
                    result += a * f64::from(b);
                }
            }
            Code::MaxPool => result = result.max(a),
            _ => result += a,
        }
        counted += 1;
    }
    match d.code {
        Code::Contract => {
            for (row, addend) in rows.iter().zip(operands).skip(2) {
                result += row.read(addend, 0)?.map_or(0.0, f64::from);
            }
        }
        Code::Mean => result /= if d.params[0] == 0 { counted } else { terms } as f64,
        _ => {}
    }
    Ok(result as f32)
}

fn arg_max<T: Copy + PartialOrd>(
    d: &Descriptor,
    map: &Map,
    x: &[T],
    skip: impl Fn(T) -> bool,
) -> Result<Data, OperatorError> {
    let positions = indices(&d.output_axes).map(|o| {
        let row = map.row(&o);
        let mut best: Option<(T, i64)> = None;
        for term in 0..map.terms() {
            let value = row.must(x, term)?;
            if !skip(value) && best.is_none_or(|(most, _)| value > most) {
                best = Some((value, term as i64));
            }
        }
        Ok(best.map_or(0, |(_, position)| position))
    });
    let positions = positions.collect::<Result<Vec<i64>, MapError>>()?;
    match d.dtype {
        Dtype::I64 => Ok(Data::I64(positions)),
        Dtype::I32 => Ok(Data::I32(
            positions.into_iter().map(|position| position as i32).collect(),
        )),
        _ => Err(OperatorError::Dtypes(d.code)),
    }
}
