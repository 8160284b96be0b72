//! New configs: what is on MMDetection's how-to page, with the user's own data set and classes filled in.

mod text;

use std::path::PathBuf;

use eframe::egui::{Grid, RichText, TextEdit, Ui, vec2};

use serde::Deserialize;

use text::text;

use crate::window::frame::is_narrow;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// A recipe.
#[derive(Debug)]
pub struct Recipe {
    /// What it is called.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub what: &'static str,
    /// The file's name.
    file: &'static str,
    /// The text, from the data set on.
    parts: Parts,
}

#[derive(Clone, Copy, Debug)]
struct Parts {
    backbone: &'static str,
    channels: &'static str,
    start_level: usize,
    imports: bool,
    mosaic: bool,
    unfreeze: bool,
    detectron2: bool,
}

const RESNET: Parts = Parts {
    backbone: "dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=True, style='pytorch')",
    channels: "[256, 512, 1024, 2048]",
    start_level: 1,
    imports: false,
    mosaic: false,
    unfreeze: false,
    detectron2: false,
};
const MOBILENET: Parts = Parts {
    backbone: "dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11))",
    channels: "[24, 48, 96]",
    start_level: 0,
    imports: true,
    ..RESNET
};

/// All recipes.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "MobileNetV3-small in RetinaNet",
        what: "A small backbone of MMPretrain in a detector of MMDetection. The quickest to train.",
        file: "retinanet_mobilenetv3-small.py",
        parts: MOBILENET,
    },
    Recipe {
        name: "EfficientNet-B1 in RetinaNet",
        what: "A backbone of timm, through MMPretrain's wrapper.",
        file: "retinanet_efficientnet-b1.py",
        parts: Parts {
            backbone: "dict(\n        type='mmpretrain.TIMMBackbone', model_name='efficientnet_b1', features_only=True, pretrained=True, out_indices=(1, 2, 3, 4))",
            channels: "[24, 40, 112, 320]",
            start_level: 1,
            imports: true,
            ..RESNET
        },
    },
    Recipe {
        name: "RetinaNet with Mosaic",
        what: "Four pictures become one: MultiImageMixDataset around the data set, Mosaic and RandomAffine.",
        file: "retinanet_mosaic.py",
        parts: Parts {
            mosaic: true,
            ..MOBILENET
        },
    },
    Recipe {
        name: "Freeze the backbone, then unfreeze it",
        what: "The head learns alone in the first epoch, then all of the model.",
        file: "retinanet_unfreeze.py",
        parts: Parts {
            unfreeze: true,
            ..MOBILENET
        },
    },
    Recipe {
        name: "Detectron2's RetinaNet",
        what: "Detectron2's model with Detectron2's weights, trained as MMDetection trains.",
        file: "retinanet_detectron2.py",
        parts: Parts {
            detectron2: true,
            ..RESNET
        },
    },
];

/// What is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Folder of pictures for training.
    pub pictures: String,
    /// Annotations for training, COCO's form.
    pub annotations: String,
    /// Folder of pictures for validation.
    pub val_pictures: String,
    /// Annotations for validation.
    pub val_annotations: String,
    /// Names of the classes, with commas.
    pub classes: String,
}

/// Of the form's fields.
const WIDTH: f32 = 360.0;
/// What the button beside a field takes.
const CHOOSE: f32 = 96.0;

/// The form.
#[derive(Default)]
pub struct Recipes {
    chosen: usize,
    data: Data,
    asking: Option<(Field, Job<Vec<PathBuf>>)>,
    reading: Option<Job<Result<Vec<String>, String>>>,
    failed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Pictures,
    Annotations,
    ValPictures,
    ValAnnotations,
}

const FIELDS: [(Field, &str); 4] = [
    (Field::Annotations, "Annotations (COCO .json)"),
    (Field::Pictures, "Folder of pictures"),
    (Field::ValAnnotations, "Annotations for validation"),
    (Field::ValPictures, "Pictures for validation"),
];

