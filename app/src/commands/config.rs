//! `smalti config`: show, check and compare configs.

use crate::style;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use smalti::config::{
    Config, ConfigErrors, Configs, Diagnostic, Node, Severity, diff, value_to_py,
};
use smalti::detectors::detectron2;
use smalti::host::config_files::ConfigFiles;
use std::io::{self, Write};
use std::process::ExitCode;

/// Checks of a resolved config beyond its language, such as building its model.
pub type Checks = fn(&Config) -> Vec<Diagnostic>;

/// Show, check and compare config files.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Print a config with all its bases merged.
    ///
    /// The Python that is printed reads back to the same config, without any base. With --origins each value is
    /// printed on a line of its own with its path and the place where it was written, so
    /// `smalti config show FILE --origins | grep lr` answers where a value comes from.
    Show {
        /// The config: .py, .json, .yaml or .yml.
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// Print each value with the file, line and column where it was written.
        #[arg(long)]
        origins: bool,
        /// The form of the output.
        #[arg(long, value_enum, default_value = "py", conflicts_with = "origins")]
        format: Format,
        #[command(flatten)]
        options: ReadOptions,
    },
    /// Resolve configs and report all that is wrong with each.
    ///
    /// One line for each good file; errors with their place for each bad one. The exit code is 1 if any file failed.
    Check {
        /// The configs.
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        files: Vec<String>,
        #[command(flatten)]
        options: ReadOptions,
    },
    /// Print what differs between two resolved configs, path by path.
    ///
    /// Lines begin with `-` for the first config, `+` for the second, and end in the place of the value. The order of
    /// keys does not count; a tuple differs from a list, and 1 from 1.0. The exit code is 1 if anything differs.
    Diff {
        /// The first config.
        #[arg(value_hint = ValueHint::FilePath)]
        a: String,
        /// The second config.
        #[arg(value_hint = ValueHint::FilePath)]
        b: String,
        #[command(flatten)]
        packages: PackageOptions,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Python, as in a config file.
    Py,
    /// JSON; tuples become lists.
    Json,
}

/// Options of every command that reads a config.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadOptions {
    /// Values to change: key=value, with dots for keys within keys and numbers for items of lists.
    ///
    /// Examples: model.backbone.depth=18   train_dataloader.dataset.pipeline.0.type=LoadImage   img_scale=(640,480)
    /// Lists are a,b or [a,b], tuples (a,b); quotes and spaces are dropped, as MMEngine does.
    /// A key that is new, or a variable whose value was copied before, is noted: such an option may have no effect.
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    pub cfg_options: Vec<String>,
    /// Settings to change of a Detectron2 YAML, as it names them: KEY VALUE KEY VALUE ...
    ///
    /// Example: --opts MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.5 INPUT.MIN_SIZE_TEST 640
    #[arg(long, num_args = 2.., value_names = ["KEY", "VALUE"], allow_negative_numbers = true)]
    pub opts: Vec<String>,
    /// Packages whose configs are bases.
    #[command(flatten)]
    pub packages: PackageOptions,
}

/// Where packages lie whose configs are bases.
#[derive(Args, Clone, Debug, Default)]
pub struct PackageOptions {
    /// Where the configs of NAME:: bases lie, as in `mmpretrain::_base_/default_runtime.py`.
    ///
    /// DIR is an unpacked wheel, the package's folder, a checkout, or its configs: DIR/.mim/configs,
    /// DIR/NAME/.mim/configs, DIR/configs and DIR are tried. Besides, packages are looked for in the environment variable
    /// SMALTI_PACKAGES (NAME=DIR entries, or folders that hold packages, separated as in PATH) and in the site-packages
    /// of an active VIRTUAL_ENV.
    #[arg(long = "package", value_name = "NAME=DIR")]
    pub packages: Vec<String>,
}

impl PackageOptions {
    /// A loader that knows these packages.
    pub fn files(&self) -> Result<ConfigFiles, String> {
        let add = |files: ConfigFiles, argument: &String| files.with_package_argument(argument);
        self.packages.iter().try_fold(ConfigFiles::new(), add)
    }
}

/// Where Detectron2 looks for its data sets.
pub fn detectron2_datasets() -> String {
    std::env::var("DETECTRON2_DATASETS").unwrap_or_else(|_| "datasets".into())
}

impl ReadOptions {
    /// Loads a config with these packages, and changes the values that were given. What is noteworthy goes to the error stream.
    pub fn load(&self, file: &str) -> Result<Config, String> {
        let files = self.packages.files()?;
        let config = self
            .load_with(&mut Configs::new(&files), file)
            .map_err(|e| e.to_string())?;
        tell(&config.notes);
        Ok(config)
    }

