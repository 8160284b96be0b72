//! `smalti weights FILE`: what is in a checkpoint; with `--config`, how it fits that config's model; with `--out`, its weights in another form.

use crate::style;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use smalti::config::{cut, line};
use smalti::host::cache::{self, Cache, CacheError, Progress};
use smalti::host::checkpoint_files;
use smalti::weights::{self, Altered, Checkpoint, LoadReport, Wanted};

/// Show the tensors of a checkpoint, or how it fits a model, or write them in another form.
///
/// FILE is a path, an http(s):// address, or a name such as torchvision://resnet50 or
/// open-mmlab://detectron2/resnet50_caffe; what is not on this machine yet is downloaded once, into
/// $SMALTI_CACHE or the system's cache folder. Formats are told by content: .pth and .pt (also before PyTorch 1.6), .pkl
/// of Detectron2, .safetensors, burnpack; the .index.json of a checkpoint in several files, with those in the same folder. Nothing
/// in a file is ever executed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  smalti weights epoch_12.pth
      Every tensor with shape and type, and what else is in the file.
  smalti weights epoch_12.pth --config my_config.py
      What of the model is in the file: matched, missing, unexpected, wrong shape.
  smalti weights torchvision://resnet50 --config my_config.py
      Help such as \"265 of the file's 267 keys fit the model's `backbone.` alone\".
  smalti weights classifier.pth --config my_config.py --prefix backbone.
      As init_cfg=dict(type='Pretrained', checkpoint='classifier.pth', prefix='backbone.') would load it.
  smalti weights epoch_12.pth --section ema_state_dict
      Another part of the file. `state_dict` already has the averaged weights where EMAHook was used.
  smalti weights epoch_12.pth --out weights.safetensors
      The weights alone, without what training goes on from; also to .pth, which PyTorch loads with weights_only=True.

Exit code: 1 when the file or the config cannot be read, and with --config when something of the model is missing, has another
shape, or cannot be read. Unexpected keys do no harm.")]
pub struct WeightsArgs {
    /// Path, address or name of the checkpoint
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: String,
    /// Compare with the model of this config
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Change settings of the config first: key.sub=value ...
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., requires = "config")]
    pub cfg_options: Vec<String>,
    /// Only keys that begin with this, without it (the last dot may be left out)
    #[arg(long)]
    pub prefix: Option<String>,
    /// Take this part of the file as the state dict, such as ema_state_dict, or 0 of a tuple; .safetensors and burnpack have none
    #[arg(long)]
    pub section: Option<String>,
    /// Write the tensors to this file: .pth or .safetensors
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with_all = ["config", "json"])]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command. `model_keys` gives keys and shapes of the model that a config describes, with `--cfg-options` merged in.
pub fn run(
    args: &WeightsArgs,
    model_keys: impl Fn(&Path, &[String]) -> Result<Vec<Wanted>, String>,
) -> ExitCode {
    match show(args, &model_keys, &mut style::output(args.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            style::error(&message);
            ExitCode::FAILURE
        }
    }
}

type ModelKeys<'a> = &'a dyn Fn(&Path, &[String]) -> Result<Vec<Wanted>, String>;

/// Writes to `out`. False when the file does not have all that the model wants.
fn show(args: &WeightsArgs, model_keys: ModelKeys, out: &mut dyn Write) -> Result<bool, String> {
    let checkpoint =
        load_with_bar(&args.file, args.section.as_deref()).map_err(|e| e.to_string())?;
    let (written, complete) = match &args.config {
        Some(config) => {
            let wanted = model_keys(config, &args.cfg_options)?;
            let report = weights::report(&wanted, &checkpoint, args.prefix.as_deref());
            let report = report.after_reading(&checkpoint);
            let written = if args.json {
                write_json(out, &report_json(&report))
            } else {
                writeln!(out, "{report}")
            };
            (written, report.is_complete())
        }
        None => {
            let mut checkpoint = checkpoint;
            if let Some(prefix) = args.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
                checkpoint.keep_prefix(&format!("{}.", prefix.trim_end_matches('.')));
                if checkpoint.state().is_empty() {
                    return Err(format!("no key in {} begins with `{prefix}`", args.file));
                }
            }
            let written = if let Some(path) = &args.out {
                let altered = checkpoint.altered().map_err(|e| e.to_string())?;
                export(&altered, path)?;
                writeln!(
                    out,
                    "{}: {} tensors",
                    path.display(),
                    checkpoint.state().len()
                )
            } else if args.json {
                write_json(out, &CheckpointJson::of(&args.file, &checkpoint))
            } else {
                write_table(out, &args.file, &checkpoint)
            };
            (written, true)
        }
    };
    match written.and_then(|()| out.flush()) {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(complete),
        Err(error) => Err(error.to_string()),
        Ok(()) => Ok(complete),
    }
}

