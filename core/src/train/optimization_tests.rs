//! Steps of a small model: who moves, what a checkpoint has, and what a plan says.

use burn::tensor::Device;

use super::*;
use crate::config::{Config, MapLoader};
use crate::layers::{Init, LayerKind, Mode, Params, Weight};
use crate::train::schedules::{Length, Schedules};
use crate::train::{Plan, Setting};

/// `stem.weight`, which is frozen, `norm.weight`, `head.weight`, and `unused.weight`, of which no loss knows.
struct Model {
    store: Store,
    weights: [Weight<1>; 4],
}

impl std::ops::Deref for Model {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

fn model(device: &Device) -> Model {
    model_in(device, Precision::F32)
}

fn model_in(device: &Device, precision: Precision) -> Model {
    let params = Params::new(device, Mode::Train, None).compute_in(precision);
    let weights = ["stem", "norm", "head", "unused"].map(|place| {
        let kind = if place == "norm" {
            LayerKind::Norm
        } else {
            LayerKind::Conv
        };
        let at = params.at(place).layer(kind);
        at.weight("weight", [3], Init::Constant(1.0))
    });
    let store = params.store();
    store.freeze("stem", true);
    store.track(true);
    Model { store, weights }
}

fn config(text: &str) -> Config {
    let text = format!("model = dict(type='RetinaNet')\n{text}\n");
    Config::parse(&text, "a.py", &MapLoader::default()).unwrap()
}

fn built(text: &str, store: &Store) -> Result<Optimization, Diagnostics> {
    Optimization::build(&config(text).root, &crate::registry(), store, 4)
}

fn numbers(store: &Store, place: &str) -> Vec<f32> {
    let slot = store.slot(&format!("{place}.weight")).unwrap();
    slot.value().to_data().try_into_vec().unwrap()
}

/// Gradients `scale` times 1, 2, 3, for those that are not frozen.
fn gradients(model: &Model, scale: f32) -> Gradients {
    let used = model.weights[..3].iter().map(Weight::get);
    let losses = used.filter(Tensor::is_autodiff).map(|value| {
        let device = value.device();
        let slopes = Tensor::<1>::from_floats([scale, 2.0 * scale, 3.0 * scale], &device);
        (value * slopes).sum()
    });
    model.gradients(losses.reduce(|a, b| a + b).unwrap())
}

fn step(optimization: &mut Optimization, store: &Model, scale: f32) -> Option<f32> {
    let norm = pollster::block_on(optimization.update(gradients(store, scale))).unwrap();
    norm.map(|norm| norm.to_data().try_into_vec::<f32>().unwrap()[0])
}

const SGD: &str = "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.5), clip_grad=dict(max_norm=100))";

#[test]
fn those_with_gradients_move() {
    let store = model(&Device::flex());
    let mut optimization = built(SGD, &store).unwrap();
    let norm = step(&mut optimization, &store, 1.0).unwrap();
    assert!((norm - 28f32.sqrt()).abs() < 1e-5);
    assert_eq!(numbers(&store, "stem"), [1.0; 3]);
    assert_eq!(numbers(&store, "unused"), [1.0; 3]);
    assert_eq!(numbers(&store, "head"), [0.9, 0.8, 0.7]);
    step(&mut optimization, &store, 1.0); // 1.5 times as far
    let expected = [0.75, 0.5, 0.25];
    for (found, expected) in numbers(&store, "norm").iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6);
    }
    assert!(store.weights[2].get().is_autodiff(), "still a leaf");
}

#[test]
fn without_momentum_nothing_is_kept() {
    let store = model(&Device::flex());
    let text = "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))";
    let mut optimization = built(text, &store).unwrap();
    assert!(
        step(&mut optimization, &store, 1.0).is_none(),
        "no norm without a bound"
    );
    let state = pollster::block_on(optimization.state()).unwrap();
    assert!(state.parameters.is_empty() && state.base.is_none());
    assert_eq!(
        state.groups[0].keys.len(),
        4,
        "the frozen one too, without factors"
    );
    optimization.restore(state, &store).unwrap();
}

#[test]
fn those_that_sleep_are_left_out() {
    let store = model(&Device::flex());
    let text = "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=dict(stem=dict(lr_mult=0.5))), clip_grad=dict(max_norm=100))";
    let mut optimization = built(text, &store).unwrap();
    store.freeze("stem", false);
    let norm = step(&mut optimization, &store, 1.0).unwrap();
    assert!((norm - 28f32.sqrt()).abs() < 1e-5, "not of three");
    assert_eq!(
        numbers(&store, "stem"),
        [1.0; 3],
        "unfrozen, but in no group"
    );
    assert!(optimization.groups_mut().wake("stem.weight"));
    let norm = step(&mut optimization, &store, 1.0).unwrap();
    assert!((norm - 42f32.sqrt()).abs() < 1e-5);
    assert_eq!(numbers(&store, "stem"), [0.95, 0.9, 0.85]);
}