impl Recipes {
    /// Shows the form.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.take(session, jobs);
        let tokens = Tokens::of(ui);
        ui.heading("New config from a recipe");
        // as it was before this frame: else there would be two for one frame, and all below would jump
        let shown = self.chosen;
        for (i, recipe) in RECIPES.iter().enumerate() {
            ui.radio_value(&mut self.chosen, i, recipe.name);
            if shown == i {
                ui.label(RichText::new(recipe.what).color(tokens.soft));
            }
        }
        ui.add_space(8.0);
        if is_narrow(ui) {
            let width = (ui.available_width() - CHOOSE).min(WIDTH);
            for (field, label) in FIELDS {
                ui.label(label);
                ui.horizontal(|ui| self.field(ui, session, jobs, (field, label), width));
            }
            ui.label("Classes");
            self.classes(ui, width);
        } else {
            Grid::new("data set").num_columns(3).show(ui, |ui| {
                for (field, label) in FIELDS {
                    ui.label(label);
                    self.field(ui, session, jobs, (field, label), WIDTH);
                    ui.end_row();
                }
                ui.label("Classes");
                self.classes(ui, WIDTH);
                ui.end_row();
            });
        }
        if let Some(why) = &self.failed {
            ui.label(RichText::new(why).color(tokens.error));
        }
        ui.add_space(8.0);
        if widgets::button(ui, "Make the config").clicked() {
            let recipe = &RECIPES[self.chosen];
            session.create(recipe.file, &text(recipe, &self.data));
        }
    }

    fn field(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        (field, label): (Field, &'static str),
        width: f32,
    ) {
        let text = self.data.field(field);
        let edit = ui.add(
            TextEdit::singleline(text)
                .desired_width(width)
                .min_size(vec2(width, 0.0))
                .hint_text("may stay empty for now"),
        );
        widgets::name(&edit, label);
        let (read, path) = (
            field == Field::Annotations && edit.lost_focus() && !text.is_empty(),
            PathBuf::from(text.as_str()),
        );
        if read {
            self.read(session, jobs, path);
        }
        if ui.button("Choose...").clicked() {
            let host = session.host.clone();
            let is_folder = matches!(field, Field::Pictures | Field::ValPictures);
            let question = if is_folder {
                Question::Folder(label)
            } else {
                Question::Files(label)
            };
            self.asking = Some((field, jobs.asking(async move |_| host.ask(&question).await)));
        }
    }

    fn classes(&mut self, ui: &mut Ui, width: f32) {
        let edit = ui.add(
            TextEdit::singleline(&mut self.data.classes)
                .desired_width(width)
                .min_size(vec2(width, 0.0))
                .hint_text("cat, dog: from the annotations if they are read"),
        );
        widgets::name(&edit, "Classes");
    }

    fn take(&mut self, session: &mut Session, jobs: &mut Jobs) {
        if let Some(answer) = self.asking.as_ref().and_then(|(_, job)| job.poll()) {
            let field = self.asking.take().map(|(field, _)| field);
            let path = answer.ok().and_then(|paths| paths.into_iter().next());
            if let (Some(field), Some(path)) = (field, path) {
                *self.data.field(field) = path.display().to_string();
                if field == Field::Annotations {
                    self.read(session, jobs, path);
                }
            }
        }
        if let Some(classes) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            match classes.and_then(|c| c) {
                Ok(classes) => {
                    self.data.classes = classes.join(", ");
                    self.failed = None;
                }
                Err(why) => self.failed = Some(why),
            }
        }
    }

    /// Names of the classes, from an annotation file.
    fn read(&mut self, session: &Session, jobs: &mut Jobs, path: PathBuf) {
        let host = session.host.clone();
        self.reading = Some(jobs.start("reading the classes", move |_| {
            let bytes = host
                .read(&path)
                .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
            categories(&bytes)
                .map_err(|e| format!("{} has no classes in COCO's form: {e}", path.display()))
        }));
    }
}

#[derive(Deserialize)]
struct Annotations {
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

fn categories(bytes: &[u8]) -> Result<Vec<String>, String> {
    let file: Annotations = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(file.categories.into_iter().map(|c| c.name).collect())
}

impl Data {
    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Pictures => &mut self.pictures,
            Field::Annotations => &mut self.annotations,
            Field::ValPictures => &mut self.val_pictures,
            Field::ValAnnotations => &mut self.val_annotations,
        }
    }

    fn names(&self) -> Vec<&str> {
        let names: Vec<&str> = self
            .classes
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect();
        if names.is_empty() {
            vec!["object"]
        } else {
            names
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti::config::{Config, MapLoader, Severity};

    #[test]
    fn every_recipe_is_a_config_that_is_right() {
        for classes in ["", "cat, it's a \"dog\", é"] {
            let data = Data {
                classes: classes.into(),
                annotations: "/a/b c.json".into(),
                ..Data::default()
            };
            for recipe in RECIPES {
                let text = text(recipe, &data);
                let config = Config::parse(&text, recipe.file, &MapLoader::default())
                    .unwrap_or_else(|e| panic!("{}\n{e}", recipe.name));
                let found = smalti::model::check(&config, &smalti::registry());
                assert!(
                    found.is_empty(),
                    "{}\n{}",
                    recipe.name,
                    config.errors(found)
                );
                let count = config
                    .at("metainfo.classes")
                    .and_then(|c| c.as_items())
                    .map(<[_]>::len);
                assert_eq!(count, Some(data.names().len()));
                // what is not there is the data, nothing else
                let wrong = crate::check::check(&config, &smalti::host::disk::Disk::new());
                let wrong: Vec<_> = wrong
                    .iter()
                    .filter(|d| d.severity == Severity::Error)
                    .collect();
                assert!(
                    wrong
                        .iter()
                        .all(|d| d.message.contains("there is no such file")),
                    "{}\n{wrong:?}",
                    recipe.name
                );
            }
        }
    }

    #[test]
    fn classes_come_from_annotations() {
        assert_eq!(
            categories(br#"{"images": [1, {}], "categories": [{"id": 3, "name": "a"}]}"#).unwrap(),
            ["a"]
        );
        assert!(categories(b"{}").is_err());
    }
}
