//! The slow work on one claim: gather, run, judge; and on one opened layer. Runs beside the loop that makes moves; each piece ends with a
//! result that says how far it came, so that trying again does not begin anew.

use std::{collections::BTreeMap, num::NonZero, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use tokio::sync::Semaphore;
use touchstone_engine::{Engine, LayerTrace, Trace};
use touchstone_protocol::dispute::Position;

use crate::{
    gather::{GatherError, Own, Subject},
    library::{Library, LibraryError},
    parts,
    record::ClaimRow,
    remote::{Remote, RemoteError},
    store::{Store, StoreError},
    strategy::{At, Compared, Finding, Given},
    tolerance::Tolerance,
    verdict::{self, Apart, Verdict},
};

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
    /// Computing takes all there is, so one claim computes at a time; waiting for answers goes on side by side. A permit goes with the thread
    /// that computes: it is given back when the thread is done, whoever still waits for it.
    pub(crate) computing: Arc<Semaphore>,
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
    /// How often we had conceded to the worker when it was judged.
    pub(crate) concessions: usize,
    /// `None` as long as there is a next piece of work and nothing that stops it.
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
        let alone = self.computing.clone().acquire_owned().await;
        let alone = alone.map_err(|error| failed(&error))?;
        let tools = self.clone();
        let computed = tokio::task::spawn_blocking(move || {
            let done = job(&tools);
            drop(alone);
            done
        });
        computed.await.map_err(|error| failed(&error))
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

    /// What is tolerated of a worker, and after how many concessions to it.
    fn tolerance_for(&self, worker: Address) -> Result<(Tolerance, usize), StoreError> {
        let concessions = self.store.count_concessions(worker)?;
        Ok((self.tolerance.after_concessions(concessions), concessions))
    }

    fn engines(&self) -> Vec<&dyn Engine> {
        self.engines.iter().map(|engine| &**engine).collect()
    }

    /// Does the next piece of work on a claim. Each is given back by itself, so that what is slow, waits for its turn or fails later costs
    /// nothing that was made before.
    pub(crate) async fn examine(self: Arc<Self>, claim: ClaimRow, mut progress: Progress) -> Progress {
        progress.verdict = match self.advance(claim, &mut progress).await {
            Ok(verdict) => verdict,
            Err(GatherError::Library(error @ LibraryError::Foreign { .. })) => {
                Some(Verdict::Foreign { why: error.to_string() })
            }
            Err(error) => Some(Verdict::Unverifiable { why: error.to_string() }),
        };
        progress
    }

    async fn advance(
        self: &Arc<Self>,
        claim: ClaimRow,
        progress: &mut Progress,
    ) -> Result<Option<Verdict>, GatherError> {
        let Some(subject) = progress.subject.clone() else {
            progress.subject = Some(Arc::new(Subject::gather(&self.store, &self.library, claim).await?));
            return Ok(None);
        };
        let Some(own) = progress.own.clone() else {
            let ours = subject.clone();
            let own = match self.compute(move |tools| ours.run(&tools.engines())).await? {
                Ok(own) => own,
                // Own runs save asking for values, and acquit. What convicts is the worker's own values.
                Err(error @ GatherError::Engine(_)) => {
                    tracing::warn!(claim = %subject.claim.claim, %error, "no own run");
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            progress.own = Some(Arc::new(own));
            return Ok(None);
        };
        let Some(trace) = progress.trace.clone() else {
            let values = subject.boundary(&self.store, self.remote.as_ref(), &own);
            return match self.hurry(values).await {
                Ok(trace) => {
                    progress.trace = Some(Arc::new(trace));
                    Ok(None)
                }
                Err(error) => {
                    self.judge_outputs(&subject, &own, progress).await?;
                    Err(error)
                }
            };
        };
        let worker = subject.claim.worker;
        let judged = self.compute(move |tools| {
            let (tolerance, concessions) = tools.tolerance_for(worker).map_err(|error| error.to_string())?;
            let verdict = verdict::judge(&subject.model, &trace, &tools.engines(), &tolerance)
                .map_err(|error| error.to_string())?;
            if let Verdict::Wrong(spot) = verdict {
                let at = At {
                    operator: spot.operator,
                    element: spot.element,
                };
                verdict::accuse(&subject.model, &trace, None, at).map_err(|error| error.to_string())?;
            }
            Ok::<_, String>((verdict, concessions))
        });
        let (verdict, concessions) = judged.await?.map_err(GatherError::Task)?;
        progress.concessions = concessions;
        Ok(Some(verdict))
    }

    /// What can be said while the worker's values are withheld.
    async fn judge_outputs(
        self: &Arc<Self>,
        subject: &Arc<Subject>,
        own: &Arc<Vec<Own>>,
        progress: &mut Progress,
    ) -> Result<(), GatherError> {
        if progress.outputs.is_none() {
            let (subject, own) = (subject.clone(), own.clone());
            let alone = self
                .compute(move |tools| verdict::outputs_alone(&subject.model, &subject.outputs, &own, &tools.engines()));
            progress.outputs = alone.await?.map_err(|error| GatherError::Task(error.to_string()))?;
        }
        Ok(())
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

impl Tools {
    /// Holds sums that a worker gave against those of its own operands; where it withholds them, against ours, which they are up to the value that
    /// is disputed.
    pub(crate) async fn compare(
        self: Arc<Self>,
        progress: Progress,
        layers: Layers,
        position: Position,
        given: Given,
    ) -> Result<Compared, GatherError> {
        let early = || GatherError::Task("sums were compared before the claim was gathered".into());
        let (subject, own) = (progress.subject.ok_or_else(early)?, progress.own.unwrap_or_default());
        let compared = self.compute(move |_| {
            let d = subject.model.plan.operators.get(position.operator as usize);
            let opened = d.filter(|d| d.touches_inner()).and_then(|d| layers.get(&d.layer));
            let compare = |trace: &Trace, layer: Option<&LayerTrace>| {
                parts::compare(&subject.model, trace, layer, &position, &given).map_err(|error| error.to_string())
            };
            if let Some(trace) = &progress.trace {
                return compare(trace, opened.and_then(|opened| opened.values.as_deref()));
            }
            // Where one of our engines agrees the worker is right; else the one that agrees longest has the worker's operands.
            let mut longest = Err("there is no own run".to_owned());
            for (number, own) in own.iter().enumerate() {
                longest = match (
                    longest,
                    compare(&own.trace, opened.and_then(|opened| opened.own.get(number))),
                ) {
                    (_, Ok(Compared::Same)) => return Ok(Compared::Same),
                    (Ok(Compared::Differs(known)), Ok(Compared::Differs(child))) => {
                        Ok(Compared::Differs(known.max(child)))
                    }
                    (known @ Ok(_), Err(_)) => known,
                    (_, next) => next,
                };
            }
            longest
        });
        compared.await?.map_err(GatherError::Task)
    }
}

/// Opened layers of a claim.
pub(crate) type Layers = BTreeMap<u32, Opened>;

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::mpsc};

    use alloy_primitives::{U256, keccak256};
    use touchstone_engine::{Keep, Reference, Value};
    use touchstone_protocol::{model::Profile, tensor::byte_length};

    use super::*;
    use crate::{
        model::Model,
        record::{Cursor, ModelRow, RequestRow},
        remote::Nobody,
        store::{BlockRows, Identity},
    };

    fn tools(folder: &tempfile::TempDir, files: &[PathBuf]) -> Arc<Tools> {
        let identity = Identity {
            chain_id: 1,
            market: Address::ZERO,
            challenger: None,
        };
        let remote = Arc::new(Nobody);
        Arc::new(Tools {
            store: Store::open(folder.path(), &identity).unwrap(),
            library: Library::new(folder.path().join("models"), files, remote.clone()).unwrap(),
            remote,
            engines: vec![Arc::new(Reference)],
            tolerance: Tolerance::USUAL,
            threads: NonZero::<usize>::MIN,
            patience: Duration::from_secs(1),
            computing: Arc::new(Semaphore::new(1)),
        })
    }

    #[tokio::test]
    async fn computing_goes_on_alone_when_nobody_waits_for_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(&folder, &[]);
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let first = tools.clone();
        let waiting = tokio::spawn(async move {
            let job = move |_: &Tools| {
                begun.send(()).unwrap();
                released.recv().unwrap();
            };
            first.compute(job).await
        });
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
            .await
            .unwrap();
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(tools.computing.available_permits(), 0, "the thread still computes");
        release.send(()).unwrap();
        tools.compute(|_| ()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_however_long_the_one_before_takes() {
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(&folder, &[]);
        let busy = tools.computing.clone().acquire_owned().await.unwrap();
        let patient = tools.clone();
        let waiting = tokio::spawn(async move { patient.compute(|_| 7).await });
        // An hour goes by at once, since nothing else happens.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        drop(busy);
        assert_eq!(waiting.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn each_piece_of_work_is_given_back_by_itself() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/suite/mlp_dynamo.onnx");
        let bytes = std::fs::read(&file).unwrap();
        let profile = Profile::FAST.encode();
        let model = Model::compile(&bytes, profile, Address::ZERO).unwrap();
        let inputs: Vec<Value> = model
            .plan
            .inputs
            .iter()
            .map(|io| {
                let length = byte_length(io.dtype, &io.dims).unwrap();
                Value::new(io.dtype, io.dims.clone(), vec![0; length as usize]).unwrap()
            })
            .collect();
        let engine: &dyn Engine = &Reference;
        let run = engine.run(&model.plan, &inputs, Keep::All).unwrap();
        let trace = Trace::commit(&run).unwrap();
        let joined = |values: &[Value]| values.iter().flat_map(|v| v.bytes.to_vec()).collect::<Vec<u8>>();
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(&folder, &[file]);
        let row = ClaimRow {
            claim: B256::repeat_byte(1),
            request: U256::from(1),
            attempt: 1,
            worker: Address::ZERO,
            node: Address::ZERO,
            outputs: trace.outputs_hash(),
            trace_root: trace.root(),
            output_data: joined(&run.outputs).into(),
            window_end: 0,
            ended: None,
        };
        let rows = BlockRows {
            models: vec![ModelRow {
                model: model.id,
                publisher: Address::ZERO,
                digest: keccak256(&bytes),
                profile,
            }],
            requests: vec![RequestRow {
                request: row.request,
                model: model.id,
                inputs: trace.inputs_hash(),
                input_data: joined(&inputs).into(),
            }],
            ..Default::default()
        };
        let cursor = Cursor {
            number: 1,
            hash: B256::ZERO,
        };
        tools.store.insert_block(cursor, 10, &rows).unwrap();
        let mut progress = Progress::default();
        let mut made = Vec::new();
        while progress.verdict.is_none() {
            progress = tools.clone().examine(row.clone(), progress).await;
            made.push((
                progress.subject.is_some(),
                progress.own.is_some(),
                progress.trace.is_some(),
            ));
        }
        assert_eq!(
            made,
            [
                (true, false, false),
                (true, true, false),
                (true, true, true),
                (true, true, true)
            ]
        );
        assert!(
            matches!(progress.verdict, Some(Verdict::Valid { .. })),
            "{:?}",
            progress.verdict
        );
    }
}
