//! Learning rates and weight decays of whole runs: `tests/data/rates.json` has, of four short runs of MMEngine 0.10.7's Runner on MMDetection
//! 3.3.0's RetinaNets, what the optimizer had at each iteration. They are the trajectory rows' `config` and `lr`.

use burn::tensor::Device;
use serde::Deserialize;

use super::schedules::{Length, Schedules};
use super::{Optimization, Plan};
use crate::config::{Config, MapLoader};
use crate::layers::{Mode, Params};
use crate::model;
use crate::registry::DEFAULT_SCOPE;

#[derive(Deserialize)]
struct Row {
    name: String,
    config: String,
    batch: u64,
    /// Learning rate, weight decay, and how many parameters have them.
    steps: Vec<Vec<(f64, f64, usize)>>,
}

#[test]
fn as_mmengine_s_runner() {
    let text = include_str!("../../../tests/data/rates.json");
    let rows: Vec<Row> = serde_json::from_str(text).unwrap();
    assert_eq!(rows.len(), 4);
    let registry = crate::registry();
    for row in rows {
        let name = &row.name;
        let config = Config::parse(&row.config, "a.py", &MapLoader::default()).unwrap();
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        model::walk(&config, &registry, params.clone(), None).unwrap();
        let store = params.store();
        let mut optimization =
            Optimization::build(&config.root, &registry, &store, row.batch).unwrap();
        let length = Length {
            max_epochs: 3,
            max_iters: 12,
            epoch_length: 4,
        };
        let node = config.root.get("param_scheduler");
        let groups = optimization.groups_mut();
        let mut schedules =
            Schedules::build(node, groups, &length, &registry, DEFAULT_SCOPE).unwrap();
        let plan = Plan::new(&optimization, &schedules, &store, length);
        for (i, (expected, planned)) in row.steps.iter().zip(plan.iterations()).enumerate() {
            let mut found: Vec<(f64, f64, usize)> = Vec::new();
            for group in optimization.groups().iter() {
                let [lr, decay] = ["lr", "weight_decay"].map(|n| group.settings.number(n).unwrap());
                match found
                    .iter_mut()
                    .find(|known| (known.0, known.1) == (lr, decay))
                {
                    Some(known) => known.2 += group.members.len(),
                    None => found.push((lr, decay, group.members.len())),
                }
            }
            found.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert_eq!(found.len(), expected.len(), "{name} {i}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found.0 - expected.0).abs() <= 1e-12 * expected.0,
                    "{name} {i}"
                );
                assert_eq!((found.1, found.2), (expected.1, expected.2), "{name} {i}");
                assert!(planned.lr.contains(&found.0), "{name} {i}");
            }
            schedules.after_iter(optimization.groups_mut());
            if (i + 1) % 4 == 0 {
                schedules.after_epoch(optimization.groups_mut());
            }
        }
    }
}
