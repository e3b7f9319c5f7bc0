//! How much a run of a plan takes: every value is one tensor at most, but a kilobyte of file can ask for thousands of them.

use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use crate::{
    error::CompileError,
    ir::elements,
    limits,
    plan::{Io, Plan},
};

/// How large a plan [`crate::compile`] gives. The defaults are what workers and challengers accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// Bytes of all values of a run: inputs, boundary values, inner values.
    pub run_bytes: u64,
    /// Bytes of all weights.
    pub weight_bytes: u64,
    /// Terms that a run computes.
    pub run_terms: u64,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self {
            run_bytes: limits::RUN_BYTES,
            weight_bytes: limits::WEIGHT_BYTES,
            run_terms: limits::RUN_TERMS,
        }
    }
}

/// What a run of a plan takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Bytes of all values of a run: inputs, boundary values, inner values.
    pub run_bytes: u64,
    /// Bytes of all weights.
    pub weight_bytes: u64,
    /// Terms that a run computes. A softmax or normalization row counts once, as engines go over it once.
    pub run_terms: u64,
}

impl Plan {
    /// What a run takes.
    pub fn size(&self) -> Size {
        let computed = sum(self.operators.iter().map(|d| bytes(d.dtype, &d.dims)));
        Size {
            run_bytes: total(&self.inputs).saturating_add(computed),
            weight_bytes: sum(self.weights.iter().map(|weight| weight.bytes.len() as u64)),
            run_terms: sum(self.operators.iter().map(terms)),
        }
    }
}

fn sum(parts: impl Iterator<Item = u64>) -> u64 {
    parts.fold(0, u64::saturating_add)
}

/// Bytes of all inputs, or of all outputs.
pub(crate) fn total(list: &[Io]) -> u64 {
    sum(list.iter().map(|io| bytes(io.dtype, &io.dims)))
}

fn bytes(dtype: Dtype, dims: &[u32]) -> u64 {
    elements(dims).saturating_mul(dtype.size() as u64)
}

fn terms(d: &Descriptor) -> u64 {
    let each = match d.code {
        Code::Softmax | Code::LayerNorm => 1,
        _ => d.terms(),
    };
    elements(&d.dims).saturating_mul(each)
}

