//! `CachedMosaic` of mmdet 3.3 (datasets/transforms/transforms.py), of RTMDet (2022, arXiv:2212.07784): a [`Mosaic`] of pictures that
//! came by before.
//!
//! The cache begins empty in every epoch, is one for all threads, and is seen in order ([`InOrder`]).

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mixing::PadVal;
use super::mosaic::Mosaic;
use super::{Context, Others, Outcome, Transform};
use crate::in_order::{InOrder, Order};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, error_at};

/// Samples that came by, the latest last.
pub(super) type Cache = VecDeque<Arc<Sample>>;

/// Four pictures in one, three of them from a cache.
#[derive(Debug)]
pub struct CachedMosaic {
    mosaic: Mosaic,
    rule: CacheRule,
    cache: InOrder<Cache>,
}

/// Draws of [`CachedMosaic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedMosaicDrawn {
    /// Which sample leaves the full cache.
    pub pop: Option<usize>,
    /// Whether it is done: the cache has enough, and `prob`.
    pub apply: bool,
    /// The three others, as places in the cache after that.
    #[serde(default)]
    pub indexes: Vec<usize>,
    /// Where the four pictures meet on the canvas, px.
    #[serde(default)]
    pub center: [i64; 2],
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(CachedMosaic::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    img_scale: Option<Node>,
    center_ratio_range: Option<[f64; 2]>,
    bbox_clip_border: Option<bool>,
    pad_val: Option<PadVal>,
    prob: Option<f64>,
    max_cached_images: Option<usize>,
    random_pop: Option<bool>,
}

impl CachedMosaic {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        Ok(Self {
            mosaic: Mosaic::new(
                node,
                config.img_scale.as_ref(),
                config.center_ratio_range,
                config.bbox_clip_border,
                config.pad_val,
                config.prob,
            )?,
            rule: CacheRule::new(
                node,
                config.max_cached_images.unwrap_or(40),
                4,
                config.random_pop,
            )?,
            cache: InOrder::new(),
        })
    }

    fn draw(&self, len: usize, random: &mut dyn Random) -> Result<CachedMosaicDrawn, Fault> {
        let pop = self.rule.draw_pop(len, random)?;
        let len = len - usize::from(pop.is_some());
        let mut drawn = CachedMosaicDrawn {
            pop,
            apply: false,
            indexes: Vec::new(),
            center: [0, 0],
        };
        if len > 4 && self.mosaic.draw_apply(random)? {
            drawn.apply = true;
            drawn.indexes = three(len, random)?;
            drawn.center = self.mosaic.draw_center(random)?;
        }
        Ok(drawn)
    }
}

impl Transform for CachedMosaic {
    fn name(&self) -> &'static str {
        "CachedMosaic"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        // once here, not at every use
        sample.image = cx.pixels.done(&sample.image)?;
        let (drawn, others) = self.cache.visit(cx.position, |cache| {
            cache.push_back(Arc::new(sample.clone()));
            let drawn = cx.drawn(self.name(), |random| self.draw(cache.len(), random))?;
            let others = self
                .rule
                .take(cache, drawn.pop, drawn.apply, &drawn.indexes, 3)?;
            Ok::<_, Fault>((drawn, others))
        })?;
        if !drawn.apply {
            return Ok(Some(sample));
        }
        self.mosaic.combine(sample, others, drawn.center, cx.pixels)
    }

    /// Unused, but drawn: MultiImageMixDataset asks whoever has a `get_indexes`.
    fn mix_indexes(
        &self,
        others: &mut dyn Others,
        cx: &mut Context<'_>,
    ) -> Option<Result<Vec<usize>, Fault>> {
        Some(cx.drawn("CachedMosaic.indexes", |random| three(others.len(), random)))
    }

    fn order(&self) -> Option<&dyn Order> {
        Some(&self.cache)
    }
}

/// A choice among all pictures of a data set but the last needs two.
pub(super) fn but_the_last(name: &str, len: usize) -> Result<(), Fault> {
    match len {
        0 | 1 => Err(Fault::Transform(format!(
            "`{name}` draws among all pictures but the last, of which the data set has {len}"
        ))),
        _ => Ok(()),
    }
}

/// Three places, never the last of `len`.
fn three(len: usize, random: &mut dyn Random) -> Result<Vec<usize>, Fault> {
    but_the_last("CachedMosaic", len)?;
    let draw = |_| Ok(random.randint(0, len as i64 - 1)? as usize);
    (0..3).map(draw).collect()
}

/// `max_cached_images` and `random_pop`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheRule {
    max_cached_images: usize,
    random_pop: bool,
}

