//! GELU out of its parts: `½ x (1 + erf(x / √2))` and `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, factors in any order.

use touchstone_protocol::descriptor::Code;

use super::{HALF, Matcher, ONE, TWO, near, same_map};
use crate::ir::{Map, Op, Program};

const SQRT_2: u32 = 0x3fb5_04f3;
const SQRT_HALF: u32 = 0x3f35_04f3;
/// √(2/π)
const SQRT_2_OVER_PI: u32 = 0x3f4c_422a;
/// 0.044715
const CUBIC: u32 = 0x3d37_2713;
/// Deepest product that is taken apart.
const DEPTH: usize = 4;

pub(super) fn rewrite(program: &mut Program) {
    let matcher = Matcher::new(program);
    let found: Vec<_> = program.ops.iter().map(|op| gelu(&matcher, op)).collect();
    for (op, found) in program.ops.iter_mut().zip(found) {
        if let Some((code, x)) = found {
            (op.code, op.operands) = (code, vec![x]);
        }
    }
}

/// A factor of a product.
enum Factor<'a> {
    Scalar(u32),
    /// An operand of an operator over the product's axes.
    Read(&'a Op, usize),
}

/// The factors of a product, through products of products.
fn factors<'a>(matcher: &Matcher<'a>, op: &'a Op, depth: usize, result: &mut Vec<Factor<'a>>) {
    for operand in 0..op.operands.len() {
        if let Some(bits) = matcher.scalar(op, operand) {
            // Division by two is a product with one half.
            result.push(Factor::Scalar(if op.code == Code::Div && bits == TWO {
                HALF
            } else {
                bits
            }));
            continue;
        }
        let product = matcher.inner(op, operand, Code::Mul);
        let half = matcher
            .inner(op, operand, Code::Div)
            .filter(|div| matcher.scalar(div, 1) == Some(TWO));
        match product.or(half) {
            Some(inner) if depth < DEPTH => factors(matcher, inner, depth + 1, result),
            _ => result.push(Factor::Read(op, operand)),
        }
    }
}

fn product<'a>(matcher: &Matcher<'a>, op: &'a Op) -> Vec<Factor<'a>> {
    let mut result = Vec::new();
    if op.code == Code::Mul || (op.code == Code::Div && matcher.scalar(op, 1) == Some(TWO)) {
        factors(matcher, op, 0, &mut result);
    }
    result
}

fn gelu<'a>(matcher: &Matcher<'a>, op: &'a Op) -> Option<(Code, Map)> {
    let factors = product(matcher, op);
    if factors.len() != 3 || !factors.iter().any(|factor| matches!(factor, Factor::Scalar(HALF))) {
        return None;
    }
    let reads: Vec<(&Op, usize)> = factors
        .iter()
        .filter_map(|factor| match factor {
            Factor::Read(op, operand) => Some((*op, *operand)),
            Factor::Scalar(_) => None,
        })
        .collect();
    let [first, second] = reads[..] else { return None };
    [(first, second), (second, first)].into_iter().find_map(|(x, gate)| {
        let x = &x.0.operands[x.1];
        let sum = matcher.inner(gate.0, gate.1, Code::Add)?;
        let curve = matcher.beside_scalar(sum, ONE)?;
        let code = if matcher
            .inner(sum, curve, Code::Erf)
            .is_some_and(|erf| is_erf_of(matcher, erf, x))
        {
            Code::Gelu
        } else if matcher
            .inner(sum, curve, Code::Tanh)
            .is_some_and(|tanh| is_tanh_of(matcher, tanh, x))
        {
            Code::GeluTanh
        } else {
            return None;
        };
        Some((code, x.clone()))
    })
}

/// `erf(x / √2)`
fn is_erf_of<'a>(matcher: &Matcher<'a>, erf: &'a Op, x: &Map) -> bool {
    let divided = matcher.inner(erf, 0, Code::Div).filter(|div| {
        matcher.scalar(div, 1).is_some_and(|bits| near(bits, SQRT_2)) && same_map(&erf.axes, &div.operands[0], x)
    });
    let multiplied = matcher.inner(erf, 0, Code::Mul).filter(|mul| {
        matcher
            .beside_scalar(mul, SQRT_HALF)
            .is_some_and(|operand| same_map(&erf.axes, &mul.operands[operand], x))
    });
    divided.or(multiplied).is_some()
}

