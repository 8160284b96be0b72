//! Every config of the MMDetection and MMPretrain wheels resolves to what MMEngine makes of it.
//!
//! The wheels come from PyPI by `pip download`, once, into a folder below `target/`. Without a network the tests say so and
//! pass, except where the environment has `CI=true`: there they fail. The expected rows are MMEngine 0.10.7's, with no
//! package installed beside the one that is checked.

use crate::corpus::{Tally, check_all, read_rows};
use smalti::config::{Config, Kind};
use smalti::host::config_files::ConfigFiles;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const WHEELS: [(&str, &str); 2] = [("mmdet", "3.3.0"), ("mmpretrain", "1.2.0")];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of an unpacked package; none if it cannot be had and need not be.
fn package(name: &str) -> Option<PathBuf> {
    let version = WHEELS
        .iter()
        .find(|(n, _)| *n == name)
        .map_or("", |(_, v)| v);
    let cache = repository().join("target").join("wheels");
    let folder = cache.join(format!("{name}-{version}"));
    // Several tests ask at the same time.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE.lock().unwrap_or_else(|e| e.into_inner());
    if !folder.is_dir() {
        match fetch(name, version, &cache, &folder) {
            Ok(()) => {}
            Err(why) if std::env::var("CI").is_ok_and(|v| v == "true") => {
                panic!("{name} {version}: {why}")
            }
            Err(why) => {
                eprintln!("skipped: {name} {version} could not be fetched from PyPI: {why}");
                return None;
            }
        }
    }
    Some(folder.join(name))
}

fn fetch(name: &str, version: &str, cache: &Path, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(cache).map_err(|e| e.to_string())?;
    let wanted = format!("{name}=={version}");
    let arguments = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
    ];
    let output = Command::new("python3")
        .args(arguments)
        .arg(cache)
        .arg(&wanted)
        .output();
    let output = output.map_err(|e| format!("python3: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let start = format!("{name}-{version}-");
    let entries = fs::read_dir(cache).map_err(|e| e.to_string())?.flatten();
    let mut wheels = entries.map(|e| e.path()).filter(|p| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
        name.starts_with(&start) && name.ends_with(".whl")
    });
    let wheel = wheels.next().ok_or("pip left no wheel")?;
    // Unpacked beside its place and then moved, so that a broken run leaves nothing half done.
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let unpacked = extract(&wheel, &partial).and_then(|()| Ok(fs::rename(&partial, folder)?));
    unpacked.map_err(|e| format!("{}: {e}", wheel.display()))
}

fn extract(wheel: &Path, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = fs::read(wheel)?;
    let archive = rawzip::ZipArchive::from_slice(&bytes)?;
    for record in archive.entries() {
        let record = record?;
        let entry = archive.get_entry(record.wayfinder())?;
        let path = folder.join(record.file_path().try_normalize()?.as_ref());
        if record.is_dir() {
            continue;
        }
        let mut content = Vec::new();
        if record.compression_method() == rawzip::CompressionMethod::STORE {
            entry
                .verifying_reader(entry.data())
                .read_to_end(&mut content)?;
        } else {
            let inflated = flate2::read::DeflateDecoder::new(entry.data());
            entry.verifying_reader(inflated).read_to_end(&mut content)?;
        }
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, content)?;
    }
    Ok(())
}

fn check(name: &str, version: &str) -> Option<(Tally, PathBuf)> {
    let package = package(name)?;
    let rows = repository().join(format!("tests/data/{name}-{version}.jsonl.gz"));
    let rows = read_rows(&rows).unwrap();
    let configs = package.join(".mim/configs");
    let tally = check_all(&rows, configs.to_str().unwrap(), &ConfigFiles::new());
    Some((tally, configs))
}

