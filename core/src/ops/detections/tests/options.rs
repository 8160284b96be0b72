//! The ways in which heads differ from each other: by hand, then all of them together.

use super::*;

#[test]
fn boxes_and_scores_as_they_are_by_hand() {
    let mut maps = Maps::row(
        &[&[0.25, 0.5, f32::NAN, 0.75, 0.125]],
        &[
            at(0.0),
            [-5.0, 2.0, 60.0, 8.0],
            at(20.0),
            [f32::NAN, 0.0, 9.0, 9.0],
            [f32::NEG_INFINITY, 1.0, f32::INFINITY, 3.0],
        ],
    );
    let mut config = plain(1);
    let run = |maps: &Maps, config: &Config, what: &str| {
        compare(std::slice::from_ref(maps), &[meta(40, 50)], config, what).remove(0)
    };
    let found = run(&maps, &config, "boxes");
    assert_eq!(found.scores, [0.5, 0.25, 0.125]);
    let clipped = [[0.0, 2.0, 50.0, 8.0], at(0.0), [0.0, 1.0, 50.0, 3.0]];
    assert_eq!(found.boxes, clipped);
    config.boxes = Some(false);
    let found = run(&maps, &config, "not clipped");
    assert_eq!(found.boxes, [[-5.0, 2.0, 60.0, 8.0], at(0.0)]);

    config.score_thr = 0.25;
    assert_eq!(run(&maps, &config, "above").scores, [0.5]);
    config.at_least = true;
    assert_eq!(run(&maps, &config, "at least").scores, [0.5, 0.25]);
    // an RPN takes all; what is no number is none
    config.score_thr = -1.0;
    config.boxes = Some(true);
    maps.logits[0] = 0.0;
    let found = run(&maps, &config, "all");
    assert_eq!(found.scores, [0.5, 0.125, 0.0]);
}

#[test]
fn the_best_class_of_a_place_by_hand() {
    let maps = Maps::row(
        &[&[0.5, 0.3, 0.1], &[0.5, 0.4, 0.1], &[0.4, 0.2, 0.9]],
        &[at(0.0), at(20.0), at(40.0)],
    );
    let mut config = plain(3);
    config.labels = Labels::Best;
    let all = |config: &Config| {
        compare(
            std::slice::from_ref(&maps),
            &[meta(50, 90)],
            config,
            "best class",
        )
        .remove(0)
    };
    let found = all(&config);
    assert_eq!(found.labels, [2, 0, 1]);
    assert_eq!(found.scores, [0.9, 0.5, 0.4]);
    config.labels = Labels::Every;
    assert_eq!(all(&config).len(), 9);
}

#[test]
fn a_factor_counts_after_the_choice_by_hand() {
    let mut maps = Maps::row(
        &[&[0.5, 0.4, 0.3, 0.2]],
        &[at(0.0), at(20.0), at(40.0), at(60.0)],
    );
    maps.factor = Some(vec![0.25, 0.5, 1.0, 1.0]);
    let mut config = plain(1);
    let run = |config: &Config| {
        compare(
            std::slice::from_ref(&maps),
            &[meta(50, 90)],
            config,
            "factor",
        )
        .remove(0)
    };
    // 0.2 and 0.3 pass with products of 0.125 to 0.3; 0.2 is not above the threshold
    config.score_thr = 0.2;
    let found = run(&config);
    assert_eq!(found.scores, [0.3, 0.2, 0.125]);
    assert_eq!(found.boxes, [at(40.0), at(20.0), at(0.0)]);
    // the best two by class score alone
    config.nms_pre = 2;
    assert_eq!(run(&config).scores, [0.2, 0.125]);
    // NMS goes by the products
    config.nms.iou_threshold = 0.1;
    maps.deltas = Maps::row(&[&[0.0; 4]], &[at(0.0), at(2.0), at(4.0), at(60.0)]).deltas;
    config.nms_pre = 3;
    let run = |config: &Config| {
        compare(
            std::slice::from_ref(&maps),
            &[meta(50, 90)],
            config,
            "factor",
        )
        .remove(0)
    };
    assert_eq!(run(&config).boxes, [at(4.0)]);
}

