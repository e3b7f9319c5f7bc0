//! Generators of operators, one family each.

use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::judge::judge_element;
use touchstone_protocol::leaf::exact;
use touchstone_protocol::model::Profile;
use touchstone_protocol::{fp32, half};

use super::{Stream, bytes_as, bytes_of, elementwise, matmul, operand};

/// An operator with its values; every element of it is a case.
pub struct Case {
    pub descriptor: Descriptor,
    pub operands: Vec<Vec<u8>>,
    pub output: Vec<u8>,
    pub profile: u64,
}

impl Case {
    pub fn operands(&self) -> Vec<&[u8]> {
        self.operands.iter().map(Vec::as_slice).collect()
    }
}

const FAST: u64 = Profile::FAST.encode();
const WIDE: u64 = Profile::WIDE.encode();

/// Bits of an element: edges of its dtype more often than by chance.
pub fn bits(stream: &mut Stream, dtype: Dtype) -> u64 {
    let word = stream.word();
    match dtype {
        Dtype::F32 => u64::from(stream.pattern()),
        Dtype::F16 | Dtype::Bf16 => match word & 3 {
            // A number of fp32's edges, as near as the format comes, or beside it.
            0 => {
                let near = half::encode(dtype, stream.pattern());
                u64::from(near.wrapping_add((word >> 8) as u32 % 3).wrapping_sub(1) & 0xffff)
            }
            // Exponents near one another's.
            1 => word >> 8 & 0x83ff | 0x3c00,
            _ => word >> 48,
        },
        Dtype::U8 => word & 0xff,
        Dtype::Bool => {
            if word & 15 == 0 {
                word >> 8 & 0xff
            } else {
                word & 16 >> 4
            }
        }
        Dtype::I32 => match word & 3 {
            0 => u64::from(stream.pick(&[0, 1, 2, u32::MAX, 0x8000_0000, 0x7fff_ffff, 16_777_217])),
            1 => u64::from((word >> 8) as i8 as i32 as u32),
            _ => word >> 32,
        },
        Dtype::I64 => match word & 3 {
            0 => stream.pick(&[0, 1, u64::MAX, 1 << 63, i64::MAX as u64, 1 << 53, (1 << 24) + 1]),
            1 => (word >> 8) as i8 as i64 as u64,
            _ => word,
        },
    }
}

fn list(stream: &mut Stream, dtype: Dtype, count: u32) -> Vec<u64> {
    (0..count).map(|_| bits(stream, dtype)).collect()
}

