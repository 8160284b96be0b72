//! What a data set holds: counts by class, sizes, shapes, and what is wrong with it. As text with bars, and as JSON.
//!
//! Small, medium and large are COCO's (cocoapi, pycocotools/cocoeval.py): areas below 32^2, 96^2, and above.

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::datasets::MetaInfo;
use crate::draws_file::class_name;
use crate::sample::{DataInfo, Instance, Segmentation};

/// Upper ends of sizes, the square root of a box's area, px.
const SIZES: [f64; 11] = [
    4.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0,
];
/// Upper ends of width / height, and their names.
const ASPECTS: [(f64, &str); 11] = [
    (0.125, "1:8"),
    (0.25, "1:4"),
    (1.0 / 3.0, "1:3"),
    (0.5, "1:2"),
    (2.0 / 3.0, "2:3"),
    (0.8, "4:5"),
    (1.25, "5:4"),
    (1.5, "3:2"),
    (2.0, "2:1"),
    (3.0, "3:1"),
    (4.0, "4:1"),
];
/// Upper ends of boxes a picture.
const COUNTS: [f64; 9] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
/// Examples of every kind of fault that are kept.
const EXAMPLES: usize = 5;
/// Labels beyond the classes that are counted one by one.
const MOST_CLASSES: usize = 1 << 16;

/// Numbers of a data set. Fill it with [`Self::add`].
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Samples, as its length says.
    pub samples: usize,
    /// Different picture files.
    pub pictures: usize,
    /// Samples without a box that is to be learned.
    pub empty: usize,
    /// Smallest, mean and largest width, px, where the annotations say it.
    pub width: Range,
    /// The same of heights.
    pub height: Range,
    /// Boxes, those to be ignored included.
    pub boxes: usize,
    /// Of them crowds, or difficult ones: not learned.
    pub ignored: usize,
    /// With polygons.
    pub polygons: usize,
    /// With run lengths.
    pub run_lengths: usize,
    /// By class, in the order of labels.
    pub classes: Vec<Class>,
    /// COCO's areas: below 32^2, 96^2, above.
    pub coco_sizes: [usize; 3],
    /// Square root of the area, px.
    pub sizes: Histogram,
    /// Width / height.
    pub aspects: Histogram,
    /// Boxes a sample, ignored ones not counted.
    pub boxes_a_sample: Histogram,
    /// What is wrong.
    pub faults: Faults,
    #[serde(skip)]
    files: HashSet<u64>,
}

/// Boxes of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Boxes that are learned.
    pub boxes: usize,
    /// Samples that have one.
    pub samples: usize,
    /// Boxes that are ignored.
    pub ignored: usize,
    /// COCO's small, medium, large.
    pub coco_sizes: [usize; 3],
}

/// Smallest, mean, largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range {
    /// Smallest.
    pub least: usize,
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub most: usize,
    #[serde(skip)]
    count: usize,
}

impl Range {
    fn add(&mut self, value: usize) {
        self.least = match self.count {
            0 => value,
            _ => self.least.min(value),
        };
        self.most = self.most.max(value);
        self.count += 1;
        self.mean += (value as f64 - self.mean) / self.count as f64;
    }
}

/// Counts between limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Upper ends, exclusive; the last bin has none.
    pub limits: Vec<f64>,
    /// One more than limits.
    pub counts: Vec<usize>,
}

impl Histogram {
    fn new(limits: &[f64]) -> Self {
        Self {
            limits: limits.to_vec(),
            counts: vec![0; limits.len() + 1],
        }
    }

    fn add(&mut self, value: f64) {
        let bin = self.bin(value);
        self.counts[bin] += 1;
    }

    /// The place of the count that a value is in.
    pub fn bin(&self, value: f64) -> usize {
        self.limits.partition_point(|limit| *limit <= value)
    }
}

