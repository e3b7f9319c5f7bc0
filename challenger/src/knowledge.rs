//! From what work has found to what strategy decides on.

use touchstone_protocol::{descriptor::Place, parts};

use crate::{
    gather::{Own, Subject},
    model::{Model, telling_element},
    strategy::{At, Charge, Knowledge, Writer},
    verdict::Verdict,
    work::{Layers, Progress},
};

/// What we hold against a claim. `late`: the window is about to end, so withheld values are no longer waited for.
pub(crate) fn charge(progress: &Progress, late: bool) -> Charge {
    match &progress.verdict {
        Some(Verdict::Valid { .. }) => Charge::Nothing,
        Some(Verdict::Wrong(spot)) => Charge::Element(At {
            operator: spot.operator,
            element: spot.element,
        }),
        Some(Verdict::Suspect(suspects)) => Charge::Layers(suspects.iter().map(|suspect| suspect.layer).collect()),
        Some(Verdict::Unverifiable { .. })
            if late && progress.outputs.is_some_and(|apart| apart.spot.share > apart.tolerated) =>
        {
            Charge::Withheld
        }
        Some(Verdict::Unverifiable { .. } | Verdict::Foreign { .. }) | None => Charge::Undecided,
    }
}

/// Everything that strategy needs; `None` before the claim was gathered.
pub(crate) fn knowledge(progress: &Progress, layers: &Layers, charge: Charge) -> Option<Knowledge> {
    let subject = progress.subject.as_ref()?;
    let own = progress.own.as_ref().map_or(&[][..], |own| own.as_slice());
    let model = &subject.model;
    let first = own.first();
    let numbers = 0..model.plan.layers.len() as u32;
    let trace_writers = model
        .trace_writers
        .iter()
        .zip(first.iter().flat_map(|own| &own.run.trace))
        .map(|(operator, value)| writer(model, *operator, &value.bytes));
    let inner_writers = layers.iter().filter_map(|(layer, opened)| {
        let own = opened.own.first()?;
        let operators = model.inner_writers.get(*layer as usize)?;
        let writers = operators
            .iter()
            .zip(&own.values)
            .map(|(operator, value)| writer(model, *operator, value.bytes()));
        Some((*layer, writers.collect()))
    });
    Some(Knowledge {
        charge,
        layers: layers.iter().map(|(layer, opened)| (*layer, opened.finding)).collect(),
        namesakes: numbers
            .clone()
            .filter_map(|layer| Some((layer, model.namesake(layer)?)))
            .collect(),
        trace_writers: trace_writers.collect(),
        inner_writers: inner_writers.collect(),
        closers: numbers
            .filter_map(|layer| Some((layer, closer(progress, subject, first?, layer)?)))
            .collect(),
        traces: own.iter().map(|own| own.trace.tree.clone()).collect(),
        inners: layers
            .iter()
            .map(|(layer, opened)| (*layer, opened.own.iter().map(|own| own.tree.clone()).collect()))
            .collect(),
        long: (0u32..)
            .zip(&model.plan.operators)
            .filter(|(_, d)| parts::is_long(d))
            .map(|(operator, _)| operator)
            .collect(),
    })
}

fn writer(model: &Model, operator: u32, bytes: &[u8]) -> Writer {
    let d = &model.plan.operators[operator as usize];
    let element = telling_element(d.dtype, bytes, d.code);
    Writer {
        layer: d.layer,
        touches_inner: d.touches_inner(),
        at: At { operator, element },
    }
}

/// The operator that makes a boundary value of the layer's inner ones: the output that is known to be wrong, if it is here.
fn closer(progress: &Progress, subject: &Subject, own: &Own, layer: u32) -> Option<At> {
    let model = &subject.model;
    let mut closers = model.operators(layer).filter(|operator| {
        let d = &model.plan.operators[*operator as usize];
        d.touches_inner() && !matches!(d.place, Place::Inner(_))
    });
    if let Some(spot) = progress.outputs.map(|apart| apart.spot)
        && closers.clone().any(|operator| operator == spot.operator)
    {
        return Some(At {
            operator: spot.operator,
            element: spot.element,
        });
    }
    let operator = closers.next()?;
    let d = &model.plan.operators[operator as usize];
    let value = own.trace.tensor(d.place)?;
    Some(At {
        operator,
        element: telling_element(d.dtype, value.bytes(), d.code),
    })
}
