//! Half-widths of envelopes, from `docs/envelopes.md`, in fp64: how far a result may lie from the exact one, given its operands.
//!
//! To first order in u, and never below it; what the judge rounds outward beyond that is not counted. Where a rule is an interval that
//! would be wrong linearised (a root near 0), its ends are computed. `tests/slack_widths.rs` holds them to the judge.

use tch::{Kind, TchError, Tensor};
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype},
    model::{self, Format, Profile},
};

use super::super::{
    model::{Kernel, Numerics, PrepareError, flat, prepare, sizes},
    rows::rows,
    view::View,
};

/// 2^-126, the least normal number of fp32.
const LEAST_NORMAL: f64 = 1.175_494_350_822_287_5e-38;
/// 2^-149, the least number of fp32.
const LEAST: f64 = 1.401_298_464_324_817e-45;
/// 2^-150, half of it.
const ETA: f64 = LEAST / 2.0;
/// From here on below the maximum an exponential is negligible beside it.
const NEGLIGIBLE: f64 = 104.0;
/// What a fused sum may change each of its inputs by, relative to the greatest.
const CUT: f64 = 1.0 / (1 << 23) as f64;

/// What the rules read of a profile.
#[derive(Clone, Copy, Debug)]
struct Rule {
    u: f64,
    wide: bool,
    block: Option<f64>,
    format: Option<Format>,
    k_rel: f64,
    k_abs: f64,
}

impl Rule {
    fn of(profile: Profile) -> Self {
        let (digits, wide, block, format) = match profile.kind {
            model::Kind::Fast => (24, false, None, None),
            model::Kind::Blocked(block) => (24, false, Some(block.into()), None),
            model::Kind::Wide => (53, true, None, None),
            model::Kind::Tensor(format) => (24, false, None, Some(format)),
        };
        Self {
            u: 0.5f64.powi(digits),
            wide,
            block,
            format,
            k_rel: profile.k_rel.into(),
            k_abs: profile.k_abs.into(),
        }
    }

    /// γ of numbers of roundings.
    fn gamma(&self, k: &Tensor) -> Result<Tensor, TchError> {
        let ku = k.f_mul_scalar(self.u)?;
        ku.f_div(&ku.f_neg()?.f_add_scalar(1.0)?)
    }

    /// What is added where it ends in one rounding to fp32: half of a last place. Else what underflow adds.
    fn last(
        &self,
        half_cell: &Tensor,
        underflow: impl FnOnce() -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        if self.wide {
            Ok(half_cell.shallow_clone())
        } else {
            underflow()
        }
    }
}

/// The relative error of a factor rounded to a format, the format's least normal number, and what each rounding may underflow by.
fn factors(format: Format) -> (f64, f64, f64) {
    match format {
        Format::Tf32 => (0.5f64.powi(10), LEAST_NORMAL, LEAST_NORMAL),
        Format::Bf16 => (0.5f64.powi(8), LEAST_NORMAL, LEAST_NORMAL),
        Format::Fp16 => (0.5f64.powi(11), 0.5f64.powi(14), 0.5f64.powi(50)),
    }
}

fn library(error: TchError) -> PrepareError {
    PrepareError::Torch(error)
}

/// Half of a last place of fp32 around numbers in fp64.
fn half_cell(y: &Tensor) -> Result<Tensor, TchError> {
    let (_, exponent) = y.f_abs()?.f_clamp_min(LEAST)?.f_frexp()?;
    // y = m · 2^exponent with m from 1/2 to 1.
    exponent
        .f_to_kind(Kind::Double)?
        .f_clamp_min(-125.0)?
        .f_sub_scalar(25.0)?
        .f_exp2()
}

