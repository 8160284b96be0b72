//! A training run written.

use std::collections::HashMap;
use std::io::Write;

use super::{OptimizerState, ParameterState, StateValue, TrainingMeta, TrainingState};
use crate::plain::{Dict, Plain};
use crate::save::{Numbers, Pickler, SaveError, Saved, write_archive};

impl<T: Saved> TrainingState<T> {
    /// Writes a `.pth` that MMEngine's `Runner.resume` and MMDetection's `init_detector` take. Tensors are asked for their elements one by one.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn write(&self, out: impl Write) -> Result<(), SaveError> {
        let steps = Numbers::i64(&[], vec![self.averaged.as_ref().map_or(0, |a| a.steps)]);
        let no_parameter = Numbers::f32(&[1], vec![0.0]);
        let averages = self.averaged.iter().flat_map(|a| &a.state_dict);
        let averages: HashMap<&str, &T> = averages.map(|(key, tensor)| (&**key, tensor)).collect();

        let mut pickler = Pickler::new();
        pickler.dict();
        pickler.text("meta");
        pickler.plain_dict(&self.meta.to_dict());
        pickler.text("state_dict");
        pickler.state_dict(self.state_dict.iter().map(|(key, trained)| {
            let tested = averages.get(&**key).copied().unwrap_or(trained);
            (&**key, tested as &dyn Saved)
        }))?;
        if self.averaged.is_some() {
            let kept = self.state_dict.iter();
            let kept = kept.filter(|(key, _)| averages.contains_key(&**key));
            let kept: Vec<(String, &T)> = kept
                .map(|(key, trained)| (format!("module.{key}"), trained))
                .collect();
            pickler.text("ema_state_dict");
            let steps = ("steps", &steps as &dyn Saved);
            let kept = kept
                .iter()
                .map(|(key, trained)| (&**key, *trained as &dyn Saved));
            pickler.state_dict(std::iter::once(steps).chain(kept))?;
        }
        pickler.text("message_hub");
        pickler.plain_dict(&message_hub(&self.runtime_info));
        if let Some(optimizer) = &self.optimizer {
            pickler.text("optimizer");
            optimizer.pickle(&mut pickler, &no_parameter)?;
        }
        if let Some(schedulers) = &self.param_schedulers {
            pickler.text("param_schedulers");
            pickler.list();
            schedulers.iter().for_each(|dict| pickler.plain_dict(dict));
            pickler.end_list();
        }
        for (key, value) in &self.others.0 {
            pickler.plain(key);
            pickler.plain(value);
        }
        pickler.end_dict();
        write_archive(out, pickler)
    }
}

impl<T: Saved> OptimizerState<T> {
    /// `no_parameter` is what MMEngine has in the group without parameters.
    fn pickle<'t>(
        &'t self,
        pickler: &mut Pickler<'t>,
        no_parameter: &'t Numbers<'_>,
    ) -> Result<(), SaveError> {
        pickler.dict();
        pickler.text("state");
        pickler.dict();
        for ParameterState { number, values } in &self.state {
            pickler.int(*number as i64);
            pickler.dict();
            for (name, value) in values {
                pickler.text(name);
                match value {
                    StateValue::Tensor(tensor) => {
                        pickler.tensor(&format!("optimizer.state.{number}.{name}"), tensor)?;
                    }
                    StateValue::Plain(plain) => pickler.plain(plain),
                }
            }
            pickler.end_dict();
        }
        pickler.end_dict();
        pickler.text("param_groups");
        pickler.list();
        self.param_groups
            .iter()
            .for_each(|dict| pickler.plain_dict(dict));
        pickler.end_list();
        if let Some(base) = &self.base_param_settings {
            pickler.text("base_param_settings");
            pickler.dict();
            pickler.text("params");
            pickler.tensor("optimizer.base_param_settings.params", no_parameter)?;
            for (key, value) in &base.0 {
                pickler.plain(key);
                pickler.plain(value);
            }
            pickler.end_dict();
        }
        if let Some(scaler) = &self.loss_scaler {
            pickler.text("loss_scaler");
            pickler.plain_dict(scaler);
        }
        pickler.end_dict();
        Ok(())
    }
}

impl TrainingMeta {
    fn to_dict(&self) -> Dict {
        let classes = self.classes.iter().map(String::as_str);
        let mut dataset = Dict::new().with("classes", Plain::tuple(classes));
        if !self.palette.is_empty() {
            let colours = self.palette.iter();
            let colours = colours.map(|colour| Plain::tuple(colour.map(i64::from)));
            dataset.insert("palette", Plain::list(colours));
        }
        let mut meta = Dict::new()
            .with("epoch", self.epoch)
            .with("iter", self.iter)
            .with("cfg", &*self.cfg)
            .with("seed", self.seed)
            .with("experiment_name", &*self.experiment_name)
            .with("time", &*self.time)
            .with("dataset_meta", dataset);
        meta.0.extend(self.others.0.iter().cloned());
        meta
    }
}

/// The message hub of these facts, all of which are to be resumed, without histories.
fn message_hub(runtime_info: &Dict) -> Dict {
    let keys = runtime_info.0.iter().map(|(key, _)| key.clone());
    let resumed = keys.map(|key| (key, Plain::Bool(true))).collect();
    Dict::new()
        .with("log_scalars", Dict::new())
        .with("runtime_info", runtime_info.clone())
        .with("resumed_keys", Dict(resumed))
}
