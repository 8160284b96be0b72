//! [`BaseDetDataset`]: what all data sets of pictures share, as mmengine's `BaseDataset` and mmdet's `BaseDetDataset` have it: options,
//! paths, classes, the choice of pictures, and the pipeline with its retries.
//!
//! What a data set reads from its annotation file is a [`Table`]; the types differ in nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::paths::below;
use super::table::{Row, Table};
use super::tally::{Found, OnBroken, Tally, note, thousands};
use super::{Built, Dataset, MetaInfo, Noticed, SampleError, Skipped, Source, unloaded};
use crate::decode::DecodeOptions;
use crate::picture::Fault;
use crate::sample::{DataInfo, Sample};
use crate::transforms::{Context, Files, Transform, load};
use smalti_config::{
    Bounded, Diagnostic, Diagnostics, Kind, Node, Origin, Value, error_at, value_to_py,
};
use smalti_weights::{ProposalFile, proposal_key, read_proposals};

/// Options of every data set of pictures.
#[derive(Debug, Deserialize)]
pub(super) struct Options {
    pub ann_file: Option<String>,
    data_root: Option<String>,
    data_prefix: Option<Prefix>,
    metainfo: Option<Node>,
    pub filter_cfg: Option<Filter>,
    indices: Option<Indices>,
    #[serde(rename = "pipeline")]
    _pipeline: Option<Node>,
    pub test_mode: Option<bool>,
    max_refetch: Option<Bounded<0, 1000>>,
    /// Memory is shared between threads in any case.
    #[serde(rename = "serialize_data")]
    _serialize_data: Option<bool>,
    /// Nothing is read before it is asked for.
    #[serde(rename = "lazy_init")]
    _lazy_init: Option<bool>,
    #[serde(rename = "seg_map_suffix")]
    _seg_map_suffix: Option<String>,
    proposal_file: Option<String>,
    backend_args: Option<Node>,
    return_classes: Option<bool>,
    caption_prompt: Option<Node>,
    /// Of XML data sets.
    pub img_subdir: Option<String>,
    /// Of XML data sets.
    pub ann_subdir: Option<String>,
    /// A key of ours.
    pub on_broken: Option<OnBroken>,
}

#[derive(Debug, Default, Deserialize)]
struct Prefix {
    img: Option<String>,
    sub_data_root: Option<String>,
    /// Segmentation maps are not read.
    #[serde(rename = "seg")]
    _seg: Option<IgnoredAny>,
    /// The default of mmengine, which detection does not use.
    #[serde(rename = "img_path")]
    _img_path: Option<IgnoredAny>,
}

/// `filter_cfg`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Filter {
    filter_empty_gt: Option<bool>,
    min_size: Option<f64>,
    /// Of XML data sets: smaller objects are ignored.
    pub bbox_min_size: Option<f64>,
}

/// `indices`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an integer or a list of integers")]
enum Indices {
    /// The first so many, or the last.
    Some(i64),
    These(Vec<i64>),
}

/// What a config says of a data set, before any file is read.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    node: Node,
    kind: &'static str,
    pub options: Options,
    pipeline: Vec<Box<dyn Transform>>,
    pub notes: Noticed<'a>,
    names: Place<'a>,
    files: Place<'a>,
}

/// Where files are; those of class names are also where only the config is checked.
struct Place<'a>(Option<&'a dyn Files>);

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

/// The classes that a config wants.
pub(super) struct Wanted {
    pub meta: MetaInfo,
    /// They are to be taken from the annotation file.
    pub from_file: bool,
}

