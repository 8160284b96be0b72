//! `DumpProposals` of mmdet 3.3 (evaluation/metrics/dump_proposals_metric.py): no figures, but a file of what was found, from which a Fast R-CNN
//! takes its proposals (`proposal_file` of a data set).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{BuiltMetric, EvaluateError, Given, Metric, Report};
use crate::datasets::paths::join;
use crate::sample::DataInfo;
use crate::structures::{Instances, Proposals};
use smalti_config::{Node, error_at};
use smalti_weights::{proposal_key, write_proposals};

/// Writes what was found.
#[derive(Debug)]
pub struct DumpProposals {
    path: String,
    /// How many of a picture, as the end of a Python slice.
    most: Option<i64>,
    found: BTreeMap<String, Proposals>,
}

/// The keys of `type='DumpProposals'`.
#[derive(Debug, Deserialize)]
struct Config {
    output_dir: Option<String>,
    proposals_file: Option<String>,
    num_max_proposals: Option<i64>,
    /// There are no figures that it could name.
    #[serde(rename = "prefix")]
    _prefix: Option<IgnoredAny>,
    #[serde(rename = "backend_args")]
    _backend_args: Option<IgnoredAny>,
    #[serde(rename = "collect_device")]
    _collect_device: Option<IgnoredAny>,
}

pub(super) fn build(node: &Node, given: Given<'_>) -> BuiltMetric {
    let config: Config = node.read()?;
    let name = config.proposals_file.as_deref().unwrap_or("proposals.pkl");
    if !name.ends_with(".pkl") && !name.ends_with(".pickle") {
        let message = format!("`proposals_file` is '{name}', must end with .pkl or .pickle");
        return Err(error_at(node, "proposals_file", message, ""));
    }
    let metric = DumpProposals {
        path: join(config.output_dir.as_deref().unwrap_or(""), name),
        most: config.num_max_proposals,
        found: BTreeMap::new(),
    };
    Ok(given.files.map(|_| Box::new(metric) as Box<dyn Metric>))
}

impl Metric for DumpProposals {
    fn add(&mut self, info: &DataInfo, _: [usize; 2], found: &Instances) {
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|a, b| found.scores[*b].total_cmp(&found.scores[*a]));
        let most = match self.most.map(usize::try_from) {
            None => order.len(),
            Some(Ok(most)) => most,
            Some(Err(_)) => {
                let less = self.most.unwrap_or(0).unsigned_abs() as usize;
                order.len().saturating_sub(less)
            }
        };
        order.truncate(most);
        let proposals = Proposals {
            boxes: order.iter().map(|i| found.boxes[*i]).collect(),
            scores: order.iter().map(|i| found.scores[*i]).collect(),
        };
        let key = proposal_key(&info.img_path).to_owned();
        self.found.insert(key, proposals);
    }

    fn forget(&mut self) {
        self.found.clear();
    }

    fn compute(&mut self) -> Result<Report, EvaluateError> {
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            return Err(EvaluateError::Nothing);
        }
        let pictures = found.iter().map(|(key, found)| (key.as_str(), found));
        Ok(Report {
            files: vec![(self.path.clone(), write_proposals(pictures))],
            ..Report::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::MetaInfo;
    use crate::files::Files;
    use smalti_weights::read_proposals;

    struct Nowhere;

    impl Files for Nowhere {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            panic!("`{path}` is read")
        }
    }

    fn metric(text: &str) -> Result<Box<dyn Metric>, String> {
        let given = Given {
            files: Some(&Nowhere),
            meta: &MetaInfo::default(),
        };
        let node = smalti_config::parse_value(text).unwrap();
        let built = build(&node, given).map_err(|p| p[0].to_string())?;
        Ok(built.expect("files are there"))
    }

    fn dumped(options: &str) -> (String, Vec<f32>) {
        let mut metric = metric(&format!("dict(type='DumpProposals'{options})")).unwrap();
        let mut found = Instances::default();
        for score in [0.25, 0.75, 0.5] {
            found.push([score, 0.0, 9.0, 9.0], score, 0);
        }
        let info = DataInfo {
            img_path: "data/val/a.jpg".into(),
            ..DataInfo::default()
        };
        metric.add(&info, [9, 9], &found);
        let report = metric.compute().unwrap();
        let [(path, bytes)] = &report.files[..] else {
            panic!("one file expected");
        };
        let read = read_proposals(bytes.clone()).unwrap();
        let of_picture = &read["val/a.jpg"];
        let lefts: Vec<f32> = of_picture.boxes.iter().map(|b| b[0]).collect();
        assert_eq!(lefts, of_picture.scores);
        assert_eq!(metric.compute(), Err(EvaluateError::Nothing));
        (path.clone(), of_picture.scores.clone())
    }

    #[test]
    fn the_best_are_written_first() {
        let all = dumped("");
        assert_eq!(all, ("proposals.pkl".into(), vec![0.75, 0.5, 0.25]));
        let (path, best) =
            dumped(", output_dir='out', proposals_file='p.pickle', num_max_proposals=1");
        assert_eq!((&*path, best), ("out/p.pickle", vec![0.75]));
        assert_eq!(dumped(", num_max_proposals=-2").1, [0.75]);
        let wrong = metric("dict(type='DumpProposals', proposals_file='a.json')").unwrap_err();
        assert!(wrong.contains("must end with .pkl"), "{wrong}");
    }
}
