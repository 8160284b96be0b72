//! [`Packed`]: what a pipeline hands to the model, for training and for tests (`inputs` and `data_samples` of mmdet 3.3).

use serde_json::{Map, Value as Json, json};

use crate::coco::ImageId;
use crate::image::Image;
use crate::meta::Meta;
use crate::sample::Sample;
use crate::structures::GroundTruth;

/// Where a sample keeps what `PackDetInputs` noted.
const MARK: &str = "packed";

/// A complete sample.
#[derive(Clone, Debug)]
pub struct Packed {
    /// `inputs`.
    pub image: Image,
    /// `gt_instances`: objects to learn.
    pub gt: GroundTruth,
    /// `ignored_instances`: objects that are neither to be learned nor to be held against a prediction.
    pub ignored: GroundTruth,
    /// What heads and results need, whatever `meta_keys` says.
    pub meta: Meta,
    /// `metainfo` as the config asked for it: those of `meta_keys` that the sample had.
    pub asked: Map<String, Json>,
}

impl Packed {
    /// Takes a sample apart. `None` if no `PackDetInputs` ran.
    pub fn of(mut sample: Sample) -> Option<Self> {
        let Json::Object(asked) = sample.more.remove(MARK)? else {
            return None;
        };
        let gt = &sample.gt;
        let flagged = |flag: bool| -> Vec<usize> {
            (0..gt.len()).filter(|i| gt.ignore[*i] == flag).collect()
        };
        Some(Self {
            gt: gt.select(&flagged(false)),
            ignored: gt.select(&flagged(true)),
            meta: Meta::of(&sample),
            image: sample.image,
            asked,
        })
    }
}

/// Notes the meta keys that the sample has.
pub(crate) fn mark(sample: &mut Sample, keys: &[String]) {
    let meta = keys
        .iter()
        .filter_map(|key| Some((key.clone(), value(sample, key)?)));
    let meta: Map<String, Json> = meta.collect();
    sample.more.insert(MARK, Json::Object(meta));
}

/// The value of a key of MMDetection's `results`.
fn value(sample: &Sample, key: &str) -> Option<Json> {
    let info = &sample.info;
    Some(match key {
        "img_id" => match info.img_id.as_ref()? {
            ImageId::Number(number) => json!(number),
            // As text, which has all digits, where a JSON value would round.
            ImageId::Digits(digits) => match digits.parse::<u64>() {
                Ok(number) => json!(number),
                Err(_) => json!(digits),
            },
            ImageId::Name(name) => json!(name),
        },
        "img_path" => json!(info.img_path),
        "sample_idx" => json!(info.index),
        "height" => json!(info.height),
        "width" => json!(info.width),
        "ori_shape" => json!(sample.ori_shape),
        "img_shape" => json!(sample.img_shape),
        "scale_factor" => json!(sample.scale_factor?),
        "keep_ratio" => json!(sample.keep_ratio?),
        "flip" => json!(sample.flip?),
        // None where a RandomFlip ran and did not flip
        "flip_direction" => json!(sample.flip.map(|_| sample.flip_direction)?),
        "homography_matrix" => json!(sample.homography?),
        _ => sample.more.get(key)?.clone(),
    })
}
