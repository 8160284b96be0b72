//! The data set: what it holds, what is wrong with it, and its pictures, of which classes, sizes and faults choose some.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{
    Align, Button, CentralPanel, Color32, ComboBox, Frame, Layout, Panel, RichText, Slider, Ui,
};

use smalti::data::summary::thousands;

use super::View;
use crate::window::actions::Command;
use crate::window::analysis::Analysis;
use crate::window::files;
use crate::window::host::Question;
use crate::window::icons;
use crate::window::jobs::{Job, Jobs, Newest};
use crate::window::messages::Level;
use crate::window::picture;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets::{self, middle};

mod bars;
mod grid;
mod index;
mod inspect;
mod scroll;
mod source;
mod thumbs;

use index::{Filter, Index};
use source::Source;

/// The view.
pub struct DataView {
    offers: Offers,
    chosen: Option<Source>,
    reading: Option<(Key, Job<Result<Index, String>>)>,
    open: Option<(Key, Result<Arc<Index>, String>)>,
    filter: Filter,
    filters: Newest<(Arc<Index>, Filter, std::collections::BTreeSet<u32>), Filtered>,
    filtered: Filtered,
    side: f32,
    bars: bars::Bars,
    grid: grid::Grid,
    thumbs: thumbs::Thumbs,
    asking: Option<Job<Option<Result<PathBuf, String>>>>,
}

/// The data sets that can be chosen.
#[derive(Default)]
struct Offers {
    /// What was opened, and the data sets beside it.
    opened: Option<PathBuf>,
    beside: Vec<Source>,
    looking: Option<Job<Vec<Source>>>,
    /// The config's.
    of: usize,
    config: Vec<Source>,
    said: Vec<Option<String>>,
}

/// A data set, and what the config said of it.
type Key = (Source, Option<String>);

/// The pictures that a filter left, and which filter.
type Filtered = (Filter, Arc<Vec<u32>>);

/// Sizes of a picture's place, px.
const SIDES: std::ops::RangeInclusive<f32> = 96.0..=256.0;
const BARS: f32 = 248.0;

impl Default for DataView {
    fn default() -> Self {
        Self {
            offers: Offers::default(),
            chosen: None,
            reading: None,
            open: None,
            filter: Filter::default(),
            filters: Newest::new(
                "choosing pictures",
                |(index, filter, unreadable): (Arc<Index>, Filter, _), _| {
                    let pictures = index.chosen(&filter, &unreadable);
                    (filter, Arc::new(pictures))
                },
            ),
            filtered: Filtered::default(),
            side: 128.0,
            bars: bars::Bars::default(),
            grid: grid::Grid::default(),
            thumbs: thumbs::Thumbs::default(),
            asking: None,
        }
    }
}

/// The colour of a class.
fn class_color(label: i32) -> Color32 {
    picture::class_color(usize::try_from(label).unwrap_or(0))
}

impl View for DataView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.answers(session);
        self.look(session, jobs);
        let Some(source) = self.chosen.clone() else {
            if widgets::empty(ui, "No data set.", "Choose folder") {
                self.ask(session, jobs);
            }
            return;
        };
        self.read(session, jobs, &source);
        self.thumbs.take(ui.ctx());
        let tokens = Tokens::of(ui);
        let margin = Frame::new().fill(tokens.canvas).inner_margin(12);
        CentralPanel::default().frame(margin).show(ui, |ui| {
            self.head(ui, session, jobs);
            match &self.open {
                Some((key, Ok(index))) if key.0 == source => {
                    let index = index.clone();
                    self.body(ui, session, jobs, &index);
                }
                Some((key, Err(why))) if key.0 == source => {
                    let why = why.clone();
                    self.failed(ui, &source, &why);
                }
                _ => {
                    ui.add_space(24.0);
                    let text = format!("Reading {} ...", source.name());
                    ui.label(RichText::new(text).color(tokens.weak));
                }
            }
        });
        self.thumbs.make(&session.host, jobs);
    }

    fn inspects(&self, _session: &Session) -> bool {
        self.index().is_some() && self.grid.selected.is_some()
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let (Some(index), Some(picture)) = (self.index(), self.grid.selected) else {
            return;
        };
        let shown = grid::Shown {
            index: &index,
            pictures: &self.filtered.1.clone(),
            filter: &self.filter,
            side: self.side,
        };
        if inspect::show(ui, &mut self.thumbs, &shown, picture) {
            open_sample(session, jobs, self.chosen.as_ref(), &index, picture);
        }
    }
}

