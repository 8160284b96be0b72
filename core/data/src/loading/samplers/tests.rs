use smalti_config::{Config, MapLoader};

use super::*;
use crate::datasets::flat::{Flat, NoFiles};
use crate::datasets::{MetaInfo, SampleError};
use crate::lookup::Lookup;
use crate::sample::{DataInfo, Instance, Sample, Segmentation};
use crate::transforms::{Context, Transform};
use std::sync::Arc;

/// Pictures of which only sizes and labels are known.
#[derive(Debug)]
struct Known {
    pictures: Vec<([usize; 2], Vec<i64>)>,
    meta: MetaInfo,
    ends: Option<Vec<usize>>,
}

impl Known {
    fn new(pictures: Vec<([usize; 2], Vec<i64>)>, classes: usize) -> Self {
        let meta = MetaInfo {
            classes: (0..classes).map(|c| c.to_string()).collect(),
            ..MetaInfo::default()
        };
        Self {
            pictures,
            meta,
            ends: None,
        }
    }

    /// Every third is higher than wide.
    fn sized(len: usize) -> Self {
        let size = |i| if i % 3 == 0 { [2, 3] } else { [3, 2] };
        Self::new((0..len).map(|i| (size(i), Vec::new())).collect(), 0)
    }
}

impl Dataset for Known {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn meta(&self) -> &MetaInfo {
        &self.meta
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        let ([width, height], labels) = &self.pictures[index];
        let instance = |label: &i64| Instance {
            bbox: [0.0; 4],
            label: *label,
            ignore: false,
            mask: Segmentation::None,
        };
        Arc::new(DataInfo {
            index,
            width: *width,
            height: *height,
            instances: labels.iter().map(instance).collect(),
            ..DataInfo::default()
        })
    }

    fn get(&self, index: usize, _: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        Ok(Some(Sample::new(self.info(index))))
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &[]
    }

    fn ends(&self) -> Option<&[usize]> {
        self.ends.as_deref()
    }
}

fn read(loader: &str) -> Result<Sampling, String> {
    let text = format!("train_dataloader = dict({loader})");
    let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
    Sampling::read(&config, "train", Lookup::own(), 0)
        .map_err(|e| e.iter().map(|d| format!("{d}\n")).collect())
}

fn sampling(loader: &str) -> Sampling {
    read(loader).unwrap()
}

const ASPECT: &str = "batch_sampler=dict(type='AspectRatioBatchSampler')";

#[test]
fn a_default_sampler_has_every_sample_once() {
    let read = sampling("batch_size=4, sampler=dict(type='DefaultSampler', shuffle=True)");
    // torch.randperm(10) with seed 0
    let expected = [vec![4, 1, 7, 5], vec![3, 9, 0, 8], vec![6, 2]];
    assert_eq!(read.batches(0, &Known::sized(10)), expected);
    assert_ne!(read.batches(1, &Known::sized(10)), expected);
    let seeded = sampling("sampler=dict(type='mmengine.DefaultSampler', seed=42, round_up=False)");
    assert_eq!(
        seeded.batches(0, &Known::sized(7)).concat(),
        [1, 6, 3, 5, 4, 0, 2]
    );
    let still = sampling(
        "batch_size=3, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=False)",
    );
    assert_eq!(
        still.batches(5, &Known::sized(7)),
        [vec![0, 1, 2], vec![3, 4, 5]]
    );
    assert!(still.batches(0, &Known::sized(0)).is_empty());
    assert_eq!(read.batches(0, &Known::sized(1)), [vec![0]]);
}

#[test]
fn an_infinite_sampler_goes_on_into_the_next_epoch() {
    let read = sampling("batch_size=4, sampler=dict(type='InfiniteSampler', shuffle=False)");
    let data = Known::sized(6);
    assert_eq!(read.number(&data), 2);
    assert_eq!(read.batches(0, &data), [vec![0, 1, 2, 3], vec![4, 5, 0, 1]]);
    assert_eq!(read.batches(1, &data), [vec![2, 3, 4, 5], vec![0, 1, 2, 3]]);
    let shuffled = sampling("batch_size=5, sampler=dict(type='InfiniteSampler')");
    let mut permutations = Permutations::new(0);
    let expected = [permutations.next(6), permutations.next(6)].concat();
    let found: Vec<usize> = (0..1)
        .flat_map(|e| shuffled.batches(e, &data))
        .flatten()
        .collect();
    assert_eq!(found, expected[..10]);
    for len in [0, 1] {
        let data = Known::sized(len);
        assert_eq!(shuffled.batches(3, &data).concat().len(), 5 * len);
    }
}