/// Refuses a plan beyond the limits.
pub(crate) fn check(plan: &Plan, limits: &PlanLimits) -> Result<(), CompileError> {
    for (what, list) in [
        ("bytes of graph inputs", &plan.inputs),
        ("bytes of graph outputs", &plan.outputs),
    ] {
        let found = total(list);
        if found > limits::IO_BYTES {
            return Err(CompileError::limit(what, found, limits::IO_BYTES));
        }
    }
    let inner = plan.layers.iter().map(|layer| layer.inner_count).max();
    for (what, found) in [
        ("boundary values", plan.trace_count),
        ("inner values of a layer", inner.unwrap_or(0)),
    ] {
        if u64::from(found) > limits::COMMITMENTS {
            return Err(CompileError::limit(what, found.into(), limits::COMMITMENTS));
        }
    }
    let size = plan.size();
    let parts = [
        (
            "bytes of the values of a run",
            "run_bytes",
            size.run_bytes,
            limits.run_bytes,
        ),
        (
            "bytes of weights",
            "weight_bytes",
            size.weight_bytes,
            limits.weight_bytes,
        ),
        ("terms of a run", "run_terms", size.run_terms, limits.run_terms),
    ];
    for (what, option, found, limit) in parts {
        if found > limit {
            return Err(CompileError::PlanTooLarge {
                what,
                option,
                found,
                limit,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompileOptions, compile, testing::Model};

    /// 12 bytes of input, 8 of weights laid out by row, 24 and 24 bytes of values; 6 sums of 1 term, 6 numbers.
    fn small() -> Model {
        Model::new()
            .input("x", 1, &[3, 1])
            .output("y")
            .weight("w", &[1, 2])
            .node("MatMul", "x w", "a")
            .node("Softmax", "a", "y")
    }

    #[test]
    fn more_values_than_a_message_commits_to_are_refused() {
        let none = PlanLimits::default();
        let most = limits::COMMITMENTS as u32;
        let mut plan = small().plan();
        plan.trace_count = most;
        plan.layers[0].inner_count = most;
        assert_eq!(check(&plan, &none), Ok(()));
        plan.trace_count = most + 1;
        let refusal = CompileError::limit("boundary values", u64::from(most) + 1, limits::COMMITMENTS);
        assert_eq!(check(&plan, &none), Err(refusal));
        plan.trace_count = 0;
        plan.layers[0].inner_count = most + 1;
        let refusal = CompileError::limit("inner values of a layer", u64::from(most) + 1, limits::COMMITMENTS);
        assert_eq!(check(&plan, &none), Err(refusal));
    }

    #[test]
    fn each_limit_is_exact_and_named_with_the_remedy() {
        let plan = small().plan();
        let size = Size {
            run_bytes: 60,
            weight_bytes: 8,
            run_terms: 12,
        };
        assert_eq!(plan.size(), size);
        let exact = PlanLimits {
            run_bytes: 60,
            weight_bytes: 8,
            run_terms: 12,
        };
        let compiled = |limits: PlanLimits| {
            let options = CompileOptions {
                limits,
                ..Default::default()
            };
            compile(&small().bytes(), &options).map(|plan| plan.size())
        };
        assert_eq!(compiled(exact), Ok(size));
        let short = [
            PlanLimits { run_bytes: 59, ..exact },
            PlanLimits {
                weight_bytes: 7,
                ..exact
            },
            PlanLimits { run_terms: 11, ..exact },
        ];
        for (limits, name) in short.into_iter().zip(["run_bytes", "weight_bytes", "run_terms"]) {
            let error = compiled(limits).unwrap_err();
            assert!(
                matches!(&error, CompileError::PlanTooLarge { option, .. } if *option == name),
                "{error}"
            );
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("smaller inputs"), "{text}");
        }
    }

    #[test]
    fn many_large_values_are_refused_though_each_is_one_tensor() {
        // 2 GiB a value: the fourth reaches the limit with the small ones.
        let model = |values: usize| {
            let mut model = Model::new()
                .input("x", 1, &[1, 1])
                .output("y")
                .ints("shape", &[16_384, 32_768])
                .ints("zero", &[0, 0])
                .ints("one", &[1, 1])
                .node("Expand", "x shape", "v0");
            for k in 0..values {
                model = model.node("Tanh", &format!("v{k}"), &format!("v{}", k + 1));
            }
            model.node("Slice", &format!("v{values} zero one"), "y")
        };
        assert_eq!(model(3).plan().size().run_bytes, 3 * (1 << 31) + 8);
        let error = model(4).compile().unwrap_err();
        let found = 4 * (1u64 << 31) + 8;
        let expected = matches!(&error, CompileError::PlanTooLarge { what, found: f, .. }
            if *what == "bytes of the values of a run" && *f == found);
        assert!(expected, "{error}");
    }

    #[test]
    fn large_products_are_refused_though_their_values_are_small() {
        // 2^27 sums of 2^12 terms each: 2^39 a product.
        let model = |products: usize| {
            let mut model = Model::new()
                .input("x", 1, &[1, 1])
                .ints("a", &[8_192, 4_096])
                .ints("b", &[4_096, 16_384]);
            model = model.node("Expand", "x a", "l").node("Expand", "x b", "r");
            for k in 0..products {
                let y = format!("y{k}");
                model = model.output(&y).node("MatMul", "l r", &y);
            }
            model
        };
        assert_eq!(model(1).plan().size().run_terms >> 39, 1);
        let error = model(2).compile().unwrap_err();
        assert!(
            matches!(&error, CompileError::PlanTooLarge { option, .. } if *option == "run_terms"),
            "{error}"
        );
    }
}
