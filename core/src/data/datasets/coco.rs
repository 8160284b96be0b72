//! `CocoDataset` of mmdet 3.3 (datasets/coco.py), and what the data sets in COCO's form share with it.
//!
//! Which annotations count, and in which order, is MMDetection's: labels follow the order of the *file's* categories. Where MMDetection
//! fails on a broken file we go on with the rest and say what was left out (`on_broken='error'` does not).

use std::borrow::Cow;
use std::collections::HashMap;

use super::base::{Setup, Wanted};
use super::class_names::COCO;
use super::coco_file::{Annotation, Category, CocoFile, Form, Image};
use super::coco_masks::Flaw;
use super::pictures::Pictures;
use super::segments::Segments;
use super::table::{Id, Object, Row, Table};
use super::tally::{Found, OnBroken, Tally, listed, thousands};
use super::{Built, Source};
use crate::config::{Diagnostic, Severity};

/// In what a data set of COCO's form differs from `CocoDataset`.
pub(super) struct Rules {
    /// `METAINFO`; none: the classes are the file's categories.
    pub classes: &'static [(&'static str, [u8; 3])],
    /// Every category of the file has a label, whatever the classes are.
    pub all_categories: bool,
    /// Categories are taken in the order of their ids.
    pub by_id: bool,
    /// `coco_url` is read.
    pub urls: bool,
    /// The file of a picture; `None` leaves the picture out.
    pub file_name: fn(&Image) -> Option<Cow<'_, str>>,
    /// A picture with crowds only counts as empty.
    pub crowds_are_empty: bool,
}

/// `CocoDataset`.
pub(super) const RULES: Rules = Rules {
    classes: COCO,
    all_categories: false,
    by_id: false,
    urls: false,
    file_name,
    crowds_are_empty: false,
};

/// `file_name` as it is.
pub(super) fn file_name(image: &Image) -> Option<Cow<'_, str>> {
    image.file_name.as_deref().map(Cow::Borrowed)
}

/// `CocoDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    build_with(source, &RULES)
}

/// A data set of COCO's form.
pub(super) fn build_with(source: &Source<'_>, rules: &Rules) -> Built {
    let mut setup = Setup::read(source)?;
    let path = setup.ann_file()?;
    let wanted = setup.wanted(rules.classes, source.files)?;
    let Some(files) = source.files else {
        return Ok(None);
    };
    let failed = |what: String| vec![setup.file_error(format!("`{path}`: {what}"))];
    let input = files.open(&path).map_err(failed)?;
    let file = CocoFile::read(input, rules.urls).map_err(|e| failed(e.to_string()))?;
    if !file.has_categories || file.categories.is_empty() {
        let what = "the file has no `categories`, so that no annotation has a class";
        return Err(failed(what.into()));
    }
    let meaning = Labels::new(&file, rules, wanted, &mut setup);
    if let Some(error) = meaning.no_match(&file, &path, &setup) {
        return Err(vec![error]);
    }
    let mut tally = Tally::default();
    let pictures = Pictures::new(&setup, files, setup.pictures());
    let read = sorted(file, rules, &meaning.by_id, &setup, &pictures, &mut tally);
    let report = tally.report(&path, setup.file_origin(), setup.options.on_broken);
    if setup.options.on_broken == Some(OnBroken::Error)
        && report.iter().any(|d| d.severity == Severity::Error)
    {
        return Err(report);
    }
    setup.notes.extend(report);
    let (mut table, wanted) = read;
    table.folder = setup.pictures();
    let empty = |table: &Table, row: usize| {
        let crowds = rules.crowds_are_empty && table.objects(row).iter().all(|o| o.ignore);
        !wanted[row] || crowds
    };
    let empties: Vec<bool> = (0..table.rows.len())
        .map(|row| empty(&table, row))
        .collect();
    setup.finish(table, meaning.meta, &path, |row| empties[row])
}

/// Which category has which label.
struct Labels {
    by_id: HashMap<Id, Option<u32>>,
    meta: super::MetaInfo,
    from_file: bool,
}

