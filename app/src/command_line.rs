//! The command line, and which command runs.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use smalti::host::disk::Disk;

#[cfg(feature = "window")]
use crate::window;
use crate::{check, commands, style};

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "smalti",
    version,
    about = "Object detection from MMDetection's configs and checkpoints, without Python",
    long_about = "Reads MMDetection's own config files and checkpoints and runs the detectors they describe on any GPU that wgpu reaches \
                  (Vulkan, Metal, DX12), or on the CPU.",
    after_help = "Start here:\n  smalti demo                                   a trained detector on a picture, nothing needed\n  \
                  smalti detect CONFIG.py CHECKPOINT.pth a.jpg  your own\n  smalti devices                                what it can run on",
    arg_required_else_help = cfg!(not(feature = "window")),
    subcommand_required = cfg!(not(feature = "window")),
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Opens the window, with these configs, pictures, checkpoints or folders
    #[cfg(feature = "window")]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the built-in digit detector on a picture
    Demo(commands::demo::DemoArgs),
    /// Find objects in pictures with a config and a checkpoint
    Detect(commands::detect::DetectArgs),
    /// Run a detector over a data set and compare what it finds with the annotations
    Test(commands::test::TestArgs),
    /// Find out what a detector does wrong, from its results and the annotations
    Analyze(commands::analyze::AnalyzeArgs),
    /// Train the detector of a config
    Train(commands::train::TrainArgs),
    /// See what a data set holds and what its pipeline makes of it, step by step
    Browse(commands::browse::BrowseArgs),
    /// Show, check and compare config files
    Config(commands::config::ConfigArgs),
    /// List a checkpoint's tensors, or compare them with a config's model
    Weights(commands::weights::WeightsArgs),
    /// Convert checkpoints of other software and of older versions, and publish them
    #[command(subcommand)]
    Convert(commands::convert::ConvertCommand),
    /// Print the channels, strides and shapes that a backbone gives
    Channels(commands::channels::ChannelsArgs),
    /// List the GPUs and what else detectors can run on
    Devices {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the components that a config can name
    List(commands::list::ListArgs),
    /// Time each stage of a detector
    Bench(commands::bench::BenchArgs),
    /// Print a script that completes commands and options in your shell
    Completions(commands::completions::CompletionsArgs),
}

/// Parses the command line and runs it.
pub fn run() -> ExitCode {
    style::end_quietly_on_a_closed_pipe();
    style::quiet_mesa_without_a_desktop();
    let cli = match Cli::from_arg_matches(&command().get_matches()) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    let Some(chosen) = cli.command else {
        #[cfg(feature = "window")]
        return open_window(cli.files);
        #[cfg(not(feature = "window"))]
        unreachable!("clap asks for a command where there is no window");
    };
    let result = match chosen {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Detect(args) => commands::detect::run(&args),
        Command::Test(args) => commands::test::run(&args),
        Command::Analyze(args) => commands::analyze::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Browse(args) => commands::browse::run(&args),
        Command::Config(args) => {
            let checks = |config: &_| check::check(config, &Disk::new());
            return commands::config::run(args, checks);
        }
        Command::Weights(args) => return commands::weights::run(&args, commands::model::state_of),
        Command::Convert(command) => commands::convert::run(&command),
        Command::Channels(args) => commands::channels::run(&args),
        Command::Devices { json } => {
            commands::devices::run(json);
            Ok(ExitCode::SUCCESS)
        }
        Command::List(args) => commands::list::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Completions(args) => {
            commands::completions::run(&args, command());
            Ok(ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            style::error(&message);
            ExitCode::FAILURE
        }
    }
}

/// Opens the window with these files. Without a display it is the help that is wanted.
#[cfg(feature = "window")]
fn open_window(files: Vec<std::path::PathBuf>) -> ExitCode {
    const MISUSED: u8 = 2;
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        let name = missing.display().to_string();
        let command = command();
        let commands: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
        let help = match smalti::config::nearest(&name, commands.iter().copied()) {
            Some(near) => format!("did you mean `smalti {near}`?"),
            None => "`smalti --help` lists the commands".to_owned(),
        };
        style::error(&format!(
            "there is no command and no file `{name}`\nhelp: {help}"
        ));
        return ExitCode::from(MISUSED);
    }
    if !window::native::has_display() {
        if files.is_empty() {
            style::remark(command().render_help());
        } else {
            style::error(
                "there is no display to open a window on\nhelp: `smalti --help` lists the commands, which need none",
            );
        }
        return ExitCode::from(MISUSED);
    }
    match window::native::run(files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            style::error(&message);
            ExitCode::FAILURE
        }
    }
}

/// The command line's grammar. Help is as wide as the terminal, up to 110 columns; a width of 0, which some editors' and build
/// servers' terminals give, is none.
fn command() -> clap::Command {
    const WIDEST: usize = 110;
    let command = Cli::command().max_term_width(WIDEST);
    match std::env::var("COLUMNS").as_deref() {
        Ok("0") => command.term_width(WIDEST),
        _ => command,
    }
}