/// Kinds of faults.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Faults {
    /// Wholly outside of the picture.
    pub outside: Fault,
    /// They reach over the border by more than a pixel.
    pub over_the_border: Fault,
    /// No width or no height.
    pub degenerate: Fault,
    /// A value is not a number.
    pub not_finite: Fault,
    /// A label that no class has.
    pub unknown_class: Fault,
    /// The annotations say nothing of the picture's size.
    pub unknown_size: Fault,
    /// The picture's file is not there.
    pub missing_file: Fault,
}

/// A kind of [`Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The picture's file is not there.
    MissingFile,
    /// The annotations say nothing of the picture's size.
    UnknownSize,
    /// A box wholly outside of the picture.
    Outside,
    /// A box that reaches over the border by more than a pixel.
    OverTheBorder,
    /// A box without width or height.
    Degenerate,
    /// A box with a value that is not a number.
    NotFinite,
    /// A box of a label that no class has.
    UnknownClass,
}

impl FaultKind {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::MissingFile,
        Self::UnknownSize,
        Self::Outside,
        Self::OverTheBorder,
        Self::Degenerate,
        Self::NotFinite,
        Self::UnknownClass,
    ];

    /// What is wrong, of several.
    pub fn words(self) -> &'static str {
        match self {
            Self::MissingFile => "picture files are not there",
            Self::UnknownSize => "pictures of a size that the annotations do not say",
            Self::Outside => "boxes outside of the picture",
            Self::OverTheBorder => "boxes reach over the picture's border",
            Self::Degenerate => "boxes without width or height",
            Self::NotFinite => "boxes with a value that is not a number",
            Self::UnknownClass => "boxes of a label that no class has",
        }
    }

    /// What is wrong with the box of an object of a picture, its class aside.
    pub fn of_box(instance: &Instance, info: &DataInfo) -> Option<Self> {
        let [x1, y1, x2, y2] = instance.bbox.map(f64::from);
        let (w, h) = (x2 - x1, y2 - y1);
        let known = info.width > 0 && info.height > 0;
        let (width, height) = (info.width as f64, info.height as f64);
        if !instance.bbox.iter().all(|v| v.is_finite()) {
            Some(Self::NotFinite)
        } else if w <= 0.0 || h <= 0.0 {
            Some(Self::Degenerate)
        } else if known && (x2 <= 0.0 || y2 <= 0.0 || x1 >= width || y1 >= height) {
            Some(Self::Outside)
        } else if known && (x1 < -1.0 || y1 < -1.0 || x2 > width + 1.0 || y2 > height + 1.0) {
            Some(Self::OverTheBorder)
        } else {
            None
        }
    }
}

/// How often, and some examples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How often.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

impl Fault {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

impl Summary {
    /// Of nothing yet.
    pub fn new(meta: &MetaInfo) -> Self {
        let class = |name: &String| Class {
            name: name.clone(),
            ..Class::default()
        };
        Self {
            samples: 0,
            pictures: 0,
            empty: 0,
            width: Range::default(),
            height: Range::default(),
            boxes: 0,
            ignored: 0,
            polygons: 0,
            run_lengths: 0,
            classes: meta.classes.iter().map(class).collect(),
            coco_sizes: [0; 3],
            sizes: Histogram::new(&SIZES),
            aspects: Histogram::new(&ASPECTS.map(|(limit, _)| limit)),
            boxes_a_sample: Histogram::new(&COUNTS),
            faults: Faults::default(),
            files: HashSet::new(),
        }
    }

