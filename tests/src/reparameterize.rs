//! `smalti convert reparameterize` against MMPretrain's `switch_to_deploy`, and maps before against maps after.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use smalti::backbones::Backbones;
use smalti::build::Build;
use smalti::config::{Config, MapLoader};
use smalti::layers::{Mode, Params, Role, StateSource};
use smalti::registry::DEFAULT_SCOPE;
use smalti::weights::{Checkpoint, Dict, Numbers, write_torch};

use crate::commands::program;
use crate::golden::{image, weight};

/// A model, and its tensors once it is merged: name, shape, norm, sum, first value.
#[derive(Deserialize)]
struct Row {
    config: String,
    tensors: Vec<(String, Vec<usize>, f64, f64, f64)>,
}

const TOLERANCE: f64 = 1e-4;

fn config(backbone: &str) -> Config {
    let text = format!("model = dict(backbone={backbone})\n");
    Config::parse(&text, "test.py", &MapLoader::default()).unwrap()
}

/// The maps of a backbone, its weights from a checkpoint.
fn maps(backbone: &str, mode: Mode, checkpoint: &Arc<Checkpoint>) -> Vec<Vec<f32>> {
    let config = config(backbone);
    let device = Device::flex();
    let source = StateSource::new(checkpoint.clone(), None);
    let params = Params::new(&device, mode, Some(Box::new(source)));
    let registry = smalti::registry();
    let root = Build::new(&registry, params.clone(), DEFAULT_SCOPE, None);
    let node = config.at("model.backbone").unwrap();
    let (make, part) = root.part::<Backbones>("backbone", node).unwrap();
    let backbone = make(node, &part).unwrap();
    let lacking = params.initialised();
    assert!(lacking.is_empty(), "{lacking:?}");
    params.store().learn("", false);
    let x = TensorData::new(image(1, 64, 96), [1, 3, 64, 96]);
    let maps = backbone.forward(Tensor::from_data(x, &device));
    let numbers = |map: Tensor<4>| map.into_data().try_into_vec().unwrap();
    maps.into_iter().map(numbers).collect()
}

/// A checkpoint of the backbone with weights by formula, and of a head.
fn write(backbone: &str, path: &Path) {
    let config = config(backbone);
    let params = Params::new(&Device::flex(), Mode::Plan, None);
    let registry = smalti::registry();
    let root = Build::new(&registry, params.clone(), DEFAULT_SCOPE, None);
    let node = config.at("model.backbone").unwrap();
    let (make, part) = root.part::<Backbones>("backbone", node).unwrap();
    make(node, &part).unwrap();
    let mut tensors = vec![("head.bias".into(), Numbers::f32(&[2], vec![1.5, -2.5]))];
    for entry in params.state() {
        let numbers = match entry.role {
            Role::Counter => Numbers::i64(&[], vec![3]),
            _ => {
                let name = entry.key.trim_start_matches("backbone.");
                Numbers::f32(&entry.shape, weight(name, &entry.shape))
            }
        };
        tensors.push((entry.key, numbers));
    }
    let file = std::fs::File::create(path).unwrap();
    write_torch(file, &tensors, &Dict::new().with("epoch", 7)).unwrap();
}

fn read(path: &Path) -> Arc<Checkpoint> {
    Arc::new(Checkpoint::read(std::fs::read(path).unwrap()).unwrap())
}

#[test]
fn merged_checkpoints_are_mmpretrains() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/reparameterize.json");
    let rows: Vec<Row> = serde_json::from_str(&std::fs::read_to_string(data).unwrap()).unwrap();
    let folder = std::env::temp_dir().join(format!("smalti-merge-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| -> PathBuf { folder.join(name) };
    for row in rows {
        write(&row.config, &at("trained.pth"));
        let text = format!("model = dict(backbone={})\n", row.config);
        std::fs::write(at("config.py"), text).unwrap();
        let output = Command::new(program())
            .args(["convert", "reparameterize"])
            .args(["config.py", "trained.pth", "merged.pth"].map(at))
            .output()
            .expect("the program is built");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");

        let merged = read(&at("merged.pth"));
        assert_eq!(merged.meta().epoch, Some(7));
        let keys: Vec<_> = merged.keys().collect();
        assert_eq!(keys.len(), row.tensors.len() + 1, "{said}");
        assert_eq!(merged.f32("head.bias").unwrap(), [1.5, -2.5]);
        for (name, shape, norm, sum, first) in &row.tensors {
            let key = format!("backbone.{name}");
            assert_eq!(merged.tensor(&key).unwrap().shape(), shape, "{key}");
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let values = merged.f32(&key).unwrap();
            let values = || values.iter().map(|v| f64::from(*v));
            let found = [
                values().map(|v| v * v).sum::<f64>().sqrt(),
                values().sum(),
                values().next().unwrap(),
            ];
            for (found, expected) in found.into_iter().zip([norm, sum, first]) {
                let off = (found - expected).abs() / norm;
                assert!(off < TOLERANCE, "{key}: {found}, expected {expected}");
            }
        }

        let trained = read(&at("trained.pth"));
        let key = said.split("model.backbone.").nth(1).unwrap().trim();
        let deployed = row.config.replacen("type=", &format!("{key}, type="), 1);
        let before = maps(&row.config, Mode::Train, &trained);
        let after = maps(&deployed, Mode::Fixed, &merged);
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            let largest = before.iter().fold(0f32, |most, v| most.max(v.abs()));
            let pairs = before.iter().zip(after);
            let off = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(off <= TOLERANCE as f32 * largest, "{off} of {largest}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