/// Shifts, concatenations, permutations, paddings, gathers and selections, with the odd wrong element.
pub fn copy(stream: &mut Stream) -> Case {
    let dtype = stream.pick(&Dtype::ALL);
    let (descriptor, values): (Descriptor, Vec<Vec<u64>>) = match stream.below(4) {
        0 => {
            // Concat with padding around: each operand in bounds on its part.
            let parts = 1 + stream.below(3) as u32;
            let each = 1 + stream.below(40) as u32;
            let pad = stream.below(4) as i64;
            let mut operands = Vec::new();
            for part in 0..parts {
                let base = -pad - i64::from(part * each);
                operands.push(Operand {
                    base,
                    bounds: vec![Bound {
                        extent: each,
                        constant: base,
                        terms: vec![(0, 1)],
                    }],
                    ..operand(
                        [Place::Input(0), Place::Trace(1), Place::Inner(3)][part as usize],
                        dtype,
                        &[each],
                        &[1],
                    )
                });
            }
            let fill = stream.word();
            let values = (0..parts).map(|_| list(stream, dtype, each)).collect();
            let d = elementwise(Code::Copy, dtype, &[], parts * each + 2 * pad as u32);
            (
                Descriptor {
                    operands,
                    params: vec![(fill >> 32) as u32, fill as u32],
                    ..d
                },
                values,
            )
        }
        1 => {
            // Transpose, with a reversed axis.
            let (rows, columns) = (1 + stream.below(9) as u32, 1 + stream.below(9) as u32);
            let from = Operand {
                base: i64::from(rows - 1) * i64::from(columns),
                ..operand(Place::Weight(0), dtype, &[rows, columns], &[1, -i64::from(columns)])
            };
            let d = Descriptor {
                dims: vec![columns, rows],
                output_axes: vec![columns, rows],
                operands: vec![from],
                params: vec![0, 0],
                ..elementwise(Code::Copy, dtype, &[], 0)
            };
            (d, vec![list(stream, dtype, rows * columns)])
        }
        2 => {
            let (rows, width, count) = (
                1 + stream.below(60) as u32,
                1 + stream.below(5) as u32,
                1 + stream.below(8) as u32,
            );
            let index = stream.pick(&[Dtype::I32, Dtype::I64]);
            let d = Descriptor {
                dims: vec![count, width],
                output_axes: vec![count, width],
                operands: vec![
                    operand(Place::Weight(2), dtype, &[rows, width], &[0, 1]),
                    operand(Place::Trace(3), index, &[count], &[1, 0]),
                ],
                params: vec![rows, width],
                ..elementwise(Code::Gather, dtype, &[], 0)
            };
            let mut indices = list(stream, index, count);
            indices
                .iter_mut()
                .filter(|i| **i % 3 != 0)
                .for_each(|i| *i %= u64::from(rows));
            let data = list(stream, dtype, rows * width);
            (d, vec![data, indices])
        }
        _ => {
            let count = 1 + stream.below(60) as u32;
            let values = [Dtype::Bool, dtype, dtype].map(|dtype| list(stream, dtype, count));
            (
                elementwise(Code::Where, dtype, &[Dtype::Bool, dtype, dtype], count),
                values.to_vec(),
            )
        }
    };
    let operands: Vec<Vec<u8>> = descriptor
        .operands
        .iter()
        .zip(&values)
        .map(|(operand, values)| bytes_as(operand.dtype, values))
        .collect();
    // The right bits are found by trying every operand's elements and the fill; some are then made wrong.
    let fill = descriptor
        .params
        .iter()
        .fold(0u64, |fill, part| (fill << 32) | u64::from(*part));
    let mut candidates: Vec<u64> = values.iter().flatten().copied().collect();
    candidates.push(fill);
    let mut output = vec![0u8; (descriptor.elements() as usize) * dtype.size()];
    for element in 0..descriptor.elements() {
        let at = element as usize * dtype.size();
        for candidate in &candidates {
            output[at..at + dtype.size()].copy_from_slice(&candidate.to_le_bytes()[..dtype.size()]);
            if is_inside(FAST, &descriptor, &operands, &output, element) {
                break;
            }
        }
        if stream.below(4) == 0 {
            output[at + stream.below(dtype.size() as u64) as usize] ^= 1 << stream.below(8);
        }
    }
    Case {
        descriptor,
        operands,
        output,
        profile: stream.profile(),
    }
}

fn is_inside(profile: u64, descriptor: &Descriptor, operands: &[Vec<u8>], output: &[u8], element: u64) -> bool {
    let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
    let verdict = judge_element(descriptor, profile, &operands, output, element);
    verdict == Ok(touchstone_protocol::judge::Verdict::Inside)
}