#[test]
fn all_configs_of_mmdetection() {
    let Some((tally, configs)) = check("mmdet", "3.3.0") else {
        return;
    };
    assert_eq!(tally.failed, Vec::<(String, String)>::new());
    assert_eq!((tally.passed, tally.refused.len()), (860, 9));
    // Four are bugs of that release: the nearest file is the one that was meant.
    let help = |file: &str| {
        let path = configs.join(file);
        let errors = Config::load(path.to_str().unwrap(), &ConfigFiles::new()).unwrap_err();
        assert_eq!(errors.diagnostics[0].kind, Kind::File, "{errors}");
        errors.diagnostics[0].help.clone().unwrap_or_default()
    };
    for file in [
        "sort/faster-rcnn_r50_fpn_8xb2-4e_mot17train_test-mot17train.py",
        "sort/faster-rcnn_r50_fpn_8xb2-8e_mot20halftrain_test-mot20halfval.py",
        "sort/faster-rcnn_r50_fpn_8xb2-8e_mot20train_test-mot20train.py",
    ] {
        let wanted = "the nearest file is `./faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py`";
        assert_eq!(help(file), wanted, "{file}");
    }
    let file =
        "bytetrack/bytetrack_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17test.py";
    let wanted = "the nearest file is `./bytetrack_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval.py`";
    assert_eq!(help(file), wanted);
    // The other five load bases of another package.
    for (file, why) in tally
        .refused
        .iter()
        .filter(|(f, _)| f.starts_with("rtmdet/classification"))
    {
        assert!(why.contains("the package `mmpretrain`"), "{file}: {why}");
    }
}

#[test]
fn all_configs_of_mmpretrain() {
    let Some((tally, _)) = check("mmpretrain", "1.2.0") else {
        return;
    };
    assert_eq!(tally.failed, Vec::<(String, String)>::new());
    assert_eq!((tally.passed, tally.refused.len()), (838, 8));
}

/// Bases of another package are found where `--package` says.
#[test]
fn bases_across_packages() {
    let (Some(mmdet), Some(mmpretrain)) = (package("mmdet"), package("mmpretrain")) else {
        return;
    };
    let files = ConfigFiles::new()
        .with_package("mmpretrain", &mmpretrain)
        .with_package("mmdet", &mmdet);
    let load = |folder: &Path, file: &str| {
        let path = folder.join(".mim/configs").join(file);
        Config::load(path.to_str().unwrap(), &files).unwrap_or_else(|e| panic!("{e}"))
    };
    let config = load(
        &mmdet,
        "rtmdet/classification/cspnext-s_8xb256-rsb-a1-600e_in1k.py",
    );
    assert_eq!(
        config.at("model.backbone.type").unwrap().as_str(),
        Some("mmdet.CSPNeXt")
    );
    assert_eq!(
        config
            .at("train_dataloader.dataset._scope_")
            .unwrap()
            .as_str(),
        Some("mmpretrain")
    );
    let config = load(
        &mmpretrain,
        "byol/benchmarks/mask-rcnn_r50_fpn_ms-1x_coco.py",
    );
    assert_eq!(config.at("model._scope_").unwrap().as_str(), Some("mmdet"));
}

/// What `config show` prints reads back to the same config.
#[test]
fn printed_configs_read_back() {
    let Some(mmdet) = package("mmdet") else {
        return;
    };
    let files = ConfigFiles::new();
    for (row, config) in read_rows(&repository().join("tests/data/mmdet-3.3.0.jsonl.gz"))
        .unwrap()
        .iter()
        .filter_map(|row| {
            let path = mmdet.join(".mim/configs").join(&row.file);
            Some((row, Config::load(path.to_str()?, &files).ok()?))
        })
    {
        let again = Config::parse(&config.to_py(), "again.py", &files)
            .unwrap_or_else(|e| panic!("{}: {e}", row.file));
        assert_eq!(config.root, again.root, "{}", row.file);
        let names = |c: &Config| c.dict().names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&config), names(&again), "{}", row.file);
    }
}
