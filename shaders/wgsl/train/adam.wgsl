// A step of Adam or AdamW on one parameter.
// Twin: src/reference/train.rs, to the last bits (a GPU's division and square root are near ones).
//
// binding 0  record    AdamRecord
// binding 1  value     f32 [n], read and written
// binding 2  gradient  f32 [n]
// binding 3  mean      f32 [n], read and written: `exp_avg`
// binding 4  square    f32 [n], read and written: `exp_avg_sq`
// binding 5  largest   f32 [n], read and written, with AMSGrad: `max_exp_avg_sq`
// binding 6  factor    f32 [1]: of the gradient
//
// dispatch: ceil(n / 256) workgroups in rows; one invocation is one number.

struct AdamRecord {
    keep: f32,
    weight_decay: f32,
    sign: f32,
    new_mean: f32,
    old_square: f32,
    new_square: f32,
    step_size: f32,
    correction: f32,
    eps: f32,
    amsgrad: u32,
    most: f32,
}

@group(0) @binding(0) var<storage, read_write> record: AdamRecord;
@group(0) @binding(1) var<storage, read_write> value: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> square: array<f32>;
@group(0) @binding(5) var<storage, read_write> largest: array<f32>;
@group(0) @binding(6) var<storage, read_write> factor: array<f32>;

// A gradient's number as a step takes it: by the factor of all, then within a bound, unless that is negative. What is no number stays none.
fn bounded(slope: f32, factor: f32, most: f32) -> f32 {
    let v = slope * factor;
    return select(v, select(-most, most, v > 0.0), most >= 0.0 && abs(v) > most);
}

// Between two numbers, with the exact one at either end.
fn between(a: f32, b: f32, weight: f32) -> f32 {
    return select(b - (b - a) * (1.0 - weight), a + weight * (b - a), weight < 0.5);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 256u + id.x;
    if i >= arrayLength(&value) || i >= arrayLength(&gradient) || i >= arrayLength(&mean) || i >= arrayLength(&square) {
        return;
    }
    let told = record;
    let old = value[i];
    let slope = told.sign * bounded(gradient[i], factor[0], told.most) + told.weight_decay * old;
    let new_mean = between(mean[i], slope, told.new_mean);
    let new_square = told.old_square * square[i] + told.new_square * slope * slope;
    mean[i] = new_mean;
    square[i] = new_square;
    var spread = new_square;
    if told.amsgrad == 1u {
        if i >= arrayLength(&largest) {
            return;
        }
        spread = max(largest[i], new_square);
        largest[i] = spread;
    }
    value[i] = told.keep * old - told.step_size * new_mean / (sqrt(spread) / told.correction + told.eps);
}