/// Arithmetic, comparisons and casts; results right, a unit off, of another sign, or an operand.
pub fn exact(stream: &mut Stream) -> Case {
    use Code::{
        Abs, Add, And, Cast, Div, Equal, Greater, GreaterEq, Less, LessEq, Max, Min, Mul, Neg, Not, Or, Relu, Sqrt, Sub,
    };
    let number = stream.pick(&[Dtype::F32, Dtype::F32, Dtype::I32, Dtype::I64]);
    let any = stream.pick(&Dtype::ALL);
    let code = stream.pick(&[
        Add, Sub, Mul, Div, Sqrt, Neg, Abs, Min, Max, Relu, Cast, Cast, Equal, Less, LessEq, Greater, GreaterEq, And,
        Or, Not,
    ]);
    let (from, to, arity) = match code {
        Add | Sub | Mul | Div | Min | Max => (number, number, 2),
        Neg | Abs => (number, number, 1),
        Sqrt | Relu => (Dtype::F32, Dtype::F32, 1),
        Cast => {
            // To and from formats of two bytes f32 alone is cast.
            match (any, stream.pick(&Dtype::ALL)) {
                (any, _) if any.is_half() => (any, Dtype::F32, 1),
                (_, to) if to.is_half() => (Dtype::F32, to, 1),
                (any, to) => (any, to, 1),
            }
        }
        And | Or => (Dtype::Bool, Dtype::Bool, 2),
        Not => (Dtype::Bool, Dtype::Bool, 1),
        _ => (any, Dtype::Bool, 2),
    };
    exact_of(stream, code, from, to, arity)
}

/// The same of formats of two bytes.
pub fn halves(stream: &mut Stream) -> Case {
    use Code::{Abs, Add, Cast, Div, Equal, Greater, GreaterEq, Less, LessEq, Max, Min, Mul, Neg, Relu, Sqrt, Sub};
    let half = stream.pick(&[Dtype::F16, Dtype::Bf16]);
    let code = stream.pick(&[
        Add, Sub, Mul, Div, Sqrt, Neg, Abs, Min, Max, Relu, Cast, Cast, Cast, Cast, Equal, Less, LessEq, Greater,
        GreaterEq,
    ]);
    let (from, to, arity) = match code {
        Add | Sub | Mul | Div | Min | Max => (half, half, 2),
        Sqrt | Neg | Abs | Relu => (half, half, 1),
        Cast if stream.below(4) == 0 => (half, Dtype::F32, 1),
        Cast => (Dtype::F32, half, 1),
        _ => (half, Dtype::Bool, 2),
    };
    exact_of(stream, code, from, to, arity)
}

fn exact_of(stream: &mut Stream, code: Code, from: Dtype, to: Dtype, arity: usize) -> Case {
    let count = 64;
    let descriptor = elementwise(code, to, &vec![from; arity], count);
    let mut a = list(stream, from, count);
    if code == Code::Cast && to.is_half() {
        // Halfway between two of the format's numbers, or beside that.
        for a in &mut a {
            let below = bits(stream, to) as u32;
            let places = if to == Dtype::F16 { 13 } else { 16 };
            let middle = half::decode(to, below).wrapping_add(1 << (places - 1));
            *a = u64::from(middle.wrapping_add(stream.below(3) as u32).wrapping_sub(1));
        }
    }
    let mut b = if arity == 2 {
        list(stream, from, count)
    } else {
        vec![0; count as usize]
    };
    for (a, b) in a.iter().zip(&mut b) {
        // Near-equal magnitudes cancel and compare.
        if stream.below(4) == 0 {
            *b = if from == Dtype::F32 {
                (*a ^ (stream.word() & 0x8000_0001)) & 0xffff_ffff
            } else {
                *a
            };
        }
    }
    let y: Vec<u64> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| {
            let right = exact::apply(code, from, to, *a, *b).expect("a code of the family");
            let mask = u64::MAX >> (64 - 8 * to.size());
            match stream.below(8) {
                0 => right.wrapping_add(1) & mask,
                1 => right ^ (1 << (8 * to.size() - 1)),
                2 => bits(stream, to),
                3 => stream.pick(&[*a, *b]) & mask,
                _ => right,
            }
        })
        .collect();
    let operands = [a, b].iter().take(arity).map(|values| bytes_as(from, values)).collect();
    Case {
        descriptor,
        operands,
        output: bytes_as(to, &y),
        profile: stream.profile(),
    }
}

const ONE: u32 = 0x3f80_0000;

