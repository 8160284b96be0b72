use super::*;
use crate::{Numbers, Plain};

const ORIGINALS: &str = include_str!("../../../../tests/data/convert.json");

#[derive(serde::Deserialize)]
struct Row {
    tool: String,
    args: serde_json::Map<String, serde_json::Value>,
    meta: serde_json::Map<String, serde_json::Value>,
    source: Vec<(String, Vec<usize>)>,
    target: Vec<(String, Vec<usize>, i64)>,
}

/// A checkpoint of which the i-th value of the n-th tensor is 1000 n + i.
fn checkpoint(shapes: &[(String, Vec<usize>)], meta: &Dict) -> Checkpoint {
    let tensors: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(n, (key, shape))| {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (1000 * n + i) as f32).collect();
            (key.clone(), Numbers::f32(shape, values))
        })
        .collect();
    let mut bytes = Vec::new();
    write_torch(&mut bytes, &tensors, meta).unwrap();
    Checkpoint::read(bytes).unwrap()
}

fn small(shapes: &[(&str, &[usize])], version: &str) -> Checkpoint {
    let shapes = shapes
        .iter()
        .map(|(key, shape)| (key.to_string(), shape.to_vec()));
    let meta = Dict::new().with("mmdet_version", version);
    checkpoint(&shapes.collect::<Vec<_>>(), &meta)
}

fn values(new: &Conversion<'_>, name: &str) -> Vec<f32> {
    let mut bytes = Vec::new();
    new.write_torch(&mut bytes).unwrap();
    Checkpoint::read(bytes).unwrap().f32(name).unwrap()
}

/// Names, shapes and sums of what is written.
fn described(new: &Conversion<'_>) -> Vec<(String, Vec<usize>, i64)> {
    let mut bytes = Vec::new();
    new.write_torch(&mut bytes).unwrap();
    let file = Checkpoint::read(bytes).unwrap();
    let describe = |key: &str| {
        let tensor = file.tensor(key).unwrap();
        let values = tensor.f32().unwrap();
        let values = values.iter().zip(1..);
        let sum: i64 = values
            .map(|(&value, i): (&f32, i64)| i * value as i64)
            .sum();
        (key.to_owned(), tensor.shape().to_vec(), sum % 1_000_003)
    };
    file.keys().map(describe).collect()
}

#[test]
fn converts_as_mmdetections_tools() {
    let rows: Vec<Row> = serde_json::from_str(ORIGINALS).unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let mut meta = Dict::new();
        for (key, value) in &row.meta {
            meta.insert(key, value.as_str().unwrap());
        }
        let file = checkpoint(&row.source, &meta);
        let new = match row.tool.as_str() {
            "detectron2_to_mmdet" => {
                let prefix = row.args.get("prefix").and_then(|p| p.as_str());
                detectron2_to_mmdet(&file, prefix.unwrap_or("d2_model"))
            }
            "regnet2mmdet" => regnet_to_mmdet(&file),
            "upgrade_ssd_version" => upgrade_ssd_version(&file),
            _ => {
                let how = Upgrade {
                    num_classes: row.args["num_classes"].as_u64().unwrap() as usize,
                    version: None,
                    as_original: true,
                };
                upgrade_model_version(&file, &how)
            }
        };
        assert_eq!(described(&new.unwrap()), row.target, "{}", row.tool);
    }
}

#[test]
fn biases_move_with_their_weights() {
    let how = Upgrade {
        num_classes: 3,
        ..Upgrade::default()
    };
    let old: [(&str, &[usize]); 6] = [
        ("rpn_head.rpn_cls.weight", &[4, 1]),
        ("rpn_head.rpn_cls.bias", &[4]),
        ("rpn_head.rpn_reg.weight", &[8, 1]),
        ("bbox_head.fc_cls.bias", &[3]),
        ("bbox_head.fc_reg.bias", &[12]),
        ("mask_head.conv_logits.bias", &[3]),
    ];
    let file = small(&old, "1.0.0");
    let new = upgrade_model_version(&file, &how).unwrap();
    // An RPN with softmax: background and object of each of two anchors change places.
    assert_eq!(values(&new, "rpn_head.rpn_cls.weight"), [1., 0., 3., 2.]);
    assert_eq!(
        values(&new, "rpn_head.rpn_cls.bias"),
        [1001., 1000., 1003., 1002.]
    );
    assert_eq!(
        values(&new, "roi_head.bbox_head.fc_cls.bias"),
        [3001., 3002., 3000.]
    );
    let boxes: Vec<f32> = (4004..4012).map(|i| i as f32).collect();
    assert_eq!(values(&new, "roi_head.bbox_head.fc_reg.bias"), boxes);
    assert_eq!(
        values(&new, "roi_head.mask_head.conv_logits.bias"),
        [5001., 5002.]
    );
    assert_eq!(
        new.changes.to_string(),
        "     1 kept
     0 renamed
     5 reordered
         `rpn_head.rpn_cls.weight`: the background after the object, for each anchor
         `rpn_head.rpn_cls.bias`: the background after the object, for each anchor
         `roi_head.bbox_head.fc_cls.bias`: the background last
         `roi_head.bbox_head.fc_reg.bias`: without the background
         `roi_head.mask_head.conv_logits.bias`: without the background
     0 dropped"
    );
}