#[test]
fn batches_of_one_aspect_ratio() {
    // by hand: 0 and 3 are high, 1 2 4 5 wide, 6 high
    let read = sampling(&format!(
        "batch_size=2, {ASPECT}, sampler=dict(type='DefaultSampler', shuffle=False)"
    ));
    let expected = [vec![1, 2], vec![0, 3], vec![4, 5], vec![6]];
    assert_eq!(read.batches(0, &Known::sized(7)), expected);
    let dropping = ASPECT.replace("')", "', drop_last=True)");
    let dropping = sampling(&format!(
        "batch_size=2, {dropping}, sampler=dict(type='DefaultSampler', shuffle=False)"
    ));
    assert_eq!(dropping.batches(0, &Known::sized(7)), expected[..3]);
    // 0 is high, 1 wide: MMDetection drops the last batch of what is left although it is full
    assert!(dropping.batches(0, &Known::sized(2)).is_empty());
    assert_eq!(read.batches(0, &Known::sized(2)), [vec![0, 1]]);
    // what is left of both shapes comes together, the high ones first
    let left = sampling(&format!(
        "batch_size=3, {ASPECT}, sampler=dict(type='DefaultSampler', shuffle=False)"
    ));
    assert_eq!(
        left.batches(0, &Known::sized(5)),
        [vec![1, 2, 4], vec![0, 3]]
    );
    for sampler in ["DefaultSampler", "InfiniteSampler"] {
        for size in [1, 2, 3, 8] {
            let loader = format!("batch_size={size}, {ASPECT}, sampler=dict(type='{sampler}')");
            let read = sampling(&loader);
            for len in [0, 1, 2, 7, 50] {
                let data = Known::sized(len);
                let batches = read.batches(2, &data);
                assert_eq!(batches.len(), read.number(&data), "{loader} {len}");
                let full = batches.len() - batches.len().min(2);
                for batch in &batches[..full] {
                    assert!(
                        batch
                            .iter()
                            .all(|i| shape(&data, *i) == shape(&data, batch[0]))
                    );
                    assert_eq!(batch.len(), size);
                }
                if sampler == "DefaultSampler" {
                    let mut all = batches.concat();
                    all.sort_unstable();
                    assert_eq!(all, (0..len).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn a_class_aware_sampler_covers_classes() {
    // class 0 in all, 1 in one picture, 2 in none, 3 in two; a label of no class counts for nothing
    let labels = |i: usize| match i {
        4 => vec![0, 1],
        5 | 6 => vec![3, 0, 3],
        7 => vec![0, 9, -1],
        _ => vec![0],
    };
    let data = Known::new((0..12).map(|i| ([1, 1], labels(i))).collect(), 4);
    for few in [1, 2] {
        let loader = format!("sampler=dict(type='ClassAwareSampler', num_sample_class={few})");
        let read = sampling(&loader);
        for epoch in 0..3 {
            let order = read.batches(epoch, &data).concat();
            assert_eq!(order.len(), 12);
            assert!(order.iter().filter(|i| **i == 4).count() >= 4, "{order:?}");
            // every round of three classes has each
            for round in order.chunks(3 * few) {
                assert!(round.iter().filter(|i| labels(**i).contains(&1)).count() >= few);
                assert!(round.iter().filter(|i| labels(**i).contains(&3)).count() >= few);
            }
        }
    }
    let read = sampling("sampler=dict(type='ClassAwareSampler')");
    assert!(read.batches(0, &Known::new(Vec::new(), 3)).is_empty());
    let one = Known::new(vec![([1, 1], vec![2])], 3);
    assert_eq!(read.batches(0, &one), [vec![0]]);
    let none = Known::new(vec![([1, 1], Vec::new())], 3);
    assert!(
        read.sampler
            .check(&none)
            .unwrap_err()
            .contains("no picture")
    );
    assert!(read.batches(0, &none).is_empty());
}

#[test]
fn parts_of_several_sources() {
    let mut data = Known::sized(12);
    data.ends = Some(vec![4, 12]);
    let sampler = |kind: &str, shuffle| {
        sampling(&format!(
            "batch_size=5, sampler=dict(type='{kind}', batch_size=5, source_ratio=[1, 4], shuffle={shuffle})"
        ))
    };
    let read = sampler("MultiSourceSampler", "False");
    assert_eq!(read.sampler.check(&data), Ok(()));
    let expected = [
        vec![0, 4, 5, 6, 7],
        vec![1, 8, 9, 10, 11],
        vec![2, 4, 5, 6, 7],
    ];
    assert_eq!(read.batches(0, &data), expected);
    assert_eq!(read.batches(1, &data)[0], [3, 8, 9, 10, 11]);
    let grouped = sampler("GroupMultiSourceSampler", "True");
    assert_eq!(grouped.sampler.check(&data), Ok(()));
    let mut shapes = [0; 2];
    for batch in (0..9).flat_map(|e| grouped.batches(e, &data)) {
        let of = shape(&data, batch[0]);
        shapes[of] += 1;
        assert!(batch.iter().all(|i| shape(&data, *i) == of), "{batch:?}");
        assert!(batch[0] < 4 && batch[1..].iter().all(|i| *i >= 4));
    }
    assert!(shapes[1] > shapes[0] && shapes[0] > 0, "{shapes:?}");

    data.ends = Some(vec![0, 12]);
    let error = read.sampler.check(&data).unwrap_err();
    assert!(error.contains("no picture in data set 0"), "{error}");
    data.ends = Some(vec![12]);
    assert!(
        read.sampler
            .check(&data)
            .unwrap_err()
            .contains("has 2 numbers")
    );
    let error = read.sampler.check(&Flat::new(&[[1, 1]])).unwrap_err();
    assert!(error.contains("needs a ConcatDataset"), "{error}");
    assert!(read.batches(0, &Flat::new(&[[1, 1]])).is_empty());
}

/// mmengine's and MMDetection's own batches, made by `tests/data/samplers.py`.
#[test]
fn orders_are_the_originals() {
    let text = include_str!("../../../../../tests/data/samplers.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    for case in &cases {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let said = |key: &str| if case[key] == true { "True" } else { "False" };
        let n = number("pictures");
        let labels: [&[i64]; 5] = [&[0], &[1, 1, 3], &[3, 0], &[], &[2, 0]];
        let picture = |i: usize| {
            let height = 5 + 3 * usize::from(i * 7 % 3 == 1);
            ([7, height], labels[i * i % 5].to_vec())
        };
        let mut data = Known::new((0..n).map(picture).collect(), 4);
        data.ends = Some(vec![n / 3, n]);
        let options = case["options"].as_object().unwrap().iter();
        let options: String = options
            .map(|(key, value)| match value.as_bool() {
                Some(true) => format!(", {key}=True"),
                Some(false) => format!(", {key}=False"),
                None => format!(", {key}={value}"),
            })
            .collect();
        let kind = case["sampler"].as_str().unwrap();
        let drop_last = said("drop_last");
        let batches = if case["aspect"] == true {
            format!("batch_sampler=dict(type='AspectRatioBatchSampler', drop_last={drop_last})")
        } else {
            format!("drop_last={drop_last}")
        };
        let loader = format!(
            "batch_size={}, {batches}, sampler=dict(type='{kind}'{options})",
            number("batch_size")
        );
        let read = sampling(&loader);
        for (epoch, expected) in case["epochs"].as_array().unwrap().iter().enumerate() {
            let expected: Vec<Vec<usize>> = serde_json::from_value(expected.clone()).unwrap();
            let found = read.batches(epoch as u64, &data);
            assert_eq!(found, expected, "{loader}, {n} pictures, epoch {epoch}");
        }
    }
    assert!(cases.len() > 100);
}

#[test]
fn mistakes() {
    for (loader, words) in [
        (
            "sampler=dict(type='DefaultSamplr')",
            "did you mean type='mmengine.DefaultSampler'",
        ),
        (
            "sampler=dict(type='TrackImgSampler')",
            "only pictures are read",
        ),
        (
            "batch_sampler=dict(type='DefaultSampler')",
            "is a sampler, not a batch sampler",
        ),
        (
            "batch_sampler=dict(type='AspectRatioBatchSampelr')",
            "did you mean type='mmdet.AspectRatioBatchSampler'",
        ),
        (
            "sampler=dict(type='DefaultSampler', shufle=True)",
            "`shufle`",
        ),
        ("batch_size=0", "1 or more"),
        ("batch_size='2'", "1 or more"),
        (
            "drop_last=True, batch_sampler=dict(type='AspectRatioBatchSampler')",
            "exclude each other",
        ),
        (
            "sampler=dict(type='ClassAwareSampler', num_sample_class=0)",
            "must be 1 or more",
        ),
        (
            "sampler=dict(type='MultiSourceSampler', batch_size=3, source_ratio=[4, 1])",
            "none of data set",
        ),
        (
            "sampler=dict(type='MultiSourceSampler', batch_size=3, source_ratio=[])",
            "must be positive",
        ),
    ] {
        match read(loader) {
            Err(error) => assert!(error.contains(words), "{loader}:\n{error}"),
            Ok(read) => panic!("{loader}: {read:?}"),
        }
    }
}

#[test]
fn a_loader_takes_what_a_config_says() {
    use crate::loader::{Loader, LoaderOptions};
    use crate::pixels::Pixels;
    let loader = || {
        let pictures = Box::new(Flat::new(&[[2, 2]; 5]));
        Loader::new(
            pictures,
            Pixels::cpu(),
            Arc::new(NoFiles),
            LoaderOptions::default(),
        )
    };
    let read = sampling("batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False)");
    let loader_of_two = loader().sampled(read).unwrap();
    assert_eq!(loader_of_two.batches(0), [vec![0, 1], vec![2, 3], vec![4]]);
    let several = "sampler=dict(type='MultiSourceSampler', batch_size=2, source_ratio=[1, 1])";
    assert!(loader().sampled(sampling(several)).is_err());
}

#[test]
fn config_check_reads_samplers() {
    let text = "train_dataloader = dict(sampler=dict(type='DefaultSamplr'), batch_sampler=dict(type='AspectRatioBatchSampler'), \
        dataset=dict(type='CocoDataset', ann_file='a.json', pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]))";
    let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
    let found = crate::datasets::check(&config, None);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("sampler type `DefaultSamplr`"));
}