/// The last place of numbers of f16 or bf16, flat: what a rounding to it moves by at most, beyond what it is given, when it goes the other
/// way. None of what is not finite.
pub(super) fn last_place(dtype: Dtype, y: &Tensor) -> Result<Tensor, TchError> {
    let (bits, least) = if dtype == Dtype::F16 {
        (11.0, -13.0)
    } else {
        (8.0, -125.0)
    };
    let wild = y.f_isfinite()?.f_logical_not()?;
    let (_, exponent) = y.f_frexp()?;
    let place = exponent.f_to_kind(Kind::Double)?.f_clamp_min(least)?;
    place.f_sub_scalar(bits)?.f_exp2()?.f_masked_fill(&wild, 0.0)
}

fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    a.f_maximum(b)
}

/// Half-widths of an operator's elements, flat, under each of the profiles: `operands` and `honest`, its results, flat and in fp64.
/// A result that is not finite has none, for the others' envelopes do not hold it to first order.
pub(super) fn half_widths(
    d: &Descriptor,
    kernel: &Kernel,
    operands: &[&Tensor],
    honest: &Tensor,
    profiles: &[Profile],
) -> Result<Vec<Tensor>, PrepareError> {
    let rules: Vec<Rule> = profiles.iter().map(|profile| Rule::of(*profile)).collect();
    let y = honest.f_reshape(sizes(&d.output_axes))?;
    let widths = match d.code {
        Code::Contract | Code::Sum | Code::Mean => sums(d, kernel, operands, &y, &rules)?,
        Code::Softmax => softmax(d, operands[0], &y, &rules)?,
        Code::LayerNorm => layer_norm(d, operands, &y, &rules)?,
        Code::BatchNorm => batch_norm(d, operands, &y, &rules)?,
        _ => bounded(d, operands[0], &y, &rules)?,
    };
    let wild = honest.f_isfinite()?.f_logical_not()?;
    let close = |width: Tensor| flat(d, &width)?.f_masked_fill(&wild, 0.0);
    widths.into_iter().map(|width| close(width).map_err(library)).collect()
}

