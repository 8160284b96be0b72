//! Training checkpoints, both ways. `run.pth` is MMEngine's own (`make_run.py` beside it).

use super::*;

const RUN: &[u8] = include_bytes!("../../../../tests/data/checkpoints/run.pth");

fn run() -> TrainingState<Stored> {
    TrainingState::read(RUN.to_vec()).unwrap()
}

/// Each tensor as its key, type, shape and bytes: what two states have to agree in.
fn contents(state: TrainingState<Stored>) -> TrainingState<(DType, Vec<usize>, Vec<u8>)> {
    state.map(|t| {
        (
            t.dtype(),
            t.shape().to_vec(),
            t.bytes().unwrap().into_owned(),
        )
    })
}

fn written<T: Saved>(state: &TrainingState<T>) -> Vec<u8> {
    let mut file = Vec::new();
    state.write(&mut file).unwrap();
    file
}

fn near(found: Vec<f32>, expected: &[f32]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-4)
}

#[test]
fn what_mmengine_s_runner_saves() {
    let state = run();
    let meta = &state.meta;
    assert_eq!((meta.epoch, meta.iter, meta.seed), (2, 4, Some(3)));
    assert!(meta.experiment_name.starts_with("points_2026"));
    assert_eq!((&*meta.cfg, &*meta.time), ("\n", "20261126_223956"));
    assert_eq!(meta.classes, ["cat", "dog"]);
    assert_eq!(meta.palette, [[220, 20, 60], [0, 0, 255]]);
    let version = Dict::new().with("mmengine_version", "0.10.7");
    assert_eq!(meta.others, version);

    // EMAHook swapped the two when it saved.
    let value = |entries: &[(String, Stored)], name: &str| {
        let found = entries.iter().find(|(key, _)| key == name);
        found.unwrap().1.f32().unwrap()
    };
    let averaged = state.averaged.as_ref().unwrap();
    assert_eq!((averaged.steps, averaged.state_dict.len()), (4, 8));
    assert!(near(
        value(&averaged.state_dict, "linear.bias"),
        &[-0.0168, 0.5571, -0.1619]
    ));
    assert!(near(
        value(&state.state_dict, "linear.bias"),
        &[-0.0196, 0.5566, -0.1713]
    ));
    let keys: Vec<_> = state
        .state_dict
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    let (first, last) = (["unused", "linear.weight"], "bn.num_batches_tracked");
    assert_eq!((&keys[..2], keys[7]), (&first[..], last));

    // `unused` never had a gradient.
    let optimizer = state.optimizer.as_ref().unwrap();
    let numbers: Vec<_> = optimizer.state.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let names: Vec<_> = optimizer.state[0]
        .values
        .iter()
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(names, ["step", "exp_avg", "exp_avg_sq"]);
    let StateValue::Tensor(step) = &optimizer.state[0].values[0].1 else {
        panic!("PyTorch keeps steps as tensors")
    };
    assert_eq!((step.shape(), step.f32().unwrap()), (&[][..], vec![4.0]));
    let group = &optimizer.param_groups[3];
    assert_eq!(group.get("weight_decay").unwrap().float(), Some(0.0));
    assert_eq!(group.get("betas"), Some(&Plain::tuple([0.9, 0.999])));
    assert_eq!(group.get("params"), Some(&Plain::list([3i64])));
    let base = optimizer.base_param_settings.as_ref().unwrap();
    assert_eq!(base.get("lr").unwrap().float(), Some(0.010000000000000002));

    let [linear, steps] = &state.param_schedulers.as_ref().unwrap()[..] else {
        panic!("two schedulers")
    };
    assert_eq!(linear.get("_global_step").unwrap().int(), Some(4));
    let milestones = Dict(vec![
        (Plain::Int(1), Plain::Int(1)),
        (Plain::Int(8), Plain::Int(2)),
    ]);
    assert_eq!(steps.get("milestones"), Some(&Plain::Counter(milestones)));
    let info = &state.runtime_info;
    assert_eq!(info.get("last_ckpt").unwrap().text(), Some("epoch_2.pth"));
    assert!(state.others.is_empty());
}

#[test]
fn what_was_read_is_written_the_same() {
    let mut state = run();
    let random = Dict::new().with("random", Plain::list([i64::MAX, -1, 256, i64::MIN]));
    state
        .others
        .insert("smalti", random.with("none", Plain::None));
    // As MMEngine's `AmpOptimWrapper` adds it.
    let scaler = Dict::new().with("scale", 65536.0);
    let optimizer = state.optimizer.as_mut().unwrap();
    optimizer.loss_scaler = Some(scaler.with("_growth_tracker", 3i64));
    let file = written(&state);
    assert_eq!(read(&file).format(), Format::TorchZip);
    let again = TrainingState::read(file).unwrap();
    assert_eq!(contents(again), contents(state));
}

