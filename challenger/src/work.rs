//! The slow work on one claim: gather, run, judge; and on one opened layer. Runs beside the loop that makes moves; each piece ends with a
//! result that says how far it came, so that trying again does not begin anew.

use std::{collections::BTreeMap, num::NonZero, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use tokio::sync::Semaphore;
use touchstone_engine::{Engine, LayerTrace, Trace};

use crate::{
    gather::{GatherError, Own, Subject},
    library::{Library, LibraryError},
    record::ClaimRow,
    remote::{Remote, RemoteError},
    store::{Store, StoreError},
    strategy::{At, Finding},
    tolerance::Tolerance,
    verdict::{self, Apart, Verdict},
};

/// Workers that we pay to get to know. Then bits alone are no reason any more, so that nobody can make us pay for ever by new names.
const MOST_STRANGERS: usize = 8;

/// What all work needs.
pub(crate) struct Tools {
    pub(crate) store: Store,
    pub(crate) library: Library,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) engines: Vec<Arc<dyn Engine>>,
    pub(crate) tolerance: Tolerance,
    pub(crate) threads: NonZero<usize>,
    /// For one try at getting a claim's or a layer's values. What came in it is kept, so whoever drips them gains nothing.
    pub(crate) patience: Duration,
    /// Computing takes all there is, so one claim computes at a time; waiting for answers goes on side by side.
    pub(crate) computing: Semaphore,
}

/// How far the work on a claim has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) subject: Option<Arc<Subject>>,
    pub(crate) own: Option<Arc<Vec<Own>>>,
    /// The worst of the outputs against our own operands.
    pub(crate) outputs: Option<Apart>,
    /// The worker's boundary values.
    pub(crate) trace: Option<Arc<Trace>>,
    pub(crate) verdict: Option<Verdict>,
}

/// An opened layer.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) root: B256,
    /// The layer as our engines replay it.
    pub(crate) own: Arc<Vec<LayerTrace>>,
    /// The worker's values, once they are here.
    pub(crate) values: Option<Arc<LayerTrace>>,
    pub(crate) finding: Finding,
    /// Why there is no finding yet.
    pub(crate) why: Option<String>,
}

impl Tools {
    /// Runs what blocks on a thread of its own, alone.
    async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, GatherError> {
        let failed = |error: &dyn std::fmt::Display| GatherError::Task(error.to_string());
        let _alone = self.computing.acquire().await.map_err(|error| failed(&error))?;
        let tools = self.clone();
        tokio::task::spawn_blocking(move || job(&tools))
            .await
            .map_err(|error| failed(&error))
    }

    async fn hurry<T>(&self, values: impl Future<Output = Result<T, GatherError>>) -> Result<T, GatherError> {
        let late = RemoteError::Unavailable {
            what: "values",
            why: format!("not all of them within {:?}", self.patience),
        };
        tokio::time::timeout(self.patience, values)
            .await
            .unwrap_or(Err(late.into()))
    }

    /// What is tolerated of a worker.
    fn tolerance_for(&self, worker: Address) -> Result<Tolerance, StoreError> {
        let strangers = self.store.select_strangers()?;
        let known = strangers.contains(&worker) || strangers.len() >= MOST_STRANGERS;
        Ok(if known {
            self.tolerance.for_stranger()
        } else {
            self.tolerance
        })
    }

    fn engines(&self) -> Vec<&dyn Engine> {
        self.engines.iter().map(|engine| &**engine).collect()
    }

    /// Takes the work on a claim as far as it goes now.
    pub(crate) async fn examine(self: Arc<Self>, claim: ClaimRow, mut progress: Progress) -> Progress {
        let verdict = match self.advance(claim, &mut progress).await {
            Ok(verdict) => verdict,
            Err(GatherError::Library(error @ LibraryError::Foreign { .. })) => {
                Verdict::Foreign { why: error.to_string() }
            }
            Err(error) => Verdict::Unverifiable { why: error.to_string() },
        };
        progress.verdict = Some(verdict);
        progress
    }

