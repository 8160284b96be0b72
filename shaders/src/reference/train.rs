//! Steps of optimizers and averages on one tensor: what runs without a GPU, and judges `train/sgd.wgsl`, `adam.wgsl`, `rmsprop.wgsl` and
//! `average.wgsl`; and what bounding gradients takes there (`squares.wgsl`). The order of operations is PyTorch 2.4's; numbers are read and written in one pass.

use crate::records::{AdamRecord, RmspropRecord, SgdRecord};

/// A gradient, and the factor of all its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Slopes<'a>(pub &'a [f32], pub f32);

/// Stochastic gradient descent; `buffer` is empty without momentum.
///
/// # Panics
/// If the slices that are needed differ in length.
pub fn sgd(
    told: &SgdRecord,
    value: &mut [f32],
    Slopes(gradient, factor): Slopes,
    buffer: &mut [f32],
) {
    assert_eq!(value.len(), gradient.len());
    if told.momentum == 0.0 {
        for (value, gradient) in value.iter_mut().zip(gradient) {
            let slope =
                told.sign * bounded(*gradient, factor, told.most) + told.weight_decay * *value;
            *value -= told.lr * slope;
        }
        return;
    }
    assert_eq!(value.len(), buffer.len());
    let nesterov = told.nesterov == 1;
    // Where there is no buffer yet it is the slope: 0 of the old, 1 of the new.
    let [old, new] = match told.fresh {
        0 => [told.momentum, told.undamped],
        _ => [0.0, 1.0],
    };
    for ((value, gradient), buffer) in value.iter_mut().zip(gradient).zip(buffer) {
        let slope = told.sign * bounded(*gradient, factor, told.most) + told.weight_decay * *value;
        let kept = old * *buffer + new * slope;
        *buffer = kept;
        let ahead = slope + told.momentum * kept;
        *value -= told.lr * if nesterov { ahead } else { kept };
    }
}

/// Adam and AdamW; `largest` is empty without AMSGrad.
///
/// # Panics
/// If the slices that are needed differ in length.
pub fn adam(
    told: &AdamRecord,
    value: &mut [f32],
    Slopes(gradient, factor): Slopes,
    [mean, square, largest]: [&mut [f32]; 3],
) {
    let lengths = [gradient.len(), mean.len(), square.len()];
    assert_eq!(lengths, [value.len(); 3]);
    let moved = |value: &mut f32, gradient: f32, mean: &mut f32, square: &mut f32| {
        let slope = told.sign * bounded(gradient, factor, told.most) + told.weight_decay * *value;
        *mean = between(*mean, slope, told.new_mean);
        *square = told.old_square * *square + told.new_square * slope * slope;
    };
    let step = |value: &mut f32, mean: f32, spread: f32| {
        let spread = spread.sqrt() / told.correction + told.eps;
        *value = told.keep * *value - told.step_size * mean / spread;
    };
    let all = value.iter_mut().zip(gradient).zip(mean).zip(square);
    if told.amsgrad == 0 {
        for (((value, gradient), mean), square) in all {
            moved(value, *gradient, mean, square);
            step(value, *mean, *square);
        }
        return;
    }
    assert_eq!(lengths[0], largest.len());
    for ((((value, gradient), mean), square), largest) in all.zip(largest) {
        moved(value, *gradient, mean, square);
        *largest = largest.max(*square);
        step(value, *mean, *largest);
    }
}

/// RMSprop; `buffer` is empty without momentum, `mean` unless centred.
///
/// # Panics
/// If the slices that are needed differ in length.
pub fn rmsprop(
    told: &RmspropRecord,
    value: &mut [f32],
    Slopes(gradient, factor): Slopes,
    [square, buffer, mean]: [&mut [f32]; 3],
) {
    assert_eq!([gradient.len(), square.len()], [value.len(); 2]);
    let (centered, momentum) = (told.centered == 1, told.momentum > 0.0);
    assert!(!centered || mean.len() == value.len());
    assert!(!momentum || buffer.len() == value.len());
    for (i, value) in value.iter_mut().enumerate() {
        let slope =
            told.sign * bounded(gradient[i], factor, told.most) + told.weight_decay * *value;
        square[i] = told.alpha * square[i] + told.new_share * slope * slope;
        let mut spread = square[i];
        if centered {
            mean[i] = between(mean[i], slope, told.new_share);
            spread -= mean[i] * mean[i];
        }
        let mut step = slope / (spread.sqrt() + told.eps);
        if momentum {
            step += told.momentum * buffer[i];
            buffer[i] = step;
        }
        *value -= told.lr * step;
    }
}

/// Moves an average towards a value of which the share is `weight`; 1 copies it.
///
/// # Panics
/// If the slices differ in length.
pub fn average(weight: f32, average: &mut [f32], value: &[f32]) {
    assert_eq!(average.len(), value.len());
    for (average, value) in average.iter_mut().zip(value) {
        *average = between(*average, *value, weight);
    }
}

