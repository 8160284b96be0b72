//! Long work, away from the window's thread: each job has a name, a share done, and ends when it is asked to.

use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use eframe::egui;

use super::host::{Host, Waiting};

/// What is known of a job while it runs.
#[derive(Debug)]
struct Shared {
    name: String,
    began: Duration,
    quiet: bool,
    done: AtomicU64,
    of: AtomicU64,
    said: Mutex<String>,
    cancelled: AtomicBool,
    ended: AtomicBool,
}

/// By which work tells how far it is, and learns that it is to stop.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    ctx: egui::Context,
}

impl Progress {
    /// So much of the whole is done; the whole may be 0 while it is not known.
    pub fn tell(&self, done: u64, of: u64) {
        self.shared.done.store(done, Ordering::Relaxed);
        self.shared.of.store(of, Ordering::Relaxed);
        self.ctx.request_repaint_after(Duration::from_millis(50));
    }

    /// What it does now, in words.
    pub fn say(&self, text: impl Into<String>) {
        *self
            .shared
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = text.into();
        self.ctx.request_repaint_after(Duration::from_millis(50));
    }

    /// The window is to look at what the work has sent it by another way.
    pub fn wake(&self) {
        self.ctx.request_repaint_after(Duration::from_millis(50));
    }

    /// Whether it is to stop; work asks often.
    pub fn cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }
}

/// A job, held by whoever waits for what it makes. Let go, it is cancelled.
#[derive(Debug)]
pub struct Job<T> {
    shared: Arc<Shared>,
    result: Receiver<Result<T, String>>,
}

impl<T> Job<T> {
    /// What it made, once; an error if it panicked.
    pub fn poll(&self) -> Option<Result<T, String>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("it ended without a result".into())),
        }
    }

    /// Asks it to stop.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A job as the status bar shows it.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// What it does now, or nothing.
    pub said: String,
    /// Between 0 and 1, where that is known.
    pub share: Option<f32>,
    /// How long it has been running.
    pub time: Duration,
    /// Whether it has been asked to stop.
    pub cancelled: bool,
    shared: Arc<Shared>,
}

impl Running {
    /// Asks it to stop.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// Time left, from three seconds on.
    pub fn left(&self) -> Option<Duration> {
        let share = self.share.filter(|share| *share > 0.01)?;
        let left = self.time.mul_f32((1.0 - share) / share);
        (self.time.as_secs() >= 1 && left.as_secs() >= 3).then_some(left)
    }
}

/// All jobs of a window.
pub struct Jobs {
    host: Arc<dyn Host>,
    ctx: egui::Context,
    all: Vec<Arc<Shared>>,
}

impl Jobs {
    /// Jobs of a window that `ctx` repaints.
    pub fn new(host: Arc<dyn Host>, ctx: egui::Context) -> Self {
        Self {
            host,
            ctx,
            all: Vec::new(),
        }
    }

