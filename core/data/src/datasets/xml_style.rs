//! `XMLDataset` of mmdet 3.3 (datasets/xml_style.py): a list of picture names, and a file in PASCAL VOC's form for each.

use std::collections::HashMap;

use super::base::Setup;
use super::paths::join;
use super::pictures::Pictures;
use super::table::{Object, Row, Table};
use super::tally::{Found, OnBroken, Tally, listed, thousands};
use super::xml::Element;
use super::{Built, Source};
use crate::transforms::Files;
use smalti_config::{Severity, error_at};

/// In what a data set of this form differs from `XMLDataset`.
pub(super) struct Rules {
    /// `METAINFO`.
    pub classes: &'static [(&'static str, [u8; 3])],
    /// Coordinates begin at 1.
    pub from_one: bool,
    /// `VOC2007` or `VOC2012` in its folder is the `dataset_type`.
    pub years: bool,
    /// Where files are.
    pub places: fn(&Setup) -> Places,
}

/// Where the files of a data set are.
pub(super) struct Places {
    /// The folder of pictures.
    pub pictures: String,
    /// The folder of annotations.
    pub annotations: String,
    /// Pictures lie in the folder that their `folder` element names, below [`Self::pictures`].
    pub named_folder: bool,
}

/// `XMLDataset`.
pub(super) const RULES: Rules = Rules {
    classes: &[],
    from_one: true,
    years: false,
    places,
};

/// `img_subdir` and `ann_subdir` below `data_prefix['sub_data_root']`.
fn places(setup: &Setup) -> Places {
    let root = setup.sub_data_root();
    let folder =
        |given: &Option<String>, default: &str| join(&root, given.as_deref().unwrap_or(default));
    Places {
        pictures: folder(&setup.options.img_subdir, "JPEGImages"),
        annotations: folder(&setup.options.ann_subdir, "Annotations"),
        named_folder: false,
    }
}

/// `XMLDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    build_with(source, &RULES)
}

/// A data set of this form.
pub(super) fn build_with(source: &Source<'_>, rules: &Rules) -> Built {
    let mut setup = Setup::read(source)?;
    let path = setup.ann_file()?;
    let wanted = setup.wanted(rules.classes, source.files)?;
    let mut meta = wanted.meta;
    if wanted.from_file {
        let message = format!("`{}` needs classes", source.kind);
        return Err(error_at(
            source.node,
            "type",
            message,
            "write metainfo=dict(classes=('a', 'b'))",
        ));
    }
    let least = setup.options.filter_cfg.and_then(|f| f.bbox_min_size);
    if least.is_some() && setup.test_mode() {
        let message = "`bbox_min_size` is not for test mode";
        return Err(error_at(
            source.node,
            "filter_cfg",
            message,
            "leave it out, or test_mode",
        ));
    }
    let Some(files) = source.files else {
        return Ok(None);
    };
    if rules.years {
        let root = setup.sub_data_root();
        let year = ["VOC2007", "VOC2012"]
            .into_iter()
            .find(|year| root.contains(year));
        meta.dataset_type = meta.dataset_type.or(year.map(str::to_owned));
    }
    let failed = |what: String| vec![setup.file_error(format!("`{path}`: {what}"))];
    let list = files.read(&path).map_err(failed)?;
    let list = smalti_config::text_file::text(&list).map_err(failed)?;
    let places = (rules.places)(&setup);
    let reader = Reader {
        files,
        pictures: Pictures::new(&setup, files, places.pictures.clone()),
        places,
        minus: if rules.from_one { 1.0 } else { 0.0 },
        least,
        labels: meta.classes.iter().map(String::as_str).zip(0..).collect(),
    };
    let (mut tally, mut table) = (Tally::default(), Table::default());
    let mut names = Seen::default();
    // A blank line is no picture; MMDetection fails there.
    for id in smalti_config::text_file::lines(&list).filter(|l| !l.trim().is_empty()) {
        table.listed += 1;
        reader.picture(id, &mut table, &mut names, &mut tally);
    }
    let small = table.rows.iter().map(|row| setup.is_small(row)).collect();
    reader.pictures.compare(&mut table.rows, small, &mut tally);
    table.folder = reader.places.pictures.clone();
    let report = tally.report(&path, setup.file_origin(), setup.options.on_broken);
    if report.iter().any(|d| d.severity == Severity::Error)
        && setup.options.on_broken == Some(OnBroken::Error)
    {
        return Err(report);
    }
    if table.objects.is_empty() && names.objects > 0 {
        let mut why = tally.told(&LOST);
        if !names.categories.is_empty() {
            let found = listed(names.categories.iter().map(String::as_str));
            let wanted = listed(meta.classes.iter().map(String::as_str));
            why.insert(
                0,
                format!("the files have categories {found}, the config wants {wanted}"),
            );
        }
        let message = format!(
            "`{path}`: 0 of {} annotations kept: {}",
            thousands(names.objects),
            why.join("; ")
        );
        let mut finding = setup.file_error(message);
        // These files list no categories: a small set to test on may lack the classes.
        if !setup.test_mode() {
            return Err(std::iter::once(finding).chain(report).collect());
        }
        finding.severity = Severity::Warning;
        setup.notes.push(finding);
    }
    setup.notes.extend(report);
    let empty: Vec<bool> = (0..table.rows.len())
        .map(|row| table.objects(row).is_empty())
        .collect();
    setup.finish(table, meta, &path, |row| empty[row])
}

/// What the files say, wanted or not.
#[derive(Default)]
struct Seen {
    objects: usize,
    categories: Vec<String>,
}

struct Reader<'a> {
    files: &'a dyn Files,
    places: Places,
    pictures: Pictures<'a>,
    minus: f64,
    least: Option<f64>,
    labels: HashMap<&'a str, u32>,
}

