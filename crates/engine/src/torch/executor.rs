//! The thread that owns libtorch: fixed settings, prepared models, panics held.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, Once, PoisonError, mpsc},
    thread,
};

use touchstone_model::plan::Plan;

use super::{
    Device, Options,
    model::{Model, Products},
    self_test,
};
use crate::engine::EngineError;

/// Models kept prepared; the one used longest ago leaves first.
const PREPARED: usize = 4;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A handle to the thread; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Executor {
    jobs: Mutex<mpsc::Sender<Job>>,
}

/// What the thread holds.
pub(super) struct Worker {
    device: tch::Device,
    threads: i32,
    /// How products are made, once that was tried out.
    products: Products,
    /// Most recently used first. The `Arc` keeps the plan's address from being used again.
    models: Vec<(Arc<Plan>, Model)>,
}

fn library(what: impl ToString) -> EngineError {
    EngineError::Library {
        library: "libtorch",
        what: what.to_string(),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked".into())
}

impl Executor {
    /// Starts the thread and fixes its settings.
    pub(super) fn start(options: Options) -> Result<Self, EngineError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("libtorch".into())
            .spawn(move || {
                let mut worker = Worker {
                    device: options.device.into(),
                    threads: options.threads.into(),
                    products: Products::Fp32,
                    models: Vec::new(),
                };
                while let Ok(job) = queue.recv() {
                    job(&mut worker);
                }
            })
            .map_err(library)?;
        let executor = Self { jobs: Mutex::new(jobs) };
        executor.call(move |_| configure(options))?;
        Ok(executor)
    }

    /// Runs `job` on the thread and waits. A panic inside comes back as an error.
    pub(super) fn call<T, F>(&self, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, EngineError> + Send + 'static,
    {
        let (answer, wait) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |worker| {
            let result = catch_unwind(AssertUnwindSafe(|| tch::no_grad(|| job(worker))));
            let result = result.unwrap_or_else(|payload| {
                worker.models.clear();
                Err(library(panic_message(&*payload)))
            });
            // Whoever asked may be gone.
            let _ = answer.send(result);
        });
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(job)
            .map_err(|_| library("its thread has ended"))?;
        wait.recv().map_err(|_| library("its thread has ended"))?
    }
}

/// Fixes threads for the calling thread; called before its first kernel.
fn configure(options: Options) -> Result<(), EngineError> {
    static INTEROP: Once = Once::new();
    static THREADS: Mutex<()> = Mutex::new(());
    if options.threads == 0 {
        return Err(library("0 threads"));
    }
    INTEROP.call_once(|| tch::set_num_interop_threads(1));
    // libtorch also keeps a process-wide number that a thread takes over at its first kernel, which `get_num_threads` counts
    // as. Two engines that start at once must not take over each other's.
    let guard = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(options.threads.into());
    let threads = tch::get_num_threads();
    drop(guard);
    if threads != i32::from(options.threads) {
        return Err(library(format!("asked for {} threads, got {threads}", options.threads)));
    }
    if let Device::Cuda(number) = options.device {
        let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        if number >= count {
            return Err(library(format!("no CUDA device {number}, there are {count}")));
        }
    }
    Ok(())
}

impl Worker {
    /// Where kernels run.
    pub(super) fn device(&self) -> tch::Device {
        self.device
    }

    /// Tries the device out: [`self_test::numerics`].
    pub(super) fn self_test(&mut self) -> Result<Products, EngineError> {
        self.products = self_test::numerics(self.device)?;
        Ok(self.products)
    }

    /// The plan prepared, from the cache if it is there.
    pub(super) fn model(&mut self, plan: &Arc<Plan>) -> Result<&Model, EngineError> {
        let threads = tch::get_num_threads();
        if threads != self.threads {
            return Err(library(format!(
                "runs on {threads} threads, {} were fixed",
                self.threads
            )));
        }
        let entry = match self.models.iter().position(|(known, _)| Arc::ptr_eq(known, plan)) {
            Some(at) => self.models.remove(at),
            None => (plan.clone(), Model::prepare(plan.clone(), self.device, self.products)?),
        };
        self.models.insert(0, entry);
        self.models.truncate(PREPARED);
        self.models
            .first()
            .map(|(_, model)| model)
            .ok_or_else(|| library("no model prepared"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_thread_goes_on() {
        let executor = Executor::start(Options {
            device: Device::Cpu,
            threads: 1,
        })
        .unwrap();
        let failed = executor
            .call(|_| -> Result<(), EngineError> { panic!("inside") })
            .unwrap_err();
        assert_eq!(failed.to_string(), "libtorch: inside");
        // tch's own panics come with a `String`.
        let failed = executor.call(|_| {
            Ok(tch::Tensor::from_slice(&[1f32])
                .mm(&tch::Tensor::from_slice(&[1f32]))
                .numel())
        });
        assert!(matches!(failed, Err(EngineError::Library { .. })));
        assert_eq!(executor.call(|worker| Ok(worker.threads)), Ok(1));
    }
}