#[test]
fn suppression_by_level_by_hand() {
    // twice the same two boxes of two classes, on two levels
    let level = Maps::row(&[&[0.9, 0.0], &[0.0, 0.8]], &[at(0.0), at(1.0)]);
    let mut config = plain(2);
    config.nms.iou_threshold = 0.5;
    let run = |config: &Config| {
        let levels = [level.clone(), level.clone()];
        compare(&levels, &[meta(50, 90)], config, "groups").remove(0)
    };
    assert_eq!(run(&config).labels, [0, 1]);
    config.group = Group::Level;
    let found = run(&config);
    assert_eq!(found.labels, [0, 0]);
    assert_eq!(found.scores, [0.9, 0.9]);
    config.nms.class_agnostic = true;
    assert_eq!(run(&config).len(), 1);
}

#[test]
fn every_option_on_random_sizes() {
    let mut random = Random::new(8);
    for (i, [h, w]) in [[0usize, 4], [1, 1], [1, 63], [8, 8], [5, 13], [13, 21]]
        .into_iter()
        .enumerate()
    {
        let (a, n, classes) = (1 + i % 3, 1 + i % 2, [1, 3, 7][i % 3]);
        let sizes = [[h, w], [h.div_ceil(2), w.div_ceil(2)], [1, 1]];
        let maps = sizes.map(|size| Maps::random(&mut random, n, classes, size, 8, a));
        let metas = [
            meta(h * 8 + 1, w * 7 + 9),
            Meta {
                scale_factor: [1.5, 1.25],
                ..meta(h * 6 + 9, w * 5 + 9)
            },
        ];
        let metas = &metas[..n];
        for choice in 0..32 {
            let chosen = |bit: u32| choice >> bit & 1 == 1;
            let mut config = config(classes);
            config.min_bbox_size = -1.0;
            config.coder.stds = [0.1, 0.1, 0.2, 0.2];
            config.nms_pre = [30, i64::MAX, -2][choice % 3];
            config.score_thr = [0.25, -1.0, 0.0][choice / 3 % 3];
            config.at_least = chosen(0);
            config.max_per_img = [200, i64::MAX, -3][choice / 2 % 3];
            let mut maps = maps.clone();
            if chosen(1) {
                config.labels = Labels::Best;
            }
            if chosen(2) {
                config.group = Group::Level;
            }
            if chosen(3) {
                config.activation = Scoring::None;
                config.boxes = Some(chosen(0));
                maps = maps.map(|m| random_boxes(&mut random, &m));
            } else if choice % 3 == 1 {
                config.activation = Scoring::Order;
            }
            if chosen(4) {
                // in eighths: many products are equal
                for m in &mut maps {
                    let places = n * a * m.h * m.w;
                    let factor = |_| (random.unit() * 9.0).floor() / 8.0;
                    m.factor = Some((0..places).map(factor).collect());
                }
            }
            if choice % 5 == 1 {
                config.nms.method = Method::None;
            }
            let what = format!("{h}x{w} a{a} n{n} c{classes} choice {choice}");
            compare(&maps, metas, &config, &what);
        }
    }
}

#[test]
fn broken_numbers_with_every_option() {
    let mut random = Random::new(9);
    let like = Maps::random(&mut random, 2, 4, [9, 15], 8, 2);
    let broken = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0, 1e30];
    let mut config = plain(4);
    config.nms.iou_threshold = 0.6;
    config.max_per_img = 300;
    for (labels, clip) in [
        (Labels::Every, true),
        (Labels::Best, false),
        (Labels::Best, true),
    ] {
        for (activation, score_thr) in [
            (Scoring::None, 0.1),
            (Scoring::None, -1.0),
            (Scoring::Sigmoid, 0.5),
            (Scoring::Sigmoid, -1.0),
        ] {
            let mut maps = random_boxes(&mut random, &like);
            let places = maps.logits.len() / 4;
            let mut factor: Vec<f32> = (0..places)
                .map(|_| (random.unit() * 64.0).floor() / 64.0)
                .collect();
            for values in [&mut maps.logits, &mut maps.deltas, &mut factor] {
                for v in values {
                    if random.unit() < 0.1 {
                        *v = broken[(random.unit() * 5.0) as usize];
                    }
                }
            }
            // a product with it is a large score, which is compared as one between 0 and 1
            factor
                .iter_mut()
                .filter(|f| **f == 1e30)
                .for_each(|f| *f = -1.0);
            maps.factor = Some(factor);
            (config.labels, config.boxes) = (labels, Some(clip));
            (config.activation, config.score_thr) = (activation, score_thr);
            let what = format!("{labels:?} {clip} {activation:?} {score_thr}");
            let found = compare(&[maps], &[meta(60, 100), meta(60, 100)], &config, &what);
            assert!(!found[0].is_empty());
            assert!(found[0].boxes.iter().flatten().all(|v| v.is_finite()));
        }
    }
}
