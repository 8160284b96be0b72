//! `golden FILE.jsonl.gz [--only TEXT] [--device cpu|gpu]`: a line for each row, then `N passed, N failed`.

use std::path::PathBuf;
use std::process::ExitCode;

use smalti_tests::golden::{Outcome, check, read_rows};

const USAGE: &str = "\
usage: golden FILE.jsonl[.gz] [--only TEXT] [--device cpu|gpu|NAME]

Builds each row's model with weights by formula, runs it, and compares the state dict (equal), every stage (1e-3 of its largest
value) and the boxes (label equal, score within 1e-3, box within 0.1 px; as many as the row says are stable, less one).
A row with `losses` is one training step: each loss (1e-4), each parameter's gradient norm (1e-3; a few 5e-3 where rounding is
amplified), the frozen set, running statistics (1e-4). A row with `steps` is a whole run of the trainer: learning rates (1e-7),
losses and norms (1e-3, or 20 times what rounding does), tensors after some steps (1e-3), averages.
A row with a `pipeline` is of data transforms: its recorded draws are replayed (the same functions with the same arguments), its
pixels compared step by step (1 level for 99.9% of them), boxes (1e-3 px), labels, flags, masks (area 1%, box 1 px) and what is noted
of the picture.

  --only TEXT    rows whose name contains TEXT: a config's file name, or for example `Mosaic+RandomAffine index 0 seed 110`
  --device D     cpu (default), gpu, or part of an adapter's name";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut file, mut only, mut device) = (None, String::new(), String::from("cpu"));
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--only" => only = args.next().unwrap_or_default(),
            "--device" => device = args.next().unwrap_or_default(),
            _ if file.is_none() && !arg.starts_with('-') => file = Some(PathBuf::from(arg)),
            _ => {
                eprintln!("error: unexpected argument `{arg}`\n\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let Some(file) = file else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let rows = match read_rows(&file) {
        Ok(rows) => rows,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::from(2);
        }
    };
    let chosen = match pollster::block_on(smalti::device::choose(&device)) {
        Ok(chosen) => chosen,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::from(2);
        }
    };
    println!("device: {}", chosen.name);
    let (mut passed, mut failed) = (0, 0);
    for row in rows.iter().filter(|r| r.name().contains(&only)) {
        let name = row.name();
        let start = std::time::Instant::now();
        let outcome = check(row, &chosen.device);
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Outcome::Passed(line) => {
                passed += 1;
                println!("ok     {}: {line} ({seconds:.1} s)", name);
            }
            Outcome::Failed(line) => {
                failed += 1;
                println!("FAILED {}: {line} ({seconds:.1} s)", name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