/// Which numbers the terms of a sum are.
#[derive(Clone, Copy)]
enum Terms {
    Moderate,
    Patterns,
    Cancelling,
    Tiny,
    Huge,
    Zeros,
    /// Around the least normal numbers of formats that factors are rounded to, and around what those round to infinity.
    Formats,
}

fn terms(stream: &mut Stream, kind: Terms, count: u32) -> Vec<u32> {
    (0..count)
        .map(|i| match kind {
            Terms::Moderate => stream.number(),
            Terms::Patterns => {
                if stream.below(6) == 0 {
                    stream.pattern()
                } else {
                    stream.number()
                }
            }
            // Pairs that differ in sign and in their last bits.
            Terms::Cancelling => 0x3f80_0000 | ((i & 1) << 31) | (stream.below(8) as u32) | ((i / 2 % 16) << 19),
            Terms::Tiny => (stream.word() as u32) & 0x83ff_ffff,
            Terms::Huge => ((stream.word() as u32) & 0x80ff_ffff) | 0x7e80_0000,
            Terms::Zeros => (stream.word() as u32) & 0x8000_0000,
            Terms::Formats => {
                let near = stream.pick(&[
                    0,
                    1,
                    0x0080_0000,
                    0x3880_0000,
                    0x3880_0000,
                    ONE,
                    0x477f_f000,
                    0x7f7f_8000,
                    0x7f7f_f000,
                ]);
                let sign = (stream.word() as u32) & 0x8000_0000;
                match stream.below(8) {
                    0 => stream.pattern(),
                    1 | 2 => near.saturating_sub(1 + stream.below(2) as u32) | sign,
                    3 | 4 => (near + stream.below(2) as u32) | sign,
                    _ => stream.number(),
                }
            }
        })
        .collect()
}

fn kind(stream: &mut Stream) -> Terms {
    stream.pick(&[
        Terms::Moderate,
        Terms::Moderate,
        Terms::Patterns,
        Terms::Cancelling,
        Terms::Tiny,
        Terms::Huge,
        Terms::Zeros,
    ])
}

/// Results around an honest one: it, the last and first that is inside on either side, near by, or anything.
fn around(stream: &mut Stream, case: &mut Case) {
    for element in 0..case.descriptor.elements() {
        let at = element as usize * 4;
        let honest = u32::from_le_bytes([
            case.output[at],
            case.output[at + 1],
            case.output[at + 2],
            case.output[at + 3],
        ]);
        let y = match stream.below(10) {
            0 | 1 => honest,
            2 => honest.wrapping_add(stream.below(64) as u32).wrapping_sub(32),
            3 => stream.pattern(),
            4 => stream.pick(&[
                fp32::NAN,
                fp32::INFINITY,
                fp32::SIGN | fp32::INFINITY,
                0,
                0x8000_0000,
                0x7f7f_ffff,
            ]),
            _ => edge(case, element, honest, stream.below(2) == 0)
                .wrapping_add(stream.below(5) as u32)
                .wrapping_sub(2),
        };
        case.output[at..at + 4].copy_from_slice(&y.to_le_bytes());
    }
}

/// The last bits inside, going away from an honest result towards greater or smaller bit patterns of its sign.
fn edge(case: &mut Case, element: u64, honest: u32, up: bool) -> u32 {
    let at = element as usize * 4;
    let saved: [u8; 4] = [
        case.output[at],
        case.output[at + 1],
        case.output[at + 2],
        case.output[at + 3],
    ];
    let magnitude = honest & 0x7fff_ffff;
    let room = if up {
        0x7f7f_ffff_u32.saturating_sub(magnitude)
    } else {
        magnitude
    };
    // Inside at `low`, taken to be outside beyond `high`.
    let (mut low, mut high) = (0, room);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let bits = if up { honest + middle } else { honest - middle };
        case.output[at..at + 4].copy_from_slice(&bits.to_le_bytes());
        if is_inside(case.profile, &case.descriptor, &case.operands, &case.output, element) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    case.output[at..at + 4].copy_from_slice(&saved);
    if up { honest + low } else { honest - low }
}