#[test]
fn of_mmdetection_2_only_the_rpn_is_old() {
    let old: [(&str, &[usize]); 3] = [
        ("rpn_head.rpn_cls.bias", &[2]),
        ("rpn_head.rpn_reg.weight", &[4, 1]),
        ("roi_head.bbox_head.fc_cls.bias", &[81]),
    ];
    for (version, first) in [("2.4.0", [1., 0.]), ("2.10.0", [0., 1.])] {
        let mut shapes = old.to_vec();
        shapes.push(("rpn_head.rpn_cls.weight", &[2, 1]));
        let file = small(&shapes, version);
        let new = upgrade_model_version(&file, &Upgrade::default()).unwrap();
        assert_eq!(values(&new, "rpn_head.rpn_cls.bias"), first, "{version}");
        let scores = values(&new, "roi_head.bbox_head.fc_cls.bias");
        assert_eq!(scores[..2], [2000., 2001.]);
    }
}

#[test]
fn other_files_are_named() {
    let file = small(&[("conv.weight", &[1])], "");
    let not_this = |error: ConvertError| error.to_string();
    let how = Upgrade::default();
    for (message, expected) in [
        (
            not_this(upgrade_model_version(&file, &how).err().unwrap()),
            "this is not a checkpoint that says its version of MMDetection: no `mmdet_version` in its `meta`",
        ),
        (
            not_this(regnet_to_mmdet(&file).err().unwrap()),
            "this is not a RegNet of pycls: its first tensor is `conv.weight`",
        ),
        (
            not_this(torchvision_to_mmdet(&file, false, None).err().unwrap()),
            "this is not a Faster R-CNN, Mask R-CNN or RetinaNet of torchvision: its first tensor is `conv.weight`",
        ),
        (
            not_this(detectron2_native(&file, false, false).err().unwrap()),
            "this is not a Faster R-CNN, Mask R-CNN or RetinaNet of Detectron2 with FPN: its first tensor is `conv.weight`",
        ),
    ] {
        let (first, help) = message.split_once('\n').unwrap();
        assert_eq!(first, expected);
        assert!(help.starts_with("help: "), "{help}");
    }
    let file = small(&[("s1.b1.f.se.f_ex.0.weight", &[1])], "");
    let message = not_this(regnet_to_mmdet(&file).err().unwrap());
    assert!(message.contains("squeeze and excitation"), "{message}");
    let file = small(&[("a.extra.x.weight", &[1])], "");
    assert!(upgrade_ssd_version(&file).is_err());
}

/// The layers of a ResNet-18 with FPN, by a function that names them.
fn resnet18(name: impl Fn(usize, usize, &str) -> String) -> Vec<(String, Vec<usize>)> {
    let block = |(stage, block)| [name(stage, block, "conv1"), name(stage, block, "conv2")];
    let blocks = (1..5).flat_map(|stage| (0..2).map(move |block| (stage, block)));
    blocks
        .flat_map(block)
        .map(|key| (key, vec![2, 2, 1, 1]))
        .collect()
}

#[test]
fn torchvisions_background_goes_last_or_away() {
    let name =
        |stage, block, conv: &str| format!("backbone.body.layer{stage}.{block}.{conv}.weight");
    let mut shapes = resnet18(name);
    let layers: [(&str, &[usize]); 6] = [
        ("backbone.fpn.inner_blocks.0.weight", &[2, 2, 1, 1]),
        ("roi_heads.box_head.fc6.bias", &[7]),
        ("roi_heads.box_predictor.cls_score.bias", &[3]),
        ("roi_heads.box_predictor.bbox_pred.bias", &[12]),
        ("roi_heads.mask_head.mask_fcn4.bias", &[2]),
        ("roi_heads.mask_predictor.mask_fcn_logits.bias", &[3]),
    ];
    let layers = layers.map(|(key, shape)| (key.to_owned(), shape.to_vec()));
    shapes.extend(layers);
    let file = checkpoint(&shapes, &Dict::new());
    let new = torchvision_to_mmdet(&file, false, None).unwrap();
    assert_eq!(
        values(&new, "roi_head.bbox_head.fc_cls.bias"),
        [18001., 18002., 18000.]
    );
    assert_eq!(values(&new, "roi_head.bbox_head.fc_reg.bias")[0], 19004.);
    assert_eq!(
        values(&new, "roi_head.mask_head.conv_logits.bias"),
        [21001., 21002.]
    );
    let names: Vec<&str> = new
        .tensors()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(names.contains(&"neck.lateral_convs.0.conv.weight"));
    assert!(names.contains(&"roi_head.mask_head.convs.3.conv.bias"));
    let config = new.config.unwrap();
    for part in [
        "type='MaskRCNN'",
        "depth=18",
        "num_classes=2",
        "fc_out_channels=7",
        "sampling_ratio=2, aligned=False",
        "mean=[123.675, 116.28, 103.53]",
        "std=[58.395, 57.12, 57.375]",
    ] {
        assert!(config.contains(part), "{part} in\n{config}");
    }
}

