// An activation of every number, or its gradient.
// Twin: src/reference/norm.rs, within 2e-6 (the exponential) of a number.
//
// binding 0  record  ActRecord
// binding 1  x       f32 [n]
// binding 2  slope   f32 [n], that of y, if the record says that slopes are wanted
// binding 3  made    f32 [n], written: y, or the gradient of x
//
// dispatch: any number of workgroups along x; an invocation takes four numbers, every so many.

struct ActRecord {
    act_by: vec4<f32>,
    act: u32,
    numbers: u32,
    slopes: u32,
    unused: u32,
}

@group(0) @binding(0) var<storage, read_write> record: ActRecord;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> slope: array<f32>;
@group(0) @binding(3) var<storage, read_write> made: array<f32>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: ActRecord;

// What follows a convolution's sums, by its number (`Act` in records.rs).
fn activated(v: vec4<f32>, act: u32, by: vec4<f32>) -> vec4<f32> {
    switch act {
        // ReLU, which keeps what is no number.
        case 1u: { return select(v, vec4<f32>(0.0), v < vec4<f32>(0.0)); }
        // Between two bounds.
        case 2u: { return clamp(v, vec4<f32>(by.x), vec4<f32>(by.y)); }
        // A slope below 0.
        case 3u: { return select(v, v * by.x, v < vec4<f32>(0.0)); }
        // Sigmoid.
        case 4u: { return 1.0 / (1.0 + exp(-v)); }
        // SiLU.
        case 5u: { return v / (1.0 + exp(-v)); }
        // Hard swish.
        case 6u: { return v * clamp(v + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) / 6.0; }
        // Hard sigmoid.
        case 7u: { return clamp((v + by.x) / by.y, vec4<f32>(by.z), vec4<f32>(by.w)); }
        default: { return v; }
    }
}

// The slope of what `activated` does, PyTorch's at corners too; that of 2 outside of its open range is `by.z` at a corner.
fn slope_of(v: vec4<f32>, act: u32, by: vec4<f32>) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    switch act {
        case 1u: { return select(one, none, v <= none); }
        case 2u: {
            let corner = (v == vec4<f32>(by.x)) | (v == vec4<f32>(by.y));
            let beyond = (v < vec4<f32>(by.x)) | (v > vec4<f32>(by.y));
            return select(select(one, vec4<f32>(by.z), corner), none, beyond);
        }
        case 3u: { return select(vec4<f32>(by.x), one, v > none); }
        case 4u: {
            let share = 1.0 / (1.0 + exp(-v));
            return share * (1.0 - share);
        }
        case 5u: {
            let share = 1.0 / (1.0 + exp(-v));
            return share * (1.0 + v * (1.0 - share));
        }
        case 6u: {
            let bend = select(v / 3.0 + 0.5, none, v < vec4<f32>(-3.0));
            return select(bend, one, v > vec4<f32>(3.0));
        }
        case 7u: {
            let y = (v + by.x) / by.y;
            let beyond = (y < vec4<f32>(by.z)) | (y > vec4<f32>(by.w));
            return select(vec4<f32>(1.0 / by.y), none, beyond);
        }
        default: { return one; }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    told = record;
    // A stride of the grid apart, so that neighbours read neighbours.
    let stride = groups.x * 256u;
    for (var first = id.x; first < told.numbers; first += 4u * stride) {
        let at = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u) * stride;
        var v = vec4<f32>(0.0);
        for (var i = 0u; i < 4u; i += 1u) {
            if at[i] < told.numbers {
                v[i] = x[at[i]];
            }
        }
        if told.slopes == 0u {
            v = activated(v, told.act, told.act_by);
        } else {
            v = slope_of(v, told.act, told.act_by);
        }
        for (var i = 0u; i < 4u; i += 1u) {
            if at[i] < told.numbers {
                if told.slopes != 0u {
                    v[i] *= slope[at[i]];
                }
                made[at[i]] = v[i];
            }
        }
    }
}