/// Shows a picture where something can be done with it: what the training pipeline makes of it, or what a detector finds in it.
fn open_sample(
    session: &mut Session,
    jobs: &mut Jobs,
    source: Option<&Source>,
    index: &Index,
    picture: u32,
) {
    match (source, super::for_what(super::Shows::Sample)) {
        (Some(Source::Config("train")), Some(view)) => {
            session.sample = Some(picture as usize);
            session.commands.push_back(Command::View(view));
        }
        _ => session.open(jobs, Path::new(&*index.picture(picture as usize).path)),
    }
}

impl DataView {
    fn index(&self) -> Option<Arc<Index>> {
        match &self.open {
            Some((key, Ok(index))) if Some(&key.0) == self.chosen.as_ref() => Some(index.clone()),
            _ => None,
        }
    }

    /// Which data sets there are, and which of them is shown: what was opened last, else the config's first.
    fn look(&mut self, session: &Session, jobs: &mut Jobs) {
        let offers = &mut self.offers;
        if offers.opened != session.annotations {
            offers.opened.clone_from(&session.annotations);
            offers.beside.clear();
            if let Some(path) = offers.opened.clone() {
                let host = session.host.clone();
                let is_file = path.extension().is_some_and(|e| e == "json");
                self.chosen = is_file.then(|| Source::File(path.clone()));
                offers.looking = Some(jobs.quietly("looking at data sets", move |_| {
                    source::beside(&*host, &path)
                }));
            }
        }
        if let Some(beside) = offers.looking.as_ref().and_then(Job::poll) {
            offers.looking = None;
            offers.beside = beside.unwrap_or_default();
            if self.chosen.is_none() {
                self.chosen = offers.beside.first().cloned();
            }
        }
        let analysis = session.analysis.as_ref();
        let of = analysis.map_or(0, |a| Arc::as_ptr(a) as usize);
        if of != offers.of {
            offers.of = of;
            let config = analysis.and_then(|a| a.config.as_ref());
            offers.config = config.map(source::of_config).unwrap_or_default();
            let said = offers.config.iter().map(|source| match source {
                Source::Config(split) => source::said(config?, split),
                _ => None,
            });
            offers.said = said.collect();
        }
        let gone = |s: &Source| matches!(s, Source::Config(_)) && !offers.config.contains(s);
        if self.chosen.as_ref().is_some_and(gone) && config_is_read(session) {
            self.chosen = offers.beside.first().cloned();
        }
        if self.chosen.is_none() && offers.looking.is_none() {
            self.chosen = offers.config.first().cloned();
        }
    }

    /// What the config says now of a data set that is its own.
    fn said(&self, source: &Source) -> Option<String> {
        let at = self.offers.config.iter().position(|s| s == source)?;
        self.offers.said.get(at)?.clone()
    }

    /// Reads what is chosen, unless it is read. A data set of the config that changes stays until somebody wants the other one.
    fn read(&mut self, session: &Session, jobs: &mut Jobs, source: &Source) {
        if let Some(result) = self.reading.as_ref().and_then(|(_, job)| job.poll())
            && let Some((key, _)) = self.reading.take()
        {
            self.thumbs = thumbs::Thumbs::default();
            (self.filter, self.grid) = (Filter::default(), grid::Grid::default());
            let read = result.and_then(|r| r).map(Arc::new);
            let all = read.as_ref().map_or(0, |index| index.len() as u32);
            self.filtered = (Filter::default(), Arc::new((0..all).collect()));
            self.open = Some((key, read));
        }
        let is = |key: &Key| key.0 == *source;
        let known = self.open.as_ref().is_some_and(|(key, _)| is(key))
            || self.reading.as_ref().is_some_and(|(key, _)| is(key));
        if !known {
            self.begin(session, jobs, source);
        }
    }

    fn begin(&mut self, session: &Session, jobs: &mut Jobs, source: &Source) {
        let key = (source.clone(), self.said(source));
        let (host, analysis) = (session.host.clone(), session.analysis.clone());
        let asked = source.clone();
        let name = format!("reading {}", source.name());
        let job = jobs.start(&name, move |progress| {
            let analysis: Option<&Analysis> = analysis.as_deref();
            source::read(&*host, &asked, analysis, progress)
        });
        self.reading = Some((key, job));
    }

