// A step of stochastic gradient descent on one parameter.
// Twin: src/reference/train.rs, to the last bits (a GPU may fuse a product and a sum).
//
// binding 0  record    SgdRecord
// binding 1  value     f32 [n], read and written
// binding 2  gradient  f32 [n]
// binding 3  buffer    f32 [n], read and written, if there is momentum: `momentum_buffer`
// binding 4  factor    f32 [1]: of the gradient
//
// dispatch: ceil(n / 256) workgroups in rows; one invocation is one number.

struct SgdRecord {
    lr: f32,
    momentum: f32,
    undamped: f32,
    weight_decay: f32,
    sign: f32,
    fresh: u32,
    nesterov: u32,
    most: f32,
}

@group(0) @binding(0) var<storage, read_write> record: SgdRecord;
@group(0) @binding(1) var<storage, read_write> value: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> buffer: array<f32>;
@group(0) @binding(4) var<storage, read_write> factor: array<f32>;

// A gradient's number as a step takes it: by the factor of all, then within a bound, unless that is negative. What is no number stays none.
fn bounded(slope: f32, factor: f32, most: f32) -> f32 {
    let v = slope * factor;
    return select(v, select(-most, most, v > 0.0), most >= 0.0 && abs(v) > most);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 256u + id.x;
    if i >= arrayLength(&value) || i >= arrayLength(&gradient) {
        return;
    }
    let told = record;
    let old = value[i];
    var slope = told.sign * bounded(gradient[i], factor[0], told.most) + told.weight_decay * old;
    if told.momentum != 0.0 {
        if i >= arrayLength(&buffer) {
            return;
        }
        var kept = slope;
        if told.fresh == 0u {
            kept = told.momentum * buffer[i] + told.undamped * slope;
        }
        buffer[i] = kept;
        slope = select(kept, slope + told.momentum * kept, told.nesterov == 1u);
    }
    value[i] = old - told.lr * slope;
}