    /// Adds a sample; `exists` says whether a file is there, and is asked once a file. Gives what is wrong with the sample, each kind once; of a file
    /// that an earlier sample has, too, without what is wrong with the file.
    pub fn add(&mut self, info: &DataInfo, exists: &dyn Fn(&str) -> bool) -> Vec<FaultKind> {
        let mut found = Vec::new();
        let mut note = |kind: FaultKind| {
            if !found.contains(&kind) {
                found.push(kind);
            }
        };
        self.samples += 1;
        let mut hasher = DefaultHasher::new();
        info.img_path.hash(&mut hasher);
        if self.files.insert(hasher.finish()) {
            self.pictures += 1;
            if !exists(&info.img_path) {
                self.faults.missing_file.add(|| info.img_path.clone());
                note(FaultKind::MissingFile);
            }
            match (info.width, info.height) {
                (0, _) | (_, 0) => {
                    self.faults.unknown_size.add(|| info.img_path.clone());
                    note(FaultKind::UnknownSize);
                }
                (width, height) => {
                    self.width.add(width);
                    self.height.add(height);
                }
            }
        }
        let mut learned = 0;
        let mut classes = HashSet::new();
        for instance in &info.instances {
            self.boxes += 1;
            match instance.mask {
                Segmentation::None => {}
                Segmentation::Polygons(_) => self.polygons += 1,
                Segmentation::Rle { .. } => self.run_lengths += 1,
            }
            let [x1, y1, x2, y2] = instance.bbox.map(f64::from);
            let (w, h) = (x2 - x1, y2 - y1);
            let area = w.max(0.0) * h.max(0.0);
            let fault = FaultKind::of_box(instance, info);
            if let Some(kind) = fault {
                let example = || format!("{} ({x1}, {y1}, {x2}, {y2})", info.img_path);
                self.faults.of(kind).add(example);
                note(kind);
            }
            let size = match area {
                a if a < 1024.0 => 0,
                a if a < 9216.0 => 1,
                _ => 2,
            };
            let measured = fault != Some(FaultKind::NotFinite) && area > 0.0;
            if measured {
                self.coco_sizes[size] += 1;
                self.sizes.add(area.sqrt());
                self.aspects.add(w / h);
            }
            let Some(class) = self.class(instance.label) else {
                self.faults.unknown_class.add(|| {
                    let label = instance.label;
                    format!("{} (label {label})", info.img_path)
                });
                note(FaultKind::UnknownClass);
                continue;
            };
            if instance.ignore {
                class.ignored += 1;
            } else {
                class.boxes += 1;
                class.samples += usize::from(classes.insert(instance.label));
            }
            class.coco_sizes[size] += usize::from(measured);
            self.ignored += usize::from(instance.ignore);
            learned += usize::from(!instance.ignore);
        }
        self.empty += usize::from(learned == 0);
        // The first bin is 0 boxes, the second 1, ...
        self.boxes_a_sample.add(learned as f64);
        found
    }

    /// The row of a label; a data set whose classes are not known gets rows as labels come.
    fn class(&mut self, label: i64) -> Option<&mut Class> {
        let label = usize::try_from(label).ok().filter(|l| *l < MOST_CLASSES)?;
        let named = self.classes.iter().any(|c| !c.name.starts_with("class "));
        if label >= self.classes.len() && !named {
            for i in self.classes.len()..=label {
                self.classes.push(Class {
                    name: class_name(&[], i as i64),
                    ..Class::default()
                });
            }
        }
        self.classes.get_mut(label)
    }

    /// In a few lines.
    pub fn short(&self) -> String {
        let mut out = String::new();
        let plural = |n: usize, one: &str, many: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{} {many}", thousands(n)),
        };
        let _ = write!(
            out,
            "{}, {}, {}",
            plural(self.samples, "sample", "samples"),
            plural(self.boxes, "box", "boxes"),
            plural(self.classes.len(), "class", "classes")
        );
        if self.pictures != self.samples {
            let files = plural(self.pictures, "picture file", "picture files");
            let _ = write!(out, " ({files})");
        }
        for (n, what) in [
            (self.empty, "without boxes"),
            (self.ignored, "ignored boxes"),
        ] {
            if n > 0 {
                let _ = write!(out, ", {} {what}", thousands(n));
            }
        }
        let absent = self.classes.iter().filter(|c| c.boxes == 0).count();
        if absent > 0 && self.boxes > 0 {
            let _ = write!(out, ", {absent} of the classes without boxes");
        }
        for (fault, what) in self.faults.list() {
            if fault.count > 0 {
                let _ = write!(
                    out,
                    "\n  {what}: {}, for example {}",
                    thousands(fault.count),
                    fault.examples[0]
                );
            }
        }
        out
    }

