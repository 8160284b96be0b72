//! What holds for every data set.

use smalti_config::{Config, MapLoader, Node};
use smalti_data::context::Context;
use smalti_data::datasets::{all_notes, build};
use smalti_data::files::Files;
use smalti_data::pixels::Pixels;
use smalti_data::random::Counter;
use std::sync::OnceLock;

/// Samples that are made of each data set.
const MOST: usize = 8;

/// An annotation file; a list of names; and whatever else is asked for is a small picture.
struct Annotations<'a>(&'a [u8]);

impl Files for Annotations<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Ok(match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json" | "xml") => self.0.to_vec(),
            Some("txt") => b"1\n".to_vec(),
            _ => [b"P5 8 6 255\n".as_slice(), &[90; 48]].concat(),
        })
    }
}

/// The config of a data set, `dataset = dict(...)`: read once.
pub struct DatasetConfig(&'static str, OnceLock<Node>);

impl DatasetConfig {
    /// Of this text.
    pub const fn new(text: &'static str) -> Self {
        Self(text, OnceLock::new())
    }

    fn node(&self) -> &Node {
        self.1.get_or_init(|| {
            let config = Config::parse(self.0, "config.py", &MapLoader::default()).unwrap();
            config.get("dataset").unwrap().clone()
        })
    }
}

/// Builds the data set on an annotation file, and makes its first samples.
pub fn dataset(config: &DatasetConfig, annotations: &[u8]) {
    let files = Annotations(annotations);
    let dataset = match build(config.node(), &files) {
        Ok(dataset) => dataset,
        Err(problems) => return drop(problems.iter().map(ToString::to_string).collect::<String>()),
    };
    let pixels = Pixels::cpu();
    for index in 0..dataset.len().min(MOST) {
        // Categories of one name have a label each, as in MMDetection, so labels may go beyond the classes.
        for object in &dataset.info(index).instances {
            assert!(object.label >= 0, "{object:?}");
            assert!(object.bbox.iter().all(|v| v.is_finite()), "{object:?}");
        }
        let mut random = Counter::new(0);
        let sample = dataset.get(index, &mut Context::new(&mut random, &pixels, &files));
        match sample {
            Ok(Some(sample)) => {
                let count = sample.gt.boxes.len();
                assert_eq!(sample.gt.labels.len(), count);
                assert!(sample.masks().is_none_or(|masks| masks.len() == count));
            }
            Ok(None) => {}
            Err(error) => drop(error.to_string()),
        }
    }
    let notes = all_notes(&*dataset).into_iter().map(ToString::to_string);
    drop((notes.collect::<String>(), dataset.noticed()));
}