#[test]
fn a_state_of_ours() {
    let weight = [1.0f32, -2.0, 3.5, 0.0];
    let state = TrainingState {
        meta: TrainingMeta {
            epoch: 1,
            iter: 70_000,
            cfg: "x = 'é'\n".repeat(100),
            ..TrainingMeta::default()
        },
        state_dict: vec![
            ("a.weight".to_owned(), Numbers::f32(&[2, 2], &weight[..])),
            (
                "a.bn.running_mean".to_owned(),
                Numbers::f32(&[0, 3], vec![]),
            ),
            (
                "a.bn.num_batches_tracked".to_owned(),
                Numbers::i64(&[], vec![-9]),
            ),
        ],
        averaged: None,
        optimizer: None,
        param_schedulers: None,
        runtime_info: Dict::new(),
        others: Dict::new(),
    };
    let file = written(&state);
    let again = TrainingState::read(file.clone()).unwrap();
    assert_eq!(again.meta, state.meta);
    let given = state.map(|t| {
        (
            t.dtype(),
            t.shape().to_vec(),
            t.bytes().unwrap().into_owned(),
        )
    });
    assert_eq!(contents(again), given);
    let checkpoint = read(&file);
    assert_eq!(checkpoint.f32("a.weight").unwrap(), weight);
    assert_eq!(checkpoint.meta().iter, Some(70_000));
    assert_eq!(checkpoint.get("a.weight").unwrap().strides(), [2, 1]);
}

#[test]
fn tied_tensors_are_written_once() {
    let zip = read(ZIP);
    assert_eq!(
        zip.get("a.weight").unwrap().storage(),
        zip.get("a.tied").unwrap().storage()
    );
    let state = TrainingState::read(torch_zip(
        &[
            (
                "meta",
                &dict_pickle(&[("epoch", b"K\x01"), ("iter", b"K\x02")]),
            ),
            (
                "state_dict",
                &dict_pickle(&[
                    ("a", &tensor_pickle(4, 0, &[4], &[1])),
                    ("tied", &tensor_pickle(4, 0, &[4], &[1])),
                    ("part", &tensor_pickle(4, 2, &[2], &[1])),
                ]),
            ),
        ],
        &floats(&[1.0, 2.0, 3.0, 4.0]),
        Packing::Stored,
    ))
    .unwrap();
    let again = read(&written(&state));
    let storage = |key: &str| again.get(key).unwrap().storage();
    assert_eq!(storage("a"), storage("tied"));
    assert_ne!(storage("a"), storage("part"));
    assert_eq!(again.f32("part").unwrap(), [3.0, 4.0]);
}

#[test]
fn files_that_no_training_goes_on_from_say_what_they_lack() {
    let why = |bytes: &[u8]| TrainingState::read(bytes.to_vec()).unwrap_err().to_string();
    let lacks = |what: &str| {
        format!(
            "no training can go on from this file, it lacks {what}: give a checkpoint that training saved, or load the weights alone (`load_from`)"
        )
    };
    let tensor = tensor_pickle(1, 0, &[1], &[1]);
    let file = |items: &[(&str, &[u8])]| torch_zip(items, &floats(&[1.0]), Packing::Stored);
    assert_eq!(why(&file(&[("w", &tensor)])), lacks("`meta`"));
    let meta = dict_pickle(&[("epoch", b"K\x01")]);
    let epoch = file(&[
        ("meta", &meta),
        ("state_dict", &dict_pickle(&[("w", &tensor)])),
    ]);
    assert_eq!(why(&epoch), lacks("`epoch` and `iter` in its `meta`"));
    let part = "any such part: its format has tensors alone";
    assert_eq!(why(&two_tensors()), lacks(part));
    // A sparse tensor could be left out of inference; training would go on with another.
    assert_eq!(
        why(ZIP),
        "tensor `sparse` cannot be read: a sparse tensor; save it dense and in floating point"
    );
}

/// Takes this many bytes, then the disk is full.
struct Disk(usize);

impl std::io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(std::io::ErrorKind::StorageFull.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_happens() {
    let state = run();
    let len = written(&state).len();
    for room in (0..len).step_by(97) {
        let error = state.write(Disk(room)).unwrap_err();
        assert!(
            matches!(&error, SaveError::Write(e) if e.kind() == std::io::ErrorKind::StorageFull)
        );
    }
    state.write(Disk(len)).unwrap();
}

#[test]
fn tensors_that_cannot_be_saved_are_named() {
    struct Broken;
    impl Saved for Broken {
        fn shape(&self) -> &[usize] {
            &[3]
        }
        fn dtype(&self) -> DType {
            DType::F32
        }
        fn bytes(&self) -> Result<std::borrow::Cow<'_, [u8]>, String> {
            Err("the device is gone".to_owned())
        }
    }
    let entries = [("w".to_owned(), Broken)];
    let error = write_torch(Vec::new(), &entries, &Dict::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `w` cannot be saved: the device is gone"
    );
    let entries = [("w".to_owned(), Numbers::f32(&[3], vec![1.0]))];
    let error = write_safetensors(Vec::new(), &entries, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `w` cannot be saved: 4 bytes were given for shape [3] of float32"
    );
}