impl Labels {
    fn new(file: &CocoFile, rules: &Rules, wanted: Wanted, setup: &mut Setup) -> Self {
        let Wanted {
            mut meta,
            from_file,
        } = wanted;
        let mut categories: Vec<&Category> = file.categories.iter().collect();
        if rules.by_id {
            categories.sort_by_key(|c| c.id);
        }
        let mut by_id: HashMap<Id, Option<u32>> = HashMap::new();
        for category in &categories {
            by_id.entry(category.id).or_insert(None);
        }
        let every = from_file || rules.all_categories;
        if rules.all_categories {
            // A dict by id: a later entry of the same id renames the first.
            let mut seen: Vec<&Category> = Vec::new();
            for category in categories {
                match seen.iter_mut().find(|c| c.id == category.id) {
                    Some(first) => *first = category,
                    None => seen.push(category),
                }
            }
            categories = seen;
        }
        let named = |c: &&Category| every || meta.classes.contains(&c.name);
        let labelled: Vec<&Category> = categories.into_iter().filter(named).collect();
        for (label, category) in labelled.iter().enumerate() {
            by_id.insert(category.id, Some(label as u32));
        }
        let names = || labelled.iter().map(|c| c.name.as_str());
        let at = setup.file_origin().clone();
        if from_file {
            meta.classes = names().map(str::to_owned).collect();
            let text = format!(
                "the classes are the {} categories of the annotation file",
                meta.classes.len()
            );
            setup.notes.push(super::tally::note(text, &at));
        } else if !labelled.is_empty() && !names().eq(meta.classes.iter().map(String::as_str)) {
            let missing: Vec<&str> = meta
                .classes
                .iter()
                .map(String::as_str)
                .filter(|c| !names().any(|n| n == *c))
                .collect();
            let text = if missing.is_empty() {
                "the file's categories are in another order than `classes`: labels follow the file, as in MMDetection, \
                 so names and labels do not agree".to_owned()
            } else {
                format!(
                    "the file lacks {} of {} classes: labels count the others, as in MMDetection",
                    listed(missing.iter().copied()),
                    meta.classes.len()
                )
            };
            let help = format!("classes=({}) is the file's order", quoted(names()));
            setup
                .notes
                .push(Diagnostic::warning(text).at(&at, "").help(help));
        }
        Self {
            by_id,
            meta,
            from_file,
        }
    }

    /// An error if no category is wanted.
    fn no_match(&self, file: &CocoFile, path: &str, setup: &Setup) -> Option<Diagnostic> {
        if self.from_file || self.by_id.values().any(Option::is_some) {
            return None;
        }
        let message = format!(
            "`{path}`: 0 of {} annotations kept: the file has categories {}, the config wants {}",
            thousands(file.annotations.len()),
            listed(file.categories.iter().map(|c| c.name.as_str())),
            listed(self.meta.classes.iter().map(String::as_str))
        );
        let names = quoted(file.categories.iter().map(|c| c.name.as_str()));
        Some(
            setup
                .file_error(message)
                .help(format!("write metainfo=dict(classes=({names}))")),
        )
    }
}

/// Names as items of a tuple.
fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text: Vec<String> = names.take(13).map(|n| format!("'{n:.40}'")).collect();
    if text.len() == 13 {
        text[12] = "...".into();
    }
    if text.len() == 1 {
        format!("{},", text[0])
    } else {
        text.join(", ")
    }
}

