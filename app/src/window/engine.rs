//! The device that detectors run on: chosen away from the window's thread, shown in the status bar, changed in the settings.

use smalti::device::{Adapter, Chosen};

use super::jobs::{Job, Jobs};

/// Adapters there are, and the one that was taken.
type Answer = (Vec<Adapter>, Result<Chosen, String>);

/// The engine's device.
#[derive(Default)]
pub struct Engine {
    /// What there is, once it is known.
    pub adapters: Vec<Adapter>,
    /// The device in use.
    pub chosen: Option<Chosen>,
    /// Another number is another device.
    pub number: u64,
    /// Why the last one asked for is not in use.
    pub failed: Option<String>,
    /// The name of a device that was lost; the CPU is in its place.
    pub lost: Option<String>,
    doubted: Option<Job<Result<(), String>>>,
    asked: Option<Job<Answer>>,
}

impl Engine {
    /// With a device that is open already: the window's own.
    pub fn with(chosen: Chosen) -> Self {
        Self {
            chosen: Some(chosen),
            ..Self::default()
        }
    }

    /// Opens a device, as `--device` names it.
    pub fn choose(&mut self, jobs: &mut Jobs, spec: &str) {
        let (host, spec) = (jobs.host().clone(), spec.to_owned());
        self.asked = Some(jobs.start_waiting("opening the device", async move |_| {
            let chosen = host.device(&spec).await;
            (host.adapters().await, chosen)
        }));
    }

    /// Something failed on the device. If it is lost, the CPU takes its place.
    pub fn doubt(&mut self, jobs: &mut Jobs) {
        let chosen = self.chosen.as_ref().filter(|chosen| chosen.is_gpu);
        if let (None, Some(chosen)) = (&self.doubted, chosen) {
            let device = chosen.device.clone();
            self.doubted = Some(jobs.quietly("asking the device", move |_| {
                device.sync().map_err(|e| e.to_string())
            }));
        }
    }

    /// Takes what has come; true if the device is another one now.
    pub fn tick(&mut self, jobs: &mut Jobs) -> bool {
        if let Some(answer) = self.doubted.as_ref().and_then(Job::poll) {
            self.doubted = None;
            if answer.and_then(|a| a).is_err() {
                self.lost = self.chosen.take().map(|chosen| chosen.name);
                self.choose(jobs, "cpu");
            }
        }
        let Some(answer) = self.asked.as_ref().and_then(Job::poll) else {
            return false;
        };
        self.asked = None;
        let (adapters, chosen) = match answer {
            Ok(answer) => answer,
            Err(why) => (Vec::new(), Err(why)),
        };
        self.adapters = adapters;
        match chosen {
            Ok(chosen) => {
                (self.chosen, self.failed) = (Some(chosen), None);
                self.number += 1;
                true
            }
            Err(why) => {
                self.failed = Some(why);
                false
            }
        }
    }

    /// Whether a device is being opened.
    pub fn is_opening(&self) -> bool {
        self.asked.is_some()
    }

    /// The device's name, and a warning where one is due.
    pub fn title(&self) -> (String, Option<String>) {
        match (&self.chosen, &self.failed) {
            (_, Some(why)) => ("no device".into(), Some(why.clone())),
            (Some(chosen), None) => {
                let software = "a program on the CPU that does what a GPU would: slower than the CPU itself. Choose CPU in the settings";
                let warning = if chosen.is_software {
                    Some(software.to_owned())
                } else {
                    None
                };
                (chosen.name.clone(), warning)
            }
            (None, None) => ("opening the device".into(), None),
        }
    }
}
