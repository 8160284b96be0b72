//! The program, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The program that this build made, beside the test's own.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    folder.join(format!("smalti{}", std::env::consts::EXE_SUFFIX))
}

fn smalti(args: &[&str]) -> Output {
    Command::new(program())
        .args(args)
        .current_dir(root())
        .output()
        .expect("the program is built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder that goes away with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("smalti-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const CONFIG: &str = "configs/demo/retinanet_mobilenetv3-small_fpn_digits.py";
const CHECKPOINT: &str = "configs/demo/digits.pth";

#[test]
fn the_demo_finds_digits_and_draws_them() {
    let scratch = Scratch::new("demo");
    let png = scratch.path("demo.png");
    let output = smalti(&["demo", "--device", "cpu", "--out", &png]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("8 digits"), "{}", stdout(&output));
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
}

/// The demo's checkpoint as a safetensors file, its keys renamed; a key without a new name is left out.
fn renamed_checkpoint(path: &str, rename: impl Fn(&str) -> Option<String>) {
    let bytes = std::fs::read(root().join(CHECKPOINT)).unwrap();
    let checkpoint = smalti::weights::Checkpoint::read(bytes).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for key in checkpoint.keys() {
        let (Some(name), Ok(values)) = (rename(key), checkpoint.f32(key)) else {
            continue;
        };
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let shape = checkpoint.get(key).unwrap().shape().to_vec();
        let offsets = [begin, data.len()];
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        header.insert(name, entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_checkpoint_that_lacks_most_of_a_part_is_refused_with_the_way_on() {
    let scratch = Scratch::new("partial");
    let picture = "configs/demo/digits.jpg";
    let (teacher, head) = (
        scratch.path("teacher.safetensors"),
        scratch.path("head.safetensors"),
    );
    renamed_checkpoint(&teacher, |key| Some(format!("teacher.{key}")));
    renamed_checkpoint(&head, |key| {
        (!key.starts_with("backbone.")).then(|| key.to_owned())
    });

    for command in ["detect", "bench"] {
        let mut args = vec![command, CONFIG, teacher.as_str()];
        match command {
            "detect" => args.push(picture),
            _ => args.extend(["--size", "64x64", "--runs", "1"]),
        }
        let refused = smalti(&args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("keys match if `prefix='teacher.'` is given"),
            "{}",
            stderr(&refused)
        );
        args.extend(["--prefix", "teacher"]);
        let found = smalti(&args);
        assert!(found.status.success(), "{}", stderr(&found));
    }

    let refused = smalti(&["detect", CONFIG, &head, picture]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("it lacks 206 of 206 tensors of `backbone`")
            && said.contains("--allow-incomplete"),
        "{said}"
    );
    let found = smalti(&["detect", CONFIG, &head, picture, "--allow-incomplete"]);
    assert!(found.status.success(), "{}", stderr(&found));
}

#[test]
fn a_broken_picture_is_reported_and_the_rest_is_done() {
    let scratch = Scratch::new("detect");
    let good = "configs/demo/digits.jpg";
    let bytes = std::fs::read(root().join(good)).unwrap();
    let broken = scratch.path("broken.jpg");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let text = scratch.path("text.png");
    std::fs::write(&text, "no picture").unwrap();
    let (json, out) = (scratch.path("found.json"), scratch.path("drawn"));
    let output = smalti(&[
        "detect", CONFIG, CHECKPOINT, &broken, good, &text, "--json", &json, "--out", &out,
        "--batch", "2", "--device", "cpu",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let errors = stderr(&output);
    assert!(
        errors.contains("broken.jpg") && errors.contains("text.png"),
        "{errors}"
    );
    assert!(
        errors.contains("2 of 3 pictures could not be used"),
        "{errors}"
    );
    assert!(errors.contains("ms a picture: decode"), "{errors}");
    assert!(
        stdout(&output).contains("digits.jpg: "),
        "{}",
        stdout(&output)
    );
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 6 && rows.iter().all(|r| r["image_id"] == "digits.jpg"));
    assert!(scratch.0.join("drawn/digits.png").exists());
}

#[test]
fn annotations_give_ids_and_options_change_the_config() {
    let scratch = Scratch::new("ann");
    let json = scratch.path("found.json");
    let output = smalti(&[
        "detect",
        CONFIG,
        CHECKPOINT,
        "tests/data/digits/00003.jpg",
        "--json",
        &json,
        "--device",
        "cpu",
        "--ann",
        "tests/data/digits/pictures.json",
        "--cfg-options",
        "model.test_cfg.max_per_img=3",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(
        rows.iter()
            .all(|r| r["image_id"] == 3 && r["category_id"].as_i64().unwrap() >= 1)
    );
}

#[test]
fn results_have_the_ids_of_the_annotation_file_and_no_others() {
    let scratch = Scratch::new("unlisted");
    let (json, ann) = (scratch.path("found.json"), scratch.path("ann.json"));
    let file = "\u{feff}{\"images\": [{\"id\": 20210315103045000003, \"file_name\": \"00003.jpg\", \"width\": NaN}, null],
        \"annotations\": [], \"categories\": [{\"id\": 18446744073709551617, \"name\": 3}]}";
    std::fs::write(&ann, file).unwrap();
    let detect = |pictures: &[&str]| {
        let mut args = vec!["detect", CONFIG, CHECKPOINT];
        args.extend(pictures);
        args.extend(["--json", &json, "--device", "cpu", "--ann", &ann]);
        smalti(&args)
    };
    let unlisted = "configs/demo/digits.jpg";
    let output = detect(&["tests/data/digits/00003.jpg", unlisted]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    for expected in [
        "1 category with a `name` that is no text: taken as text (18446744073709551617: 3)",
        "1 picture left out: without an `id` or a `file_name` (number 2)",
        "does not list 1 of 2 pictures: their detections are not written to --json (configs/demo/digits.jpg)",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let text = std::fs::read_to_string(&json).unwrap();
    let row = "{\"image_id\":20210315103045000003,\"category_id\":18446744073709551617,\"bbox\":[";
    let rows = text.lines().filter(|line| line.starts_with('{'));
    assert!(
        rows.clone().count() > 0 && rows.clone().all(|line| line.starts_with(row)),
        "{text}"
    );
    std::fs::remove_file(&json).unwrap();
    let output = detect(&[unlisted]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("lists none of the 1 pictures"), "{said}");
    assert!(!std::path::Path::new(&json).exists());
}

#[test]
fn channels_of_the_how_to_examples() {
    let output = smalti(&["channels", "ResNet(depth=18)", "--input", "1x3x32x32"]);
    let text = stdout(&output);
    for shape in [
        "(1, 64, 8, 8)",
        "(1, 128, 4, 4)",
        "(1, 256, 2, 2)",
        "(1, 512, 1, 1)",
    ] {
        assert!(text.contains(shape), "{text}{}", stderr(&output));
    }
    let expression = "mmpretrain.MobileNetV3(arch='small', out_indices=(3, 8, 11))";
    let text = stdout(&smalti(&["channels", expression, "--input", "1x3x320x320"]));
    assert!(
        text.contains("in_channels=[24, 48, 96]") && text.contains("(1, 96, 10, 10)"),
        "{text}"
    );
    let text = stdout(&smalti(&["channels", CONFIG]));
    assert!(
        text.contains("neck FPN") && text.contains("(1, 64, 28, 28)"),
        "{text}"
    );
    let unknown = smalti(&["channels", "ResNett(depth=18)"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("mmdet.ResNet"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn a_neck_that_does_not_fit_is_a_config_error_that_points_at_both_places() {
    let scratch = Scratch::new("neck");
    let config = scratch.path("my_fpn.py");
    let base = root().join(CONFIG).canonicalize().unwrap();
    let text = format!(
        "_base_ = '{}'\nmodel = dict(neck=dict(in_channels=[24, 40]))\n",
        base.display()
    );
    std::fs::write(&config, text).unwrap();
    let output = smalti(&["config", "check", &config]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output) + &stdout(&output);
    assert!(
        text.contains("2 `in_channels`") && text.contains("3 levels"),
        "{text}"
    );
    assert!(
        text.contains("my_fpn.py:2:") && text.contains("digits.py:"),
        "{text}"
    );
    assert!(text.contains("[24, 48, 96]"), "{text}");
}

#[test]
fn weights_are_listed_and_compared() {
    let text = stdout(&smalti(&["weights", CHECKPOINT]));
    assert!(
        text.contains("backbone.layer0.conv.weight") && text.contains("16x3x3x3"),
        "{text}"
    );
    let fits = smalti(&["weights", CHECKPOINT, "--config", CONFIG]);
    assert!(fits.status.success(), "{}{}", stdout(&fits), stderr(&fits));
    let other = smalti(&[
        "weights",
        CHECKPOINT,
        "--config",
        CONFIG,
        "--cfg-options",
        "model.bbox_head.num_classes=5",
    ]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stdout(&other).contains("retina_cls"), "{}", stdout(&other));
}

#[test]
fn a_detector_is_tested_and_what_it_does_wrong_is_shown() {
    let scratch = Scratch::new("test");
    let results = scratch.path("results.json");
    let (prefix, out) = (scratch.path("own"), scratch.path("analysis"));
    let options = crate::evaluation::options();
    let prefix_option = format!("test_evaluator.outfile_prefix={prefix}");
    let mut args = vec![
        "test", CONFIG, CHECKPOINT, "--device", "cpu", "--out", &results,
    ];
    args.push("--cfg-options");
    args.extend(options.iter().map(String::as_str));
    args.extend([&*prefix_option, "test_evaluator.classwise=True"]);
    let output = smalti(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    for part in [
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.5",
        "| category | mAP ",
        "coco/bbox_mAP_50  0.7",
        "coco/3_precision  0.",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let rows = |path: &str| -> Vec<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let (ours, theirs) = (rows(&results), rows(&format!("{prefix}.bbox.json")));
    assert!(ours.len() > 1000 && ours.len() == theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        let number = |row: &serde_json::Value| row["score"].as_f64().unwrap();
        let ids = |row: &serde_json::Value| [row["image_id"].clone(), row["category_id"].clone()];
        assert!(
            ids(a) == ids(b) && (number(a) - number(b)).abs() < 1e-12,
            "{a} {b}"
        );
    }

    let ann = "tests/data/digits/val.json";
    let shown = smalti(&[
        "analyze",
        &results,
        "--ann",
        ann,
        "--out",
        &out,
        "--per-class",
    ]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let said = stdout(&shown);
    for part in ["AP 0.5", "medium ", "Loc  ", "on nothing"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    for name in [
        "precision_recall",
        "confusion",
        "errors",
        "errors-small",
        "errors/7",
    ] {
        let png = std::fs::read(scratch.0.join(format!("analysis/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{name}");
    }
    let json = std::fs::read(scratch.0.join("analysis/analysis.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["classes"].as_array().unwrap().len(), 10);

    let without = smalti(&[
        "test",
        CONFIG,
        CHECKPOINT,
        "--device",
        "cpu",
        "--cfg-options",
        &options[0],
        &options[1],
        &options[2],
        "test_evaluator=None",
        "val_evaluator=None",
    ]);
    assert_eq!(without.status.code(), Some(1));
    assert!(
        stderr(&without).contains("no `test_evaluator`"),
        "{}",
        stderr(&without)
    );
    let other = smalti(&["analyze", ann, "--ann", ann]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("no file of results"),
        "{}",
        stderr(&other)
    );
    let missing = smalti(&["test", CONFIG, CHECKPOINT, "--device", "cpu"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("digits/val.json"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn bad_input_ends_with_a_message_and_a_code() {
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &["detect", "no.py", CHECKPOINT, "configs/demo/digits.jpg"],
            1,
            "no.py",
        ),
        (
            &["detect", CONFIG, "no.pth", "configs/demo/digits.jpg"],
            1,
            "no.pth",
        ),
        (
            &["detect", CONFIG, CHECKPOINT, "nothing.jpg"],
            1,
            "nothing.jpg",
        ),
        (
            &[
                "detect",
                CONFIG,
                CHECKPOINT,
                "configs/demo/digits.jpg",
                "--device",
                "no such device",
            ],
            1,
            "no such device",
        ),
        (&["detect", CONFIG], 2, "CHECKPOINT"),
    ];
    for (args, code, message) in cases {
        let output = smalti(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn without_a_gpu_the_cpu_is_taken_and_said() {
    let scratch = Scratch::new("nogpu");
    let out = scratch.path("demo.png");
    let nowhere = "/nonexistent.json";
    let output = Command::new(program())
        .args(["demo", "--out", &out])
        .env("VK_ICD_FILENAMES", nowhere)
        .env("VK_DRIVER_FILES", nowhere)
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", nowhere)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("CPU"), "{}", stderr(&output));
}

#[test]
fn devices_are_listed() {
    let output = smalti(&["devices"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("cpu"), "{}", stdout(&output));
}

#[test]
fn bench_times_every_stage() {
    let output = smalti(&[
        "bench",
        CONFIG,
        CHECKPOINT,
        "--device",
        "cpu",
        "--size",
        "64x64",
        "--runs",
        "2",
        "--json",
        "--precision",
        "f16",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("CPU has no f16: computed in f32"), "{said}");
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["precision"], "f32");
    for stage in [
        "preprocess",
        "backbone",
        "neck",
        "head",
        "postprocess",
        "total",
    ] {
        assert!(
            found["stages"][stage]["median_ms"].as_f64().unwrap() > 0.0,
            "{stage}"
        );
    }
}

#[test]
fn every_config_of_ours_is_good() {
    let mut files = Vec::new();
    for folder in ["how_to", "demo"] {
        let entries = std::fs::read_dir(root().join("configs").join(folder)).unwrap();
        let paths = entries.map(|e| e.unwrap().path());
        files.extend(paths.filter(|p| p.extension().is_some_and(|e| e == "py")));
    }
    assert!(files.len() >= 3);
    let mut args = vec!["config".to_string(), "check".to_string()];
    args.extend(files.iter().map(|p| p.display().to_string()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = smalti(&args);
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert!(!stderr(&output).contains("error"), "{}", stderr(&output));
}

/// A data set in `scratch`: two good pictures, one cut short, one of 30,000 x 30,000 pixels, one that is not there.
fn data_set(scratch: &Scratch) -> String {
    let good = std::fs::read(root().join("configs/demo/digits.jpg")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(scratch.0.join(name), bytes).unwrap();
    write("a.jpg", &good);
    write("b.jpg", &good[..good.len() / 2]);
    write("c.png", &huge_png());
    write("e.jpg", &good);
    let names = ["a.jpg", "b.jpg", "c.png", "d.jpg", "e.jpg"];
    let images: Vec<_> = (names.iter().enumerate())
        .map(|(id, name)| serde_json::json!({"id": id, "file_name": name, "width": 320, "height": 240}))
        .collect();
    let annotations: Vec<_> = (0..names.len())
        .map(|id| {
            serde_json::json!({"id": id, "image_id": id, "category_id": 1, "bbox": [9, 9, 50, 60], "area": 3000, "iscrowd": 0})
        })
        .collect();
    let all = serde_json::json!({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "digit"}]});
    write("ann.json", all.to_string().as_bytes());
    write(
        "none.json",
        br#"{"images": [], "annotations": [], "categories": []}"#,
    );
    let config = format!(
        "train_dataloader = dict(dataset=dict(type='CocoDataset', data_root={:?}, ann_file='ann.json', data_prefix=dict(img=''),\n    \
         metainfo=dict(classes=('digit',)), pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),\n    \
         dict(type='Resize', scale=(200, 200), keep_ratio=True), dict(type='PackDetInputs')]))\n",
        scratch.0.display().to_string()
    );
    write("config.py", config.as_bytes());
    scratch.path("config.py")
}

/// The head of a PNG of 40,000 x 40,000 pixels, and two bytes of them.
fn huge_png() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(40_000u32.to_be_bytes());
    header.extend(40_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec();
    png.extend(&header);
    png.extend(crc.sum().to_be_bytes());
    png.extend(b"\0\0\0\x64IDAT\x78\x9c\0\0");
    png
}

#[test]
fn bad_pictures_are_named_and_lose_no_other() {
    let scratch = Scratch::new("browse");
    let config = data_set(&scratch);
    let out = scratch.path("out");
    let arguments = [
        "browse",
        &config,
        "--device",
        "cpu",
        "--out",
        &out,
        "--on-error",
        "skip",
    ];
    let output = smalti(&arguments);
    let text = stderr(&output) + &stdout(&output);
    assert!(output.status.success(), "{text}");
    for (file, id, why) in [
        ("b.jpg", 1, "ends before the picture does"),
        ("c.png", 2, "40000x40000 pixels are more than the limit"),
        ("d.jpg", 3, ""),
    ] {
        let line = text
            .lines()
            .find(|l| l.contains(file) && l.contains(&format!("id {id}")) && l.contains(why));
        assert!(line.is_some(), "{file} {why}\n{text}");
    }
    let written = std::fs::read_dir(&out).unwrap().count();
    assert_eq!(written, 2, "{text}");
    let strict = smalti(&arguments[..6]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(
        stderr(&strict).contains("b.jpg (id 1)"),
        "{}",
        stderr(&strict)
    );
}

#[test]
fn nothing_to_browse_and_nowhere_to_write_are_errors() {
    let scratch = Scratch::new("browse-nothing");
    let config = data_set(&scratch);
    let out = scratch.path("out");
    let option = "train_dataloader.dataset.ann_file=none.json";
    let empty = smalti(&["browse", &config, "--out", &out, "--cfg-options", option]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(stderr(&empty).contains("none.json"), "{}", stderr(&empty));
    // a file is where the folder should be
    let taken = scratch.path("ann.json");
    let unwritable = smalti(&["browse", &config, "--out", &taken]);
    assert_eq!(unwritable.status.code(), Some(1));
    let error = stderr(&unwritable);
    assert!(
        error.contains("ann.json") && error.contains("folder"),
        "{error}"
    );
}

#[test]
fn shells_complete_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = stdout(&smalti(&["completions", shell]));
        for word in ["detect", "browse", "score-thr", "cfg-options"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    if !cfg!(unix) {
        return;
    }
    let complete = |words: &[&str]| {
        let script = "source <(\"$0\" completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _smalti smalti \"${@: -1}\" \"${@: -2:1}\"; \
             echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["-c", script])
            .arg(program())
            .args(words)
            .output()
            .expect("bash");
        stdout(&output).trim().to_owned()
    };
    assert_eq!(complete(&["smalti", "det"]), "detect");
    assert_eq!(complete(&["smalti", "detect", "--sc"]), "--score-thr");
    assert_eq!(complete(&["smalti", "browse", "--mode", "pip"]), "pipeline");
    assert_eq!(complete(&["smalti", "config", "ch"]), "check");
}

#[test]
fn help_needs_no_width_of_a_terminal() {
    for columns in [None, Some("0"), Some("40"), Some("5000"), Some("wide")] {
        let mut help = Command::new(program());
        help.args(["help", "detect"]).env_remove("COLUMNS");
        if let Some(columns) = columns {
            help.env("COLUMNS", columns);
        }
        let output = help.output().expect("the program is built");
        assert!(output.status.success());
        let text = stdout(&output);
        let longest = text.lines().map(|l| l.chars().count()).max().unwrap();
        let widest = if columns == Some("40") { 70 } else { 110 };
        assert!(
            longest <= widest && longest > 30,
            "{columns:?}: {longest} columns\n{text}"
        );
    }
}

#[test]
fn what_explains_an_error_or_has_no_effect_is_said_by_every_command() {
    let scratch = Scratch::new("explained");
    let config = data_set(&scratch);
    let out = scratch.path("out");
    let set = "train_dataloader.dataset.metainfo.";
    let (names, old) = (
        format!("{set}classes=names.txt"),
        format!("{set}CLASSES=(a,b)"),
    );
    for (option, part) in [
        (&names, "'names.txt' cannot be read"),
        (&old, "`metainfo` has `CLASSES`"),
    ] {
        for command in [
            &["browse", "--out", &out][..],
            &["bench", "--data"],
            &["config", "check"],
        ] {
            let mut args = command.to_vec();
            args.extend([config.as_str(), "--cfg-options", option]);
            if option == &old {
                args.push("train_dataloader.dataset.ann_file=none.json");
            }
            let output = smalti(&args);
            let check = command[0] == "config";
            assert_eq!(
                output.status.success(),
                check,
                "{args:?}: {}",
                stderr(&output)
            );
            assert!(
                stderr(&output).contains(part),
                "{args:?}: {}",
                stderr(&output)
            );
        }
    }
    for command in [
        &["config", "show"][..],
        &["config", "check"],
        &["channels"],
        &["weights", "--config"],
        &["bench"],
    ] {
        let mut args = command.to_vec();
        args.push(CONFIG);
        if command[0] == "weights" {
            args.insert(1, CHECKPOINT);
        }
        if command[0] == "bench" {
            args.extend([
                "--size", "64x64", "--runs", "1", "--warmup", "0", "--device", "cpu",
            ]);
        }
        args.extend([
            "--cfg-options",
            "img_scale=(64,64)",
            "model.backbone.archs=large",
        ]);
        let text = stderr(&smalti(&args));
        for part in [
            "nothing reads the variable `img_scale`",
            ".pipeline.",
            "did you mean `model.backbone.arch`?",
        ] {
            assert!(text.contains(part), "{args:?}: {text}");
        }
    }
}

#[test]
fn channels_of_a_backbone_as_a_config_has_it() {
    for text in [
        "dict(type='ResNet', depth=18)",
        "backbone=dict(type='ResNet', depth=18),",
    ] {
        let output = smalti(&["channels", text, "--input", "1x3x32x32"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("in_channels=[64, 128, 256, 512]"));
    }
}

#[test]
fn components_are_listed_by_kind() {
    let kinds = stdout(&smalti(&["list"]));
    for kind in [
        "backbone",
        "neck",
        "head",
        "detector",
        "transform",
        "data set",
        "sampler",
    ] {
        assert!(
            kinds.lines().any(|l| l.trim().ends_with(kind)),
            "{kind}: {kinds}"
        );
    }
    let heads = stdout(&smalti(&["list", "heads"]));
    assert!(heads.lines().any(|l| l == "mmdet.YOLOXHead"), "{heads}");
    let all = stdout(&smalti(&["list", "--json"]));
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert!(
        all["box coder"]
            .as_array()
            .unwrap()
            .contains(&"mmdet.DistancePointBBoxCoder".into())
    );
    let wrong = smalti(&["list", "hed"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stderr(&wrong).contains("did you mean head?"),
        "{}",
        stderr(&wrong)
    );
}

#[test]
fn converted_checkpoints_appear_whole_and_say_what_changed() {
    let scratch = Scratch::new("convert");
    let source = "tests/data/checkpoints/detectron2-p2.pkl";
    let target = scratch.path("d2.pth");
    let output = smalti(&["convert", "detectron2-to-mmdet", source, &target]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        format!(
            "{target}: 4 tensors\n     0 kept\n     4 renamed, such as `conv1.weight` to `d2_model.conv1.weight`\n     0 reordered\n     0 dropped\n"
        )
    );
    // To another format, and published: the digest is in the name.
    let other = scratch.path("d2.safetensors");
    assert!(
        smalti(&["convert", "format", &target, &other])
            .status
            .success()
    );
    let published = smalti(&["convert", "publish", &other, &scratch.path("out.pth")]);
    let shown = stdout(&published);
    let path = shown.split_once(": 4 tensors").expect(&shown).0;
    let digest = path
        .strip_prefix(&scratch.path("out-"))
        .and_then(|name| name.strip_suffix(".pth"));
    let is_hex = |digest: &str| digest.len() == 8 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(digest.is_some_and(is_hex), "{path}");
    assert!(Path::new(path).exists());
    // Nothing is written where something is wrong.
    let nothing = scratch.path("none.pth");
    let output = smalti(&[
        "convert",
        "detectron2-to-mmdet",
        source,
        &nothing,
        "--native",
    ]);
    assert!(!output.status.success());
    let message = stderr(&output);
    assert!(
        message.contains("this is not a Faster R-CNN, Mask R-CNN or RetinaNet of Detectron2 with FPN: its first tensor is `conv1.weight`"),
        "{message}"
    );
    assert!(message.contains("help: leave --native out"), "{message}");
    assert!(!Path::new(&nothing).exists());
    let output = smalti(&["convert", "format", source, "weights.bin"]);
    assert!(
        stderr(&output).contains("let it end in .pth or .safetensors"),
        "{}",
        stderr(&output)
    );
}