/// Contraction, sum, mean: γ(k) of the sum of magnitudes, k counted as the profile counts.
fn sums(
    d: &Descriptor,
    kernel: &Kernel,
    operands: &[&Tensor],
    y: &Tensor,
    rules: &[Rule],
) -> Result<Vec<Tensor>, PrepareError> {
    let of = |kernel: &Kernel, operands: &[Tensor]| -> Result<Tensor, TchError> {
        kernel(&operands.iter().collect::<Vec<_>>())?.f_reshape(sizes(&d.output_axes))
    };
    let magnitudes: Vec<Tensor> = operands.iter().map(|x| x.f_abs()).collect::<Result<_, _>>()?;
    // Σ|ab| + Σ|c|, Σ|x|, or Σ|x| over the divisor.
    let size = of(kernel, &magnitudes)?;
    // Terms and addends in bounds, counted by the same kernel.
    let filled = |with: &dyn Fn(usize) -> f64| -> Result<Vec<Tensor>, TchError> {
        let each = |(at, x): (usize, &&Tensor)| x.f_full_like(with(at));
        operands.iter().enumerate().map(each).collect()
    };
    let (terms, addends, divisor) = if d.code == Code::Contract {
        let terms = of(kernel, &filled(&|at| if at < 2 { 1.0 } else { 0.0 })?)?;
        (terms, of(kernel, &filled(&|at| if at < 2 { 0.0 } else { 1.0 })?)?, None)
    } else {
        let sum = Descriptor {
            code: Code::Sum,
            params: Vec::new(),
            ..d.clone()
        };
        let count = prepare(&sum, &Numerics::of(Profile::WIDE, y.device()))?;
        let terms = of(&count, &filled(&|_| 1.0)?)?;
        let all = d.terms() as f64;
        let divisor = match d.code {
            Code::Mean if d.params[0] == 0 => Some(terms.shallow_clone()),
            Code::Mean => Some(terms.f_full_like(all)?),
            _ => None,
        };
        (terms.shallow_clone(), terms.f_zeros_like()?, divisor)
    };
    let cell = half_cell(y)?;
    let cores = |format: Format| -> Result<Tensor, TchError> {
        let (rho, least, floor) = factors(format);
        // Products with factors as `each` has them, addends left out.
        let products = |each: &dyn Fn(&Tensor) -> Result<Tensor, TchError>| -> Result<Tensor, TchError> {
            let operand = |(at, x): (usize, &Tensor)| if at < 2 { each(x) } else { x.f_zeros_like() };
            of(
                kernel,
                &magnitudes
                    .iter()
                    .enumerate()
                    .map(operand)
                    .collect::<Result<Vec<_>, _>>()?,
            )
        };
        let all = products(&|x| Ok(x.shallow_clone()))?;
        let normal = products(&|x| x.f_masked_fill(&x.f_lt(least)?, 0.0))?;
        // Twice the products that have a small factor, both raised to the least normal number; what padding adds to them is below 2^-126.
        let raised = products(&|x| x.f_clamp_min(least))?.f_sub(&normal)?.f_mul_scalar(2.0)?;
        let small = all.f_sub(&normal)?;
        let rounded = all.f_mul_scalar(2.0 * rho)?.f_add(&small)?;
        let sums = terms.f_clamp_max((d.terms() as f64 / 4.0).ceil())?.f_add(&addends)?;
        let k = terms
            .f_add(&addends)?
            .f_add(&sums.f_mul_scalar(2.0)?)?
            .f_mul_scalar(CUT)?;
        let floors = terms.f_add(&addends)?.f_mul_scalar(4.0 * floor)?;
        let bound = k.f_mul(&size.f_add(&raised)?)?.f_add(&rounded)?.f_add(&floors)?;
        bound.f_div(&k.f_neg()?.f_add_scalar(1.0)?)
    };
    let width = |rule: &Rule| -> Result<Tensor, TchError> {
        if let (Some(format), Code::Contract) = (rule.format, d.code) {
            return cores(format);
        }
        // A block for every so many terms, padding among them.
        let counted = match rule.block {
            Some(block) => terms.f_clamp_max(block + (d.terms() as f64 / block).ceil())?,
            None => terms.shallow_clone(),
        };
        let k = match d.code {
            Code::Contract if rule.wide => counted.f_add(&addends)?.f_sub_scalar(1.0)?,
            Code::Contract => counted.f_add(&addends)?,
            Code::Mean => counted.f_add_scalar(1.0)?,
            _ => counted.f_sub_scalar(1.0)?,
        };
        let k = k.f_clamp_min(0.0)?;
        let gamma = rule.gamma(&k)?;
        let last = rule.last(&cell, || {
            let products = match (d.code, &divisor) {
                (Code::Contract, _) => terms.f_add(&addends)?,
                (_, Some(divisor)) => divisor.f_ones_like()?,
                _ => terms.f_zeros_like()?,
            };
            products.f_mul(&gamma.f_add_scalar(1.0)?)?.f_mul_scalar(ETA)
        })?;
        gamma.f_mul(&size)?.f_add(&last)
    };
    rules.iter().map(|rule| width(rule).map_err(library)).collect()
}

/// Library functions: the profile's constants times |f| and the function's scale.
fn bounded(d: &Descriptor, x: &Tensor, y: &Tensor, rules: &[Rule]) -> Result<Vec<Tensor>, PrepareError> {
    let signed = View::broadcast(d, 0, y.device())?.read(x)?;
    let x = signed.f_abs()?;
    let tail = (d.code == Code::Gelu).then(|| signed.f_le(-8.0)).transpose()?;
    let (scale, underflows) = match d.code {
        Code::Gelu => (x.f_mul_scalar(2.0)?, true),
        Code::GeluTanh => (x, true),
        Code::Exp | Code::Pow => (x.f_zeros_like()?, true),
        Code::Log => (x.f_zeros_like()?, false),
        Code::Sin => (x.f_clamp_max(1.0)?, false),
        _ => (x.f_ones_like()?, false),
    };
    let cell = half_cell(y)?;
    let width = |rule: &Rule| -> Result<Tensor, TchError> {
        let relative = y.f_abs()?.f_mul_scalar(2.0 * rule.k_rel * rule.u)?;
        let mut absolute = scale.f_mul_scalar(rule.k_abs * rule.u)?;
        // There the judge encloses the function by as much again under `wide`.
        if let (Some(tail), true) = (&tail, rule.wide) {
            absolute = absolute.f_mul_scalar(2.0)?.f_where_self(tail, &absolute)?;
        }
        let last = rule.last(&cell, || y.f_full_like(if underflows { ETA } else { 0.0 }))?;
        relative.f_add(&absolute)?.f_add(&last)
    };
    rules.iter().map(|rule| width(rule).map_err(library)).collect()
}