#[test]
fn a_norm_that_is_not_finite_can_be_an_error() {
    let store = model(&Device::flex());
    let text = SGD.replace("max_norm=100", "max_norm=100, error_if_nonfinite=True");
    let mut optimization = built(&text, &store).unwrap();
    step(&mut optimization, &store, 1.0);
    let before = numbers(&store, "head");
    let error = pollster::block_on(optimization.update(gradients(&store, f32::INFINITY)));
    assert_eq!(error.unwrap_err(), UpdateError::NotFinite(f32::INFINITY));
    assert_eq!(numbers(&store, "head"), before);
}

const ADAM: &str = "optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.1, amsgrad=True), paramwise_cfg=dict(flat_decay_mult=0.5, custom_keys=dict(head=dict(lr_mult=0.1))))
param_scheduler = [dict(type='ExponentialLR', gamma=0.5, by_epoch=False)]
";

fn scheduled(text: &str, optimization: &mut Optimization) -> Schedules {
    let config = config(text);
    let node = config.root.get("param_scheduler");
    let length = Length {
        max_epochs: 2,
        max_iters: 6,
        epoch_length: 3,
    };
    Schedules::build(
        node,
        optimization.groups_mut(),
        &length,
        &crate::registry(),
        DEFAULT_SCOPE,
    )
    .unwrap()
}

fn goes_on(device: &Device) {
    let [one, other] = [(); 2].map(|()| model(device));
    let mut optimization = built(ADAM, &one).unwrap();
    let mut schedules = scheduled(ADAM, &mut optimization);
    for scale in [1.0, -2.0, 0.5] {
        step(&mut optimization, &one, scale);
        schedules.after_iter(optimization.groups_mut());
    }
    let state = pollster::block_on(optimization.state()).unwrap();
    assert_eq!(state.optimizer, "AdamW");
    let keys: Vec<&str> = state.groups.iter().map(|g| g.keys[0].as_str()).collect();
    assert_eq!(keys, ["norm.weight", "head.weight", "unused.weight"]);
    let lr = state.groups[1].settings.number("lr").unwrap();
    assert!((lr - 0.01 * 0.125).abs() < 1e-12);
    assert_eq!(
        state.groups[1].settings.number("initial_lr"),
        Some(0.1 * 0.1)
    );
    assert_eq!(state.asleep[0].keys, ["stem.weight"]);
    assert_eq!(state.base.as_ref().unwrap().number("lr"), Some(0.1 * 0.125));
    let kept: Vec<_> = state
        .parameters
        .iter()
        .map(|p| (p.key.as_str(), p.step))
        .collect();
    assert_eq!(kept, [("norm.weight", Some(3)), ("head.weight", Some(3))]);
    let names: Vec<&str> = state.parameters[0]
        .tensors
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]);

    let saved = schedules.state(optimization.groups());
    let mut snapshot = pollster::block_on(one.source()).unwrap();
    other.load(&mut snapshot);
    let mut resumed = built(ADAM, &other).unwrap();
    let mut resumed_schedules = scheduled(ADAM, &mut resumed);
    resumed.restore(state, &other).unwrap();
    resumed_schedules.restore(&saved, resumed.groups()).unwrap();
    for (optimization, schedules, store) in [
        (&mut optimization, &mut schedules, &one),
        (&mut resumed, &mut resumed_schedules, &other),
    ] {
        for (i, scale) in [2.0, 1.0].into_iter().enumerate() {
            if i == 1 {
                store.freeze("stem", false);
                optimization.groups_mut().wake("stem.weight");
            }
            step(optimization, store, scale);
            schedules.after_iter(optimization.groups_mut());
        }
    }
    for place in ["stem", "norm", "head", "unused"] {
        assert_eq!(numbers(&one, place), numbers(&other, place), "{place}");
    }
    assert_ne!(numbers(&one, "stem"), [1.0; 3]);
}

#[test]
fn goes_on_from_a_checkpoint() {
    goes_on(&Device::flex());
    if let Some(device) = crate::device::gpu_for_tests() {
        goes_on(&device);
    }
}

#[test]
fn sleepers_follow_where_a_checkpoint_does_not_know_them() {
    let store = model(&Device::flex());
    let mut optimization = built(ADAM, &store).unwrap();
    let mut schedules = scheduled(ADAM, &mut optimization);
    schedules.after_iter(optimization.groups_mut());
    let mut state = pollster::block_on(optimization.state()).unwrap();
    state.asleep.clear();
    let mut resumed = built(ADAM, &store).unwrap();
    scheduled(ADAM, &mut resumed);
    resumed.restore(state, &store).unwrap();
    assert_eq!(resumed.groups().all(), optimization.groups().all());
}

