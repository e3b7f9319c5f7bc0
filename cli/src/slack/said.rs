//! What `publish` and `status` say of slack: of one profile, on one input.

use anyhow::Result;
use touchstone_engine::{Device, Options, Value};
use touchstone_model::Plan;
use touchstone_protocol::model::Profile;

use super::{Subject, verdict};
use crate::profile;

/// What `publish` says: the greatest slack of each output's elements on a sample, under the model's profile.
pub(crate) fn of_sample(plan: Plan, inputs: &[Value], profile: Profile) -> Result<Vec<String>> {
    let subject = alone(plan, inputs, profile)?;
    let mut lines = Vec::new();
    for (output, io) in subject.plan.outputs.iter().enumerate() {
        if subject.is_float(output) {
            let elements = subject.elements(output)?;
            let slack = elements.iter().map(|e| e.answer.bounds[0].slack).fold(0.0, f64::max);
            lines.push(format!(
                "slack of output {} on this input: {slack:.2e} under {}",
                io.name,
                profile::name(profile.encode())
            ));
        }
    }
    Ok(lines)
}

/// What `status` says of a request: the margin rule for each row that chooses, and whether the claimed output chooses the same.
pub(crate) fn of_request(
    plan: Plan,
    inputs: &[Value],
    profile: Profile,
    claimed: Option<&[u8]>,
) -> Result<Vec<String>> {
    let subject = alone(plan, inputs, profile)?;
    let (mut lines, mut at) = (Vec::new(), 0);
    for (output, io) in subject.plan.outputs.iter().enumerate() {
        let bytes = io.dims.iter().map(|dim| *dim as usize).product::<usize>() * io.dtype.size();
        let own = claimed.and_then(|claimed| claimed.get(at..at + bytes));
        at += bytes;
        if !subject.chooses(output) {
            continue;
        }
        let own = own.and_then(|own| Value::new(io.dtype, io.dims.clone(), own).ok()?.to_f32());
        for margin in subject.margins(output)? {
            let other = own
                .as_deref()
                .and_then(|own| greatest(own, *io.dims.last()? as usize, margin.row));
            let claim = match other {
                Some(place) if place == margin.top => ", as claimed",
                Some(_) => ", but the claim has another",
                None => "",
            };
            let (row, top) = (margin.row, margin.top);
            lines.push(format!(
                "{} row {row}: place {top}{claim}; {}",
                io.name,
                verdict(&margin, 0)
            ));
        }
    }
    Ok(lines)
}

/// The first greatest place of a row.
fn greatest(numbers: &[f32], length: usize, row: usize) -> Option<usize> {
    let row = numbers.iter().copied().skip(row * length).take(length).enumerate();
    let first = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 { b } else { a };
    row.reduce(first).map(|(place, _)| place)
}

fn alone(plan: Plan, inputs: &[Value], profile: Profile) -> Result<Subject> {
    let options = Options {
        device: Device::Cpu,
        threads: 1,
    };
    Ok(Subject {
        profiles: vec![profile],
        ..Subject::new(plan, inputs, options)?
    })
}

#[cfg(test)]
mod tests {
    use touchstone_protocol::descriptor::Dtype;

    use super::*;

    #[test]
    fn the_greatest_of_a_row_is_found_in_every_format() {
        // 1, 3, 2 and 4, -5, 4.
        for (dtype, bits) in [
            (
                Dtype::F32,
                [
                    0x3f80_0000u32,
                    0x4040_0000,
                    0x4000_0000,
                    0x4080_0000,
                    0xc0a0_0000,
                    0x4080_0000,
                ],
            ),
            (Dtype::F16, [0x3c00, 0x4200, 0x4000, 0x4400, 0xc500, 0x4400]),
            (Dtype::Bf16, [0x3f80, 0x4040, 0x4000, 0x4080, 0xc0a0, 0x4080]),
        ] {
            let bytes: Vec<u8> = bits
                .iter()
                .flat_map(|bits| bits.to_le_bytes().into_iter().take(dtype.size()))
                .collect();
            let numbers = Value::new(dtype, [2, 3], bytes).unwrap().to_f32().unwrap();
            let found = [0, 1, 2].map(|row| greatest(&numbers, 3, row));
            assert_eq!(found, [Some(1), Some(0), None], "{dtype:?}");
        }
    }
}