    /// The whole, with bars.
    pub fn text(&self) -> String {
        let mut out = self.short();
        out.push('\n');
        if self.width.count > 0 {
            let (w, h) = (self.width, self.height);
            let _ = writeln!(
                out,
                "\npicture sizes  width {} to {}, mean {:.0}; height {} to {}, mean {:.0} px",
                w.least, w.most, w.mean, h.least, h.most, h.mean
            );
        }
        if self.polygons + self.run_lengths > 0 {
            let _ = writeln!(
                out,
                "masks          {} of polygons, {} of run lengths, {} boxes without",
                thousands(self.polygons),
                thousands(self.run_lengths),
                thousands(self.boxes - self.polygons - self.run_lengths)
            );
        }
        self.class_table(&mut out);
        if self.boxes == 0 {
            return out;
        }
        let [small, medium, large] = self.coco_sizes;
        let rows = [
            ("small  < 32 px", small),
            ("medium < 96 px", medium),
            ("large", large),
        ];
        bars(
            &mut out,
            "box sizes (square root of the area)",
            &rows.map(|(n, c)| (n.into(), c)),
        );
        bars(&mut out, "", &self.sizes.rows(|v| format!("{v} px"), false));
        let ratio = |v: f64| {
            let known = ASPECTS.iter().find(|(limit, _)| *limit == v);
            known.map_or_else(|| v.to_string(), |(_, name)| (*name).to_owned())
        };
        bars(
            &mut out,
            "box shapes (width : height)",
            &self.aspects.rows(ratio, false),
        );
        bars(
            &mut out,
            "boxes a picture, ignored ones not counted",
            &self.boxes_a_sample.rows(|v| format!("{v}"), true),
        );
        out
    }