#[test]
fn another_checkpoint_is_refused() {
    let store = model(&Device::flex());
    let mut optimization = built(ADAM, &store).unwrap();
    step(&mut optimization, &store, 1.0);
    let state = pollster::block_on(optimization.state()).unwrap();
    let before = optimization.groups().all().to_vec();
    let mut refused = |change: &dyn Fn(&mut OptimizerState)| -> String {
        let mut state = state.clone();
        change(&mut state);
        let error = optimization.restore(state, &store).unwrap_err();
        assert_eq!(optimization.groups().all(), before);
        error.to_string()
    };
    let fewer = refused(&|state| drop(state.groups.pop()));
    assert!(
        fewer.contains("2 parameters in 2 groups, here are 3 in 3"),
        "{fewer}"
    );
    let order = refused(&|state| state.groups.swap(0, 1));
    assert!(
        order.contains("it has `head.weight` where `norm.weight` is here"),
        "{order}"
    );
    let unknown = refused(&|state| state.parameters[0].key = "no.weight".into());
    assert!(
        unknown.contains("`no.weight` is not trained here"),
        "{unknown}"
    );
    let size = refused(&|state| state.parameters[1].tensors[0].1.truncate(2));
    assert!(
        size.contains("`exp_avg` of `head.weight` has 2 numbers, the parameter has 3"),
        "{size}"
    );
    let kind = refused(&|state| state.groups[0].settings.set("betas", 0.9));
    assert!(
        kind.contains("`betas` of a group is of another kind"),
        "{kind}"
    );
    // Kept of another optimizer: what is missing begins anew.
    let mut state = state;
    for parameter in &mut state.parameters {
        parameter.tensors.truncate(1);
        parameter.tensors[0].0 = "momentum_buffer".into();
    }
    state.groups[0]
        .settings
        .set("odd", Setting::Text("x".into()));
    optimization.restore(state, &store).unwrap();
    step(&mut optimization, &store, 1.0);
}

#[test]
fn batches_of_another_size_scale_learning_rates() {
    let store = model(&Device::flex());
    let lr = |scale: &str| {
        let optimization = built(&format!("{SGD}\n{scale}"), &store);
        optimization.map(|o| {
            o.groups()
                .iter()
                .next()
                .unwrap()
                .settings
                .number("lr")
                .unwrap()
        })
    };
    assert_eq!(
        lr("auto_scale_lr = dict(enable=True, base_batch_size=16)").unwrap(),
        0.1 * 0.25
    );
    assert_eq!(
        lr("auto_scale_lr = dict(enable=False, base_batch_size=16)").unwrap(),
        0.1
    );
    assert_eq!(lr("auto_scale_lr = dict(base_batch_size=16)").unwrap(), 0.1);
    let error = lr("auto_scale_lr = dict(enable=True)").unwrap_err();
    assert!(error[0].message.contains("`base_batch_size` above 0"));
}

#[test]
fn mixed_precision_is_noted() {
    let store = model(&Device::flex());
    let text = "optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.1))";
    let optimization = built(text, &store).unwrap();
    assert_eq!(optimization.accumulative_counts, 2);
    assert_eq!(optimization.loss_scale(), 1.0, "inert");
    let note = optimization.notes[0].to_string();
    assert!(
        note.contains("this device has no f16, so all is computed in f32"),
        "{note}"
    );
    let state = pollster::block_on(optimization.state()).unwrap();
    let scale = state.loss_scaler.and_then(|state| state.number("scale"));
    assert_eq!(scale, Some(65536.0), "a checkpoint has it all the same");
    let bfloat = text.replace("'dynamic'", "1.0, dtype='bfloat16'");
    let note = built(&bfloat, &store).unwrap().notes[0].to_string();
    assert!(note.contains("`dtype` is not float16"), "{note}");
    for (change, said) in [
        (
            "loss_scale='dynamic', dtype='half'",
            "`dtype` is 'float16', ",
        ),
        (
            "loss_scale='fixed'",
            "`loss_scale` is 'dynamic', a number, or",
        ),
        ("loss_scale=0.0", "`loss_scale` is 0, it is above 0"),
        (
            "loss_scale=dict(growth_factor=0.5)",
            "`growth_factor` of `loss_scale` is above 1",
        ),
        ("loss_scale=dict(scale=2)", "the key `scale` is not known"),
    ] {
        let text = text.replace("loss_scale='dynamic'", change);
        let problem = built(&text, &store).unwrap_err()[0].to_string();
        assert!(problem.contains(said), "{problem}");
    }
    let none = built("a = 1", &store).unwrap_err();
    assert!(none[0].message.contains("no `optim_wrapper`"));
}