/// Pictures with their objects, and which pictures have an annotation of a wanted category, whatever else is wrong with it.
fn sorted(
    file: CocoFile,
    rules: &Rules,
    labels: &HashMap<Id, Option<u32>>,
    setup: &Setup,
    pictures: &Pictures<'_>,
    tally: &mut Tally,
) -> (Table, Vec<bool>) {
    let CocoFile {
        images,
        annotations,
        ids,
        mut segments,
        ..
    } = file;
    for _ in 0..file.broken_categories {
        tally.add(Found::BrokenCategory, || "one".into());
    }
    let name = |id: Option<Id>, i: usize| match id {
        Some(id) => ids.get(id).to_string(),
        None => format!("number {}", i + 1),
    };
    let mut rows: Vec<Row> = Vec::with_capacity(images.len());
    let mut row_of: HashMap<Id, usize> = HashMap::with_capacity(images.len());
    // Pictures that are left out on purpose keep their annotations from counting as lost.
    let mut left_out = Vec::new();
    for (i, image) in images.iter().enumerate() {
        let (Some(id), Some(_)) = (image.id, &image.file_name) else {
            tally.add(Found::KeylessPicture, || name(image.id, i));
            continue;
        };
        let Some(file_name) = (rules.file_name)(image) else {
            tally.add(Found::KnownMissing, || name(image.id, i));
            left_out.push(id);
            continue;
        };
        let size = image.size.map(|v| v as u32);
        let row = Row {
            id,
            file_name: file_name.into(),
            width: size[0],
            height: size[1],
            end: 0,
        };
        match row_of.get(&id) {
            Some(first) => {
                tally.add(Found::SamePicture, || name(image.id, i));
                rows[*first] = row;
            }
            None => {
                row_of.insert(id, rows.len());
                rows.push(row);
            }
        }
    }
    let listed = images.len();
    drop(images);
    same_ids(&annotations, &|id| ids.get(id).to_string(), tally);
    let mut doubtful: Vec<bool> = rows.iter().map(|row| setup.is_small(row)).collect();
    for annotation in &annotations {
        let row = annotation.image.and_then(|id| row_of.get(&id));
        if let Some(row) = row {
            doubtful[*row] |= !fits(annotation, &rows[*row], &segments);
        }
    }
    pictures.compare(&mut rows, doubtful, tally);
    for row in rows.iter().filter(|r| r.width == 0 || r.height == 0) {
        tally.add(Found::SizelessPicture, || ids.get(row.id).to_string());
    }
    let polygons_only = setup.polygons_only();

    let mut wanted = vec![false; rows.len()];
    let mut kept: Vec<(u32, Object)> = Vec::with_capacity(annotations.len());
    for (i, annotation) in annotations.iter().enumerate() {
        let mut count = |found| tally.add(found, || name(annotation.id, i));
        let row = annotation
            .image
            .map(|id| row_of.get(&id).copied().ok_or(id));
        let category = annotation.category;
        let label = category.and_then(|id| labels.get(&id));
        if let (Some(Ok(row)), Some(Some(_))) = (row, label) {
            wanted[row] = true;
        }
        if annotation.ignore {
            count(Found::Ignored);
            continue;
        }
        let row = match row {
            Some(Ok(row)) => row,
            Some(Err(id)) if left_out.contains(&id) => continue,
            Some(Err(_)) => {
                count(Found::MissingPicture);
                continue;
            }
            None => {
                count(Found::Keyless);
                continue;
            }
        };
        let label = match (category, label) {
            (None, _) => Err(Found::Keyless),
            (_, None) => Err(Found::UnknownCategory),
            (_, Some(None)) => Err(Found::OtherCategory),
            (_, Some(Some(label))) => Ok(*label),
        };
        match label.and_then(|label| object(annotation, &rows[row], label)) {
            Ok(mut object) => {
                if annotation.area.is_none() {
                    count(Found::MissingArea);
                }
                let flawed = |found, flaw: Flaw| Some((found, Some(flaw.words().to_owned())));
                let odd = match annotation.form {
                    Form::Good => None,
                    Form::Flat => Some((Found::FlatPolygon, None)),
                    Form::Nested => Some((Found::NestedPolygon, None)),
                    Form::Part(flaw) => flawed(Found::PartOfMask, flaw),
                    Form::Broken(flaw) => flawed(Found::BrokenMask, flaw),
                    Form::Runs => match other_size(annotation, &rows[row], &segments) {
                        Some([w, h]) => {
                            object.segmentation = segments.broken();
                            let [width, height] = [rows[row].width, rows[row].height];
                            let what = format!("{w}x{h}, the picture {width}x{height}");
                            Some((Found::OtherMaskSize, Some(what)))
                        }
                        None if polygons_only && !object.ignore => Some((Found::RunLengths, None)),
                        None => None,
                    },
                };
                if let Some((found, what)) = odd {
                    tally.add(found, || match what {
                        Some(what) => format!("{}: {what}", name(annotation.id, i)),
                        None => name(annotation.id, i),
                    });
                }
                kept.push((row as u32, object));
            }
            Err(found) => count(found),
        }
    }
    drop(annotations);
    let objects = by_row(&mut rows, &kept);
    let table = Table {
        rows,
        objects,
        segments,
        ids,
        folder: String::new(),
        listed,
    };
    (table, wanted)
}