    /// Asks for a folder with a data set.
    fn ask(&mut self, session: &Session, jobs: &mut Jobs) {
        let host = session.host.clone();
        self.asking = Some(jobs.asking(async move |_| {
            let question = Question::Folder("Choose the folder of a data set");
            let asked = host.ask(&question).await;
            let folder = asked.into_iter().next()?;
            let found = files::annotations_in(&*host, &folder);
            Some(found.ok_or_else(|| {
                format!(
                    "{} has no data set: neither a .json in COCO's form, there or in its folder `annotations`, nor the folders of Pascal VOC",
                    folder.display()
                )
            }))
        }));
    }

    fn answers(&mut self, session: &mut Session) {
        let Some(answer) = self.asking.as_ref().and_then(Job::poll) else {
            return;
        };
        self.asking = None;
        match answer {
            Ok(Some(Ok(path))) => session.annotations = Some(path),
            Ok(None) => {}
            Ok(Some(Err(why))) | Err(why) => session.tell(Level::Error, why),
        }
    }

    /// Which data set, how much it holds, how large pictures are.
    fn head(&mut self, ui: &mut Ui, session: &Session, jobs: &mut Jobs) {
        let tokens = Tokens::of(ui);
        let index = self.index();
        ui.horizontal(|ui| {
            let offers = self.offers.beside.iter().chain(&self.offers.config);
            let mut all: Vec<Source> = offers.cloned().collect();
            let chosen = self.chosen.clone();
            all.extend(chosen.clone().filter(|chosen| !all.contains(chosen)));
            let name = chosen.as_ref().map(Source::name).unwrap_or_default();
            let combo = ComboBox::from_id_salt("data set")
                .selected_text(middle(&name, 32))
                .show_ui(ui, |ui| {
                    for source in all {
                        let on = Some(&source) == chosen.as_ref();
                        if ui.selectable_label(on, source.name()).clicked() {
                            self.chosen = Some(source);
                        }
                    }
                });
            widgets::name(&combo.response, &format!("Data set, {name}"));
            if let Some(index) = &index {
                let pictures = index.summary.samples;
                ui.heading(match pictures {
                    1 => "1 picture".to_owned(),
                    n => format!("{} pictures", thousands(n)),
                });
                let faults = index.fault_count() + self.thumbs.broken.len();
                let (icon, color) = match faults {
                    0 => (icons::OK, tokens.ok),
                    _ => (icons::WARNING, tokens.warning),
                };
                ui.add_space(8.0);
                widgets::icon(ui, icon, color);
                let text = match faults {
                    0 => "no faults".to_owned(),
                    1 => "1 fault".to_owned(),
                    n => format!("{} faults", thousands(n)),
                };
                ui.label(RichText::new(text).color(color))
                    .on_hover_text(index.summary.short());
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let slider = Slider::new(&mut self.side, SIDES)
                        .show_value(false)
                        .step_by(8.0);
                    let response = ui.add(slider);
                    let name = format!("Size of pictures, {:.0} px", self.side);
                    widgets::name(&response, &name);
                    ui.label(RichText::new("Size").color(tokens.weak));
                });
            }
        });
        let changed = match (&self.open, &self.chosen) {
            (Some((key, _)), Some(source)) => {
                key.0 == *source && key.1 != self.said(source) && config_is_read(session)
            }
            _ => false,
        };
        if let (true, Some(source)) = (changed && self.reading.is_none(), self.chosen.clone()) {
            widgets::bar(ui, tokens.raised, |ui| {
                widgets::icon(ui, icons::NOTE, tokens.note);
                ui.label("The config names another data set now.");
                if widgets::button(ui, "Read it").clicked() {
                    self.begin(session, jobs, &source);
                }
            });
        }
    }

    fn failed(&mut self, ui: &mut Ui, source: &Source, why: &str) {
        let tokens = Tokens::of(ui);
        let mut retry = false;
        ui.add_space(24.0);
        widgets::card(ui, tokens.error, |ui| {
            let title = format!("{} cannot be read.", source.name());
            ui.label(RichText::new(title).color(tokens.error));
            ui.label(RichText::new(why).monospace());
            retry = widgets::button(ui, "Retry").clicked();
        });
        if retry {
            self.open = None;
        }
    }

    fn body(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs, index: &Arc<Index>) {
        let tokens = Tokens::of(ui);
        let frame = Frame::new()
            .fill(Tokens::of(ui).panel)
            .corner_radius(6)
            .inner_margin(8);
        let width = BARS.min(ui.available_width() * 0.4);
        let before = self.filter.clone();
        Panel::left("bars")
            .exact_size(width)
            .resizable(false)
            .show_separator_line(false)
            .frame(frame)
            .show(ui, |ui| {
                let unreadable = self.thumbs.broken.len();
                self.bars.show(ui, index, &mut self.filter, unreadable);
            });
        let margin = Frame::new().inner_margin(eframe::egui::Margin {
            left: 12,
            top: 8,
            ..Default::default()
        });
        CentralPanel::default().frame(margin).show(ui, |ui| {
            self.chips(ui, index);
            if self.filter != before {
                let unreadable = self.thumbs.broken.clone();
                let question = (index.clone(), self.filter.clone(), unreadable);
                self.filters.ask(jobs, question);
            }
            if let Some(Ok(filtered)) = self.filters.poll(jobs)
                && filtered.0 == self.filter
            {
                self.filtered = filtered;
                self.grid.start();
            }
            if self.filtered.1.is_empty() {
                ui.add_space(24.0);
                ui.label(RichText::new("No picture has all of this.").color(tokens.weak));
                return;
            }
            let pictures = self.filtered.1.clone();
            let shown = grid::Shown {
                index,
                pictures: &pictures,
                filter: &self.filter,
                side: self.side,
            };
            if let Some(picture) = self.grid.show(ui, &mut self.thumbs, &shown) {
                open_sample(session, jobs, self.chosen.as_ref(), index, picture);
            }
        });
    }

    /// What is chosen, each with a cross.
    fn chips(&mut self, ui: &mut Ui, index: &Index) {
        if self.filter.is_empty() {
            return;
        }
        let tokens = Tokens::of(ui);
        let classes = self.filter.classes.iter().map(|label| {
            let name = index.class(*label as i32).to_owned();
            (name, Chip::Class(*label))
        });
        let names = index.summary.sizes.rows(|v| format!("{v}"), false);
        let sizes = self.filter.sizes.iter().map(|bin| {
            let name = names.get(*bin).map(|(name, _)| format!("{name} px"));
            (name.unwrap_or_default(), Chip::Size(*bin))
        });
        let faults = self.filter.faults.iter().filter_map(|i| {
            let kind = smalti::data::summary::FaultKind::ALL.get(*i)?;
            Some((index::words(*kind).to_owned(), Chip::Fault(*i)))
        });
        let unreadable = self.filter.unreadable;
        let unreadable = unreadable.then(|| (index::UNREADABLE.to_owned(), Chip::Unreadable));
        let chips: Vec<(String, Chip)> = classes
            .chain(sizes)
            .chain(faults)
            .chain(unreadable)
            .collect();
        ui.horizontal_wrapped(|ui| {
            for (name, chip) in chips {
                let text = format!("{} ×", middle(&name, 28));
                let button = Button::new(text).fill(tokens.selection);
                let response = ui.add(button).on_hover_text("Without this");
                widgets::name(&response, &format!("Without {name}"));
                if response.clicked() {
                    match chip {
                        Chip::Class(label) => self.filter.classes.remove(&label),
                        Chip::Size(bin) => self.filter.sizes.remove(&bin),
                        Chip::Fault(kind) => self.filter.faults.remove(&kind),
                        Chip::Unreadable => std::mem::take(&mut self.filter.unreadable),
                    };
                }
            }
            if widgets::link(ui, "Show all").clicked() {
                self.filter = Filter::default();
            }
            let left = match self.filters.is_busy() {
                true => "...".to_owned(),
                false => format!(
                    "{} of {}",
                    thousands(self.filtered.1.len()),
                    thousands(index.len())
                ),
            };
            ui.label(RichText::new(left).color(tokens.soft));
        });
        ui.add_space(4.0);
    }
}

enum Chip {
    Class(usize),
    Size(usize),
    Fault(usize),
    Unreadable,
}

/// Whether the config in front was read as it is now.
fn config_is_read(session: &Session) -> bool {
    session
        .current()
        .is_some_and(|analysis| analysis.config.is_some())
}
