//! `PackDetInputs` of mmdet 3.3 (datasets/transforms/formatting.py): the end of a pipeline. What the meta keys name is noted in the sample;
//! [`Packed`](crate::packed::Packed) takes it apart for the trainer.

use serde::Deserialize;

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::packed;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// `meta_keys`, if none are given.
const META_KEYS: [&str; 7] = [
    "img_id",
    "img_path",
    "ori_shape",
    "img_shape",
    "scale_factor",
    "flip",
    "flip_direction",
];

/// Marks a sample as complete.
#[derive(Clone, Debug, PartialEq)]
pub struct PackDetInputs {
    meta_keys: Vec<String>,
}

impl Draws for PackDetInputs {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "PackDetInputs"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
        packed::mark(&mut sample, &self.meta_keys);
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    meta_keys: Option<Vec<String>>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let keys = config.meta_keys;
    Ok(Box::new(PackDetInputs {
        meta_keys: keys.unwrap_or_else(|| META_KEYS.map(String::from).to_vec()),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::trial::{run, sample};
    use crate::packed::Packed;

    #[test]
    fn packs() {
        let mut full = sample([3, 2], &[[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 3.0, 2.0]]);
        full.gt.ignore = vec![true, false];
        full.scale_factor = Some([0.5, 2.0]);
        full.flip = Some(false);
        assert!(Packed::of(full.clone()).is_none());
        let text = "dict(type='PackDetInputs', meta_keys=('scale_factor', 'flip_direction', 'img_shape', 'pad_shape'))";
        let packed = Packed::of(run(text, full, None).unwrap().unwrap()).unwrap();
        assert_eq!(
            (&packed.gt.labels[..], &packed.ignored.labels[..]),
            (&[1][..], &[0][..])
        );
        assert_eq!(packed.gt.masks.unwrap().areas(), [4.0]);
        let meta = json!({"scale_factor": [0.5, 2.0], "flip_direction": null, "img_shape": [2, 3]});
        assert_eq!(json!(packed.asked), meta, "what is not there is left out");
        let meta = packed.meta;
        assert_eq!((meta.scale_factor, meta.flip()), ([0.5, 2.0], false));
        assert_eq!((meta.img_shape, meta.pad_shape), ([2, 3], [2, 3]));
    }
}
