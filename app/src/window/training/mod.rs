//! Training in the window: one run at a time, as a job that tells what happens. It is `smalti train`: the same files, and either goes on with
//! what the other began.
//!
//! [`work`] is the run on its thread, [`watch`] what looks on there, [`control`] how it is held and stopped, [`cut_off`] what is known of it
//! where the window is killed. [`log`] reads what runs have written, [`plan`] says what a run would do.

mod control;
pub mod curve;
pub mod cut_off;
pub mod glimpse;
pub mod log;
pub mod looked;
pub mod plan;
mod watch;
pub mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::{Deserialize, Serialize};
use smalti::device::Chosen;
use smalti::train::Ended;
use smalti::train::run::{Parameters, Position};
use smalti::train::schedules::Length;

use control::{Control, Wish};
use cut_off::Left;
use glimpse::{Glimpse, Thing};
use log::RunLog;
use work::{Failure, Means};

use super::files::short;
use super::host::Host;
use super::jobs::{Job, Jobs, Progress};
use super::messages::{Level, Offer};

/// What is to be trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The config's file.
    pub config: PathBuf,
    /// Where checkpoints and logs go.
    pub work_dir: PathBuf,
    /// From where.
    pub begin: Begin,
    /// Whether it is validated, if the config says how.
    pub validate: bool,
}

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begin {
    /// At the beginning.
    Anew,
    /// At a checkpoint.
    At(PathBuf),
}

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct Head {
    /// What it runs on.
    pub device: String,
    /// How long it is.
    pub length: Length,
    /// Whether it counts epochs.
    pub by_epoch: bool,
    /// Whether it is validated.
    pub validated: bool,
    /// Its hooks.
    pub hooks: Vec<&'static str>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Their colours, if the data set has some.
    pub palette: Vec<[u8; 3]>,
    /// Where it began.
    pub position: Position,
}

/// What a run said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of its log.
    Line,
    /// A table of figures.
    Table,
    /// Something to know.
    Note,
}

/// What happens to a run.
pub enum News {
    /// What its folder has of earlier.
    Log(Box<RunLog>),
    /// It begins.
    Begun(Box<Head>),
    /// An iteration is done.
    Step {
        /// Where it is.
        position: Position,
        /// The last loss that was read, and the learning rate.
        figures: Option<(f64, f64)>,
        /// How long it will go on, s.
        seconds_left: Option<f64>,
    },
    /// Figures of iterations: name, the first iteration, values.
    Figures(Vec<(String, u64, Vec<f64>)>),
    /// Pictures of a validation that are done, and all.
    Validating(usize, usize),
    /// The figures of a validation at this iteration.
    Validated(u64, Vec<(String, f64)>),
    /// What is trained from this iteration on.
    Trained(u64, Parameters),
    /// Pictures, once each.
    Glimpses(Vec<Glimpse>),
    /// What is found in them.
    Seen(Predictions),
    /// Something to read.
    Said(Said, String),
    /// A checkpoint was written.
    Saved(PathBuf),
    /// It waits, or goes on.
    Held(bool),
}

/// What the weights found in the pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predictions {
    /// Epochs that were done.
    pub epoch: u64,
    /// Iterations that were done.
    pub iter: u64,
    /// Of each picture, the best first.
    pub found: Vec<Vec<Thing>>,
}

/// Tells the window.
#[derive(Clone)]
pub struct Voice {
    news: Sender<News>,
    progress: Progress,
}

impl Voice {
    /// Tells something.
    pub fn tell(&self, news: News) {
        // a window that is gone hears nothing
        let _ = self.news.send(news);
        self.progress.wake();
    }
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It is being built.
    Building,
    /// It goes on.
    Going,
    /// It waits between two iterations.
    Held,
    /// It ended, and how.
    Ended(Result<Ended, Failure>),
}

