//! Class names and colours (RGB) of the well-known data sets, in the order of their labels: facts of those data sets, as MMDetection has them.
//!
//! LVIS (1,230 and 1,203 classes) and Objects365 (365) are not listed: their classes are taken from the annotation file.

type Classes = &'static [(&'static str, [u8; 3])];

/// COCO 2017.
#[rustfmt::skip]
pub(super) const COCO: Classes = &[
    ("person", [220, 20, 60]), ("bicycle", [119, 11, 32]), ("car", [0, 0, 142]), ("motorcycle", [0, 0, 230]), ("airplane", [106, 0, 228]),
    ("bus", [0, 60, 100]), ("train", [0, 80, 100]), ("truck", [0, 0, 70]), ("boat", [0, 0, 192]), ("traffic light", [250, 170, 30]),
    ("fire hydrant", [100, 170, 30]), ("stop sign", [220, 220, 0]), ("parking meter", [175, 116, 175]), ("bench", [250, 0, 30]),
    ("bird", [165, 42, 42]), ("cat", [255, 77, 255]), ("dog", [0, 226, 252]), ("horse", [182, 182, 255]), ("sheep", [0, 82, 0]),
    ("cow", [120, 166, 157]), ("elephant", [110, 76, 0]), ("bear", [174, 57, 255]), ("zebra", [199, 100, 0]), ("giraffe", [72, 0, 118]),
    ("backpack", [255, 179, 240]), ("umbrella", [0, 125, 92]), ("handbag", [209, 0, 151]), ("tie", [188, 208, 182]),
    ("suitcase", [0, 220, 176]), ("frisbee", [255, 99, 164]), ("skis", [92, 0, 73]), ("snowboard", [133, 129, 255]),
    ("sports ball", [78, 180, 255]), ("kite", [0, 228, 0]), ("baseball bat", [174, 255, 243]), ("baseball glove", [45, 89, 255]),
    ("skateboard", [134, 134, 103]), ("surfboard", [145, 148, 174]), ("tennis racket", [255, 208, 186]), ("bottle", [197, 226, 255]),
    ("wine glass", [171, 134, 1]), ("cup", [109, 63, 54]), ("fork", [207, 138, 255]), ("knife", [151, 0, 95]), ("spoon", [9, 80, 61]),
    ("bowl", [84, 105, 51]), ("banana", [74, 65, 105]), ("apple", [166, 196, 102]), ("sandwich", [208, 195, 210]),
    ("orange", [255, 109, 65]), ("broccoli", [0, 143, 149]), ("carrot", [179, 0, 194]), ("hot dog", [209, 99, 106]), ("pizza", [5, 121, 0]),
    ("donut", [227, 255, 205]), ("cake", [147, 186, 208]), ("chair", [153, 69, 1]), ("couch", [3, 95, 161]),
    ("potted plant", [163, 255, 0]), ("bed", [119, 0, 170]), ("dining table", [0, 182, 199]), ("toilet", [0, 165, 120]),
    ("tv", [183, 130, 88]), ("laptop", [95, 32, 0]), ("mouse", [130, 114, 135]), ("remote", [110, 129, 133]), ("keyboard", [166, 74, 118]),
    ("cell phone", [219, 142, 185]), ("microwave", [79, 210, 114]), ("oven", [178, 90, 62]), ("toaster", [65, 70, 15]),
    ("sink", [127, 167, 115]), ("refrigerator", [59, 105, 106]), ("book", [142, 108, 45]), ("clock", [196, 172, 0]), ("vase", [95, 54, 80]),
    ("scissors", [128, 76, 255]), ("teddy bear", [201, 57, 1]), ("hair drier", [246, 0, 122]), ("toothbrush", [191, 162, 208]),
];

/// PASCAL VOC.
#[rustfmt::skip]
pub(super) const VOC: Classes = &[
    ("aeroplane", [106, 0, 228]), ("bicycle", [119, 11, 32]), ("bird", [165, 42, 42]), ("boat", [0, 0, 192]), ("bottle", [197, 226, 255]),
    ("bus", [0, 60, 100]), ("car", [0, 0, 142]), ("cat", [255, 77, 255]), ("chair", [153, 69, 1]), ("cow", [120, 166, 157]),
    ("diningtable", [0, 182, 199]), ("dog", [0, 226, 252]), ("horse", [182, 182, 255]), ("motorbike", [0, 0, 230]),
    ("person", [220, 20, 60]), ("pottedplant", [163, 255, 0]), ("sheep", [0, 82, 0]), ("sofa", [3, 95, 161]), ("train", [0, 80, 100]),
    ("tvmonitor", [183, 130, 88]),
];

/// Cityscapes, things.
#[rustfmt::skip]
pub(super) const CITYSCAPES: Classes = &[
    ("person", [220, 20, 60]), ("rider", [255, 0, 0]), ("car", [0, 0, 142]), ("truck", [0, 0, 70]), ("bus", [0, 60, 100]),
    ("train", [0, 80, 100]), ("motorcycle", [0, 0, 230]), ("bicycle", [119, 11, 32]),
];

/// DeepFashion.
#[rustfmt::skip]
pub(super) const DEEP_FASHION: Classes = &[
    ("top", [0, 192, 64]), ("skirt", [0, 64, 96]), ("leggings", [128, 192, 192]), ("dress", [0, 64, 64]), ("outer", [0, 192, 224]),
    ("pants", [0, 192, 192]), ("bag", [128, 192, 64]), ("neckwear", [0, 192, 96]), ("headwear", [128, 32, 192]), ("eyeglass", [0, 0, 224]),
    ("belt", [0, 0, 64]), ("footwear", [0, 160, 192]), ("hair", [128, 0, 96]), ("skin", [128, 0, 192]), ("face", [0, 32, 192]),
];

/// WIDER FACE.
#[rustfmt::skip]
pub(super) const WIDER_FACE: Classes = &[
    ("face", [0, 255, 0]),
];