/// The sum of the squares.
pub fn squares(values: &[f32]) -> f64 {
    // As many sums as fill vectors, so that the compiler may make them.
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest = rest.map(|value| f64::from(*value) * f64::from(*value));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// How many are not finite.
pub fn not_finite(values: &[f32]) -> usize {
    values.iter().filter(|value| !value.is_finite()).count()
}

/// `bounded` of `shared/bounded.wgsl`.
#[inline]
fn bounded(slope: f32, factor: f32, most: f32) -> f32 {
    let v = slope * factor;
    // Not `clamp`, which has no bound below 0.
    if most >= 0.0 && v.abs() > most {
        most.copysign(v)
    } else {
        v
    }
}

/// Between two numbers, with the exact one at either end.
#[inline]
fn between(a: f32, b: f32, weight: f32) -> f32 {
    if weight < 0.5 {
        a + weight * (b - a)
    } else {
        b - (b - a) * (1.0 - weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sgd_by_hand() {
        let mut told = SgdRecord {
            lr: 0.5,
            momentum: 0.5,
            undamped: 1.0,
            weight_decay: 0.25,
            sign: 1.0,
            fresh: 1,
            nesterov: 0,
            most: -1.0,
        };
        let (mut value, mut buffer) = ([4.0], [9.0]);
        sgd(&told, &mut value, Slopes(&[1.0], 1.0), &mut buffer); // slope 1 + 1
        assert_eq!((value, buffer), ([3.0], [2.0]));
        told.fresh = 0;
        sgd(&told, &mut value, Slopes(&[1.25], 1.0), &mut buffer); // slope 1.25 + 0.75
        assert_eq!((value, buffer), ([1.5], [3.0]));
        told.nesterov = 1;
        sgd(&told, &mut value, Slopes(&[0.625], 1.0), &mut buffer); // slope 1, buffer 2.5, 1 + 1.25
        assert_eq!((value, buffer), ([0.375], [2.5]));
        told.momentum = 0.0;
        told.sign = -1.0;
        sgd(&told, &mut value, Slopes(&[1.0], 1.0), &mut []); // slope -1 + 0.09375
        assert_eq!(value, [0.828125]);
        // A quarter of -8, within 1.5; what is no number stays none.
        let told = SgdRecord {
            weight_decay: 0.0,
            sign: 1.0,
            most: 1.5,
            ..told
        };
        let mut value = [0.0; 3];
        sgd(
            &told,
            &mut value,
            Slopes(&[-8.0, 4.0, f32::NAN], 0.25),
            &mut [],
        );
        assert_eq!(value[..2], [0.75, -0.5]);
        assert!(value[2].is_nan());
    }

    #[test]
    fn adam_begins_with_a_step_of_the_learning_rate() {
        let told = AdamRecord {
            keep: 1.0,
            weight_decay: 0.0,
            sign: 1.0,
            new_mean: 0.125,
            old_square: 0.75,
            new_square: 0.25,
            step_size: 0.5 / 0.125,
            correction: 0.5,
            eps: 0.0,
            amsgrad: 0,
            most: -1.0,
        };
        let (mut value, mut mean, mut square) = ([1.0], [0.0], [0.0]);
        adam(
            &told,
            &mut value,
            Slopes(&[8.0], 1.0),
            [&mut mean, &mut square, &mut []],
        );
        assert_eq!((value, mean, square), ([0.5], [1.0], [16.0]));
        let (mut largest, told) = ([64.0], AdamRecord { amsgrad: 1, ..told });
        adam(
            &told,
            &mut value,
            Slopes(&[1.0], 1.0),
            [&mut mean, &mut square, &mut largest],
        );
        assert_eq!((mean, square, largest), ([1.0], [12.25], [64.0]));
        assert_eq!(value, [0.5 - 4.0 / 16.0]);
    }

    #[test]
    fn rmsprop_by_hand() {
        let told = RmspropRecord {
            lr: 0.5,
            alpha: 0.75,
            new_share: 0.25,
            eps: 1.0,
            weight_decay: 0.0,
            momentum: 0.5,
            sign: 1.0,
            centered: 0,
            most: -1.0,
        };
        let (mut value, mut square, mut buffer, mut mean) = ([1.0], [0.0], [2.0], [0.0]);
        let planes = [&mut square[..], &mut buffer, &mut mean];
        rmsprop(&told, &mut value, Slopes(&[6.0], 1.0), planes); // 6 / (3 + 1) + 1
        assert_eq!((value, square, buffer), ([-0.25], [9.0], [2.5]));
        let told = RmspropRecord {
            momentum: 0.0,
            centered: 1,
            alpha: 1.0,
            new_share: 0.5,
            ..told
        };
        let planes = [&mut square[..], &mut [], &mut mean];
        rmsprop(&told, &mut value, Slopes(&[6.0], 1.0), planes); // square 27, mean 3, spread 18
        assert_eq!((square, mean), ([27.0], [3.0]));
        assert_eq!(value, [-0.25 - 0.5 * (6.0 / (18f32.sqrt() + 1.0))]);
    }

    #[test]
    fn squares_of_all() {
        let values: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(squares(&values), 16206.0); // 36 * 37 * 73 / 6
        assert_eq!(squares(&values[..3]), 5.0);
        assert_eq!(squares(&[]), 0.0);
        assert_eq!(not_finite(&[1.0, f32::NAN, f32::NEG_INFINITY]), 2);
    }

    #[test]
    fn averages_end_at_their_ends() {
        let (mut a, values) = ([1.0, 0.1], [3.0, 0.7]);
        average(0.0, &mut a, &values);
        assert_eq!(a, [1.0, 0.1]);
        average(0.25, &mut a, &values);
        assert_eq!(a, [1.5, 0.1 + 0.25 * (0.7 - 0.1)]);
        average(1.0, &mut a, &values);
        assert_eq!(a, values);
    }
}
