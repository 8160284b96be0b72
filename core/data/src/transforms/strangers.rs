//! No transform panics, whatever picture it is given and from whatever other picture its draws are.

use super::hand_made::{as_float, built, plain, run_with, with_boxes};
use super::{Saved, Transform};
use crate::image::{Image, Samples};
use crate::sample::Sample;

const TRANSFORMS: &[&str] = &[
    "dict(type='AutoAugment')",
    "dict(type='CutOut', n_holes=(0, 9), cutout_ratio=[(0.5, 0.9), (0.01, 2)])",
    "dict(type='Expand', prob=1.0)",
    "dict(type='MinIoURandomCrop')",
    "dict(type='MinIoURandomCrop', min_ious=(), min_crop_size=2.0)",
    "dict(type='PhotoMetricDistortion')",
    "dict(type='RandAugment', aug_num=15)",
    "dict(type='RandomCenterCropPad', crop_size=(7, 9), mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True, test_pad_mode=None)",
    "dict(type='RandomCenterCropPad', ratios=None, border=None, mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True, test_mode=True)",
    "dict(type='RandomErasing', n_patches=(0, 4), ratio=(0, 0.9), squared=False, mask_border_value=1)",
    "dict(type='RandomOrder', transforms=[dict(type='Rotate', interpolation='bicubic'), dict(type='ShearX', max_mag=90.0, interpolation='lanczos')])",
    "dict(type='RandomShift', prob=1.0, max_shift_px=99)",
    "dict(type='Rotate', max_mag=180.0, mask_border_value=1)",
    "dict(type='ShearY', min_mag=89.0, max_mag=90.0)",
    "dict(type='TranslateX', max_mag=1.0)",
    "dict(type='YOLOXHSVRandomAug')",
];

fn samples() -> Vec<Sample> {
    let boxes = [
        [0.0, 0.0, 1.0, 1.0],
        [3.0, 3.0, 3.0, 3.0],
        [9.0, 2.0, 4.0, 1.0],
        [-1e30, -1e30, 1e30, 1e30],
        [f32::NAN, 0.0, 5.0, f32::INFINITY],
    ];
    let mut all = vec![plain([40, 30], 100)];
    for size in [[40, 30], [1, 1], [1, 17], [3, 2]] {
        all.push(with_boxes(plain(size, 200), &boxes));
        all.push(with_boxes(as_float(plain(size, 200)), &boxes[..2]));
    }
    let mut grey = plain([5, 4], 7);
    grey.set_image(Image::new([5, 4], 1, Samples::U8(vec![3; 20])));
    all.push(grey);
    let mut four = plain([5, 4], 7);
    four.set_image(Image::new([5, 4], 4, Samples::U8(vec![3; 80])));
    all.push(four);
    let mut bare = plain([5, 4], 7);
    bare.has_boxes = false;
    all.push(bare);
    all.push(Sample::new(Default::default()));
    all
}

#[test]
fn any_picture_with_any_draws() {
    let samples = samples();
    for text in TRANSFORMS {
        let transform: Box<dyn Transform> = built(text);
        let mut all: Vec<Vec<Saved>> = Vec::new();
        for (i, sample) in samples.iter().enumerate() {
            for seed in 0..4 {
                let (outcome, saved) = run_with(&*transform, sample, seed + 10 * i as u64, None);
                let Ok(Some(out)) = outcome else { continue };
                assert_eq!(
                    out.img_shape,
                    [out.image.height(), out.image.width()],
                    "{text}"
                );
                if let Some(masks) = out.masks() {
                    assert_eq!(masks.len(), out.gt.len(), "{text}");
                }
                all.push(saved);
            }
        }
        assert!(!all.is_empty(), "{text}: nothing went through");
        // fails or not, but does not panic
        for saved in all.iter().step_by(3) {
            for sample in &samples {
                let _ = run_with(&*transform, sample, 0, Some(saved.clone()));
            }
        }
    }
}