/// Softmax: tu + b of each exponential, through the quotient, whose numerator stands in its denominator too.
fn softmax(d: &Descriptor, x: &Tensor, y: &Tensor, rules: &[Rule]) -> Result<Vec<Tensor>, PrepareError> {
    let (view, axis) = rows(d, d.params[0], y.device())?;
    let x = view.read(x)?;
    let below = x.f_amax(-1i64, true)?.f_sub(&x)?;
    let exponential = below.f_neg()?.f_exp()?;
    let share = exponential.f_div(&exponential.f_sum_dim_intlist(-1i64, true, Kind::Double)?)?;
    let negligible = below.f_ge(NEGLIGIBLE)?;
    let counted = negligible
        .f_logical_not()?
        .f_to_kind(Kind::Double)?
        .f_sum_dim_intlist(-1i64, true, Kind::Double)?;
    let cell = half_cell(y)?;
    let width = |rule: &Rule| -> Result<Tensor, TchError> {
        let mut each = below.f_mul_scalar(rule.u)?.f_add_scalar(2.0 * rule.k_rel * rule.u)?;
        if !rule.wide {
            // May be flushed.
            let rest = each.f_neg()?.f_add_scalar(1.0)?;
            each = each.f_masked_fill(&exponential.f_mul(&rest)?.f_lt(LEAST_NORMAL)?, 1.0)?;
        }
        let each = each.f_masked_fill(&negligible, 0.0)?;
        let all = share.f_mul(&each)?.f_sum_dim_intlist(-1i64, true, Kind::Double)?;
        // (1 − y)·b of its own, the others' weighted, and the roundings of sum and quotient.
        let own = share.f_mul_scalar(-2.0)?.f_add_scalar(1.0)?.f_mul(&each)?;
        let roundings = counted.f_add_scalar(1.0)?.f_mul_scalar(rule.u)?;
        let relative = own.f_add(&all)?.f_add(&roundings)?;
        let width = share.f_mul(&relative)?.f_movedim_int(-1, axis)?;
        let last = rule.last(&cell, || {
            let subnormal = y.f_lt(2.0 * LEAST_NORMAL)?.f_to_kind(Kind::Double)?;
            subnormal.f_mul_scalar(2.0 * LEAST)
        })?;
        width.f_add(&last)
    };
    rules.iter().map(|rule| width(rule).map_err(library)).collect()
}

/// K(n): how many roundings a mean or a variance counts as.
fn moment_roundings(n: f64) -> f64 {
    n + 3.0 * n.log2().ceil() + 12.0
}