impl<'a> Setup<'a> {
    /// Reads the options and builds the pipeline; all mistakes of both.
    pub fn read(source: &Source<'a>) -> Result<Self, Diagnostics> {
        let node = source.node;
        let mut problems = Vec::new();
        let options = node.read::<Options>().map_err(|p| problems.extend(p)).ok();
        let steps = source.pipeline().map_err(|p| problems.extend(p)).ok();
        problems.extend(steps.as_ref().and_then(|steps| unloaded(node, steps)));
        let mut notes = Noticed::new(source);
        if let Some(options) = &options {
            problems.extend(options.conflicts(node));
            notes.extend(options.without_effect(node));
        }
        match (options, steps) {
            (Some(options), Some(pipeline)) if problems.is_empty() => Ok(Self {
                node: node.clone(),
                kind: source.kind,
                options,
                pipeline,
                notes,
                names: Place(source.names),
                files: Place(source.files),
            }),
            _ => Err(problems),
        }
    }

    /// `data_root` and `ann_file`.
    pub fn ann_file(&self) -> Result<String, Diagnostics> {
        match self.options.ann_file.as_deref() {
            None | Some("") => {
                let message = format!("`{}` needs `ann_file`", self.kind);
                Err(error_at(
                    &self.node,
                    "ann_file",
                    message,
                    "name the annotation file",
                ))
            }
            Some(path) => Ok(below(self.root(), path)),
        }
    }

    /// `data_prefix['img']` below `data_root`.
    pub fn pictures(&self) -> String {
        let prefix = self.options.data_prefix.as_ref();
        below(
            self.root(),
            prefix.and_then(|p| p.img.as_deref()).unwrap_or(""),
        )
    }

    /// `data_prefix['sub_data_root']` below `data_root`.
    pub fn sub_data_root(&self) -> String {
        let prefix = self.options.data_prefix.as_ref();
        match prefix.and_then(|p| p.sub_data_root.as_deref()) {
            Some(folder) => below(self.root(), folder),
            None => String::new(),
        }
    }

    fn root(&self) -> &str {
        self.options.data_root.as_deref().unwrap_or("")
    }

    /// `metainfo` over what the type itself says. `classes` may be a file of names, one a line.
    pub fn wanted(
        &mut self,
        known: &[(&str, [u8; 3])],
        files: Option<&dyn Files>,
    ) -> Result<Wanted, Diagnostics> {
        let mut meta = MetaInfo {
            classes: known.iter().map(|(name, _)| (*name).to_owned()).collect(),
            palette: known.iter().map(|(_, rgb)| *rgb).collect(),
            dataset_type: None,
        };
        let mut from_file = known.is_empty();
        let Some(given) = self.options.metainfo.clone().filter(|m| !m.is_none()) else {
            return Ok(Wanted { meta, from_file });
        };
        let Some(dict) = given.as_dict() else {
            let message = format!("`metainfo` is a dict, found {}", given.type_name());
            let help = "for example dict(classes=('a', 'b'))";
            let problems = error_at(&self.node, "metainfo", message, help).into_iter();
            return Err(problems.map(|p| p.comma(&given)).collect());
        };
        for name in ["CLASSES", "PALETTE"] {
            if let Some(node) = dict.get(name) {
                let help = format!("write `{}`", name.to_lowercase());
                let text = format!("`metainfo` has `{name}`, which nothing reads");
                self.notes
                    .push(Diagnostic::warning(text).at(&node.origin, "").help(help));
            }
        }
        let mut problems = Vec::new();
        if let Some(node) = dict.get("classes").filter(|n| !n.is_none()) {
            match self.classes(node, files) {
                Ok(classes) => {
                    from_file = classes.is_empty();
                    meta.classes = classes;
                }
                Err(found) => problems.extend(found),
            }
        }
        // A name of a palette ('coco', 'random') is for the drawing.
        if let Some(node) = dict.get("palette").filter(|n| n.as_str().is_none()) {
            match node.read::<Option<Vec<[u8; 3]>>>() {
                Ok(palette) => meta.palette = palette.unwrap_or_default(),
                Err(found) => problems.extend(found),
            }
        }
        if let Some(node) = dict.get("dataset_type") {
            meta.dataset_type = node.as_str().map(str::to_owned);
        }
        if problems.is_empty() {
            Ok(Wanted { meta, from_file })
        } else {
            Err(problems)
        }
    }