/// A run of this window.
pub struct LiveRun {
    /// Names it among the runs of this window.
    pub id: u64,
    /// What is trained.
    pub order: Order,
    /// What is known of it once it is built.
    pub head: Option<Head>,
    /// Where it is.
    pub phase: Phase,
    /// How far it is.
    pub position: Position,
    /// The last loss that was read, and the learning rate.
    pub figures: Option<(f64, f64)>,
    /// How long it will go on, s.
    pub seconds_left: Option<f64>,
    /// Pictures of a validation that are done, and all, while there is one.
    pub validating: Option<(usize, usize)>,
    /// Its curves.
    pub log: RunLog,
    /// What is trained, from which iteration on.
    pub trained: Vec<(u64, Parameters)>,
    /// Pictures of the validation data.
    pub glimpses: Vec<Glimpse>,
    /// What was found in them after each epoch.
    pub seen: Vec<Predictions>,
    /// What it said.
    pub said: Vec<(Said, String)>,
    control: Arc<Control>,
    job: Option<Job<Result<Ended, Failure>>>,
    news: Receiver<News>,
}

/// What a run said that is kept.
const SAID: usize = 2000;

impl LiveRun {
    /// The config that is trained.
    pub fn config(&self) -> &PathBuf {
        &self.order.config
    }

    /// Whether it has not ended yet.
    pub fn is_live(&self) -> bool {
        self.job.is_some()
    }

    /// Whether it was asked to stop and has not yet.
    pub fn is_stopping(&self) -> bool {
        self.is_live() && self.control.wish() == Wish::Stop
    }

    /// Whether it is to wait between two iterations.
    pub fn is_to_hold(&self) -> bool {
        self.is_live() && self.control.wish() == Wish::Hold
    }

    /// Lets it wait after this iteration, or go on.
    pub fn hold(&self, hold: bool) {
        self.control.set(if hold { Wish::Hold } else { Wish::Go });
    }

    /// Ends it after this iteration, with a checkpoint.
    pub fn stop(&self) {
        self.control.set(Wish::Stop);
    }

    fn hear(&mut self, news: News) {
        if !matches!(news, News::Validating(..) | News::Held(_)) {
            self.validating = None;
        }
        match news {
            News::Log(log) => self.log = *log,
            News::Begun(head) => {
                self.position = head.position;
                self.log.folder.clone_from(&self.order.work_dir);
                self.log.epoch_length = head.by_epoch.then_some(head.length.epoch_length);
                self.head = Some(*head);
                self.phase = Phase::Going;
            }
            News::Step {
                position,
                figures,
                seconds_left,
            } => {
                self.position = position;
                self.figures = figures.or(self.figures);
                self.seconds_left = seconds_left;
            }
            News::Figures(all) => {
                for (name, first, values) in all {
                    let points = self.log.train.entry(name).or_default();
                    let at = first..first + values.len() as u64;
                    points.extend(at.zip(values).map(|(x, y)| [x as f64, y]));
                }
            }
            News::Validating(done, all) => self.validating = Some((done, all)),
            News::Validated(iter, figures) => {
                for (name, value) in figures {
                    let points = self.log.val.entry(name).or_default();
                    points.push([iter as f64, value]);
                }
            }
            News::Trained(iter, parameters) => self.trained.push((iter, parameters)),
            News::Glimpses(new) => self.glimpses.extend(new),
            News::Seen(predictions) => self.seen.push(predictions),
            News::Saved(path) => {
                let text = format!("saved {}", path.display());
                self.said.push((Said::Note, text));
            }
            News::Said(what, text) => {
                if self.said.len() >= SAID {
                    self.said.drain(..SAID / 2);
                }
                self.said.push((what, text));
            }
            News::Held(held) => self.phase = if held { Phase::Held } else { Phase::Going },
        }
    }
}

/// Something to tell, and what can be done about it.
pub type Told = (Level, String, Option<Offer>);

/// The run of this window, and those that were cut off.
#[derive(Default)]
pub struct Training {
    /// The last run of this window.
    pub run: Option<LiveRun>,
    /// Runs of windows that are no more, which can go on.
    pub left: Vec<Left>,
    looking: Option<Job<Vec<Left>>>,
    looked: bool,
    count: u64,
}

