//! `TestTimeAug` of mmcv 2.1 (transforms/processing.py): every combination of one transform out of each list, in the order of Python's
//! `itertools.product`. What each makes goes to [`Sample::variants`].

use serde::Deserialize;

use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, error_at};

/// Every combination makes a picture of its own.
const MOST: usize = 1024;

/// Several versions of one picture.
#[derive(Debug)]
pub struct TestTimeAug {
    lists: Vec<Vec<Box<dyn Transform>>>,
}

impl TestTimeAug {
    /// Number of combinations, if it is not too large.
    fn combinations(lists: &[Vec<Box<dyn Transform>>]) -> Option<usize> {
        let number = lists
            .iter()
            .try_fold(1_usize, |n, list| n.checked_mul(list.len()));
        number.filter(|n| *n <= MOST)
    }
}

impl Transform for TestTimeAug {
    fn name(&self) -> &'static str {
        "TestTimeAug"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let number = Self::combinations(&self.lists).unwrap_or(0);
        let mut variants = Vec::new();
        for index in 0..number {
            let mut variant = sample.clone();
            // the last list changes fastest
            let mut rest = number;
            for list in &self.lists {
                rest /= list.len();
                let step = &list[index / rest % list.len()];
                variant = cx.run_one(&**step, variant)?.ok_or_else(|| {
                    let message = format!("`{}` in `TestTimeAug` dropped the picture", step.name());
                    Fault::Transform(message)
                })?;
            }
            variants.push(variant);
        }
        sample.variants = variants;
        Ok(Some(sample))
    }

    fn children(&self) -> Vec<&dyn Transform> {
        self.lists.iter().flatten().map(|s| &**s).collect()
    }
}

#[derive(Deserialize)]
struct Config {
    transforms: Vec<Node>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let (mut lists, mut problems) = (Vec::new(), Vec::new());
    for item in &config.transforms {
        match look.transforms(Some(item)) {
            Ok(list) if list.is_empty() => {
                let message = "a list of `TestTimeAug` is empty, so that there are no combinations";
                problems.extend(error_at(node, "transforms", message, ""));
            }
            Ok(list) => lists.push(list),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() && TestTimeAug::combinations(&lists).is_none() {
        let message = format!("`TestTimeAug` makes more than {MOST} combinations");
        problems.extend(error_at(node, "transforms", message, ""));
    }
    if problems.is_empty() {
        Ok(Box::new(TestTimeAug { lists }))
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, first_channel, mistakes, plain};

    #[test]
    fn every_combination_in_order() {
        let text = "dict(type='TestTimeAug', transforms=[[dict(type='SolarizeAdd', level=1), dict(type='SolarizeAdd', level=2)], [dict(type='Invert', level=0), dict(type='ColorTransform', level=0)]])";
        let rand = vec![json!(["np.rand", [], {}, 0.5]); 8];
        let sample = after(text, plain([1, 1], 10), rand.into());
        let all: Vec<f32> = sample
            .variants
            .iter()
            .map(|v| first_channel(v)[0])
            .collect();
        assert_eq!(all, [234.0, 21.0, 223.0, 32.0]);
    }

    #[test]
    fn too_many_or_none() {
        let text =
            "dict(type='TestTimeAug', transforms=[[dict(type='Color'), dict(type='Color')]] * 11)";
        assert_eq!(
            mistakes(text),
            ["`TestTimeAug` makes more than 1024 combinations"]
        );
        assert_eq!(
            mistakes("dict(type='TestTimeAug', transforms=[[]])").len(),
            1
        );
    }
}