    fn classes(
        &mut self,
        node: &Node,
        files: Option<&dyn Files>,
    ) -> Result<Vec<String>, Diagnostics> {
        let Some(text) = node.as_str() else {
            return self.listed_classes(node);
        };
        let Some(files) = files.or(self.names.0) else {
            return Ok(vec![text.to_owned()]);
        };
        let why = match files.read(text) {
            Ok(bytes) => {
                let names = smalti_config::text_file::text(&bytes).map_err(|what| {
                    let message =
                        format!("the file of class names '{text}' cannot be read: {what}");
                    let error = Diagnostic::error(message).kind(Kind::File);
                    vec![error.at(&node.origin, "")]
                })?;
                return Ok(smalti_config::text_file::lines(&names)
                    .map(str::to_owned)
                    .collect());
            }
            Err(why) => why,
        };
        let (message, help) = match is_path(text) {
            true => (
                format!("the file of class names '{text}' cannot be read, so that its name is taken as the only class: {why}"),
                "its path begins at the folder in which the program runs; or write the names: classes=('a', 'b')".to_owned(),
            ),
            false => (
                format!("`classes` is the text '{text}', not a tuple: taken as one class"),
                format!("write ('{text}',), with a comma"),
            ),
        };
        let warning = Diagnostic::warning(message).at(&node.origin, "");
        self.notes.push(warning.help(help));
        Ok(vec![text.to_owned()])
    }

    /// Names; numbers are taken as text, as those of an annotation file are.
    fn listed_classes(&mut self, node: &Node) -> Result<Vec<String>, Diagnostics> {
        let is_number = |n: &&Node| matches!(n.value, Value::Int(_) | Value::Float(_));
        let items = node.as_items().unwrap_or_default();
        let Some(number) = items.iter().find(is_number) else {
            return node.read();
        };
        let text = format!(
            "`classes` has names that are no text, such as {}: taken as text",
            value_to_py(number)
        );
        self.notes
            .push(Diagnostic::warning(text).at(&number.origin, ""));
        let (mut names, mut problems) = (Vec::new(), Vec::new());
        for item in items {
            match item.value {
                Value::Int(_) | Value::Float(_) => names.push(value_to_py(item)),
                _ => match item.read() {
                    Ok(name) => names.push(name),
                    Err(found) => problems.extend(found),
                },
            }
        }
        if problems.is_empty() {
            Ok(names)
        } else {
            Err(problems)
        }
    }

    /// How the pipeline decodes pictures.
    pub fn decode_options(&self) -> DecodeOptions {
        let load = self.step("LoadImageFromFile");
        let load = load.and_then(|node| load::read(node).ok());
        load.unwrap_or_default().decode
    }

    /// Whether the pipeline loads masks as polygons, which run lengths are not.
    pub fn polygons_only(&self) -> bool {
        let load = self.step("LoadAnnotations");
        let is = |key: &str, value| load.and_then(|n| n.get(key)?.as_bool()) == Some(value);
        is("with_mask", true) && is("poly2mask", false)
    }

    /// The first step of that type.
    fn step(&self, name: &str) -> Option<&Node> {
        let is = |node: &&Node| {
            let kind = node.get("type").and_then(Node::as_type);
            kind.is_some_and(|kind| kind.rsplit('.').next() == Some(name))
        };
        self.node.get("pipeline")?.as_items()?.iter().find(is)
    }

    /// Whether `min_size` leaves a picture out.
    pub fn is_small(&self, row: &Row) -> bool {
        let side = f64::from(row.width.min(row.height));
        let least = self.filter().and_then(|f| f.min_size);
        side > 0.0 && least.is_some_and(|least| side < least)
    }

    /// `filter_cfg`, where it counts: not in test mode.
    pub fn filter(&self) -> Option<Filter> {
        self.options.filter_cfg.filter(|_| !self.test_mode())
    }

    pub fn test_mode(&self) -> bool {
        self.options.test_mode.unwrap_or(false)
    }