#[test]
fn safetensors_are_written_and_read_back() {
    let state = run().state_dict;
    let mut file = Vec::new();
    let facts = [("format".to_owned(), "pt".to_owned())];
    write_safetensors(&mut file, &state, &facts).unwrap();
    let again = read(&file);
    assert_eq!(again.meta().facts, facts);
    assert_eq!(again.keys().count(), state.len());
    for (key, tensor) in &state {
        let view = again.tensor(key).unwrap();
        assert_eq!(
            (view.shape(), view.dtype()),
            (tensor.shape(), tensor.dtype())
        );
        assert_eq!(view.bytes().unwrap(), *tensor.bytes().unwrap());
    }
    // The largest elements first, else in order, all aligned.
    let keys: Vec<_> = again.keys().take(3).collect();
    assert_eq!(keys, ["bn.num_batches_tracked", "unused", "linear.weight"]);
    let twice = [("w", vec![1.0]), ("w", vec![2.0])];
    let twice = twice.map(|(key, values)| (key.to_owned(), Numbers::f32(&[1], values)));
    let error = write_safetensors(Vec::new(), &twice, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `w` cannot be saved: the name is taken"
    );
}

#[test]
fn weights_are_written_in_another_form() {
    for from in [&run_of_two()[..], &two_tensors(), &burnpack_of_two()] {
        let first = read(from);
        let (mut torch, mut safetensors) = (Vec::new(), Vec::new());
        first.write_torch(&mut torch).unwrap();
        read(&torch).write_safetensors(&mut safetensors).unwrap();
        let last = read(&safetensors);
        assert_eq!(
            read(&torch).keys().collect::<Vec<_>>(),
            first.keys().collect::<Vec<_>>()
        );
        for key in first.keys() {
            let [a, b] = [&first, &last].map(|c| c.tensor(key).unwrap());
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
            assert_eq!(a.bytes(), b.bytes());
        }
    }
    let mut torch = Vec::new();
    read(RUN).write_torch(&mut torch).unwrap();
    let (found, meta) = (read(&torch), read(RUN).meta().clone());
    let classes = found.meta().classes.clone();
    assert_eq!((found.meta().epoch, classes), (Some(2), meta.classes));
    assert_eq!(
        (&found.meta().config, &found.meta().others),
        (&meta.config, &vec![])
    );
    let mut facts = found.meta().facts.clone();
    facts.sort();
    let mut expected = meta.facts;
    expected.sort();
    assert_eq!(facts, expected);
    assert_eq!(
        read(ZIP).write_torch(Vec::new()).unwrap_err().to_string(),
        "tensor `sparse` cannot be saved: a sparse tensor; save it dense and in floating point"
    );
}

fn run_of_two() -> Vec<u8> {
    let items: [(&str, &[u8]); 2] = [
        ("a", &tensor_pickle(6, 0, &[3, 2], &[1, 3])),
        ("b", &tensor_pickle(6, 2, &[2], &[2])),
    ];
    torch_zip(
        &items,
        &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        Packing::Deflated,
    )
}

#[test]
fn damaged_runs_never_panic() {
    for at in (0..RUN.len()).step_by(61) {
        drop(TrainingState::read(RUN[..at].to_vec()));
        let mut changed = RUN.to_vec();
        changed[at] ^= 0x41;
        if let Ok(state) = TrainingState::read(changed) {
            drop(state.write(std::io::sink()));
        }
    }
}

fn is_too_large(error: &CheckpointError) -> bool {
    matches!(error, CheckpointError::TooLarge { .. })
}

/// Lists of lists that all are the same ones: 2^40 values in some hundred bytes.
#[test]
fn values_that_refer_to_each_other_are_not_read_for_ever() {
    let mut value = b"]q\x00".to_vec();
    for n in 0..40 {
        value.extend([b']', b'q', n + 1, b'(', b'h', n, b'h', n, b'e']);
    }
    let meta = dict_pickle(&[("epoch", b"K\x01"), ("iter", b"K\x02")]);
    let weights = dict_pickle(&[("w", &tensor_pickle(1, 0, &[1], &[1]))]);
    for (at, nested_too_deep) in [(20, false), (31, false), (40, true)] {
        let bomb = [&value[..], &b"0".repeat(41), &[b'h', at]].concat();
        let items: [(&str, &[u8]); 3] = [("meta", &meta), ("state_dict", &weights), ("x", &bomb)];
        let file = torch_zip(&items, &floats(&[1.0]), Packing::Stored);
        match TrainingState::read(file) {
            Ok(state) => assert!(nested_too_deep && state.others.is_empty()),
            Err(error) => assert!(!nested_too_deep && is_too_large(&error), "{error}"),
        }
    }
}