/// Whether an annotation fits into a picture of the size that the file says.
fn fits(annotation: &Annotation, row: &Row, segments: &Segments) -> bool {
    let [width, height] = [row.width, row.height].map(|v| f64::from(v) + 1.0);
    let inside = annotation
        .bbox
        .is_none_or(|[x, y, w, h]| !(x + w > width || y + h > height));
    inside && other_size(annotation, row, segments).is_none()
}

/// The size of an annotation's run lengths, if it is not the picture's.
fn other_size(annotation: &Annotation, row: &Row, segments: &Segments) -> Option<[u64; 2]> {
    if annotation.form != Form::Runs || row.width == 0 || row.height == 0 {
        return None;
    }
    let size = segments.size(annotation.segmentation)?;
    (size != [row.width, row.height].map(u64::from)).then_some(size)
}

/// The object of an annotation, by the rules of MMDetection's `parse_data_info`.
fn object(annotation: &Annotation, row: &Row, label: u32) -> Result<Object, Found> {
    let Some([x, y, w, h]) = annotation.bbox else {
        return Err(Found::Keyless);
    };
    if [x, y, w, h].iter().any(|v| !v.is_finite()) {
        return Err(Found::NotFinite);
    }
    if w < 1.0 || h < 1.0 {
        return Err(Found::Thin);
    }
    let [width, height] = [row.width, row.height].map(f64::from);
    let inside = |from: f64, length: f64, end: f64| (from + length).min(end) - from.max(0.0);
    let sized = width > 0.0 && height > 0.0;
    // Their product is 0 also where it is too small for a number.
    if sized && inside(x, w, width).max(0.0) * inside(y, h, height).max(0.0) == 0.0 {
        return Err(Found::Outside);
    }
    if annotation.area.is_some_and(|area| area <= 0.0) {
        return Err(Found::NoArea);
    }
    let bbox = [x, y, x + w, y + h].map(|v| v as f32);
    if bbox.iter().any(|v| !v.is_finite()) {
        return Err(Found::NotFinite);
    }
    Ok(Object {
        bbox,
        label,
        ignore: annotation.crowd,
        segmentation: annotation.segmentation,
    })
}

/// Objects in the order of their rows, in each row in the file's order.
fn by_row(rows: &mut [Row], kept: &[(u32, Object)]) -> Vec<Object> {
    let mut next = vec![0u32; rows.len() + 1];
    for (row, _) in kept {
        next[*row as usize + 1] += 1;
    }
    for i in 1..next.len() {
        next[i] += next[i - 1];
    }
    for (row, end) in rows.iter_mut().zip(&next[1..]) {
        row.end = *end;
    }
    let nothing = Object::boxed([0.0; 4], 0, false);
    let mut objects = vec![nothing; kept.len()];
    for (row, object) in kept {
        let at = &mut next[*row as usize];
        objects[*at as usize] = *object;
        *at += 1;
    }
    objects
}

fn same_ids(annotations: &[Annotation], name: &dyn Fn(Id) -> String, tally: &mut Tally) {
    let rising = |a: &Annotation, b: &Annotation| a.id < b.id;
    if annotations
        .windows(2)
        .all(|pair| rising(&pair[0], &pair[1]))
    {
        return;
    }
    let mut ids: Vec<Id> = annotations.iter().filter_map(|a| a.id).collect();
    ids.sort_unstable();
    for pair in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
        tally.add(Found::SameId, || name(pair[0]));
    }
}