    async fn advance(self: &Arc<Self>, claim: ClaimRow, progress: &mut Progress) -> Result<Verdict, GatherError> {
        let subject = match &progress.subject {
            Some(subject) => subject.clone(),
            None => Arc::new(Subject::gather(&self.store, &self.library, claim).await?),
        };
        progress.subject = Some(subject.clone());
        let own = match &progress.own {
            Some(own) => own.clone(),
            None => {
                let ours = subject.clone();
                match self.compute(move |tools| ours.run(&tools.engines())).await? {
                    Ok(own) => progress.own.insert(Arc::new(own)).clone(),
                    // Own runs save asking for values, and acquit. What convicts is the worker's own values.
                    Err(error @ GatherError::Engine(_)) => {
                        tracing::warn!(claim = %subject.claim.claim, %error, "no own run");
                        Arc::default()
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let trace = match &progress.trace {
            Some(trace) => trace.clone(),
            None => match self
                .hurry(subject.boundary(&self.store, self.remote.as_ref(), &own))
                .await
            {
                Ok(trace) => Arc::new(trace),
                Err(error) => {
                    if progress.outputs.is_none() {
                        let (subject, own) = (subject.clone(), own.clone());
                        let alone = self.compute(move |tools| {
                            verdict::outputs_alone(&subject.model, &subject.outputs, &own, &tools.engines())
                        });
                        progress.outputs = alone.await?.map_err(|error| GatherError::Task(error.to_string()))?;
                    }
                    return Err(error);
                }
            },
        };
        progress.trace = Some(trace.clone());
        let judged = self.compute(move |tools| {
            let tolerance = tools
                .tolerance_for(subject.claim.worker)
                .map_err(|error| error.to_string())?;
            let verdict = verdict::judge(&subject.model, &trace, &tools.engines(), &tolerance)
                .map_err(|error| error.to_string())?;
            if let Verdict::Wrong(spot) = verdict {
                let at = At {
                    operator: spot.operator,
                    element: spot.element,
                };
                verdict::convict(&subject.model, &trace, None, at).map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(verdict)
        });
        judged.await?.map_err(GatherError::Task)
    }

    /// Looks into a layer whose root stands, as far as that goes now.
    pub(crate) async fn open(
        self: Arc<Self>,
        progress: Progress,
        layer: u32,
        root: B256,
        known: Option<Opened>,
    ) -> Result<Opened, GatherError> {
        let early = || GatherError::Task("a layer was opened before the claim was gathered".into());
        let (subject, own_runs) = (progress.subject.ok_or_else(early)?, progress.own.unwrap_or_default());
        let own = match known.filter(|known| known.root == root) {
            Some(known) => known.own,
            None => {
                let (subject, trace) = (subject.clone(), progress.trace.clone());
                let replayed = self.compute(move |tools| match trace {
                    Some(trace) => verdict::replay_layer(&subject.model, layer, &trace, &tools.engines()),
                    // Each engine's own boundary values: what the worker's are up to the first that differs.
                    None => {
                        let pairs = own_runs.iter().zip(tools.engines());
                        pairs
                            .flat_map(|(own, engine)| {
                                verdict::replay_layer(&subject.model, layer, &own.trace, &[engine])
                            })
                            .collect()
                    }
                });
                Arc::new(replayed.await?)
            }
        };
        let awaited = |why: String| Opened {
            root,
            own: own.clone(),
            values: None,
            finding: Finding::Awaited,
            why: Some(why),
        };
        let Some(trace) = progress.trace else {
            return Ok(awaited("its boundary values are withheld".into()));
        };
        let values = match self
            .hurry(subject.inner(&self.store, self.remote.as_ref(), layer, root, &own))
            .await
        {
            Ok(values) => Arc::new(values),
            Err(error) => return Ok(awaited(error.to_string())),
        };
        let judged = {
            let values = values.clone();
            self.compute(move |tools| verdict::judge_opened(&subject.model, &trace, &values, tools.threads))
        };
        let finding = judged.await?.map_err(GatherError::Task)?;
        Ok(Opened {
            root,
            own,
            values: Some(values),
            finding,
            why: None,
        })
    }
}

/// Opened layers of a claim.
pub(crate) type Layers = BTreeMap<u32, Opened>;
