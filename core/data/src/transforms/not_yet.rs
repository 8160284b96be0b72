//! Transforms that mmdet 3.3 and mmcv 2.1 have and we do not: a config that names one may be right, so that this is another error than
//! for a name that nobody knows.

/// Name, and what to do about it.
pub(super) const NOT_YET: &[(&str, &str)] = &[
    (
        "Albu",
        "albumentations is a Python package: use PhotoMetricDistortion, RandAugment, Rotate, CutOut and the like instead",
    ),
    ("BaseFrameSample", "only pictures are read, no videos"),
    (
        "CenterCrop",
        "use RandomCrop, or RandomCenterCropPad with test_mode=True",
    ),
    (
        "Corrupt",
        "imagecorruptions is a Python package: leave it out, or corrupt the pictures beforehand",
    ),
    (
        "GTBoxSubOne_GLIP",
        "detectors with text prompts are not there yet",
    ),
    (
        "ImageToTensor",
        "PackDetInputs does it: end the pipeline with that",
    ),
    (
        "InferencerLoader",
        "begin the pipeline with LoadImageFromFile",
    ),
    (
        "InstaBoost",
        "instaboostfast is a Python package: use CopyPaste instead",
    ),
    (
        "LoadImageFromNDArray",
        "begin the pipeline with LoadImageFromFile",
    ),
    (
        "LoadMultiChannelImageFromFiles",
        "only pictures in one file are read: use LoadImageFromFile",
    ),
    (
        "LoadPanopticAnnotations",
        "panoptic maps are not read yet: LoadAnnotations(with_bbox=True, with_mask=True) reads the objects",
    ),
    (
        "LoadTextAnnotations",
        "detectors with text prompts are not there yet",
    ),
    ("LoadTrackAnnotations", "only pictures are read, no videos"),
    (
        "MultiBranch",
        "semi-supervised training is not there yet: use the pipeline of one branch",
    ),
    (
        "MultiScaleFlipAug",
        "use TestTimeAug, which took its place in MMDetection 3",
    ),
    (
        "Normalize",
        "mean and std belong to the model's data_preprocessor=dict(type='DetDataPreprocessor', ...)",
    ),
    ("PackReIDInputs", "end the pipeline with PackDetInputs"),
    ("PackTrackInputs", "end the pipeline with PackDetInputs"),
    (
        "RandomFlip_GLIP",
        "detectors with text prompts are not there yet: use RandomFlip",
    ),
    ("RandomGrayscale", "use Color(min_mag=0.0, max_mag=0.0)"),
    (
        "RandomSamplingNegPos",
        "detectors with text prompts are not there yet",
    ),
    ("SegRescale", "segmentation maps are not read: leave it out"),
    (
        "ToTensor",
        "PackDetInputs does it: end the pipeline with that",
    ),
    (
        "Transpose",
        "PackDetInputs does it: end the pipeline with that",
    ),
    ("UniformRefFrameSample", "only pictures are read, no videos"),
];

#[cfg(test)]
mod tests {
    use super::super::hand_made::{config, mistakes};
    use super::super::{ROWS, build};
    use super::NOT_YET;
    use smalti_config::Kind;

    #[test]
    fn known_but_not_here() {
        let problems = build(&config("dict(type='mmdet.Albu', transforms=[])")).unwrap_err();
        assert_eq!(problems[0].kind, Kind::Unsupported);
        let problems = build(&config("dict(type='Albumentation')")).unwrap_err();
        assert_eq!(problems[0].kind, Kind::Unknown);
        assert_eq!(
            mistakes("dict(type='other.Albu')"),
            ["unknown transform type `other.Albu`"]
        );
    }

    #[test]
    fn every_name_once() {
        for (name, _) in NOT_YET {
            let built = ROWS.iter().any(|row| row.name == *name);
            assert!(!built, "`{name}` is built: take it out of NOT_YET");
        }
        let names: Vec<&str> = NOT_YET.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted());
    }
}