    /// An error about the annotation file.
    pub fn file_error(&self, message: impl Into<String>) -> Diagnostic {
        let at = self.node.get("ann_file").unwrap_or(&self.node);
        Diagnostic::error(message)
            .kind(Kind::File)
            .at(&at.origin, "")
    }

    /// Where notes about the annotation file point to.
    pub fn file_origin(&self) -> &smalti_config::Origin {
        &self.node.get("ann_file").unwrap_or(&self.node).origin
    }

    /// The data set of what was read; `empty` says which rows have nothing to learn from.
    pub fn finish(
        mut self,
        table: Table,
        meta: MetaInfo,
        path: &str,
        empty: impl Fn(usize) -> bool,
    ) -> Built {
        let filter = self.filter().unwrap_or_default();
        let (mut empties, mut small) = (0, 0);
        let mut picks = Vec::with_capacity(table.rows.len());
        for (i, row) in table.rows.iter().enumerate() {
            if filter.filter_empty_gt == Some(true) && empty(i) {
                empties += 1;
                continue;
            }
            if self.is_small(row) {
                small += 1;
                continue;
            }
            picks.push(i as u32);
        }
        let left = picks.len();
        let picks = self.choose(picks)?;
        if picks.is_empty() {
            let message = if table.rows.is_empty() && table.listed > 0 {
                format!(
                    "the data set is empty: none of the {} pictures of `{path}` can be used",
                    thousands(table.listed)
                )
            } else if table.rows.is_empty() {
                format!("the data set is empty: `{path}` has no pictures")
            } else {
                format!(
                    "the data set is empty: of {} pictures of `{path}` {} have no object (`filter_empty_gt`), {} are smaller \
                     than `min_size`, {} are left for `indices`",
                    thousands(table.rows.len()),
                    thousands(empties),
                    thousands(small),
                    thousands(left)
                )
            };
            return Err(vec![self.file_error(message)]);
        }
        let proposals = self.proposals(&table)?;
        let kept: usize = picks.iter().map(|i| table.objects(*i as usize).len()).sum();
        let summary = format!(
            "`{path}`: {} of {} pictures and {} objects, {:.1} MB in memory",
            thousands(picks.len()),
            thousands(table.rows.len()),
            thousands(kept),
            table.size_bytes() as f64 / 1e6
        );
        let at = self.file_origin().clone();
        let mut notes = std::mem::take(&mut self.notes.own);
        notes.insert(0, note(summary, &at));
        Ok(Some(Box::new(BaseDetDataset {
            kind: self.kind,
            test_mode: self.test_mode(),
            max_refetch: self.options.max_refetch.map_or(1000, Bounded::get),
            on_broken: self.options.on_broken,
            meta,
            table,
            picks,
            proposals,
            pipeline: self.pipeline,
            notes,
            file: (path.to_owned(), at),
            skipped: Mutex::default(),
            sizes: Mutex::default(),
        })))
    }

    /// What `proposal_file` has of the pictures, of each of which it must have something.
    fn proposals(&self, table: &Table) -> Result<Option<ProposalFile>, Diagnostics> {
        let given = self.options.proposal_file.as_deref();
        let (Some(given), Some(files)) = (given, self.files.0) else {
            return Ok(None);
        };
        let path = below(self.root(), given);
        let failed = |what: String, help: &str| {
            let message = format!("`{path}`: {what}");
            let problems = error_at(&self.node, "proposal_file", message, help).into_iter();
            Err(problems.map(|p| p.kind(Kind::File)).collect())
        };
        let read = files.read(&path).and_then(read_proposals);
        let found = match read {
            Ok(found) => found,
            Err(what) => {
                let help = "MMDetection's `DumpProposals` writes such files, and so does ours";
                return failed(what, help);
            }
        };
        let names = table
            .rows
            .iter()
            .map(|row| super::paths::join(&table.folder, &row.file_name));
        let missing = names
            .into_iter()
            .find(|name| !found.contains_key(proposal_key(name)));
        if let Some(name) = missing {
            let example = found.keys().min().map_or("none", String::as_str);
            let what = format!(
                "there are no proposals of `{}`, but of {} pictures such as `{example}`",
                proposal_key(&name),
                thousands(found.len()),
            );
            return failed(what, "pictures are known by their folder and name");
        }
        if found.len() != table.listed {
            let what = format!(
                "it has proposals of {} pictures, but the annotation file lists {}",
                thousands(found.len()),
                thousands(table.listed),
            );
            return failed(what, "make it for the same `ann_file`");
        }
        Ok(Some(found))
    }