    fn class_table(&self, out: &mut String) {
        let mut order: Vec<&Class> = self.classes.iter().collect();
        order.sort_by_key(|c| std::cmp::Reverse(c.boxes));
        let most = order.first().map_or(0, |c| c.boxes).max(1);
        let total = (self.boxes - self.ignored).max(1);
        let name_width = order.iter().map(|c| c.name.chars().count()).max();
        let name_width = name_width.unwrap_or(0).clamp(5, 28);
        let _ = writeln!(
            out,
            "\n{:name_width$}  {:>9}  {:>6}  {:>9}  {:>8}  {:>18}",
            "class", "boxes", "share", "pictures", "ignored", "small/medium/large"
        );
        for class in order {
            let name: String = class.name.chars().take(name_width).collect();
            let sum = class.coco_sizes.iter().sum::<usize>().max(1);
            let sizes = class
                .coco_sizes
                .map(|n| format!("{:.0}%", 100.0 * n as f64 / sum as f64));
            let line = format!(
                "{name:name_width$}  {:>9}  {:>5.1}%  {:>9}  {:>8}  {:>18}  {}",
                thousands(class.boxes),
                100.0 * class.boxes as f64 / total as f64,
                thousands(class.samples),
                thousands(class.ignored),
                sizes.join(" / "),
                bar(class.boxes, most, 30)
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

impl Faults {
    /// Each with what it is.
    pub fn list(&self) -> [(&Fault, &'static str); 7] {
        FaultKind::ALL.map(|kind| (self.get(kind), kind.words()))
    }

    /// Those of a kind.
    pub fn get(&self, kind: FaultKind) -> &Fault {
        match kind {
            FaultKind::MissingFile => &self.missing_file,
            FaultKind::UnknownSize => &self.unknown_size,
            FaultKind::Outside => &self.outside,
            FaultKind::OverTheBorder => &self.over_the_border,
            FaultKind::Degenerate => &self.degenerate,
            FaultKind::NotFinite => &self.not_finite,
            FaultKind::UnknownClass => &self.unknown_class,
        }
    }

    fn of(&mut self, kind: FaultKind) -> &mut Fault {
        match kind {
            FaultKind::MissingFile => &mut self.missing_file,
            FaultKind::UnknownSize => &mut self.unknown_size,
            FaultKind::Outside => &mut self.outside,
            FaultKind::OverTheBorder => &mut self.over_the_border,
            FaultKind::Degenerate => &mut self.degenerate,
            FaultKind::NotFinite => &mut self.not_finite,
            FaultKind::UnknownClass => &mut self.unknown_class,
        }
    }
}

impl Histogram {
    /// Bins by name, with their counts. `whole`: values are whole numbers.
    pub fn rows(&self, name: impl Fn(f64) -> String, whole: bool) -> Vec<(String, usize)> {
        let rows = self.counts.iter().enumerate().map(|(i, n)| {
            let low = if i == 0 {
                None
            } else {
                Some(self.limits[i - 1])
            };
            let title = match (low, self.limits.get(i)) {
                (None, Some(1.0)) if whole => "0".to_owned(),
                (Some(low), Some(high)) if whole && *high == low + 1.0 => name(low),
                (Some(low), Some(high)) if whole => format!("{low} to {}", high - 1.0),
                (None, Some(high)) => format!("< {}", name(*high)),
                (Some(low), Some(high)) => format!("{} to {}", name(low), name(*high)),
                (low, None) => format!("{} and more", name(low.unwrap_or(0.0))),
            };
            (title, *n)
        });
        rows.collect()
    }
}

fn bars(out: &mut String, heading: &str, rows: &[(String, usize)]) {
    let total = rows.iter().map(|r| r.1).sum::<usize>().max(1);
    let most = rows.iter().map(|r| r.1).max().unwrap_or(0).max(1);
    if !heading.is_empty() {
        let _ = writeln!(out, "\n{heading}");
    }
    // Empty bins at either end say nothing.
    let full = |row: &(String, usize)| row.1 > 0;
    let (Some(first), Some(last)) = (rows.iter().position(full), rows.iter().rposition(full))
    else {
        let _ = writeln!(out, "  none");
        return;
    };
    for (title, n) in &rows[first..=last] {
        let line = format!(
            "  {title:20} {:>9}  {:>5.1}%  {}",
            thousands(*n),
            100.0 * *n as f64 / total as f64,
            bar(*n, most, 40)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A bar of eighths of a letter; what is more than nothing is never invisible.
fn bar(n: usize, most: usize, letters: usize) -> String {
    const PARTS: [&str; 8] = [
        "", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}",
    ];
    let eighths = (n as f64 / most as f64 * (letters * 8) as f64).round() as usize;
    let eighths = eighths.max(usize::from(n > 0));
    format!("{}{}", "\u{2588}".repeat(eighths / 8), PARTS[eighths % 8])
}

/// 1,234,567.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::Xyxy;

    fn picture(name: &str, size: [usize; 2], boxes: &[(Xyxy, i64, bool)]) -> DataInfo {
        let instances = boxes.iter().map(|(bbox, label, ignore)| Instance {
            bbox: *bbox,
            label: *label,
            ignore: *ignore,
            mask: Segmentation::None,
        });
        DataInfo {
            img_path: name.into(),
            width: size[0],
            height: size[1],
            instances: instances.collect(),
            ..DataInfo::default()
        }
    }

    fn summary(classes: &[&str], pictures: &[DataInfo]) -> Summary {
        let classes = classes.iter().map(|c| (*c).to_owned()).collect();
        let meta = MetaInfo {
            classes,
            ..MetaInfo::default()
        };
        let mut summary = Summary::new(&meta);
        for picture in pictures {
            summary.add(picture, &|path| path != "gone.jpg");
        }
        summary
    }

    #[test]
    fn counts_what_is_there_and_what_is_wrong() {
        let nan = f32::NAN;
        let found = summary(
            &["cat", "dog", "cow"],
            &[
                picture(
                    "a.jpg",
                    [100, 100],
                    &[
                        ([0.0, 0.0, 10.0, 10.0], 0, false),
                        ([0.0, 0.0, 50.0, 25.0], 0, false),
                        ([0.0, 0.0, 100.0, 100.0], 1, true),
                        ([100.0, 0.0, 120.0, 10.0], 1, false),
                        ([90.0, 0.0, 120.0, 10.0], 1, false),
                        ([5.0, 5.0, 5.0, 9.0], 1, false),
                        ([nan, 5.0, 6.0, 9.0], 1, false),
                        ([1.0, 1.0, 2.0, 2.0], 7, false),
                        ([1.0, 1.0, 2.0, 2.0], -7, false),
                    ],
                ),
                picture("gone.jpg", [0, 0], &[]),
                picture("gone.jpg", [0, 0], &[]),
                picture("c.jpg", [300, 200], &[([0.0; 4], 0, true)]),
            ],
        );
        assert_eq!((found.samples, found.pictures, found.empty), (4, 3, 3));
        assert_eq!((found.boxes, found.ignored), (10, 2));
        let class = |i: usize| {
            (
                found.classes[i].boxes,
                found.classes[i].samples,
                found.classes[i].ignored,
            )
        };
        assert_eq!(
            [class(0), class(1), class(2)],
            [(2, 1, 1), (4, 1, 1), (0, 0, 0)]
        );
        let faults = found.faults.list().map(|(f, _)| f.count);
        assert_eq!(faults, [1, 1, 1, 1, 2, 1, 2]);
        assert_eq!(found.faults.missing_file.examples, ["gone.jpg"]);
        assert_eq!(
            found.coco_sizes,
            [5, 1, 1],
            "areas 100, 200, 300, 1, 1; 1250; 10000: {:?}",
            found.sizes
        );
        assert_eq!(
            (found.width.least, found.width.most, found.width.mean),
            (100, 300, 200.0)
        );
        assert_eq!(found.boxes_a_sample.counts[0], 3);
        let text = found.text();
        assert!(
            text.contains("boxes outside of the picture: 1, for example a.jpg (100, 0, 120, 10)"),
            "{text}"
        );
        assert!(text.contains("1 of the classes without boxes"), "{text}");
        serde_json::to_string(&found).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_picture() {
        let mut summary = summary(&["cat"], &[]);
        let far = ([20.0, 0.0, 30.0, 10.0], 0, false);
        let boxes = [far, far, ([5.0, 0.0, 12.0, 10.0], 3, false)];
        let info = picture("gone.jpg", [10, 10], &boxes);
        let mut add = || summary.add(&info, &|path| path != "gone.jpg");
        let of_boxes = [
            FaultKind::Outside,
            FaultKind::OverTheBorder,
            FaultKind::UnknownClass,
        ];
        assert_eq!(add(), [&[FaultKind::MissingFile], &of_boxes[..]].concat());
        assert_eq!(add(), of_boxes, "the file is told of once");
        let counts = FaultKind::ALL.map(|kind| summary.faults.get(kind).count);
        assert_eq!(counts, [1, 0, 4, 2, 0, 0, 2]);
    }

    #[test]
    fn classes_that_nobody_named() {
        let found = summary(
            &[],
            &[picture(
                "a.jpg",
                [9, 9],
                &[
                    ([0.0, 0.0, 4.0, 4.0], 2, false),
                    ([0.0, 0.0, 4.0, 4.0], i64::MAX, false),
                ],
            )],
        );
        assert_eq!(found.classes.len(), 3);
        assert_eq!(found.classes[2].boxes, 1);
        assert_eq!(found.faults.unknown_class.count, 1);
        assert!(
            summary(&[], &[])
                .text()
                .starts_with("0 samples, 0 boxes, 0 classes")
        );
    }

    #[test]
    fn bars_and_numbers() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(860_001), "860,001");
        assert_eq!(bar(8, 8, 2), "\u{2588}\u{2588}");
        assert_eq!(bar(1, 1000, 2), "\u{258f}");
        assert_eq!(bar(0, 1000, 2), "");
        let names = Histogram::new(&COUNTS).rows(|v| format!("{v}"), true);
        let names: Vec<_> = names.into_iter().map(|r| r.0).collect();
        assert_eq!(names[..6], ["0", "1", "2", "3 to 4", "5 to 9", "10 to 19"]);
        assert_eq!(names[9], "200 and more");
    }
}
