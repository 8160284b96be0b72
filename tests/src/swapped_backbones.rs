//! The detectors of MMDetection's how-to page with other backbones put in by `--cfg-options`, as a user does it: first without a thought for
//! the neck, then with the `in_channels` that the error says; two steps of training, and a detection with the checkpoint made.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::commands::program;

/// Options below `model.backbone`, and what the neck is to be told.
type Case = (&'static [&'static str], &'static str);

const TIMM: &str = "type=mmpretrain.TIMMBackbone";

/// In place of MobileNetV3.
const OF_MMPRETRAIN: &[Case] = &[
    (
        &[
            "type=mmpretrain.ConvNeXt",
            "arch=atto",
            "out_indices=(1,2,3)",
            "gap_before_final_norm=False",
        ],
        "[80,160,320]",
    ),
    (
        &[
            "type=mmpretrain.SwinTransformer",
            "arch=tiny",
            "out_indices=(1,2,3)",
        ],
        "[192,384,768]",
    ),
    (
        &[
            "type=mmdet.PyramidVisionTransformerV2",
            "embed_dims=32",
            "num_layers=[2,2,2,2]",
            "out_indices=(1,2,3)",
        ],
        "[64,160,256]",
    ),
    (
        &[
            "type=mmpretrain.MobileOne",
            "arch=s0",
            "out_indices=(1,2,3)",
        ],
        "[128,256,1024]",
    ),
    (
        &[
            "type=mmpretrain.VisionTransformer",
            "arch=deit-tiny",
            "img_size=64",
            "out_type=featmap",
            "out_indices=(3,7,11)",
        ],
        "[192,192,192]",
    ),
    (&["type=mmpretrain.HRNet", "arch=w18"], "[18,36,72,144]"),
];
/// In place of EfficientNet.
const OF_TIMM: &[Case] = &[
    (
        &["type=ResNeXt", "depth=50", "groups=32", "base_width=4"],
        "[256,512,1024,2048]",
    ),
    (
        &[
            TIMM,
            "model_name=resnet18",
            "features_only=True",
            "out_indices=(1,2,3,4)",
        ],
        "[64,128,256,512]",
    ),
    (
        &[
            TIMM,
            "model_name=regnetx_002",
            "features_only=True",
            "out_indices=(1,2,3,4)",
        ],
        "[24,56,152,368]",
    ),
    (
        &[TIMM, "model_name=convnext_atto", "features_only=True"],
        "[40,80,160,320]",
    ),
    (
        &[
            TIMM,
            "model_name=maxvit_rmlp_pico_rw_256",
            "features_only=True",
            "img_size=64",
            "out_indices=(1,2,3,4)",
        ],
        "[32,64,128,256]",
    ),
];

/// A folder that goes away with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn smalti(args: &[&str]) -> Output {
    Command::new(program())
        .args(args)
        .output()
        .expect("the program is built")
}

/// The config of the how-to page with three pictures to train on, and a head that is quick to run.
fn child(folder: &Scratch, how_to: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let base = root.join("../configs/how_to").join(how_to);
    let data = root.join("data/digits");
    let text = format!(
        "_base_ = {base:?}
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs')]
data = dict(type='CocoDataset', data_root={data:?}, ann_file='val.json', data_prefix=dict(img=''), indices=2, pipeline=pipeline,
    metainfo=dict(classes=tuple('0123456789')))
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=data)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.0001), clip_grad=dict(max_norm=1))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
model = dict(neck=dict(out_channels=16), bbox_head=dict(num_classes=10, in_channels=16, feat_channels=16, stacked_convs=1))
"
    );
    let path = folder.0.join(how_to).display().to_string();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn other_backbones_in_the_how_to_pages_first_config() {
    swap("retinanet_mobilenetv3-small_fpn.py", OF_MMPRETRAIN);
}

#[test]
fn other_backbones_in_the_how_to_pages_second_config() {
    swap("retinanet_timm-efficientnet-b1_fpn.py", OF_TIMM);
}

fn swap(how_to: &str, cases: &[Case]) {
    let name = format!("smalti-swapped-{}-{}", &how_to[..16], std::process::id());
    let folder = Scratch(std::env::temp_dir().join(name));
    let _ = std::fs::remove_dir_all(&folder.0);
    std::fs::create_dir_all(&folder.0).unwrap();
    let config = child(&folder, how_to);
    let picture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/digits/00000.jpg");
    let picture = picture.display().to_string();
    for (i, (backbone, channels)) in cases.iter().enumerate() {
        let work = folder.0.join(format!("run-{i}")).display().to_string();
        let mut options: Vec<String> = backbone
            .iter()
            .map(|o| format!("model.backbone.{o}"))
            .collect();
        let run = |args: &[&str], options: &[String]| {
            let mut all = args.to_vec();
            all.extend(["--device", "cpu", "--cfg-options"]);
            all.extend(options.iter().map(String::as_str));
            let output = smalti(&all);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        };
        let train = ["train", &config, "--work-dir", &work];

        // With another type alone the keys of the old backbone are still there; these two have the same ones.
        if backbone[0] != TIMM && !backbone[0].contains("VisionTransformer") {
            let (done, said) = run(&train, &options[..1]);
            assert!(
                !done && said.contains("_delete_=True"),
                "{backbone:?}: {said}"
            );
        }
        options.push("model.backbone._delete_=True".into());
        let (done, said) = run(&train, &options);
        let spaced = channels.replace(',', ", ");
        assert!(
            !done && said.contains(&format!("in_channels={spaced}")),
            "{backbone:?}: {said}"
        );
        options.push(format!("model.neck.in_channels={channels}"));
        options.push("model.neck.start_level=0".into());
        let (done, said) = run(&train, &options);
        assert!(done, "{backbone:?}: {said}");
        let checkpoint = format!("{work}/epoch_2.pth");
        let (done, said) = run(&["detect", &config, &checkpoint, &picture], &options);
        assert!(done, "{backbone:?}: {said}");
    }
}