    /// `indices` as Python takes them.
    fn choose(&self, picks: Vec<u32>) -> Result<Vec<u32>, Diagnostics> {
        let len = picks.len();
        match &self.options.indices {
            None => Ok(picks),
            Some(Indices::Some(n)) => {
                let count = usize::try_from(n.unsigned_abs()).unwrap_or(len).min(len);
                let part = if *n >= 0 { 0..count } else { len - count..len };
                Ok(picks[part].to_vec())
            }
            Some(Indices::These(list)) => {
                let one = |i: &i64| {
                    let from_end = if *i < 0 { len as i64 } else { 0 };
                    let at = usize::try_from(i.checked_add(from_end)?).ok()?;
                    picks.get(at).copied()
                };
                list.iter()
                    .map(|i| {
                        one(i).ok_or_else(|| {
                            let message =
                                format!("`indices` has {i}, but there are {len} pictures");
                            error_at(&self.node, "indices", message, "")
                        })
                    })
                    .collect()
            }
        }
    }
}

/// Whether a text names a file rather than a class: it has folders, or an ending such as `.txt`.
fn is_path(text: &str) -> bool {
    let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
    text.contains(['/', '\\']) || ["txt", "names", "csv", "json", "list", "lst"].contains(&ending)
}

impl Options {
    fn conflicts(&self, node: &Node) -> Diagnostics {
        let mut problems = Vec::new();
        let prompt = self.caption_prompt.as_ref().is_some_and(|p| !p.is_none());
        if prompt && self.return_classes != Some(true) {
            let message = "`caption_prompt` needs `return_classes=True`";
            problems.extend(error_at(node, "caption_prompt", message, ""));
        }
        problems
    }

    fn without_effect(&self, node: &Node) -> Vec<Diagnostic> {
        let mut notes = Vec::new();
        let mut add = |key: &str, text: String| {
            let at = node.get(key).unwrap_or(node);
            notes.push(note(text, &at.origin).kind(Kind::Unsupported));
        };
        if self.return_classes == Some(true) {
            add(
                "return_classes",
                "`return_classes` has no effect: detectors with text prompts are not there yet"
                    .into(),
            );
        }
        let backend = self.backend_args.as_ref().and_then(|b| b.get("backend"));
        if let Some(name) = backend.and_then(Node::as_str).filter(|b| *b != "local") {
            add(
                "backend_args",
                format!("`backend='{name}'` has no effect: files are read from disk"),
            );
        }
        notes
    }
}

/// A data set of pictures with objects: every type of the table that is no wrapper.
#[derive(Debug)]
pub struct BaseDetDataset {
    kind: &'static str,
    meta: MetaInfo,
    table: Table,
    /// Rows of the table, by index.
    picks: Vec<u32>,
    proposals: Option<ProposalFile>,
    pipeline: Vec<Box<dyn Transform>>,
    test_mode: bool,
    max_refetch: usize,
    on_broken: Option<OnBroken>,
    notes: Vec<Diagnostic>,
    /// The annotation file, and where the config names it.
    file: (String, Origin),
    skipped: Mutex<Skipped>,
    sizes: Mutex<OtherSizes>,
}

/// Pictures that turned out to be of another size than the annotation file says.
#[derive(Debug, Default)]
struct OtherSizes {
    /// Rows, each counted once.
    rows: BTreeSet<u32>,
    tally: Tally,
}

