//! `CocoDataset` of mmdet 3.3 (datasets/coco.py), and what the data sets in COCO's form share with it.
//!
//! Which annotations count, and in which order, is MMDetection's: labels follow the order of the *file's* categories. Where MMDetection
//! fails on a broken file we go on with the rest and say what was left out (`on_broken='error'` does not).

use std::borrow::Cow;
use std::collections::HashMap;

use super::base::{Setup, Wanted};
use super::class_names::COCO;
use super::coco_file::{Annotation, Category, CocoFile, Form, Image, Keep, named};
use super::coco_masks::Flaw;
use super::pictures::Pictures;
use super::segments::Segments;
use super::table::{ById, Id, Ids, Object, Row, Table};
use super::tally::{Found, OnBroken, Tally, listed, thousands};
use super::{Built, Source};
use crate::coco::described;
use smalti_config::{Diagnostic, Severity};

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
    let failed = |setup: &Setup, what: String| vec![setup.file_error(format!("`{path}`: {what}"))];
    let input = files.open(&path).map_err(|e| failed(&setup, e))?;
    let keep = Keep {
        urls: rules.urls,
        ..Keep::default()
    };
    let file = CocoFile::read(input, keep);
    let mut file = file.map_err(|e| failed(&setup, e.to_string()))?;
    let mut tally = std::mem::take(&mut file.tally);
    let report = |tally: &Tally, setup: &Setup| {
        tally.report(&path, setup.file_origin(), setup.options.on_broken)
    };
    if file.categories.is_empty() {
        let what = match (file.has_categories, tally.is_empty()) {
            (false, _) => "the file has no `categories`",
            (true, true) => "`categories` is an empty list",
            (true, false) => "none of the `categories` can be used",
        };
        let mut problems = failed(&setup, format!("{what}, so that no annotation has a class"));
        problems.extend(report(&tally, &setup));
        return Err(problems);
    }
    let meaning = Labels::new(&file, rules, wanted, &path, &mut setup);
    if let Some(error) = meaning.no_match(&file, &path, &setup) {
        let mut problems = vec![error];
        problems.extend(report(&tally, &setup));
        return Err(problems);
    }
    let example = first_ids(&file);
    let annotations = thousands(file.annotations.len());
    let pictures = Pictures::new(&setup, files, setup.pictures());
    let read = sorted(file, rules, &meaning.by_id, &setup, &pictures, &mut tally);
    let report = report(&tally, &setup);
    if read.0.objects.is_empty() && tally.has_losses() && !setup.test_mode() {
        let what = format!("none of the {annotations} annotations can be used; {example}");
        let mut problems = failed(&setup, what);
        problems.extend(report);
        return Err(problems);
    }
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
    by_id: ById<Option<u32>>,
    meta: super::MetaInfo,
    from_file: bool,
}