impl Training {
    /// Whether a run is under way.
    pub fn is_live(&self) -> bool {
        self.run.as_ref().is_some_and(LiveRun::is_live)
    }

    /// Begins a run on this device.
    pub fn start(&mut self, jobs: &mut Jobs, host: &Arc<dyn Host>, on: &Chosen, order: Order) {
        if self.is_live() {
            return;
        }
        let (send, news) = channel();
        let control = Arc::new(Control::default());
        let (host, device, device_name) = (host.clone(), on.device.clone(), on.name.clone());
        let (wishes, ordered) = (control.clone(), order.clone());
        let name = format!("training {}", short(&order.config));
        let job = jobs.start(&name, move |progress| {
            let voice = Voice {
                news: send,
                progress: progress.clone(),
            };
            let means = Means {
                host,
                device,
                device_name,
                control: wishes,
                voice,
            };
            work::train(&ordered, &means, progress)
        });
        self.count += 1;
        self.run = Some(LiveRun {
            id: self.count,
            order,
            head: None,
            phase: Phase::Building,
            position: Position::default(),
            figures: None,
            seconds_left: None,
            validating: None,
            log: RunLog::default(),
            trained: Vec::new(),
            glimpses: Vec::new(),
            seen: Vec::new(),
            said: Vec::new(),
            control,
            job: Some(job),
            news,
        });
    }

    /// Goes on with what was cut off, or forgets it.
    pub fn take_left(&mut self, host: &dyn Host, i: usize) -> Option<Order> {
        if i >= self.left.len() {
            return None;
        }
        let left = self.left.remove(i);
        host.remove(left.folder());
        Some(left.order())
    }

    /// Takes what has come; gives what is to be told.
    pub fn tick(&mut self, jobs: &mut Jobs, host: &Arc<dyn Host>) -> Vec<Told> {
        let mut told = Vec::new();
        if !std::mem::replace(&mut self.looked, true) {
            let host = host.clone();
            let look = move |_: &Progress| cut_off::left(&*host);
            self.looking = Some(jobs.quietly("looking for runs that were cut off", look));
        }
        if let Some(left) = self.looking.as_ref().and_then(Job::poll) {
            self.looking = None;
            self.left = left.unwrap_or_default();
            let now = host.now().as_secs();
            match &self.left[..] {
                [] => {}
                [one] => told.push((Level::Warning, one.title(now), Some(Offer::Resume))),
                all => {
                    let text = format!("{} trainings were cut off: see Start", all.len());
                    told.push((Level::Warning, text, None));
                }
            }
        }
        let Some(run) = &mut self.run else {
            return told;
        };
        // before the news: all of them are there when the job has ended
        let ended = run.job.as_ref().and_then(Job::poll);
        while let Ok(news) = run.news.try_recv() {
            run.hear(news);
        }
        if let Some(ended) = ended {
            run.job = None;
            run.validating = None;
            let ended = ended.unwrap_or_else(|text| {
                Err(Failure {
                    text,
                    of_config: false,
                    not_finite: None,
                    last: None,
                })
            });
            let (level, text) = ending(run, &ended);
            told.push((level, text, None));
            run.phase = Phase::Ended(ended);
        }
        told
    }
}

/// How the end of a run is told.
fn ending(run: &LiveRun, ended: &Result<Ended, Failure>) -> (Level, String) {
    let name = short(&run.order.config);
    match ended {
        Ok(Ended::Done) => {
            let folder = run.order.work_dir.display();
            (Level::Note, format!("{name} is trained: {folder}"))
        }
        Ok(Ended::Early(why)) => (
            Level::Warning,
            format!("the training of {name} ended early: {why}"),
        ),
        Ok(Ended::Interrupted(path)) => (
            Level::Note,
            format!(
                "the training of {name} is stopped; it can go on from {}",
                short(path)
            ),
        ),
        Err(failure) => {
            let first = failure.text.lines().next().unwrap_or_default();
            (
                Level::Error,
                format!("the training of {name} failed: {first}"),
            )
        }
    }
}
