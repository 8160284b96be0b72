//! The demo: a trained detector and a picture.

/// Its config.
pub const CONFIG: &str =
    include_str!("../../configs/demo/retinanet_mobilenetv3-small_fpn_digits.py");
/// What the config is called.
pub const CONFIG_NAME: &str = "configs/demo/retinanet_mobilenetv3-small_fpn_digits.py";
/// Its weights. A page fetches them when they are asked for.
#[cfg(not(target_arch = "wasm32"))]
pub const CHECKPOINT: &[u8] = include_bytes!("../../configs/demo/digits.safetensors");
/// What it reads.
pub const PICTURE: &[u8] = include_bytes!("../../configs/demo/digits.jpg");
/// What the picture is called.
pub const PICTURE_NAME: &str = "configs/demo/digits.jpg";