/// A run of `tests/data/loss_scaler.json`, of torch 2.4.1.
#[derive(serde::Deserialize)]
struct Scaled {
    config: String,
    steps: Vec<ScaledStep>,
    state: std::collections::BTreeMap<String, f64>,
}

#[derive(serde::Deserialize)]
struct ScaledStep {
    factor: String,
    scale: f64,
    values: Vec<f32>,
    norm: Option<String>,
}

fn scaled_runs() -> Vec<Scaled> {
    serde_json::from_str(include_str!("../../../tests/data/loss_scaler.json")).unwrap()
}

fn state_of(scaler: &LossScaler) -> Vec<(String, f64)> {
    let state = scaler.state();
    let mut all: Vec<_> = state
        .iter()
        .map(|(name, value)| (name.to_string(), value.number().unwrap()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn scales_go_as_torch_s() {
    for run in scaled_runs() {
        let store = model(&Device::flex());
        let optimization = built(&run.config, &store).unwrap();
        let mut scaler = optimization.scaler().unwrap().clone();
        for step in &run.steps {
            let factor: f32 = step.factor.parse().unwrap();
            scaler.update(!factor.is_finite());
            assert_eq!(scaler.scale(), step.scale as f32, "{}", run.config);
        }
        let state: Vec<_> = run.state.into_iter().collect();
        let found = state_of(&scaler);
        let close = |(a, b): (&(String, f64), &(String, f64))| {
            a.0 == b.0 && (a.1 - b.1).abs() <= 1e-12 * b.1.abs()
        };
        assert_eq!(found.len(), state.len(), "{}", run.config);
        assert!(found.iter().zip(&state).all(close), "{found:?} {state:?}");
        let mut resumed = optimization.scaler().unwrap().clone();
        resumed.restore(&scaler.state());
        assert_eq!(resumed, scaler);
    }
}

#[test]
fn steps_with_gradients_that_are_not_finite_are_left_out() {
    let Some(device) = crate::device::gpu_for_tests() else {
        return;
    };
    if Precision::F16.on(&device) == Precision::F32 {
        eprintln!("skipped: this device has no f16, where nothing is scaled");
        return;
    }
    for run in scaled_runs() {
        let name = &run.config;
        let store = model_in(&device, Precision::F16);
        let mut optimization = built(name, &store).unwrap();
        assert!(optimization.notes.is_empty());
        for step in &run.steps {
            let factor: f32 = step.factor.parse().unwrap();
            let scale = optimization.loss_scale();
            let norm = self::step(&mut optimization, &store, factor * scale);
            let found = numbers(&store, "head");
            for (found, expected) in found.iter().zip(&step.values) {
                let off = (found - expected).abs();
                assert!(off < 1e-5, "{name}: {found} {expected}");
            }
            assert_eq!(optimization.loss_scale(), step.scale as f32, "{name}");
            assert_eq!(norm.is_some(), step.norm.is_some());
            let expected = step.norm.as_ref().map(|norm| norm.parse::<f32>().unwrap());
            if let (Some(norm), Some(expected)) = (norm, expected.filter(|n| n.is_finite())) {
                assert!(
                    (norm - expected).abs() < 1e-5 * expected,
                    "{norm} {expected}"
                );
            }
        }
        let state = pollster::block_on(optimization.state()).unwrap();
        let other = model_in(&device, Precision::F16);
        let mut resumed = built(name, &other).unwrap();
        resumed.restore(state, &other).unwrap();
        assert_eq!(resumed.scaler(), optimization.scaler());
    }
}

#[test]
fn a_plan_says_all_before() {
    let store = model(&Device::flex());
    let mut optimization = built(ADAM, &store).unwrap();
    let schedules = scheduled(ADAM, &mut optimization);
    let length = Length {
        max_epochs: 2,
        max_iters: 6,
        epoch_length: 3,
    };
    let plan = Plan::new(&optimization, &schedules, &store, length);
    let planned: Vec<_> = plan.iterations().collect();
    assert_eq!(planned.len(), 6);
    assert_eq!((planned[4].iter, planned[4].epoch), (4, 1));
    for (i, planned) in planned.iter().enumerate() {
        let lr = 0.1 * 0.5f64.powi(i as i32);
        assert!((planned.base_lr - lr).abs() < 1e-15);
        assert!((planned.lr[1] - lr * 0.1).abs() < 1e-15);
    }
    let expected = "\
AdamW: 3 parameters, 9 numbers; frozen: 1, 3 numbers
parameters      numbers           lr weight_decay  such as
         2            6          0.1         0.01  norm.weight
         1            3         0.01         0.01  head.weight
ExponentialLR: 6 iterations, 3 an epoch
     epoch    iteration           lr
         1            1          0.1
         1            2         0.05
         1            3        0.025
         2            4       0.0125
         2            5      0.00625
         2            6     0.003125
";
    assert_eq!(plan.to_string(), expected);
}