#[test]
fn cocos_unused_numbers_are_left_out() {
    let name =
        |stage, block, conv: &str| format!("backbone.body.layer{stage}.{block}.{conv}.weight");
    let mut shapes = resnet18(name);
    shapes.push((
        "head.classification_head.cls_logits.bias".to_owned(),
        vec![9 * 91],
    ));
    shapes.push((
        "head.classification_head.conv.6.weight".to_owned(),
        vec![2, 2],
    ));
    shapes.push(("head.regression_head.bbox_reg.bias".to_owned(), vec![36]));
    let file = checkpoint(&shapes, &Dict::new());
    let new = torchvision_to_mmdet(&file, false, None).unwrap();
    let scores = values(&new, "bbox_head.retina_cls.bias");
    assert_eq!(scores.len(), 9 * 80);
    // Of the second anchor: number 1 (person), and 13 (stop sign), which is the twelfth.
    assert_eq!((scores[80], scores[80 + 11]), (16092., 16104.));
    assert!(new.names.contains("bbox_head.cls_convs.3.conv.weight"));
    let classes = new.meta.get("dataset_meta").and_then(Plain::dict).unwrap();
    let classes = classes.get("classes").and_then(Plain::items).unwrap();
    assert_eq!((classes.len(), classes[11].text()), (80, Some("stop sign")));
    let all = torchvision_to_mmdet(&file, true, None).unwrap();
    assert_eq!(values(&all, "bbox_head.retina_cls.bias").len(), 9 * 91);
}

#[test]
fn detectron2s_anchors_go_by_ratio() {
    // Numbers are 3 size + ratio, and 3 ratio + size is wanted.
    assert_eq!(native::anchors_by_ratio(1), [0, 3, 6, 1, 4, 7, 2, 5, 8]);
    let name = |stage, block, conv: &str| {
        format!("backbone.bottom_up.res{}.{block}.{conv}.weight", stage + 1)
    };
    let mut shapes = resnet18(name);
    let layers: [(&str, &[usize]); 8] = [
        ("head.cls_score.weight", &[18, 1]),
        ("head.bbox_pred.weight", &[36, 1]),
        ("head.cls_subnet.2.weight", &[2, 2]),
        ("backbone.fpn_lateral3.bias", &[2]),
        ("backbone.top_block.p7.bias", &[2]),
        ("backbone.bottom_up.stem.conv1.norm.running_var", &[2]),
        ("anchor_generator.cell_anchors.0", &[9, 4]),
        ("pixel_mean", &[3]),
    ];
    let layers = layers.map(|(key, shape)| (key.to_owned(), shape.to_vec()));
    shapes.extend(layers);
    let file = checkpoint(&shapes, &Dict::new());
    let new = detectron2_native(&file, false, false).unwrap();
    let scores = values(&new, "bbox_head.retina_cls.weight");
    assert_eq!(
        scores[..6],
        [16000., 16001., 16006., 16007., 16012., 16013.]
    );
    for name in [
        "backbone.layer1.0.conv1.weight",
        "backbone.bn1.running_var",
        "neck.lateral_convs.0.conv.bias",
        "neck.fpn_convs.4.conv.bias",
        "bbox_head.cls_convs.1.conv.weight",
    ] {
        assert!(new.names.contains(name), "{name}");
    }
    assert_eq!(new.changes.dropped.len(), 2);
    let config = new.config.unwrap();
    assert!(config.contains("num_classes=2"));
    assert!(config.contains("mean=[23000.0, 23001.0, 23002.0]"));
}

#[test]
fn publishing_keeps_weights_and_classes() {
    let file = include_bytes!("../../../../tests/data/checkpoints/zip.pth");
    let mut file = Checkpoint::read(file).unwrap();
    file.state.entries.retain(|entry| entry.tensor.is_ok());
    let new = Conversion::unchanged(&file).unwrap();
    let dropped: Vec<_> = new
        .changes
        .dropped
        .iter()
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(dropped, ["ema_state_dict", "message_hub", "optimizer"]);
    assert!(new.meta.get("dataset_meta").is_some());
    let mut bytes = Vec::new();
    new.write_safetensors(&mut bytes).unwrap();
    let back = Checkpoint::read(bytes).unwrap();
    assert_eq!(back.f32("a.weight").unwrap(), file.f32("a.weight").unwrap());
    assert_eq!(back.state().len(), new.len());
}

#[test]
fn two_tensors_of_one_name_are_told() {
    let shapes: [(&str, &[usize]); 2] = [("x.stem.conv.w", &[1]), ("x.conv1.stem.conv.w", &[1])];
    let file = small(&shapes, "");
    let mut new = Conversion::new(Dict::new());
    let view = file.tensor("x.stem.conv.w").unwrap();
    new.rename(view, "a").unwrap();
    let error = new.rename(view, "a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`x.stem.conv.w` of the file would be `a`, and there is one already"
    );
}