impl CacheRule {
    pub fn new(
        node: &Node,
        max: usize,
        least: usize,
        random_pop: Option<bool>,
    ) -> Result<Self, Diagnostics> {
        if max < least {
            let message = format!("`max_cached_images` is {max}");
            let help = format!("must be at least {least}");
            return Err(error_at(node, "max_cached_images", message, &help));
        }
        Ok(Self {
            max_cached_images: max,
            random_pop: random_pop.unwrap_or(true),
        })
    }

    /// Which of `len` samples leaves the cache.
    pub fn draw_pop(&self, len: usize, random: &mut dyn Random) -> Result<Option<usize>, Fault> {
        if len <= self.max_cached_images {
            return Ok(None);
        }
        if !self.random_pop {
            return Ok(Some(0));
        }
        Ok(Some(random.randint(0, len as i64 - 1)? as usize))
    }

    /// Does what was drawn with the cache: one leaves, `count` are chosen.
    pub fn take(
        &self,
        cache: &mut Cache,
        pop: Option<usize>,
        apply: bool,
        indexes: &[usize],
        count: usize,
    ) -> Result<Vec<Sample>, Fault> {
        if let Some(pop) = pop {
            // draws of a file may be of another cache; it must not grow by that
            cache.remove(pop.min(cache.len().saturating_sub(1)));
        }
        while cache.len() > self.max_cached_images {
            cache.pop_front();
        }
        if !apply {
            return Ok(Vec::new());
        }
        let take = |i: &usize| cache.get(*i).map(|s| Sample::clone(s));
        let others: Option<Vec<Sample>> = indexes.iter().map(take).collect();
        others.filter(|o| o.len() == count).ok_or_else(|| {
            Fault::Transform(format!(
                "the draws take {indexes:?} of a cache of {} samples",
                cache.len()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, NoFiles, Scripted, refused, steps};
    use crate::pixels::Pixels;
    use crate::random::{Answer, Call};

    #[test]
    fn the_fifth_is_the_first_mosaic() {
        let steps = steps("[dict(type='CachedMosaic', img_scale=(4, 4), max_cached_images=5)]");
        let pictures = Flat::new(&[[4, 4]; 6]);
        let pixels = Pixels::cpu().exact(true);
        let (int, float) = (Answer::Int, Answer::Float);
        let mut random = Scripted::new([
            // 4: prob, three, centre
            float(0.5),
            int(3),
            int(0),
            int(1),
            float(1.0),
            float(1.0),
            // 5: number 2 leaves
            int(2),
            float(0.5),
            int(2),
            int(2),
            int(3),
            float(1.0),
            float(1.0),
        ]);
        let mut labels = Vec::new();
        for (position, index) in (0..).zip(0..6) {
            let mut cx = Context::new(&mut random, &pixels, &NoFiles);
            cx.position = position;
            let sample = cx.run_all(&steps, pictures.sample(index)).unwrap().unwrap();
            labels.push(sample.gt.labels);
        }
        assert_eq!(labels[..4], [[0], [1], [2], [3]]);
        // of the cache 0 1 2 3 4, then of 0 1 3 4 5
        assert_eq!(labels[4..], [[4, 3, 0, 1], [5, 3, 3, 4]]);
        assert_eq!(random.calls[1], Call::Randint(0, 4));
        assert_eq!(random.calls[6], Call::Randint(0, 5));
        assert_eq!(random.calls[8], Call::Randint(0, 4));
    }

    #[test]
    fn draws_of_another_cache() {
        let rule = CacheRule {
            max_cached_images: 4,
            random_pop: false,
        };
        let pictures = Flat::new(&[[4, 4]; 5]);
        let mut cache: Cache = (0..5).map(|i| Arc::new(pictures.sample(i))).collect();
        let taken = rule.take(&mut cache, Some(99), true, &[0, 1, 9], 3);
        assert!(taken.unwrap_err().to_string().contains("a cache of 4"));
        assert_eq!(cache.len(), 4);
        assert!(rule.take(&mut cache, None, true, &[0], 3).is_err());
        assert!(rule.take(&mut Cache::new(), Some(0), false, &[], 3).is_ok());
    }

    #[test]
    fn asserts_of_the_original() {
        let refused = |options| refused(&format!("dict(type='CachedMosaic', {options})"));
        assert_eq!(
            refused("img_scale=(640, 640), pad_val=114.0, random_pop=False"),
            ""
        );
        assert!(refused("max_cached_images=3").contains("is 3"));
    }
}