impl Labels {
    fn new(file: &CocoFile, rules: &Rules, wanted: Wanted, path: &str, setup: &mut Setup) -> Self {
        let Wanted {
            mut meta,
            from_file,
        } = wanted;
        let mut categories: Vec<&Category> = file.categories.iter().collect();
        if rules.by_id {
            categories.sort_by_cached_key(|c| file.ids.get(c.id));
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
        let by_id = ById::new(by_id, &file.ids);
        let names = || labelled.iter().map(|c| c.name.as_str());
        let at = setup.file_origin().clone();
        let given = (!every).then_some(meta.classes.as_slice());
        let same = same_names(file, &labelled, given, path);
        let unique = same.is_none();
        setup.notes.extend(same.map(|d| d.at(&at, "")));
        if from_file {
            meta.classes = names().map(str::to_owned).collect();
            let text = format!(
                "the classes are the {} categories of the annotation file",
                meta.classes.len()
            );
            setup.notes.push(super::tally::note(text, &at));
        } else if unique
            && !labelled.is_empty()
            && !names().eq(meta.classes.iter().map(String::as_str))
        {
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
        if self.from_file || self.by_id.any(|label| label.is_some()) {
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

/// What is said of categories that share a name: each has a label of its own, as in MMDetection.
fn same_names(
    file: &CocoFile,
    labelled: &[&Category],
    classes: Option<&[String]>,
    path: &str,
) -> Option<Diagnostic> {
    let mut by_name: HashMap<&str, Vec<&Category>> = HashMap::new();
    for category in labelled {
        by_name.entry(&category.name).or_default().push(category);
    }
    let wrong = |name: &str, n: usize| {
        let named = classes.map(|c| c.iter().filter(|c| *c == name).count());
        named.filter(|named| *named != n)
    };
    let several = by_name.into_iter().filter(|(_, same)| same.len() > 1);
    let mut several: Vec<(&str, Vec<&Category>)> = several.collect();
    several.sort_by_key(|(name, same)| (wrong(name, same.len()).is_none(), *name));
    let (name, same) = several.first()?;
    let uses = file.uses();
    let id = |c: &Category| file.ids.get(c.id).json();
    let count = |c: &Category| uses.get(&file.ids.value(c.id)).copied().unwrap_or(0);
    let others = match several.len() - 1 {
        0 => String::new(),
        n => format!(", and so on for {n} other names"),
    };
    let classes = match wrong(name, same.len()) {
        None => "each is a class of its own".to_owned(),
        Some(n) => format!(
            "each has a label of its own, as in MMDetection, but `classes` has the name {}, so labels and classes do not agree",
            if n == 1 {
                "once".into()
            } else {
                format!("{n} times")
            }
        ),
    };
    let text = format!(
        "`{path}`: {} categories are named `{name:.40}` ({}{others}): {classes}",
        same.len(),
        described(same.iter().map(|c| (id(c), count(c))))
    );
    let unused: Vec<String> = same
        .iter()
        .filter(|c| count(c) == 0)
        .map(|c| id(c))
        .collect();
    let help = if same.len() - unused.len() == 1 {
        format!(
            "remove category {} from the file: no annotation has it",
            unused.join(", ")
        )
    } else {
        "give each a `name` of its own in the file; or, if they are one class, give their annotations one `category_id` and remove the \
         other categories"
            .to_owned()
    };
    Some(Diagnostic::warning(text).help(help))
}

/// The ids of the first annotation, picture and category, to see where they differ.
fn first_ids(file: &CocoFile) -> String {
    let shown = |id: Option<Id>| id.map_or("none".into(), |id| file.ids.get(id).json());
    let annotation = file.annotations.first();
    format!(
        "the first has the `image_id` {} and the `category_id` {}, the first picture the `id` {}, the first category the `id` {}",
        shown(annotation.and_then(|a| a.image)),
        shown(annotation.and_then(|a| a.category)),
        shown(file.images.first().and_then(|i| i.id)),
        shown(file.categories.first().map(|c| c.id))
    )
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
    labels: &ById<Option<u32>>,
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
    let listed = images.len();
    let mut listing = Listing::new(images, rules, &ids, tally);
    same_ids(&annotations, &|id| ids.get(id).to_string(), tally);
    let doubtful = listing.doubtful(&annotations, &ids, &segments, setup);
    pictures.compare(&mut listing.rows, doubtful, tally);
    listing.count_sizeless(&ids, tally);
    let polygons_only = setup.polygons_only();

    let mut wanted = vec![false; listing.rows.len()];
    let mut kept: Vec<(u32, Object)> = Vec::with_capacity(annotations.len());
    for (i, annotation) in annotations.iter().enumerate() {
        let name = || named(&ids, annotation.id, i);
        let (row, label) = meant(annotation, &listing, labels, &ids, &name, tally);
        if let (Some(row), Some(Some(_))) = (row, label) {
            wanted[row] = true;
        }
        let (row, mut object) = match listing.place(annotation, row, label) {
            Ok(placed) => placed,
            Err(why) => {
                why.into_iter().for_each(|found| tally.add(found, name));
                continue;
            }
        };
        if annotation.area.is_none() {
            tally.add(Found::MissingArea, name);
        }
        let no_runs = polygons_only && !object.ignore;
        if let Some((found, what)) = oddity(annotation, &listing.rows[row], &segments, no_runs) {
            if found == Found::OtherMaskSize {
                object.segmentation = segments.broken();
            }
            tally.add(found, || match what {
                Some(what) => format!("{}: {what}", name()),
                None => name(),
            });
        }
        kept.push((row as u32, object));
    }
    drop(annotations);
    let objects = by_row(&mut listing.rows, &kept);
    let table = Table {
        rows: listing.rows,
        objects,
        segments,
        ids,
        folder: String::new(),
        listed,
    };
    (table, wanted)
}

/// The pictures that a file lists.
struct Listing {
    rows: Vec<Row>,
    row_of: ById<usize>,
    /// Pictures that are left out on purpose keep their annotations from counting as lost.
    left_out: Vec<Id>,
}

impl Listing {
    fn new(images: Vec<Image>, rules: &Rules, ids: &Ids, tally: &mut Tally) -> Self {
        let mut rows: Vec<Row> = Vec::with_capacity(images.len());
        let mut row_of: HashMap<Id, usize> = HashMap::with_capacity(images.len());
        let mut left_out = Vec::new();
        for (i, image) in images.iter().enumerate() {
            let name = || named(ids, image.id, i);
            let (Some(id), Some(_)) = (image.id, &image.file_name) else {
                tally.add(Found::KeylessPicture, name);
                continue;
            };
            let Some(file_name) = (rules.file_name)(image) else {
                tally.add(Found::KnownMissing, name);
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
                    tally.add(Found::SamePicture, || {
                        let [first, later] = [&rows[*first].file_name, &row.file_name];
                        format!("{}: {first}, then {later}", name())
                    });
                    rows[*first] = row;
                }
                None => {
                    row_of.insert(id, rows.len());
                    rows.push(row);
                }
            }
        }
        drop(images);
        Self {
            rows,
            row_of: ById::new(row_of, ids),
            left_out,
        }
    }

    /// Of each row, whether the size that the file says is to be compared with the picture's.
    fn doubtful(
        &self,
        annotations: &[Annotation],
        ids: &Ids,
        segments: &Segments,
        setup: &Setup,
    ) -> Vec<bool> {
        let mut doubtful: Vec<bool> = self.rows.iter().map(|row| setup.is_small(row)).collect();
        for annotation in annotations {
            let row = annotation.image.and_then(|id| self.row_of.find(id, ids));
            if let Some((row, _)) = row {
                doubtful[row] |= !fits(annotation, &self.rows[row], segments);
            }
        }
        doubtful
    }

    fn count_sizeless(&self, ids: &Ids, tally: &mut Tally) {
        let sizeless = |row: &&Row| row.width == 0 || row.height == 0;
        for row in self.rows.iter().filter(sizeless) {
            tally.add(Found::SizelessPicture, || ids.get(row.id).to_string());
        }
    }

    /// The object of an annotation and its row; or why it is left out: `None` if its picture is, on purpose.
    fn place(
        &self,
        annotation: &Annotation,
        row: Option<usize>,
        label: Option<Option<u32>>,
    ) -> Result<(usize, Object), Option<Found>> {
        if annotation.ignore {
            return Err(Some(Found::Ignored));
        }
        let row = match (annotation.image, row) {
            (_, Some(row)) => row,
            (Some(id), None) if self.left_out.contains(&id) => return Err(None),
            (Some(_), None) => return Err(Some(Found::MissingPicture)),
            (None, None) => return Err(Some(Found::Keyless)),
        };
        let label = match (annotation.category, label) {
            (_, Some(Some(label))) => label,
            (_, Some(None)) => return Err(Some(Found::OtherCategory)),
            (Some(_), None) => return Err(Some(Found::UnknownCategory)),
            (None, None) => return Err(Some(Found::Keyless)),
        };
        Ok((row, object(annotation, &self.rows[row], label)?))
    }
}

/// The row of an annotation's picture and the label of its category, each `None` if the file has no such thing. Counts ids that are a
/// text where the other is a number, or the other way round.
fn meant(
    annotation: &Annotation,
    listing: &Listing,
    labels: &ById<Option<u32>>,
    ids: &Ids,
    name: &dyn Fn() -> String,
    tally: &mut Tally,
) -> (Option<usize>, Option<Option<u32>>) {
    let mut mixed = |id: Id, by: Id, [text, number]: [Found; 2]| {
        if id != by {
            let found = if ids.is_text(id) { text } else { number };
            tally.add(found, || {
                let pair = [id, by].map(|id| ids.get(id).json()).join(" for ");
                format!("{}: {pair}", name())
            });
        }
    };
    let row = annotation.image.and_then(|id| {
        let (row, by) = listing.row_of.find(id, ids)?;
        mixed(id, by, [Found::TextImageId, Found::NumberImageId]);
        Some(row)
    });
    let label = annotation.category.and_then(|id| {
        let (label, by) = labels.find(id, ids)?;
        mixed(id, by, [Found::TextCategoryId, Found::NumberCategoryId]);
        Some(label)
    });
    (row, label)
}

/// What is odd about the segmentation of an annotation, perhaps with details; `no_runs`: run lengths are, too.
fn oddity(
    annotation: &Annotation,
    row: &Row,
    segments: &Segments,
    no_runs: bool,
) -> Option<(Found, Option<String>)> {
    let flawed = |found, flaw: Flaw| Some((found, Some(flaw.words().to_owned())));
    match annotation.form {
        Form::Good => None,
        Form::Flat => Some((Found::FlatPolygon, None)),
        Form::Nested => Some((Found::NestedPolygon, None)),
        Form::Part(flaw) => flawed(Found::PartOfMask, flaw),
        Form::Broken(flaw) => flawed(Found::BrokenMask, flaw),
        Form::Runs => match other_size(annotation, row, segments) {
            Some([w, h]) => {
                let [width, height] = [row.width, row.height];
                let what = format!("{w}x{h}, the picture {width}x{height}");
                Some((Found::OtherMaskSize, Some(what)))
            }
            None => no_runs.then_some((Found::RunLengths, None)),
        },
    }
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