impl BaseDetDataset {
    /// Its `type`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Without a config.
    #[cfg(test)]
    pub(super) fn of(
        table: Table,
        pipeline: Vec<Box<dyn Transform>>,
        on_broken: Option<OnBroken>,
        test_mode: bool,
    ) -> Self {
        Self {
            kind: "CocoDataset",
            meta: MetaInfo::default(),
            picks: (0..table.rows.len() as u32).collect(),
            table,
            proposals: None,
            pipeline,
            test_mode,
            max_refetch: 1000,
            on_broken,
            notes: Vec::new(),
            file: (String::new(), Origin::made("a test")),
            skipped: Mutex::default(),
            sizes: Mutex::default(),
        }
    }

    /// Notes where the picture that was loaded is of another size than the file says.
    fn compare_size(&self, sample: &Sample) {
        let info = &sample.info;
        let (said, [height, width]) = ([info.width, info.height], sample.ori_shape);
        if said == [width, height] || said.contains(&0) || width == 0 || height == 0 {
            return;
        }
        let row = self.picks.get(info.index).copied();
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if row.is_some_and(|row| sizes.rows.insert(row)) {
            sizes.tally.add(Found::OtherSize, || {
                let [w, h] = said;
                format!("{}: {w}x{h}, its own {width}x{height}", info.img_path)
            });
        }
    }

    fn error(&self, index: usize, problem: Fault) -> SampleError {
        if let Fault::Other(error) = problem {
            return *error;
        }
        let row = self.picks.get(index).map(|row| *row as usize);
        let info = row.map(|row| &self.table.rows[row]);
        SampleError {
            path: info.map_or_else(String::new, |r| {
                super::paths::join(&self.table.folder, &r.file_name)
            }),
            id: info.map(|r| self.table.ids.get(r.id)),
            problem,
        }
    }
}

impl Dataset for BaseDetDataset {
    fn len(&self) -> usize {
        self.picks.len()
    }

    fn meta(&self) -> &MetaInfo {
        &self.meta
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        let mut info = self.table.info(self.picks[index] as usize, index);
        let found = self.proposals.as_ref();
        info.proposals = found.and_then(|p| p.get(proposal_key(&info.img_path)).cloned());
        Arc::new(info)
    }

    fn labels(&self, index: usize) -> Vec<i64> {
        let objects = self.table.objects(self.picks[index] as usize);
        objects.iter().map(|o| i64::from(o.label)).collect()
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        let mut at = index;
        for _ in 0..=self.max_refetch {
            if at >= self.len() {
                let text = format!("there is no sample {at}: the data set has {}", self.len());
                return Err(self.error(at, Fault::Transform(text)));
            }
            match cx.run_all(&self.pipeline, Sample::new(self.info(at))) {
                Ok(Some(sample)) => {
                    self.compare_size(&sample);
                    return Ok(Some(sample));
                }
                Ok(None) if self.test_mode => {
                    let text = "a test pipeline dropped the picture".into();
                    return Err(self.error(at, Fault::Transform(text)));
                }
                Ok(None) => {}
                Err(problem) if self.on_broken == Some(OnBroken::Skip) && !self.test_mode => {
                    let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                    skipped.add(self.error(at, problem));
                }
                Err(problem) => return Err(self.error(at, problem)),
            }
            let name = format!("{}.refetch", self.kind);
            let len = self.len() as i64;
            let drawn = cx.drawn(&name, |random| Ok(random.randint(0, len)?));
            at = drawn.map_err(|p| self.error(at, p))? as usize;
        }
        let text = format!(
            "the pipeline dropped it, and {} others in its place",
            self.max_refetch
        );
        Err(self.error(index, Fault::Transform(text)))
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &self.pipeline
    }

    fn set_pipeline(&mut self, steps: Vec<Box<dyn Transform>>) {
        self.pipeline = steps;
    }

    fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    fn noticed(&self) -> Vec<Diagnostic> {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, at) = &self.file;
        sizes.tally.report(path, at, None)
    }

    fn skipped(&self) -> Skipped {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.clone()
    }
}
