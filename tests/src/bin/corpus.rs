//! `corpus DIR EXPECTED.jsonl.gz [--package NAME=DIR]...` checks a tree of configs against the form in which MMEngine
//! resolves each: a line for each file that differs, and `N passed, N failed` at the end.

use smalti::host::config_files::ConfigFiles;
use smalti_tests::corpus::{check_all, read_rows};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: corpus DIR EXPECTED.jsonl.gz [--package NAME=DIR]...

DIR       the folder below which the rows' files lie, such as mmdet/.mim/configs of an unpacked wheel
EXPECTED  rows {file, ok, cfg | error}, one a line, plain or gzipped
--package where the configs of NAME:: bases lie: an unpacked wheel, a package's folder, a checkout, or its configs

Rows that MMEngine refused are listed with what we say of them, and not counted. A program among the configs, of which
MMEngine keeps only the functions, passes when it is refused as a program.";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let mut files = ConfigFiles::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            println!("{USAGE}");
            return Ok(true);
        } else if argument == "--package" {
            let value = arguments.next().ok_or("`--package` needs NAME=DIR")?;
            files = files.with_package_argument(&value)?;
        } else if let Some(value) = argument.strip_prefix("--package=") {
            files = files.with_package_argument(value)?;
        } else if argument.starts_with("--") {
            return Err(format!("unknown option `{argument}`\n{USAGE}"));
        } else {
            paths.push(argument.into());
        }
    }
    let [tree, expected] = paths.as_slice() else {
        return Err(USAGE.into());
    };
    if !tree.is_dir() {
        return Err(format!("{} is no folder", tree.display()));
    }
    let rows = read_rows(expected)?;
    let tally = check_all(&rows, &tree.to_string_lossy(), &files);
    for (file, why) in &tally.refused {
        println!("refused  {file}: {why}");
    }
    for (file, why) in &tally.failed {
        println!("FAILED   {file}: {why}");
    }
    let (files, seconds, refused) = (rows.len(), tally.loading.as_secs_f64(), tally.refused.len());
    println!("{files} files loaded in {seconds:.3} s; MMEngine refused {refused} of them");
    println!("{} passed, {} failed", tally.passed, tally.failed.len());
    Ok(tally.failed.is_empty())
}
