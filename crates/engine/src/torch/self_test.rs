//! What an engine proves about itself before it takes work.

use std::sync::Arc;

use tch::{Kind, TchError, Tensor};
use touchstone_model::plan::Plan;

use super::model::Products;
use crate::{
    engine::{Engine, EngineError, Keep},
    value::Value,
};

/// Side of the square products: large enough for libtorch's threaded, blocked kernels.
const SIDE: i64 = 192;

fn refuse(what: impl ToString) -> EngineError {
    EngineError::Library {
        library: "libtorch",
        what: what.to_string(),
    }
}

/// Proves that subnormals are kept, that products are fp32, or TF32 and no less, and that kernels give the same bits twice. Says which
/// products they are.
///
/// # Errors
/// The first property that does not hold, or a failure of the library.
pub(super) fn numerics(device: tch::Device) -> Result<Products, EngineError> {
    let checked = || -> Result<Result<Products, &'static str>, TchError> {
        let eye = Tensor::f_eye(SIDE, (Kind::Float, device))?;
        let tiny = f32::from_bits(0x0000_0300);
        let subnormals = Tensor::f_full([SIDE, SIDE], f64::from(tiny), (Kind::Float, device))?;
        // Twice an odd multiple of the least subnormal, halved: exact unless inputs or results are flushed.
        if !same(
            &subnormals.f_mul_scalar(0.5)?.f_add(&subnormals.f_mul_scalar(0.5)?)?,
            &subnormals,
        )? {
            return Ok(Err("flushes subnormals element by element"));
        }
        // 1 + 2^-23 needs all 24 bits of the significand; TF32 keeps 11, bf16 8.
        let keeps = |bits: i32| -> Result<bool, TchError> {
            let precise = Tensor::f_full([SIDE, SIDE], 1.0 + 2f64.powi(1 - bits), (Kind::Float, device))?;
            same(&precise.f_mm(&eye)?, &precise)
        };
        let products = match (keeps(24)?, keeps(11)?) {
            (true, _) => Products::Fp32,
            (false, true) => Products::Tf32,
            (false, false) => return Ok(Err("computes products with fewer than 11 bits")),
        };
        if products == Products::Fp32 && !same(&subnormals.f_mm(&eye)?, &subnormals)? {
            return Ok(Err("flushes subnormals in products"));
        }
        let count = SIDE * SIDE;
        let noise = Tensor::f_arange(count, (Kind::Float, device))?
            .f_mul_scalar(12.9898)?
            .f_sin()?
            .f_reshape([SIDE, SIDE])?;
        let once = chain(&noise)?;
        for _ in 0..3 {
            if !same(&chain(&noise)?, &once)? {
                return Ok(Err("gives other bits the second time"));
            }
        }
        Ok(Ok(products))
    };
    checked().map_err(refuse)?.map_err(refuse)
}

fn same(a: &Tensor, b: &Tensor) -> Result<bool, TchError> {
    let (a, b) = (a.f_view_dtype(Kind::Int)?, b.f_view_dtype(Kind::Int)?);
    a.f_equal(&b)
}

fn chain(x: &Tensor) -> Result<Tensor, TchError> {
    let product = x.f_mm(&x.f_transpose(0, 1)?)?;
    let normal = product.f_layer_norm([SIDE], None::<&Tensor>, None::<&Tensor>, 1e-5, false)?;
    normal
        .f_gelu("none")?
        .f_softmax(-1, Kind::Float)?
        .f_add(&x.f_sum_dim_intlist(&[0i64][..], true, Kind::Float)?)
}

/// Proves on a model that the same input gives the same values twice, and that every layer alone gives the bits that it gave in
/// the whole run.
///
/// # Errors
/// The first layer that differs, or as [`Engine::run`].
pub fn repeatable(engine: &dyn Engine, plan: &Arc<Plan>, inputs: &[Value]) -> Result<(), EngineError> {
    let run = engine.run(plan, inputs, Keep::All)?;
    if engine.run(plan, inputs, Keep::All)? != run {
        return Err(refuse("the same input gives other values the second time"));
    }
    for layer in 0..plan.layers.len() as u32 {
        let again = engine.replay_layer(plan, layer, &run)?;
        let inner = run.inner.as_ref().and_then(|inner| inner.get(layer as usize));
        let boundary = again
            .boundary
            .iter()
            .all(|(place, value)| run.at(layer, *place) == Some(value));
        if inner != Some(&again.inner) || !boundary {
            return Err(refuse(format!(
                "layer {layer} replayed gives other values than in the whole run"
            )));
        }
    }
    Ok(())
}