    fn load_with(&self, configs: &mut Configs<'_>, file: &str) -> Result<Config, ConfigErrors> {
        let mut config = configs.load(file)?;
        if detectron2::is(&config) {
            config = detectron2::config_of(config, &self.opts, &detectron2_datasets(), configs)?;
        } else if !self.opts.is_empty() {
            let message = "--opts is for the settings of a Detectron2 YAML";
            let error = Diagnostic::error(message).help("write --cfg-options KEY=VALUE");
            return Err(vec![error].into());
        }
        config.merge_options(&self.cfg_options).map_err(|errors| {
            let mut all = errors.diagnostics;
            all.extend(config.notes.iter().cloned());
            ConfigErrors::from(all)
        })?;
        Ok(config)
    }
}

/// Runs the command. `checks` are what `check` does with each config that could be resolved.
pub fn run(args: ConfigArgs, checks: Checks) -> ExitCode {
    let mut out = style::output(false);
    let result = match &args.command {
        ConfigCommand::Show {
            file,
            origins,
            format,
            options,
        } => show(file, *origins, *format, options, &mut out),
        ConfigCommand::Check { files, options } => check(files, options, checks, &mut out),
        ConfigCommand::Diff { a, b, packages } => differences(a, b, packages, &mut out),
    };
    let flushed = out.flush();
    match result.and_then(|good| flushed.map(|()| good).map_err(Failure::Output)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader such as `head` that has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            style::remark(format_args!(
                "error: the output could not be written: {error}"
            ));
            ExitCode::FAILURE
        }
        Err(Failure::Told(message)) => {
            style::remark(message);
            ExitCode::FAILURE
        }
    }
}

/// Why a command could not end.
enum Failure {
    /// With a message for the user.
    Told(String),
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Told(if message.starts_with("error") {
            message
        } else {
            format!("error: {message}")
        })
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Told(errors.to_string())
    }
}

/// Findings that are printed; the others are counted.
const TOLD: usize = 50;

/// Findings go to the error stream.
pub fn tell(findings: &[Diagnostic]) {
    findings.iter().take(TOLD).for_each(style::remark);
    if findings.len() > TOLD {
        style::remark(format_args!("... and {} more", findings.len() - TOLD));
    }
}

/// So does what a config would have imported.
fn warn(config: &Config) {
    let imports = config.custom_imports();
    if !imports.is_empty() {
        style::remark(format_args!(
            "note: `custom_imports` names {}; nothing is imported, our own parts are used",
            imports.join(", ")
        ));
    }
}

fn show(
    file: &str,
    origins: bool,
    format: Format,
    options: &ReadOptions,
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    let config = options.load(file)?;
    warn(&config);
    if origins {
        for (path, node) in config.origins() {
            writeln!(out, "{path} = {}    # {}", value_to_py(node), node.origin)?;
        }
        return Ok(true);
    }
    let text = match format {
        Format::Py => config.to_py(),
        Format::Json => config.to_json(),
    };
    out.write_all(text.as_bytes())?;
    Ok(true)
}

fn check(
    files: &[String],
    options: &ReadOptions,
    checks: Checks,
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    let loader = options.packages.files()?;
    let mut configs = Configs::new(&loader);
    let mut failed = 0;
    for file in files {
        let found = options.load_with(&mut configs, file).and_then(|config| {
            let found = checks(&config);
            let bad = found.iter().any(|d| d.severity == Severity::Error);
            let mut all = config.notes.clone();
            all.extend(config.errors(found).diagnostics);
            if bad { Err(all.into()) } else { Ok(all) }
        });
        match found {
            Ok(notes) => {
                writeln!(out, "ok      {file}")?;
                out.flush()?;
                tell(&notes);
            }
            Err(errors) => {
                failed += 1;
                writeln!(out, "failed  {file}")?;
                out.flush()?;
                style::remark(format_args!("{errors}\n"));
            }
        }
    }
    if files.len() > 1 {
        writeln!(out, "{} good, {failed} failed", files.len() - failed)?;
    }
    Ok(failed == 0)
}

fn differences(
    a: &str,
    b: &str,
    packages: &PackageOptions,
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    let loader = packages.files()?;
    let mut configs = Configs::new(&loader);
    let (left, right) = match (configs.load(a), configs.load(b)) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let errors = [left.err(), right.err()].into_iter().flatten();
            let all: Vec<Diagnostic> = errors.flat_map(|e| e.diagnostics).collect();
            return Err(ConfigErrors::from(all).into());
        }
    };
    let changes = diff(left.dict(), right.dict());
    for change in &changes {
        let mut line = |sign: char, node: &Option<Node>| match node {
            Some(node) => writeln!(
                out,
                "{sign} {} = {}    # {}",
                change.path,
                value_to_py(node),
                node.origin
            ),
            None => Ok(()),
        };
        line('-', &change.left)?;
        line('+', &change.right)?;
    }
    Ok(changes.is_empty())
}
