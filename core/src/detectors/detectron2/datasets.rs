//! The data sets that Detectron2 has by name (data/datasets/builtin.py), below `$DETECTRON2_DATASETS`, as ours are described.

/// In which form a data set's annotations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Coco,
    /// COCO's people, without their keypoints.
    Person,
    Lvis1,
    Lvis05,
    /// Pascal VOC of this year.
    Voc(u16),
}

/// A data set: pictures and annotations below the folder of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub form: Form,
    pub pictures: String,
    pub annotations: String,
}

/// COCO's parts: what follows the year in a name, the folder of pictures, and the file where it is not `instances_PART.json`.
const COCO: [(&str, &str, Option<&str>); 9] = [
    ("2014_train", "train2014", None),
    ("2014_val", "val2014", None),
    ("2014_minival", "val2014", Some("minival2014")),
    (
        "2014_valminusminival",
        "val2014",
        Some("valminusminival2014"),
    ),
    ("2017_train", "train2017", None),
    ("2017_val", "val2017", None),
    ("2017_val_100", "val2017", Some("val2017_100")),
    ("2017_test", "test2017", Some("image_info_test2017")),
    ("2017_test-dev", "test2017", Some("image_info_test-dev2017")),
];

/// LVIS' parts: version, part, file.
const LVIS: [(&str, Form, &str); 8] = [
    ("v1_train", Form::Lvis1, "lvis_v1_train"),
    ("v1_val", Form::Lvis1, "lvis_v1_val"),
    ("v1_test_dev", Form::Lvis1, "lvis_v1_image_info_test_dev"),
    (
        "v1_test_challenge",
        Form::Lvis1,
        "lvis_v1_image_info_test_challenge",
    ),
    ("v0.5_train", Form::Lvis05, "lvis_v0.5_train"),
    ("v0.5_val", Form::Lvis05, "lvis_v0.5_val"),
    ("v0.5_val_rand_100", Form::Lvis05, "lvis_v0.5_val_rand_100"),
    ("v0.5_test", Form::Lvis05, "lvis_v0.5_image_info_test"),
];

/// The data set of this name.
pub(super) fn known(name: &str) -> Option<Known> {
    let coco = |rest: &str, form, kind: &str| {
        let (_, folder, file) = COCO.iter().find(|(part, ..)| *part == rest)?;
        let file = match file {
            Some(file) if file.starts_with("image_info") => (*file).to_string(),
            Some(file) => format!("{kind}_{file}"),
            None => format!("{kind}_{folder}"),
        };
        Some(Known {
            form,
            pictures: format!("coco/{folder}/"),
            annotations: format!("coco/annotations/{file}.json"),
        })
    };
    if let Some(rest) = name.strip_prefix("coco_") {
        return coco(rest, Form::Coco, "instances");
    }
    if let Some(rest) = name.strip_prefix("keypoints_coco_") {
        let of_people = |known: &Known| !known.annotations.contains("image_info");
        return coco(rest, Form::Person, "person_keypoints").filter(of_people);
    }
    if let Some(rest) = name.strip_prefix("lvis_") {
        let (_, form, file) = LVIS.iter().find(|(part, ..)| *part == rest)?;
        return Some(Known {
            form: *form,
            pictures: "coco/".into(),
            annotations: format!("lvis/{file}.json"),
        });
    }
    let (year, part) = name.strip_prefix("voc_")?.split_once('_')?;
    let parts: &[&str] = match year {
        "2007" => &["trainval", "train", "val", "test"],
        "2012" => &["trainval", "train", "val"],
        _ => return None,
    };
    parts.contains(&part).then(|| Known {
        form: Form::Voc(year.parse().unwrap_or(2012)),
        pictures: format!("VOC{year}/"),
        annotations: format!("VOC{year}/ImageSets/Main/{part}.txt"),
    })
}

impl Known {
    /// Its `dict(type=..., ...)` without the bracket at its end; `root` is the folder of all data sets.
    pub fn described(&self, root: &str) -> String {
        let Self {
            form,
            pictures,
            annotations,
        } = self;
        let (kind, prefix, more) = match form {
            Form::Coco => ("CocoDataset", "img", ""),
            Form::Person => ("CocoDataset", "img", ", metainfo=dict(classes=('person',))"),
            Form::Lvis1 => ("LVISV1Dataset", "img", ""),
            Form::Lvis05 => ("LVISV05Dataset", "img", ""),
            Form::Voc(_) => ("VOCDataset", "sub_data_root", ""),
        };
        format!(
            "dict(type='{kind}', data_root={root:?}, ann_file='{annotations}', data_prefix=dict({prefix}='{pictures}'){more}"
        )
    }

    /// What is counted on it, of boxes, and of masks where there are any.
    pub fn evaluator(&self, root: &str, masks: bool, proposals: bool) -> String {
        let file = std::path::Path::new(root).join(&self.annotations);
        let file = file.to_string_lossy();
        let metric = match (proposals, masks) {
            (true, _) => "'proposal', proposal_nums=(100, 300, 1000)",
            (_, true) => "['bbox', 'segm']",
            _ => "'bbox'",
        };
        match self.form {
            Form::Coco | Form::Person => {
                format!("dict(type='CocoMetric', ann_file={file:?}, metric={metric})")
            }
            Form::Lvis1 | Form::Lvis05 => {
                format!("dict(type='LVISMetric', ann_file={file:?}, metric={metric})")
            }
            Form::Voc(year) => {
                let mode = if year == 2007 { "11points" } else { "area" };
                format!(
                    "dict(type='VOCMetric', metric='mAP', eval_mode='{mode}', iou_thrs=[0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_detectron2s() {
        for (name, pictures, annotations) in [
            (
                "coco_2017_train",
                "coco/train2017/",
                "coco/annotations/instances_train2017.json",
            ),
            (
                "coco_2014_minival",
                "coco/val2014/",
                "coco/annotations/instances_minival2014.json",
            ),
            (
                "coco_2017_test-dev",
                "coco/test2017/",
                "coco/annotations/image_info_test-dev2017.json",
            ),
            (
                "keypoints_coco_2017_val_100",
                "coco/val2017/",
                "coco/annotations/person_keypoints_val2017_100.json",
            ),
            ("lvis_v0.5_val", "coco/", "lvis/lvis_v0.5_val.json"),
            (
                "voc_2007_trainval",
                "VOC2007/",
                "VOC2007/ImageSets/Main/trainval.txt",
            ),
        ] {
            let found = known(name).unwrap();
            assert_eq!(
                (&*found.pictures, &*found.annotations),
                (pictures, annotations)
            );
        }
        for name in [
            "coco_2017_train_panoptic",
            "keypoints_coco_2017_test",
            "voc_2012_test",
            "mine",
        ] {
            assert_eq!(known(name), None);
        }
    }
}
