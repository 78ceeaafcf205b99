//! The threads that compress: as many as the machine has processors, for all layers of all images together.

use super::background::give_way;
use super::codec::Workspace;
use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;

/// Work on one block, with what the thread keeps for it.
pub(super) type Job = Box<dyn FnOnce(&mut Workspace) + Send>;

/// Threads and the way to them. They end with the pool.
pub(super) struct Pool {
    /// Work that nobody has begun, first come, first served.
    jobs: mpsc::Sender<Job>,
    /// How many threads there are.
    threads: usize,
}

impl Pool {
    /// The pool of the process, made when it is first wanted.
    pub(super) fn shared() -> Arc<Self> {
        static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| {
            let threads = thread::available_parallelism().map_or(1, NonZero::get);
            Arc::new(Pool::new(threads))
        });
        Arc::clone(&POOL)
    }

    /// A pool of so many threads.
    pub(super) fn new(threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            // A thread that cannot be had is one fewer; without any, whoever brings work does it.
            let _ = thread::Builder::new().name("compress".to_owned()).spawn(move || work(&queue));
        }
        Self { jobs, threads }
    }

    /// How many blocks of one layer may be under way before its writer waits: enough that no thread runs dry while the
    /// writer brings the next, and an end to what it costs in memory on a machine of many processors.
    pub(super) fn backlog(&self) -> usize {
        (self.threads + 2).min(32)
    }

    /// Has a piece of work done.
    pub(super) fn run(&self, job: Job) {
        if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
            job(&mut Workspace::default());
        }
    }
}

/// What a thread does until the pool is gone.
fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    give_way();
    let mut workspace = Workspace::default();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job(&mut workspace);
    }
}