fn sequential(products: impl Iterator<Item = u32>) -> u32 {
    products.fold(0, fp32::add)
}

/// An honest result: terms added one after the other in fp32, or in binary64 where the profile says so. A term is a product; a sum of
/// `divisor` times the result.
fn honest(profile: u64, terms: &[(u32, u32)], divisor: f64) -> u32 {
    if profile == WIDE {
        let sum = terms.iter().fold(0.0, |sum, (a, b)| sum + float(*a) * float(*b));
        return rounded(sum / divisor);
    }
    let sum = sequential(terms.iter().map(|(a, b)| fp32::mul(*a, *b)));
    if divisor == 1.0 {
        sum
    } else {
        fp32::div(sum, rounded(divisor))
    }
}

/// Products with addends, matrix-shaped and windowed.
pub fn contraction(stream: &mut Stream) -> Case {
    let (first, second) = (kind(stream), kind(stream));
    if stream.below(4) == 0 {
        return convolution(stream, first, second);
    }
    let n = stream.pick(&[0, 1, 2, 3, 7, 16, 64, 100]);
    let (rows, columns, addends) = (4, 8, stream.below(4) as usize);
    let profile = stream.profile();
    let descriptor = matmul(rows, n, columns, addends);
    let a = terms(stream, first, rows * n);
    let b = terms(stream, second, columns * n);
    let c: Vec<Vec<u32>> = (0..addends)
        .map(|_| {
            let kind = kind(stream);
            terms(stream, kind, columns)
        })
        .collect();
    let mut y = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let products = (0..n).map(|i| (a[(row * n + i) as usize], b[(column * n + i) as usize]));
            let values = c.iter().map(|c| (c[column as usize], ONE));
            y.push(honest(profile, &products.chain(values).collect::<Vec<_>>(), 1.0));
        }
    }
    let operands = [&a, &b].into_iter().chain(&c).map(|values| bytes_of(values)).collect();
    let mut case = Case {
        descriptor,
        operands,
        output: bytes_of(&y),
        profile,
    };
    around(stream, &mut case);
    case
}