/// `tanh(√(2/π) (x + 0.044715 x³))`
fn is_tanh_of<'a>(matcher: &Matcher<'a>, tanh: &'a Op, x: &Map) -> bool {
    let is_x = |op: &Op, operand: usize| same_map(&tanh.axes, &op.operands[operand], x);
    let found = matcher.inner(tanh, 0, Code::Mul).and_then(|outer| {
        let sum = matcher.inner(outer, matcher.beside_scalar(outer, SQRT_2_OVER_PI)?, Code::Add)?;
        let cubic = (0..2).find(|operand| is_x(sum, 1 - operand))?;
        let cubic = product(matcher, matcher.inner(sum, cubic, Code::Mul)?);
        let xs = cubic
            .iter()
            .filter(|factor| matches!(factor, Factor::Read(op, operand) if is_x(op, *operand)))
            .count();
        let scale = cubic
            .iter()
            .any(|factor| matches!(factor, Factor::Scalar(bits) if near(*bits, CUBIC)));
        (cubic.len() == 4 && xs == 3 && scale).then_some(())
    });
    found.is_some()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Model, codes};

    fn model() -> Model {
        Model::new()
            .input("x", 1, &[2, 3])
            .output("y")
            .floats("half", &[], &[0.5])
            .floats("one", &[], &[1.0])
            .floats("two", &[], &[2.0])
            .floats("root", &[1], &[std::f32::consts::SQRT_2])
            .floats("inverse", &[], &[std::f32::consts::FRAC_1_SQRT_2])
            .floats("k", &[], &[0.797_884_6])
            .floats("c", &[], &[0.044_715])
            .floats("three", &[], &[3.0])
    }

    fn gate(model: Model) -> Model {
        model
            .node("Div", "x root", "a")
            .node("Erf", "a", "b")
            .node("Add", "b one", "g")
    }

    #[test]
    fn every_order_of_the_factors() {
        let orders: [[(&str, &str, &str); 2]; 5] = [
            [("Mul", "x g", "p"), ("Mul", "p half", "y")],
            [("Mul", "half x", "p"), ("Mul", "p g", "y")],
            [("Mul", "g half", "p"), ("Mul", "x p", "y")],
            [("Mul", "x g", "p"), ("Div", "p two", "y")],
            [("Div", "x two", "p"), ("Mul", "g p", "y")],
        ];
        for order in orders {
            let model = order.iter().fold(gate(model()), |model, (op, inputs, output)| {
                model.node(op, inputs, output)
            });
            assert_eq!(codes(&model.plan()), "Gelu", "{order:?}");
        }
        let multiplied = model()
            .node("Mul", "inverse x", "a")
            .node("Erf", "a", "b")
            .node("Add", "one b", "g");
        assert_eq!(
            codes(&multiplied.node("Mul", "x g", "p").node("Mul", "p half", "y").plan()),
            "Gelu"
        );
    }

    #[test]
    fn the_tanh_form() {
        let cubes = [
            vec![("Pow", "x three", "q")],
            vec![("Mul", "x x", "s"), ("Mul", "s x", "q")],
        ];
        for cube in cubes {
            let model = cube
                .iter()
                .fold(model(), |model, (op, inputs, output)| model.node(op, inputs, output));
            let model = model
                .node("Mul", "c q", "r")
                .node("Add", "x r", "t")
                .node("Mul", "t k", "u")
                .node("Tanh", "u", "v")
                .node("Add", "v one", "w")
                .node("Mul", "x half", "h")
                .node("Mul", "h w", "y");
            assert_eq!(codes(&model.plan()), "GeluTanh");
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        // Another factor, another x, another constant.
        let other = gate(model()).node("Mul", "x g", "p").node("Mul", "p two", "y");
        assert_eq!(codes(&other.plan()), "Div Erf Add Mul Mul");
        let other = gate(model())
            .input("z", 1, &[2, 3])
            .node("Mul", "z g", "p")
            .node("Mul", "p half", "y");
        assert_eq!(codes(&other.plan()), "Div Erf Add Mul Mul");
        let other = model()
            .node("Div", "x half", "a")
            .node("Erf", "a", "b")
            .node("Add", "b one", "g");
        assert_eq!(
            codes(&other.node("Mul", "x g", "p").node("Mul", "p half", "y").plan()),
            "Div Erf Add Mul Mul"
        );
    }
}