impl Reader<'_> {
    fn picture(&self, id: &str, table: &mut Table, seen: &mut Seen, tally: &mut Tally) {
        let path = join(&self.places.annotations, &format!("{id}.xml"));
        let root = self
            .files
            .read(&path)
            .and_then(|bytes| Element::read(&bytes));
        let root = match root {
            Ok(root) => root,
            Err(why) => {
                tally.add(Found::UnreadPicture, || format!("{path}: {why}"));
                return;
            }
        };
        let folder = root.text_of("folder").filter(|_| self.places.named_folder);
        let file_name = join(folder.unwrap_or(""), &format!("{id}.jpg"));
        let size = match self.size(&root, &file_name, tally) {
            Ok(size) => size,
            Err(why) => {
                tally.add(Found::UnreadPicture, || format!("{path}: {why}"));
                return;
            }
        };
        for (i, object) in root.all("object").enumerate() {
            seen.objects += 1;
            let name = || format!("{path} line {}, object {}", object.line, i + 1);
            let class = object.text_of("name").filter(|class| !class.is_empty());
            let Some(class) = class else {
                tally.add(Found::NamelessObject, name);
                continue;
            };
            let Some(label) = self.labels.get(class) else {
                if seen.categories.len() < 100 && !seen.categories.iter().any(|c| c == class) {
                    seen.categories.push(class.to_owned());
                }
                tally.add(Found::OtherCategory, name);
                continue;
            };
            let difficult = difficult(object).unwrap_or_else(|what| {
                tally.add(Found::OddDifficult, || format!("{}: {what}", name()));
                false
            });
            match self.frame(object) {
                Ok(bbox) => {
                    let small = self.least.is_some_and(|least| {
                        let [x1, y1, x2, y2] = bbox;
                        x2 - x1 < least || y2 - y1 < least
                    });
                    let bbox = bbox.map(|v| v as f32);
                    let object = Object::boxed(bbox, *label, difficult || small);
                    table.objects.push(object);
                }
                Err((found, what)) => tally.add(found, || name() + &what),
            }
        }
        table.rows.push(Row {
            id: table.ids.text(id),
            file_name: file_name.into(),
            width: size[0],
            height: size[1],
            end: table.objects.len() as u32,
        });
    }

    /// The `size` element, or the picture's own size where there is no good one.
    fn size(&self, root: &Element, file_name: &str, tally: &mut Tally) -> Result<[u32; 2], String> {
        let own = || self.pictures.size(file_name);
        let Some(size) = root.find("size") else {
            return own().map_err(|why| format!("no `size`, and {why}"));
        };
        let what = match ["width", "height"].map(|name| side(size, name)) {
            [Ok(width), Ok(height)] if width >= 1.0 && height >= 1.0 => {
                return Ok([width as u32, height as u32]);
            }
            [Ok(width), Ok(height)] => format!("`size` is {width}x{height}"),
            [Err(what), _] | [_, Err(what)] => what,
        };
        let [width, height] = own().map_err(|why| format!("{what}, and {why}"))?;
        tally.add(Found::OtherSize, || {
            format!("{file_name}: {what}, its own {width}x{height}")
        });
        Ok([width, height])
    }

    /// `bndbox`, or what is wrong with it, in words that follow the object's name.
    fn frame(&self, object: &Element) -> Result<[f64; 4], (Found, String)> {
        let Some(frame) = object.find("bndbox") else {
            let other = |e: &&Element| FRAMES.contains(&e.name.as_str());
            let other = object.children.iter().find(other);
            let what = other.map(|o| format!(": it has `{}`, which is not read", o.name));
            return Err((Found::BoxlessObject, what.unwrap_or_default()));
        };
        let mut bbox = [0.0; 4];
        for (value, name) in bbox.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
            let side = side(frame, name).map_err(|what| (Found::BrokenBox, format!(": {what}")))?;
            *value = side.trunc() - self.minus;
        }
        Ok(bbox)
    }
}

/// What loses an object, but for its category.
const LOST: [Found; 3] = [
    Found::NamelessObject,
    Found::BoxlessObject,
    Found::BrokenBox,
];

/// Shapes of other forms of these files, which stand where a `bndbox` does.
const FRAMES: [&str; 6] = [
    "robndbox",
    "rotated_bndbox",
    "rbndbox",
    "polygon",
    "segmentation",
    "points",
];

/// `difficult`: 0 if there is none; what it is if it says neither yes nor no.
fn difficult(object: &Element) -> Result<bool, String> {
    let Some(text) = object.text_of("difficult") else {
        return Ok(false);
    };
    match (number(text), text.to_ascii_lowercase().as_str()) {
        (Some(value), _) => Ok(value != 0.0),
        (_, "true" | "yes") => Ok(true),
        (_, "false" | "no") => Ok(false),
        (_, "") => Err("it is empty".into()),
        _ => Err(format!("it is {}", quoted(text))),
    }
}

/// The number in an element, or what is wrong with it.
fn side(of: &Element, name: &str) -> Result<f64, String> {
    let text = match of.text_of(name) {
        None => return Err(format!("`{}` has no `{name}`", of.name)),
        Some("") => return Err(format!("`{name}` is empty")),
        Some(text) => text,
    };
    number(text).ok_or_else(|| {
        let point = text.replacen(',', ".", 1);
        let help = match number(&point) {
            Some(_) => format!(": write {point}"),
            None => String::new(),
        };
        format!("`{name}` is {}{help}", quoted(text))
    })
}

/// A text of a file, cut and without what cannot be seen.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    format!("`{}`", cut.escape_debug())
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|v: &f64| v.is_finite() && v.abs() < 1e9)
}