/// A padded, strided window over channels; the bias may be out of bounds too.
fn convolution(stream: &mut Stream, first: Terms, second: Terms) -> Case {
    let (channels, size, kernel) = (
        1 + stream.below(3) as u32,
        3 + stream.below(4) as u32,
        1 + stream.below(3) as u32,
    );
    let (stride, pad, dilation) = (
        1 + stream.below(2) as i64,
        stream.below(3) as i64,
        1 + stream.below(2) as i64,
    );
    let out = 3;
    // The kernel may be out of bounds where the input is not.
    let rows = kernel - stream.below(2).min(u64::from(kernel) - 1) as u32;
    let width = i64::from(size);
    let coordinate = |out: u8, kernel: u8| Bound {
        extent: size,
        constant: -pad,
        terms: vec![(out, stride), (kernel, dilation)],
    };
    let descriptor = Descriptor {
        dims: vec![out, out],
        output_axes: vec![out, out],
        reduction_axes: vec![channels, kernel, kernel],
        operands: vec![
            Operand {
                base: -pad * width - pad,
                bounds: vec![coordinate(0, 3), coordinate(1, 4)],
                ..operand(
                    Place::Input(2),
                    Dtype::F32,
                    &[channels, size, size],
                    &[stride * width, stride, width * width, dilation * width, dilation],
                )
            },
            Operand {
                bounds: vec![Bound {
                    extent: rows,
                    constant: 0,
                    terms: vec![(3, 1)],
                }],
                ..operand(
                    Place::Weight(4),
                    Dtype::F32,
                    &[channels, kernel, kernel],
                    &[0, 0, i64::from(kernel * kernel), i64::from(kernel), 1],
                )
            },
            Operand {
                bounds: vec![Bound {
                    extent: 2,
                    constant: 0,
                    terms: vec![(1, 1)],
                }],
                ..operand(Place::Trace(6), Dtype::F32, &[2], &[0, 1, 0, 0, 0])
            },
        ],
        ..elementwise(Code::Contract, Dtype::F32, &[], 0)
    };
    let profile = stream.profile();
    // One infinite factor among numbers, which may have no partner.
    let single = stream.below(3) == 0;
    let (first, second, third) = if single {
        (Terms::Moderate, Terms::Moderate, Terms::Moderate)
    } else {
        (first, second, Terms::Patterns)
    };
    let mut x = terms(stream, first, channels * size * size);
    let mut w = terms(stream, second, channels * kernel * kernel);
    let bias = terms(stream, third, 2);
    if single {
        let factors = if rows < kernel { &mut x } else { &mut w };
        let at = stream.below(factors.len() as u64) as usize;
        factors[at] = fp32::INFINITY;
    }
    let mut y = Vec::new();
    for row in 0..i64::from(out) {
        for column in 0..i64::from(out) {
            let mut products = Vec::new();
            for at in 0..channels * kernel * kernel {
                let (c, ky, kx) = (at / (kernel * kernel), at / kernel % kernel, at % kernel);
                let (py, px) = (
                    row * stride - pad + i64::from(ky) * dilation,
                    column * stride - pad + i64::from(kx) * dilation,
                );
                if ky < rows && (0..width).contains(&py) && (0..width).contains(&px) {
                    let offset = i64::from(c) * width * width + py * width + px;
                    products.push((x[offset as usize], w[at as usize]));
                }
            }
            if column < 2 {
                products.push((bias[column as usize], ONE));
            }
            y.push(honest(profile, &products, 1.0));
        }
    }
    let mut case = Case {
        descriptor,
        operands: vec![bytes_of(&x), bytes_of(&w), bytes_of(&bias)],
        output: bytes_of(&y),
        profile,
    };
    around(stream, &mut case);
    if single {
        for element in (0..9).filter(|_| stream.below(3) == 0) {
            case.output[4 * element..4 * element + 4].copy_from_slice(&fp32::NAN.to_le_bytes());
        }
    }
    case
}

/// Contractions under tensor cores' profiles, padded or not, at the ends of formats.
pub fn rounded_factors(stream: &mut Stream) -> Case {
    loop {
        let case = convolution(stream, Terms::Formats, Terms::Formats);
        if case.profile >> 56 == 3 {
            return case;
        }
    }
}

/// Sums, means, maxima and positions of maxima over windows and rows.
pub fn reduction(stream: &mut Stream) -> Case {
    let code = stream.pick(&[Code::Sum, Code::Mean, Code::MaxPool, Code::ArgMax]);
    if code == Code::ArgMax {
        return arg_max(stream);
    }
    let (size, window, out) = (1 + stream.below(40) as u32, stream.below(20) as u32, 16);
    let pad = stream.below(4) as i64;
    let kind = kind(stream);
    let mode = stream.below(2) as u32;
    let profile = stream.profile();
    let descriptor = Descriptor {
        reduction_axes: vec![window],
        params: if code == Code::Mean { vec![mode] } else { vec![] },
        operands: vec![Operand {
            base: -pad,
            bounds: vec![Bound {
                extent: size,
                constant: -pad,
                terms: vec![(0, 2), (1, 1)],
            }],
            ..operand(Place::Inner(4), Dtype::F32, &[size], &[2, 1])
        }],
        ..elementwise(code, Dtype::F32, &[], out)
    };
    let x = terms(stream, kind, size);
    let y: Vec<u32> = (0..i64::from(out))
        .map(|at| {
            let inside: Vec<u32> = (0..i64::from(window))
                .map(|i| 2 * at - pad + i)
                .filter(|offset| (0..i64::from(size)).contains(offset))
                .map(|offset| x[offset as usize])
                .collect();
            match code {
                Code::MaxPool => inside.iter().fold(0xff80_0000, |most, x| {
                    exact::apply(Code::Max, Dtype::F32, Dtype::F32, most.into(), (*x).into()).expect("max") as u32
                }),
                _ => {
                    let divisor = match (code, mode) {
                        (Code::Sum, _) => 1.0,
                        (_, 0) => inside.len() as f64,
                        _ => f64::from(window),
                    };
                    let terms: Vec<_> = inside.into_iter().map(|x| (x, ONE)).collect();
                    honest(profile, &terms, divisor)
                }
            }
        })
        .collect();
    let mut case = Case {
        descriptor,
        operands: vec![bytes_of(&x)],
        output: bytes_of(&y),
        profile,
    };
    around(stream, &mut case);
    case
}

