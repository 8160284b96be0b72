//! [`Heat`]: what the selected part makes of the picture that is open, as a heat map: the mean of its channels, or one of them.

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::{
    Color32, ColorImage, CornerRadius, DragValue, Rect, RichText, Sense, TextureHandle,
    TextureOptions, Ui, pos2, vec2,
};

use smalti::data;

use super::parts::Part;
use crate::window::actions::Command;
use crate::window::analysis::Analysis;
use crate::window::detector::{Built, Parts};
use crate::window::files::short;
use crate::window::host::Host;
use crate::window::icons;
use crate::window::jobs::{Jobs, Newest};
use crate::window::session::Session;
use crate::window::tokens::{self, Tokens};
use crate::window::widgets;

/// A heat map, and what it is made with.
pub struct Heat {
    maps: Newest<Question, Answer>,
    /// The detector, the picture and the place that were asked for.
    asked: Option<(u64, PathBuf, String)>,
    shown: Option<Shown>,
    level: usize,
    channel: Option<usize>,
    /// Whether the picture is seen through it.
    over: bool,
}

/// A detector, a picture's file and the part that is asked.
struct Question {
    detector: Arc<Built>,
    picture: PathBuf,
    place: String,
    host: Arc<dyn Host>,
}

struct Answer {
    picture: PathBuf,
    place: String,
    levels: Result<Vec<Level>, String>,
    /// The picture, small.
    small: Option<ColorImage>,
}

struct Shown {
    answer: Answer,
    /// The level and channel of the texture.
    of: Option<(usize, Option<usize>)>,
    texture: Option<TextureHandle>,
    beneath: Option<TextureHandle>,
}

/// One map: channels of rows.
#[derive(Debug, PartialEq)]
struct Level {
    channels: usize,
    size: [usize; 2],
    values: Vec<f32>,
    mean: Vec<f32>,
    /// Width and height of the picture's part of the map, as shares of it: the rest is padding.
    picture: [f32; 2],
    /// Height by width of the picture.
    ratio: f32,
}

/// The picture beneath the map, px.
const SIDE: usize = 640;
/// How much of the map there is over the picture.
const COVER: f32 = 0.6;

impl Default for Heat {
    fn default() -> Self {
        Self {
            maps: Newest::waiting("making feature maps", |question, _| {
                Box::pin(answer(question))
            }),
            asked: None,
            shown: None,
            level: 0,
            channel: None,
            over: false,
        }
    }
}

async fn answer(question: Question) -> Answer {
    let bytes = question.host.read(&question.picture);
    let small = bytes.as_ref().ok().and_then(|bytes| {
        let small = data::thumbnail("picture", bytes, SIDE).ok()?;
        let size = [small.width(), small.height()];
        Some(ColorImage::from_rgb(size, &small.to_rgb()))
    });
    Answer {
        levels: match bytes {
            Ok(bytes) => levels(&question, &bytes).await,
            Err(why) => Err(why),
        },
        picture: question.picture,
        place: question.place,
        small,
    }
}

async fn levels(question: &Question, bytes: &[u8]) -> Result<Vec<Level>, String> {
    let name = question.picture.to_string_lossy();
    let predictor = &question.detector.predictor;
    let picture: data::Picture = predictor.decode(&name, bytes).map_err(|e| e.to_string())?;
    let given = predictor.maps(&picture, &question.place).await;
    let given = given.map_err(|e| e.to_string())?;
    let [h, w] = given.picture;
    let [rows, columns] = given.batch;
    let shares = [w as f32 / columns as f32, h as f32 / rows as f32];
    let mut levels = Vec::with_capacity(given.maps.len());
    for map in given.maps {
        let [_, channels, height, width] = map.dims();
        let values = map.into_data_async().await;
        let values = values.map_err(|e| format!("{e:?}"))?;
        let values = values.try_into_vec_as::<f32>();
        let values = values.map_err(|e| format!("{e:?}"))?;
        let ratio = h as f32 / w as f32;
        levels.push(Level::of(channels, [width, height], values, shares, ratio));
    }
    Ok(levels)
}

impl Level {
    fn of(
        channels: usize,
        size: [usize; 2],
        values: Vec<f32>,
        picture: [f32; 2],
        ratio: f32,
    ) -> Self {
        let places = size[0] * size[1];
        let mut mean = vec![0.0; places];
        for channel in values.chunks_exact(places.max(1)) {
            mean.iter_mut().zip(channel).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= channels.max(1) as f32);
        Self {
            channels,
            size,
            values,
            mean,
            picture,
            ratio,
        }
    }