/// Layer norm: the ends of the interval that mean and deviation leave.
fn layer_norm(d: &Descriptor, operands: &[&Tensor], y: &Tensor, rules: &[Rule]) -> Result<Vec<Tensor>, PrepareError> {
    let (view, axis) = rows(d, d.params[1], y.device())?;
    let epsilon = f64::from(f32::from_bits(d.params[0]));
    let x = view.read(operands[0])?;
    let scale = View::broadcast(d, 1, y.device())?.read(operands[1])?.f_abs()?;
    let n = d.terms() as f64;
    let mean = |x: &Tensor| x.f_mean_dim(-1i64, true, Kind::Double);
    let deviation = x.f_sub(&mean(&x)?)?;
    let size = mean(&x.f_abs()?)?;
    let variance = mean(&deviation.f_mul(&deviation)?)?;
    let root = |variance: &Tensor| variance.f_clamp_min(0.0)?.f_add_scalar(epsilon)?.f_sqrt();
    let truth = deviation.f_div(&root(&variance)?)?;
    let cell = half_cell(y)?;
    let width = |rule: &Rule| -> Result<Tensor, TchError> {
        let (u, k) = (rule.u, moment_roundings(n));
        let (in_mean, in_variance) = if rule.wide {
            (0.0, 0.0)
        } else {
            ((n + 1.0) / 2.0 * ETA, n * LEAST)
        };
        let reach = size.f_mul_scalar(k * u / (1.0 - k * u))?.f_add_scalar(in_mean)?;
        let spread = variance.f_sqrt()?.f_mul(&reach)?.f_mul_scalar(8f64.sqrt())?;
        let spread = spread.f_add(&reach.f_mul(&reach)?.f_mul_scalar(2.0)?)?;
        let least = variance
            .f_sub(&spread)?
            .f_mul_scalar(1.0 - k * u)?
            .f_sub_scalar(in_variance)?;
        let most = variance
            .f_add(&spread)?
            .f_div_scalar(1.0 - k * u)?
            .f_add_scalar(in_variance)?;
        let (least, most) = (root(&least)?, root(&most)?);
        // How far above the truth the quotient may come: what is positive over the least deviation, what is negative over the greatest.
        let above = |deviation: &Tensor, truth: &Tensor| -> Result<Tensor, TchError> {
            let end = deviation.f_add(&reach)?;
            let over = end.f_div(&least)?.f_div_scalar(1.0 - 8.0 * u)?;
            let under = end.f_div(&most)?.f_mul_scalar(1.0 - 8.0 * u)?;
            over.f_where_self(&end.f_ge(0.0)?, &under)?.f_sub(truth)
        };
        let quotient = maximum(
            &above(&deviation, &truth)?,
            &above(&deviation.f_neg()?, &truth.f_neg()?)?,
        )?;
        let width = quotient.f_movedim_int(-1, axis)?.f_mul(&scale)?;
        let last = rule.last(&cell, || {
            let sizes = scale
                .f_mul_scalar(2.0)?
                .f_add(&deviation.f_abs()?.f_movedim_int(-1, axis)?)?;
            sizes.f_add_scalar(1.0)?.f_mul_scalar(2.0 * ETA)
        })?;
        width.f_add(&y.f_abs()?.f_mul_scalar(u)?)?.f_add(&last)
    };
    rules.iter().map(|rule| width(rule).map_err(library)).collect()
}

/// Batch norm: γ(9) of what is folded, γ(2) of the bias.
fn batch_norm(d: &Descriptor, operands: &[&Tensor], y: &Tensor, rules: &[Rule]) -> Result<Vec<Tensor>, PrepareError> {
    let epsilon = f64::from(f32::from_bits(d.params[0]));
    let read = |operand: usize| -> Result<Tensor, PrepareError> {
        Ok(View::broadcast(d, operand, y.device())?.read(operands[operand])?)
    };
    let (scale, bias) = (read(1)?.f_abs()?, read(2)?.f_abs()?);
    let size = read(0)?.f_abs()?.f_add(&read(3)?.f_abs()?)?;
    let folded = size.f_mul(&scale)?.f_div(&read(4)?.f_add_scalar(epsilon)?.f_sqrt()?)?;
    let cell = half_cell(y)?;
    let width = |rule: &Rule| -> Result<Tensor, TchError> {
        let gamma = |k: f64| k * rule.u / (1.0 - k * rule.u);
        let last = rule.last(&cell, || {
            let sizes = scale.f_mul_scalar(2.0)?.f_add(&size)?.f_add_scalar(2.0)?;
            sizes.f_mul_scalar(2.0 * ETA)
        })?;
        let width = folded
            .f_mul_scalar(gamma(9.0))?
            .f_add(&bias.f_mul_scalar(gamma(2.0))?)?;
        width.f_add(&last)
    };
    rules.iter().map(|rule| width(rule).map_err(library)).collect()
}