fn arg_max(stream: &mut Stream) -> Case {
    let (rows, n) = (16, stream.pick(&[0, 1, 2, 5, 12]));
    let dtype = stream.pick(&[Dtype::F32, Dtype::F32, Dtype::I32, Dtype::I64]);
    let to = stream.pick(&[Dtype::I32, Dtype::I64]);
    let descriptor = Descriptor {
        reduction_axes: vec![n],
        operands: vec![operand(Place::Trace(0), dtype, &[rows, n], &[n.into(), 1])],
        ..elementwise(Code::ArgMax, to, &[], rows)
    };
    let mut x = list(stream, dtype, rows * n);
    // Ties.
    for i in 1..x.len() {
        if stream.below(3) == 0 {
            x[i] = x[i - 1];
        }
    }
    let y: Vec<u64> = (0..rows)
        .map(|_| stream.below(u64::from(n) + 2).wrapping_sub(stream.below(2)))
        .collect();
    Case {
        descriptor,
        operands: vec![bytes_as(dtype, &x)],
        output: bytes_as(to, &y),
        profile: stream.profile(),
    }
}

/// Library functions, softmax and normalize: rounded results of fp64 arithmetic and what lies around them.
pub fn enclosed(stream: &mut Stream) -> Case {
    match stream.below(5) {
        0 => bounded(stream),
        4 => power(stream),
        1 => softmax(stream),
        2 => layer_norm(stream),
        _ => batch_norm(stream),
    }
}

fn float(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

fn rounded(value: f64) -> u32 {
    (value as f32).to_bits()
}

/// 1e-5, or next to nothing.
fn epsilon(stream: &mut Stream) -> u32 {
    stream.pick(&[0x3727_c5ac, 0x3727_c5ac, 0x0080_0000])
}

fn bounded(stream: &mut Stream) -> Case {
    let code = stream.pick(&[
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::GeluTanh,
        Code::Log,
        Code::Softplus,
        Code::Sin,
        Code::Cos,
    ]);
    let descriptor = elementwise(code, Dtype::F32, &[Dtype::F32], 16);
    let kind = kind(stream);
    let x = terms(stream, kind, 16);
    let y: Vec<u32> = x
        .iter()
        .map(|x| {
            let x = float(*x);
            rounded(match code {
                Code::Tanh => x.tanh(),
                Code::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Code::Exp => x.exp(),
                Code::Log => x.ln(),
                Code::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
                Code::Sin => x.sin(),
                Code::Cos => x.cos(),
                _ => 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh()),
            })
        })
        .collect();
    finish(stream, descriptor, vec![bytes_of(&x)], &y)
}

fn power(stream: &mut Stream) -> Case {
    let descriptor = elementwise(Code::Pow, Dtype::F32, &[Dtype::F32, Dtype::F32], 16);
    let [x, exponent] = [(); 2].map(|()| {
        let kind = kind(stream);
        terms(stream, kind, 16)
    });
    let pairs = x.iter().zip(&exponent);
    let y: Vec<u32> = pairs.map(|(x, e)| rounded(float(*x).powf(float(*e)))).collect();
    finish(stream, descriptor, vec![bytes_of(&x), bytes_of(&exponent)], &y)
}

