//! Boxes that stay on the device: as they are read, and as tensors.

use burn::tensor::Int;

use super::*;

/// [`Kept`] of both devices, compared with what `detect` gives there; `read`: whether the GPU reads anything.
fn compare_kept(maps: &[Maps], metas: &[Meta], config: &Config, read: bool) {
    let pictures = shown(metas);
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let candidates = candidates(maps, &device, false, config);
        let kept = pollster::block_on(keep(&candidates, &pictures)).unwrap();
        let as_read = pollster::block_on(kept.read(&pictures)).unwrap();
        let detected = detect_blocking(&candidates, &pictures).unwrap();
        assert_same(&as_read, &detected, "kept and detected");
        if Gpu::of(&device).is_some() && can_find(&candidates, &Frame::all(&pictures, false)) {
            let on_device = launch(&candidates, &Frame::all(&pictures, false)).unwrap();
            assert_eq!(on_device.unwrap().is_final(), !read);
        }

        let [n, most, four] = kept.boxes.dims();
        assert_eq!((n, four), (metas.len(), 4));
        for dims in [kept.scores.dims(), kept.labels.dims(), kept.source.dims()] {
            assert_eq!(dims, [n, most]);
        }
        let ints = |t: Tensor<2, Int>| t.into_data().iter::<i64>().collect::<Vec<_>>();
        let (labels, source) = (ints(kept.labels), ints(kept.source));
        let scores: Vec<f32> = kept.scores.into_data().iter::<f32>().collect();
        let boxes: Vec<f32> = kept.boxes.into_data().iter::<f32>().collect();
        let counts: Vec<i64> = kept.counts.into_data().iter::<i64>().collect();
        for i in 0..n {
            assert_eq!(counts[i], as_read[i].len() as i64);
            for k in 0..most {
                let at = i * most + k;
                let row = &boxes[at * 4..at * 4 + 4];
                if (k as i64) < counts[i] {
                    assert_eq!(labels[at], as_read[i].labels[k] as i64);
                    assert_eq!(scores[at], as_read[i].scores[k]);
                    let expected = place(maps, config, i, source[at] as usize);
                    let far = |j: usize| (row[j] - expected[j].clamp(0.0, 80.0)).abs();
                    assert!((0..4).all(|j| far(j) < 1e-3), "{row:?} {expected:?}");
                } else {
                    assert_eq!((labels[at], source[at], scores[at]), (-1, 0, 0.0));
                    assert_eq!(row, [0.0; 4]);
                }
            }
        }
    }
}

/// The box at place `source` of picture `i`, not clipped.
fn place(maps: &[Maps], config: &Config, i: usize, source: usize) -> Xyxy {
    assert!(config.boxes.is_some());
    let mut source = source;
    for m in maps {
        let (a, cells) = (m.anchors.len(), m.h * m.w);
        if source < cells * a {
            let (cell, a_at) = (source / a, source % a);
            return std::array::from_fn(|k| m.deltas[((i * a + a_at) * 4 + k) * cells + cell]);
        }
        source -= cells * a;
    }
    panic!("there are not so many places");
}

#[test]
fn kept_by_hand() {
    // the third box overlaps the first
    let level = Maps::row(&[&[0.5, 0.25, 0.375]], &[at(0.0), at(20.0), at(1.0)]);
    let mut config = plain(1);
    config.nms.iou_threshold = 0.5;
    config.max_per_img = 4;
    let mut meta = meta(80, 80);
    meta.scale_factor = [2.0, 2.0];
    let pictures = shown(std::slice::from_ref(&meta));
    let maps = [level.clone(), level];
    compare_kept(&maps, &[meta], &config, false);
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let candidates = candidates(&maps, &device, false, &config);
        let kept = pollster::block_on(keep(&candidates, &pictures)).unwrap();
        let found = pollster::block_on(kept.read(&pictures)).unwrap().remove(0);
        assert_eq!(found.scores, [0.5, 0.25]);
        // px of the original picture; kept ones are of the batch
        assert_eq!(found.boxes[1], [10.0, 0.0, 15.0, 5.0]);
        let boxes = kept.boxes.slice([0..1, 1..2, 0..4]).into_data();
        assert_eq!(boxes.iter::<f32>().collect::<Vec<_>>(), at(20.0));
        let source = kept.source.slice([0..1, 0..2]).into_data();
        assert_eq!(source.iter::<i64>().collect::<Vec<_>>(), [0, 1]);
    }
}

/// They share a buffer on a GPU.
#[test]
fn kept_tensors_do_not_touch_each_other() {
    let maps = Maps::row(&[&[0.5, 0.25]], &[at(0.0), at(20.0)]);
    for device in [Some(Device::flex()), gpu()].into_iter().flatten() {
        let candidates = candidates(std::slice::from_ref(&maps), &device, false, &plain(1));
        let kept = pollster::block_on(keep(&candidates, &shown(&[meta(80, 80)]))).unwrap();
        let weighted = kept.boxes.clone() * kept.scores.clone().unsqueeze_dim(2);
        let both = kept.scores.clone() + kept.labels.clone().float();
        let negative = kept.boxes.mul_scalar(-1.0);
        let numbers = |t: Tensor<3>| t.into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(numbers(weighted), [0.0, 0.0, 5.0, 5.0, 5.0, 0.0, 7.5, 2.5]);
        let boxes = [0.0, 0.0, 10.0, 10.0, 20.0, 0.0, 30.0, 10.0];
        assert_eq!(numbers(negative), boxes.map(|v: f32| -v));
        assert_eq!(numbers(both.unsqueeze_dim(2)), [0.5, 0.25]);
        assert_eq!(numbers(kept.scores.unsqueeze_dim(2)), [0.5, 0.25]);
    }
}

#[test]
fn kept_is_what_is_detected() {
    let mut random = Random::new(10);
    let sizes = [[10, 10], [5, 5], [0, 3], [1, 1]];
    let like = sizes.map(|size| Maps::random(&mut random, 3, 2, size, 8, 2));
    let metas = [meta(80, 80), meta(80, 80), meta(80, 80)];
    let mut config = plain(2);
    config.nms.iou_threshold = 0.6;
    config.nms_pre = 50;
    for group in [Group::Class, Group::Level] {
        config.group = group;
        for max_per_img in [0, 1, 63, 64, 65, 1000, -2] {
            config.max_per_img = max_per_img;
            let mut maps = like.clone().map(|m| random_boxes(&mut random, &m));
            // nothing on the last picture
            for m in &mut maps {
                let each = m.logits.len() / 3;
                m.logits[2 * each..].fill(0.0);
            }
            compare_kept(&maps, &metas, &config, false);
        }
    }
    config.max_per_img = 20;
    let maps = like.clone().map(|m| random_boxes(&mut random, &m));
    config.nms.method = Method::None;
    compare_kept(&maps, &metas, &config, false);
    config.nms.method = Method::Soft(Soft::default());
    compare_kept(&maps, &metas, &config, true);
    config.nms.method = Method::Hard;
    // no limit: more could be wanted than there is room for, and then is
    config.nms_pre = i64::MAX;
    config.score_thr = 0.9;
    let like = Maps::random(&mut random, 1, 2, [70, 70], 1, 1);
    let maps = random_boxes(&mut random, &like);
    compare_kept(std::slice::from_ref(&maps), &metas[..1], &config, true);
    config.score_thr = -1.0;
    compare_kept(&[maps], &metas[..1], &config, true);
}