    fn channel(&self, channel: Option<usize>) -> &[f32] {
        let places = self.size[0] * self.size[1];
        match channel {
            Some(c) => &self.values[c * places..(c + 1) * places],
            None => &self.mean,
        }
    }
}

/// Smallest and largest of those that are finite.
fn range(values: &[f32]) -> [f32; 2] {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let range = finite.fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], v| {
        [a.min(v), b.max(v)]
    });
    if range[0] <= range[1] {
        range
    } else {
        [0.0; 2]
    }
}

impl Heat {
    /// Shows it, or what is to be done to see it.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: &Arc<Analysis>,
        part: &Part,
    ) {
        let tokens = Tokens::of(ui);
        let Some(place) = &part.gives else { return };
        ui.add_space(8.0);
        ui.label(RichText::new("Feature map").color(tokens.weak));
        let missing = match (&session.checkpoint, session.pictures.first()) {
            (None, _) => Some("Open a checkpoint and a picture to see what this part makes of it."),
            (_, None) => Some("Open a picture to see what this part makes of it."),
            _ => None,
        };
        if let Some(missing) = missing {
            ui.label(RichText::new(missing).color(tokens.soft));
            if widgets::button(ui, "Open...").clicked() {
                session.commands.push_back(Command::Open);
            }
            return;
        }
        self.ask(session, jobs, analysis, place);
        if let Some(why) = session.detector.failed() {
            failed(ui, &format!("{}\n{}", why.what, why.why));
            return;
        }
        let picture = session.pictures.first();
        let answer = self.shown.as_ref().map(|shown| &shown.answer);
        let current = answer.filter(|a| a.place == *place && Some(&a.picture) == picture);
        match current.map(|a| a.levels.as_ref()) {
            None => {
                ui.label(RichText::new("Running the model ...").color(tokens.weak));
            }
            Some(Err(why)) => failed(ui, why),
            Some(Ok(levels)) if levels.is_empty() => {
                ui.label(
                    RichText::new("This part gives no map of the picture.").color(tokens.soft),
                );
            }
            Some(Ok(levels)) => {
                let count = levels.len();
                self.level = self.level.min(count - 1);
                self.choose(ui, count);
                self.paint(ui);
            }
        }
    }

    /// Has the detector run on the picture, if it is another one or another part is looked at.
    fn ask(
        &mut self,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: &Arc<Analysis>,
        place: &str,
    ) {
        let parts = Parts {
            config: Some(analysis.clone()),
            checkpoint: session.checkpoint.clone(),
            prefix: session.prefix.clone(),
        };
        session.want_detector(jobs, &parts);
        if let Some(Ok(answer)) = self.maps.poll(jobs) {
            self.shown = Some(Shown {
                answer,
                of: None,
                texture: None,
                beneath: None,
            });
        }
        let (Some(detector), false) = (session.detector.built(), session.detector.is_building())
        else {
            return;
        };
        let Some(picture) = session.pictures.first() else {
            return;
        };
        let asked = (detector.id, picture.clone(), place.to_owned());
        if self.asked.as_ref() != Some(&asked) {
            self.asked = Some(asked);
            let question = Question {
                detector: detector.clone(),
                picture: picture.clone(),
                place: place.to_owned(),
                host: session.host.clone(),
            };
            self.maps.ask(jobs, question);
        }
    }

    /// Which level and which channel.
    fn choose(&mut self, ui: &mut Ui, count: usize) {
        let Some(Ok(levels)) = self.shown.as_ref().map(|s| &s.answer.levels) else {
            return;
        };
        let channels = levels[self.level].channels;
        ui.horizontal_wrapped(|ui| {
            for (i, level) in levels.iter().enumerate().filter(|_| count > 1) {
                let [width, height] = level.size;
                let name = format!("{i}: {width} x {height}");
                if ui.selectable_label(self.level == i, name).clicked() {
                    self.level = i;
                    self.channel = None;
                }
            }
        });
        ui.horizontal_wrapped(|ui| {
            let mean = self.channel.is_none();
            if ui.selectable_label(mean, "Mean of channels").clicked() {
                self.channel = None;
            }
            let mut channel = self.channel.unwrap_or(0);
            let drag = DragValue::new(&mut channel)
                .range(0..=channels - 1)
                .prefix("channel ");
            let response = ui.add(drag);
            widgets::name(&response, "Channel");
            if response.changed() || response.clicked() {
                self.channel = Some(channel);
            }
            ui.checkbox(&mut self.over, "Over the picture");
        });
        self.channel = self.channel.map(|c| c.min(channels - 1));
    }

    fn paint(&mut self, ui: &mut Ui) {
        let (level, channel) = (self.level, self.channel);
        let Some(shown) = &mut self.shown else { return };
        let Ok(levels) = &shown.answer.levels else {
            return;
        };
        let map = &levels[level];
        let values = map.channel(channel);
        let [least, most] = range(values);
        if shown.of != Some((level, channel)) {
            let span = (most - least).max(f32::MIN_POSITIVE);
            let colors = values.iter().map(|v| match v.is_finite() {
                true => tokens::ramp((v - least) / span),
                false => Color32::TRANSPARENT,
            });
            let image = ColorImage::new(map.size, colors.collect());
            let options = TextureOptions::NEAREST;
            shown.texture = Some(ui.ctx().load_texture("feature map", image, options));
            shown.of = Some((level, channel));
        }
        let tokens = Tokens::of(ui);
        let width = ui.available_width();
        let size = vec2(width, (width * map.ratio).clamp(24.0, 480.0));
        let (place, response) = ui.allocate_exact_size(size, Sense::hover());
        if let Some(texture) = &shown.texture {
            let [right, bottom] = map.picture;
            let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(right, bottom));
            ui.painter()
                .rect_filled(place, CornerRadius::ZERO, tokens.field);
            let mut tint = Color32::WHITE;
            if self.over
                && let Some(small) = &shown.answer.small
            {
                let beneath = shown.beneath.get_or_insert_with(|| {
                    let name = "picture beneath a feature map";
                    let options = TextureOptions::LINEAR;
                    ui.ctx().load_texture(name, small.clone(), options)
                });
                let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                ui.painter()
                    .image(beneath.id(), place, whole, Color32::WHITE);
                tint = tint.gamma_multiply(COVER);
            }
            ui.painter().image(texture.id(), place, uv, tint);
        }
        let of = short(&shown.answer.picture);
        let what = channel.map_or("the mean of its channels".to_owned(), |c| {
            format!("channel {c}")
        });
        widgets::name(&response, &format!("{what} of {of}"));
        if let Some(at) = response.hover_pos() {
            let [x, y] = [
                (at.x - place.left()) / place.width() * map.picture[0],
                (at.y - place.top()) / place.height() * map.picture[1],
            ];
            let [w, h] = map.size;
            let column = ((x * w as f32) as usize).min(w - 1);
            let row = ((y * h as f32) as usize).min(h - 1);
            let value = values[row * w + column];
            response.on_hover_text(format!("row {row}, column {column}: {value:.4}"));
        }
        scale(ui, [least, most]);
    }
}