fn softmax(stream: &mut Stream) -> Case {
    let (rows, n) = (2, 1 + stream.below(9) as u32);
    let kind = kind(stream);
    let x = terms(stream, kind, rows * n);
    let descriptor = by_row(Code::Softmax, rows, n, vec![1], 0);
    let mut y = Vec::new();
    for row in x.chunks(n as usize) {
        let most = row.iter().map(|x| float(*x)).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (float(*x) - most).exp()).sum();
        y.extend(row.iter().map(|x| rounded((float(*x) - most).exp() / sum)));
    }
    finish(stream, descriptor, vec![bytes_of(&x)], &y)
}

fn layer_norm(stream: &mut Stream) -> Case {
    let (rows, n) = (2, 1 + stream.below(9) as u32);
    let kind = kind(stream);
    let epsilon = epsilon(stream);
    let x = terms(stream, kind, rows * n);
    let (scale, bias) = (terms(stream, Terms::Patterns, n), terms(stream, Terms::Patterns, n));
    let descriptor = by_row(Code::LayerNorm, rows, n, vec![epsilon, 1], 2);
    let mut y = Vec::new();
    for row in x.chunks(n as usize) {
        let mean = row.iter().map(|x| float(*x)).sum::<f64>() / f64::from(n);
        let variance = row.iter().map(|x| (float(*x) - mean).powi(2)).sum::<f64>() / f64::from(n);
        let root = (variance + float(epsilon)).sqrt();
        y.extend((0..n as usize).map(|i| rounded((float(row[i]) - mean) / root * float(scale[i]) + float(bias[i]))));
    }
    finish(
        stream,
        descriptor,
        vec![bytes_of(&x), bytes_of(&scale), bytes_of(&bias)],
        &y,
    )
}

fn batch_norm(stream: &mut Stream) -> Case {
    let epsilon = epsilon(stream);
    let descriptor = Descriptor {
        params: vec![epsilon],
        ..elementwise(Code::BatchNorm, Dtype::F32, &[Dtype::F32; 5], 16)
    };
    let values: Vec<Vec<u32>> = (0..5)
        .map(|_| {
            let kind = stream.pick(&[Terms::Moderate, Terms::Moderate, Terms::Moderate, Terms::Patterns]);
            terms(stream, kind, 16)
        })
        .collect();
    let y: Vec<u32> = (0..16)
        .map(|i| {
            let [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(|operand| float(values[operand][i]));
            rounded((x - mean) * scale / (variance + float(epsilon)).sqrt() + bias)
        })
        .collect();
    finish(
        stream,
        descriptor,
        values.iter().map(|values| bytes_of(values)).collect(),
        &y,
    )
}

/// An operator over rows, with `more` operands that go by the place in the row.
fn by_row(code: Code, rows: u32, n: u32, params: Vec<u32>, more: usize) -> Descriptor {
    let mut operands = vec![operand(Place::Trace(5), Dtype::F32, &[rows, n], &[n.into(), 0, 1])];
    for place in [Place::Weight(0), Place::Weight(6)].into_iter().take(more) {
        operands.push(operand(place, Dtype::F32, &[n], &[0, 1, 0]));
    }
    Descriptor {
        dims: vec![rows, n],
        output_axes: vec![rows, n],
        reduction_axes: vec![n],
        params,
        operands,
        ..elementwise(code, Dtype::F32, &[], 0)
    }
}

fn finish(stream: &mut Stream, descriptor: Descriptor, operands: Vec<Vec<u8>>, y: &[u32]) -> Case {
    let mut case = Case {
        descriptor,
        operands,
        output: bytes_of(y),
        profile: stream.profile(),
    };
    around(stream, &mut case);
    case
}
