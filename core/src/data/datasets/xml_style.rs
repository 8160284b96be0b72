//! `XMLDataset` of mmdet 3.3 (datasets/xml_style.py): a list of picture names, and a file in PASCAL VOC's form for each.

use std::collections::HashMap;

use super::base::Setup;
use super::paths::join;
use super::table::{Object, Row, Table};
use super::tally::{Found, OnBroken, Tally, listed, thousands};
use super::xml::Element;
use super::{Built, Source};
use crate::config::Severity;
use crate::data::decode::{DecodeOptions, decode};
use crate::data::transforms::Files;
use crate::registry::problem;

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
        return Err(problem(
            source.node,
            "type",
            message,
            "write metainfo=dict(classes=('a', 'b'))",
        ));
    }
    let least = setup.options.filter_cfg.and_then(|f| f.bbox_min_size);
    if least.is_some() && setup.test_mode() {
        let message = "`bbox_min_size` is not for test mode";
        return Err(problem(
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
    let list = crate::text::text(&list).map_err(failed)?;
    let reader = Reader {
        files,
        places: (rules.places)(&setup),
        minus: if rules.from_one { 1.0 } else { 0.0 },
        least,
        labels: meta.classes.iter().map(String::as_str).zip(0..).collect(),
    };
    let (mut tally, mut table) = (Tally::default(), Table::default());
    let mut names = Seen::default();
    // A blank line is no picture; MMDetection fails there.
    for id in crate::text::lines(&list).filter(|l| !l.trim().is_empty()) {
        table.listed += 1;
        reader.picture(id, &mut table, &mut names, &mut tally);
    }
    table.folder = reader.places.pictures.clone();
    let report = tally.report(&path, setup.file_origin(), setup.options.on_broken);
    if report.iter().any(|d| d.severity == Severity::Error)
        && setup.options.on_broken == Some(OnBroken::Error)
    {
        return Err(report);
    }
    if table.objects.is_empty() && names.objects > 0 {
        let message = format!(
            "`{path}`: 0 of {} annotations kept: the files have categories {}, the config wants {}",
            thousands(names.objects),
            listed(names.categories.iter().map(String::as_str)),
            listed(meta.classes.iter().map(String::as_str))
        );
        let mut finding = setup.file_error(message);
        // These files list no categories: a small set to test on may lack the classes.
        if !setup.test_mode() {
            return Err(vec![finding]);
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
        let size = match self.size(&root, &file_name) {
            Ok(size) => size,
            Err(why) => {
                tally.add(Found::UnreadPicture, || format!("{path}: {why}"));
                return;
            }
        };
        for (i, object) in root.all("object").enumerate() {
            seen.objects += 1;
            let name = || format!("{path}, number {}", i + 1);
            let Some(class) = object.text_of("name") else {
                tally.add(Found::BrokenObject, name);
                continue;
            };
            let Some(label) = self.labels.get(class) else {
                if seen.categories.len() < 100 && !seen.categories.iter().any(|c| c == class) {
                    seen.categories.push(class.to_owned());
                }
                tally.add(Found::OtherCategory, name);
                continue;
            };
            match self.object(object, *label) {
                Some(object) => table.objects.push(object),
                None => tally.add(Found::BrokenObject, name),
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

    /// The `size` element, or the picture's own size where there is none.
    fn size(&self, root: &Element, file_name: &str) -> Result<[u32; 2], String> {
        if let Some(size) = root.find("size") {
            let side = |name: &str| -> Result<u32, String> {
                let text = size.text_of(name).unwrap_or("");
                let side = number(text).filter(|v| (0.0..=1e9).contains(v));
                side.map(|v| v as u32)
                    .ok_or_else(|| format!("no good `{name}` in `size`"))
            };
            return Ok([side("width")?, side("height")?]);
        }
        let path = join(&self.places.pictures, file_name);
        let bytes = self
            .files
            .read(&path)
            .map_err(|why| format!("no `size`, and {path}: {why}"))?;
        let picture = decode(&path, &bytes, &DecodeOptions::default());
        let picture = picture.map_err(|error| format!("no `size`, and {error}"))?;
        Ok([picture.width() as u32, picture.height() as u32])
    }

    fn object(&self, object: &Element, label: u32) -> Option<Object> {
        let difficult = match object.text_of("difficult") {
            Some(text) => number(text)? != 0.0,
            None => false,
        };
        let frame = object.find("bndbox")?;
        let side = |name: &str| Some(number(frame.text_of(name)?)?.trunc() - self.minus);
        let [x1, y1, x2, y2] = [side("xmin")?, side("ymin")?, side("xmax")?, side("ymax")?];
        let small = self
            .least
            .is_some_and(|least| x2 - x1 < least || y2 - y1 < least);
        let bbox = [x1, y1, x2, y2].map(|v| v as f32);
        Some(Object::boxed(bbox, label, difficult || small))
    }
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|v: &f64| v.is_finite() && v.abs() < 1e9)
}