/// The ramp from its least to its largest value.
fn scale(ui: &mut Ui, [least, most]: [f32; 2]) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.label(
            RichText::new(format!("{least:.3}"))
                .monospace()
                .color(tokens.soft),
        );
        let width = (ui.available_width() - 72.0).max(32.0);
        let (rect, _) = ui.allocate_exact_size(vec2(width, 8.0), Sense::hover());
        const STEPS: usize = 64;
        for i in 0..STEPS {
            let left = rect.left() + rect.width() * i as f32 / STEPS as f32;
            let step = Rect::from_min_size(
                pos2(left, rect.top()),
                vec2(width / STEPS as f32 + 0.5, 8.0),
            );
            let color = tokens::ramp(i as f32 / (STEPS - 1) as f32);
            ui.painter().rect_filled(step, CornerRadius::ZERO, color);
        }
        ui.label(
            RichText::new(format!("{most:.3}"))
                .monospace()
                .color(tokens.soft),
        );
    });
}

fn failed(ui: &mut Ui, why: &str) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        widgets::icon(ui, icons::ERROR, tokens.error);
        ui.label(RichText::new(why).color(tokens.error));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_channels_and_one_of_them() {
        let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, f32::NAN];
        let level = Level::of(3, [2, 1], values, [1.0, 1.0], 0.5);
        assert_eq!(level.mean[0], 2.0);
        assert_eq!(level.channel(Some(1)), [2.0, 3.0]);
        assert_eq!(range(level.channel(Some(2))), [4.0, 4.0]);
        assert_eq!(range(&[f32::NAN]), [0.0, 0.0]);
    }
}