    /// What the window runs on.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Starts a job that the status bar shows.
    pub fn start<T: Send + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Progress) -> T + Send + 'static,
    ) -> Job<T> {
        self.begin(name, false, move |progress| ready(work(&progress)))
    }

    /// Starts a job that waits for files or a device.
    pub fn start_waiting<T: Send + 'static, F: Future<Output = T> + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce(Progress) -> F + Send + 'static,
    ) -> Job<T> {
        self.begin(name, false, work)
    }

    /// Starts a job that is over before anybody would read its name.
    pub fn quietly<T: Send + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Progress) -> T + Send + 'static,
    ) -> Job<T> {
        self.begin(name, true, move |progress| ready(work(&progress)))
    }

    /// Starts a job that waits for somebody who is asked.
    pub fn asking<T: Send + 'static, F: Future<Output = T> + 'static>(
        &mut self,
        work: impl FnOnce(Progress) -> F + Send + 'static,
    ) -> Job<T> {
        self.begin("a dialog", true, work)
    }

    fn begin<T: Send + 'static, F: Future<Output = T> + 'static>(
        &mut self,
        name: &str,
        quiet: bool,
        work: impl FnOnce(Progress) -> F + Send + 'static,
    ) -> Job<T> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            began: self.host.now(),
            quiet,
            done: AtomicU64::new(0),
            of: AtomicU64::new(0),
            said: Mutex::default(),
            cancelled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (send, result) = channel();
        let progress = Progress {
            shared: shared.clone(),
            ctx: self.ctx.clone(),
        };
        self.host.spawn(
            name,
            Box::new(move || {
                Box::pin(async move {
                    let told = progress.clone();
                    let made = caught(async move { work(told).await }).await;
                    // nobody may be waiting any more
                    let _ = send.send(made);
                    progress.shared.ended.store(true, Ordering::Relaxed);
                    progress.ctx.request_repaint();
                })
            }),
        );
        self.all.push(shared.clone());
        self.ctx.request_repaint();
        Job { shared, result }
    }

    /// Those that run and are to be shown.
    pub fn running(&mut self) -> Vec<Running> {
        self.all.retain(|job| !job.ended.load(Ordering::Relaxed));
        let now = self.host.now();
        let shown = self.all.iter().filter(|job| !job.quiet);
        shown
            .map(|job| {
                let (done, of) = (
                    job.done.load(Ordering::Relaxed),
                    job.of.load(Ordering::Relaxed),
                );
                Running {
                    name: job.name.clone(),
                    said: job
                        .said
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clone(),
                    share: (of > 0).then(|| (done as f32 / of as f32).min(1.0)),
                    time: now.saturating_sub(job.began),
                    cancelled: job.cancelled.load(Ordering::Relaxed),
                    shared: job.clone(),
                }
            })
            .collect()
    }

    /// Whether anything runs, shown or not.
    pub fn is_idle(&self) -> bool {
        self.all.iter().all(|job| job.ended.load(Ordering::Relaxed))
    }
}

/// What it makes, or what its panic said.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = std::pin::pin!(work);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(said(&*panic))),
        },
    )
    .await
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "a fault of this program: {}",
        text.unwrap_or_else(|| "it panicked".into())
    )
}

/// What answers a question.
type Work<Q, A> = Arc<dyn Fn(Q, Progress) -> Waiting<'static, A> + Send + Sync>;

/// Work of which only the newest counts, such as what follows a key or a slider: while one is made, a newer question takes the place of
/// the one that waits.
pub struct Newest<Q, A> {
    name: &'static str,
    quiet: bool,
    work: Work<Q, A>,
    runs: Option<Job<A>>,
    waits: Option<Q>,
}

impl<Q: Send + 'static, A: Send + 'static> Newest<Q, A> {
    /// Work that answers questions.
    pub fn new(
        name: &'static str,
        work: impl Fn(Q, &Progress) -> A + Send + Sync + 'static,
    ) -> Self {
        Self::waiting(name, move |question, progress| {
            Box::pin(ready(work(question, &progress)))
        })
    }

    /// Work that waits for files or a device.
    pub fn waiting(
        name: &'static str,
        work: impl Fn(Q, Progress) -> Waiting<'static, A> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            quiet: true,
            work: Arc::new(work),
            runs: None,
            waits: None,
        }
    }

    /// The same, shown in the status bar: some answers take long.
    pub fn shown(mut self) -> Self {
        self.quiet = false;
        self
    }

    /// Asks; the answer comes from [`Self::poll`].
    pub fn ask(&mut self, jobs: &mut Jobs, question: Q) {
        if self.runs.is_some() {
            self.waits = Some(question);
        } else {
            let work = self.work.clone();
            let quiet = self.quiet;
            self.runs =
                Some(jobs.begin(self.name, quiet, move |progress| work(question, progress)));
        }
    }

    /// An answer that has come, or why there is none; starts what waits.
    pub fn poll(&mut self, jobs: &mut Jobs) -> Option<Result<A, String>> {
        let answer = self.runs.as_ref()?.poll()?;
        self.runs = None;
        if let Some(question) = self.waits.take() {
            self.ask(jobs, question);
        }
        Some(answer)
    }

    /// Whether an answer is still to come.
    pub fn is_busy(&self) -> bool {
        self.runs.is_some()
    }
}