/// Writes the weights in the form that the file's name says.
pub(super) fn export(checkpoint: &Altered, path: &Path) -> Result<(), String> {
    let form = Form::of(path)?;
    let write = |out: &mut dyn Write| match form {
        Form::Torch => checkpoint.write_torch(out),
        Form::Safetensors => checkpoint.write_safetensors(out),
    };
    checkpoint_files::save(path, write).map_err(|e| e.to_string())
}

/// What a checkpoint can be written as.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Torch,
    Safetensors,
}

impl Form {
    /// As the file's name says.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("pth" | "pt") => Ok(Self::Torch),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => {
                let path = path.display();
                Err(format!(
                    "cannot tell the form of `{path}` by its name\nhelp: let it end in .pth or .safetensors"
                ))
            }
        }
    }
}

/// Reads a checkpoint by name; a download shows a progress bar on a terminal.
///
/// # Errors
/// [`CacheError`].
pub fn load_with_bar(name: &str, section: Option<&str>) -> Result<Checkpoint, CacheError> {
    let mut bar: Option<ProgressBar> = None;
    let fetched = Cache::default().fetch(name, &mut |progress| {
        bar.get_or_insert_with(|| new_bar(&progress));
        if let Some(bar) = &bar {
            bar.set_position(progress.done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let fetched = fetched?;
    let mut checkpoint = cache::open_section(&fetched.path, section)?;
    if let Some(prefix) = fetched.keep_prefix {
        checkpoint.keep_prefix(prefix);
    }
    Ok(checkpoint)
}

fn new_bar(progress: &Progress) -> ProgressBar {
    let (bar, template) = match progress.total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{msg} {bytes} {bytes_per_sec}"),
    };
    let name = progress.url.rsplit('/').next().unwrap_or_default();
    let bar = bar.with_message(line(name).into_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn write_table(out: &mut dyn Write, file: &str, checkpoint: &Checkpoint) -> io::Result<()> {
    let state = checkpoint.state();
    let tensors: Vec<_> = checkpoint
        .keys()
        .map(|key| (shown(key), checkpoint.tensor(key)))
        .collect();
    let readable = tensors
        .iter()
        .filter_map(|(_, tensor)| tensor.as_ref().ok());
    let (elements, bytes) = readable.fold((0, 0), |(elements, bytes), tensor| {
        let count = tensor.count() as u64;
        (
            elements + count,
            bytes + count * tensor.dtype().size() as u64,
        )
    });
    let shape_text = |shape: &[usize]| match shape {
        [] => "scalar".to_owned(),
        shape => shape
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join("x"),
    };
    let width = tensors
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0)
        .min(80);
    for (key, tensor) in &tensors {
        match tensor {
            Ok(tensor) => {
                let shape = shape_text(tensor.shape());
                writeln!(out, "{key:width$}  {shape:>16}  {}", tensor.dtype())?;
            }
            Err(error) => writeln!(out, "{key:width$}  {error}")?,
        }
    }
    let part = match state.section.as_str() {
        "" => String::new(),
        section => format!(", from `{}`", shown(section)),
    };
    writeln!(
        out,
        "{file}: {}{part}: {} tensors, {elements} elements, {}",
        checkpoint.format(),
        state.len(),
        indicatif::DecimalBytes(bytes)
    )?;
    let meta = checkpoint.meta();
    if state.unwrapped > 0 {
        writeln!(
            out,
            "names of wrappers, such as `module.`, were taken out of {} keys",
            state.unwrapped
        )?;
    }
    if state.ema_shadows > 0 {
        writeln!(
            out,
            "{} `ema_...` keys left out: they hold the weights before averaging, for resuming",
            state.ema_shadows
        )?;
    }
    let numbers = [("epoch", meta.epoch), ("iter", meta.iter)];
    let numbers = numbers
        .iter()
        .filter_map(|(name, n)| Some((name.to_string(), n.as_ref()?.to_string())));
    for (name, value) in numbers.chain(meta.facts.iter().cloned()) {
        let name = shown(&name);
        match value.char_indices().nth(300) {
            Some((end, _)) => {
                let value = line(&value[..end]);
                writeln!(out, "{name}: {value}... (all of it in --json)")?;
            }
            None => writeln!(out, "{name}: {}", line(&value))?,
        }
    }
    if !meta.classes.is_empty() {
        let first: Vec<_> = meta
            .classes
            .iter()
            .take(20)
            .map(|class| shown(class))
            .collect();
        let more = if meta.classes.len() > first.len() {
            ", ..."
        } else {
            ""
        };
        writeln!(
            out,
            "{} classes: {}{more}",
            meta.classes.len(),
            first.join(", ")
        )?;
    }
    if let Some(config) = &meta.config {
        writeln!(
            out,
            "config: {} lines of text (in --json)",
            config.lines().count()
        )?;
    }
    for (name, what) in meta.others.iter().chain(&state.not_tensors) {
        writeln!(out, "also in the file: {} ({})", shown(name), line(what))?;
    }
    Ok(())
}

/// A name of the file on one line, and no longer than can be read.
fn shown(name: &str) -> String {
    line(&cut(name, 200)).into_owned()
}

/// What `--json` prints of a checkpoint: written as it is, since a tree of values of 100,000 tensors would take hundreds of megabytes.
#[derive(Serialize)]
struct CheckpointJson<'a> {
    file: &'a str,
    format: String,
    section: &'a str,
    tensors: Vec<TensorJson<'a>>,
    unreadable: Vec<UnreadableJson<'a>>,
    unwrapped: usize,
    ema_shadows: usize,
    epoch: Option<i64>,
    iter: Option<i64>,
    classes: &'a [String],
    config: Option<&'a str>,
    facts: serde_json::Value,
    others: serde_json::Value,
    not_tensors: serde_json::Value,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    key: &'a str,
    shape: &'a [usize],
    dtype: &'static str,
}

#[derive(Serialize)]
struct UnreadableJson<'a> {
    key: &'a str,
    why: &'a str,
}

impl<'a> CheckpointJson<'a> {
    fn of(file: &'a str, checkpoint: &'a Checkpoint) -> Self {
        let tensors = checkpoint.keys().filter_map(|key| {
            let tensor = checkpoint.get(key)?;
            let (shape, dtype) = (tensor.shape(), tensor.dtype().name());
            Some(TensorJson { key, shape, dtype })
        });
        let unreadable = checkpoint.unreadable();
        let (state, meta) = (checkpoint.state(), checkpoint.meta());
        Self {
            file,
            format: checkpoint.format().to_string(),
            section: &state.section,
            tensors: tensors.collect(),
            unreadable: unreadable
                .map(|(key, why)| UnreadableJson { key, why })
                .collect(),
            unwrapped: state.unwrapped,
            ema_shadows: state.ema_shadows,
            epoch: meta.epoch,
            iter: meta.iter,
            classes: &meta.classes,
            config: meta.config.as_deref(),
            facts: pairs(&meta.facts),
            others: pairs(&meta.others),
            not_tensors: pairs(&state.not_tensors),
        }
    }
}

fn report_json(report: &LoadReport) -> serde_json::Value {
    let wrong: Vec<_> = report
        .wrong_shape
        .iter()
        .map(|wrong| json!({"key": wrong.key, "file": wrong.file, "model": wrong.model}))
        .collect();
    json!({
        "complete": report.is_complete(),
        "prefix": report.prefix,
        "matched": report.matched.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        "missing": report.missing,
        "unexpected": report.unexpected,
        "wrong_shape": wrong,
        "unreadable": pairs(&report.unreadable),
        "prefix_hint": report.prefix_hint,
        "part_hint": report.part_hint,
    })
}

fn pairs(pairs: &[(String, String)]) -> serde_json::Value {
    let pairs = pairs.iter().map(|(key, value)| (key.clone(), json!(value)));
    serde_json::Value::Object(pairs.collect())
}

fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: WeightsArgs,
    }

    /// A safetensors file with `backbone.w` (2x3) and `n` (no dimensions), below the system's temporary folder.
    fn file(name: &str) -> PathBuf {
        let header = r#"{"backbone.w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"n":{"dtype":"I64","shape":[],"data_offsets":[24,32]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 32]);
        let path =
            std::env::temp_dir().join(format!("smalti-weights-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn shown(path: &Path, rest: &[&str], wanted: &[(&str, &[usize])]) -> (String, String) {
        let words = ["weights", path.to_str().unwrap()]
            .into_iter()
            .chain(rest.iter().copied());
        let command = Command::try_parse_from(words).unwrap();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(key, shape)| Wanted {
                key: key.to_string(),
                shape: shape.to_vec(),
                once: None,
                square: None,
            })
            .collect();
        let mut out = Vec::new();
        let code = match show(&command.args, &|_, _| Ok(wanted.clone()), &mut out) {
            Ok(complete) => format!("complete: {complete}"),
            Err(message) => message,
        };
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn writes_weights_in_another_form() {
        let path = file("export.safetensors");
        let to = path.with_extension("pth");
        let (text, code) = shown(
            &path,
            &["--prefix", "backbone", "--out", to.to_str().unwrap()],
            &[],
        );
        assert_eq!(text, format!("{}: 1 tensors\n", to.display()));
        assert_eq!(code, "complete: true");
        let written = Checkpoint::read(std::fs::read(&to).unwrap()).unwrap();
        assert_eq!(written.keys().collect::<Vec<_>>(), ["w"]);
        assert_eq!(written.format(), weights::Format::TorchZip);
        let (_, message) = shown(&path, &["--out", "weights.bin"], &[]);
        assert_eq!(
            message,
            "cannot tell the form of `weights.bin` by its name\nhelp: let it end in .pth or .safetensors"
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&to).unwrap();
    }

    #[test]
    fn lists_tensors() {
        let path = file("list.safetensors");
        let (text, code) = shown(&path, &[], &[]);
        assert_eq!(
            text,
            format!(
                "backbone.w               2x3  float32\nn                     scalar  int64\n{}: safetensors: 2 tensors, 7 elements, 32 B\n",
                path.display()
            )
        );
        assert_eq!(code, "complete: true");
        let (text, _) = shown(&path, &["--json", "--prefix", "backbone"], &[]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["tensors"],
            json!([{"key": "w", "shape": [2, 3], "dtype": "float32"}])
        );
        let (_, message) = shown(&path, &["--prefix", "neck."], &[]);
        assert_eq!(
            message,
            format!("no key in {} begins with `neck.`", path.display())
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn compares_with_a_model() {
        let path = file("compare.safetensors");
        let config = ["--config", "x.py"];
        let (text, code) = shown(&path, &config, &[("backbone.w", &[2, 3]), ("n", &[])]);
        assert_eq!(text, "matched 2, missing 0, unexpected 0, wrong shape 0\n");
        assert_eq!(code, "complete: true");
        let (text, code) = shown(&path, &config, &[("w", &[2, 3])]);
        assert!(
            text.ends_with("help: 1 of 1 keys match if `prefix='backbone.'` is given\n"),
            "{text}"
        );
        assert_eq!(code, "complete: false");
        let rest = ["--config", "x.py", "--prefix", "backbone", "--json"];
        let (text, code) = shown(&path, &rest, &[("w", &[2, 3])]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&value["complete"], &value["matched"]),
            (&json!(true), &json!(["w"]))
        );
        assert_eq!(code, "complete: true");
        std::fs::remove_file(path).unwrap();
    }
}
