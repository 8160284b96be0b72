// The sum of the sigmoid focal loss over a map of logits, or the gradient of that sum.
// Twin: src/reference/loss/focal.rs, within 1e-5 of each slope and of the sum (exponentials and the order of additions differ).
//
// binding 0  record   FocalRecord: N pictures, A places of a cell, K classes, P cells
// binding 1  logits   f32 [N, A, K, P]
// binding 2  labels   f32 [N, P, A], whole numbers; from K on, and below 0, background
// binding 3  weights  f32 [N, P, A]
// binding 4  scale    f32 [1], a factor of gradients
// binding 5  made     f32, written: a sum for each workgroup; or, if the record says so, [N, A, K, P] slopes
//
// dispatch: any number of workgroups along x; each invocation takes every so manyth logit.

struct FocalRecord {
    logits: u32,
    per_cell: u32,
    classes: u32,
    cells: u32,
    slopes: u32,
    gamma: f32,
    alpha: f32,
    unused: u32,
}

@group(0) @binding(0) var<storage, read_write> record: FocalRecord;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> labels: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> made: array<f32>;

var<workgroup> sums: array<f32, 256>;

// ln(1 + e) of e from 0 to 1, with a small relative error however small e is: the series of the inverse hyperbolic tangent.
fn log_one_and(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    var p = 1.0 / 15.0;
    p = p * q + 1.0 / 13.0;
    p = p * q + 1.0 / 11.0;
    p = p * q + 1.0 / 9.0;
    p = p * q + 1.0 / 7.0;
    p = p * q + 1.0 / 5.0;
    p = p * q + 1.0 / 3.0;
    p = p * q + 1.0;
    return 2.0 * s * p;
}

// The loss of a logit and its slope.
fn loss_of(x: f32, found: bool, gamma: f32, alpha: f32) -> vec2<f32> {
    let z = select(x, -x, found);
    let e = exp(-abs(z));
    let log = log_one_and(e);
    let wrong = max(z, 0.0) + log;
    let right = max(-z, 0.0) + log;
    let most = 1.0 / (1.0 + e);
    let least = e * most;
    let q = select(least, most, z > 0.0);
    let rest = select(most, least, z > 0.0);
    var power = q * q;
    if gamma != 2.0 {
        power = exp(-gamma * right);
    }
    let factor = select(1.0 - alpha, alpha, found) * power;
    let slope = factor * (gamma * rest * wrong + q);
    return vec2<f32>(factor * wrong, select(slope, -slope, found));
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let told = record;
    let by = scale[0];
    var sum = 0.0;
    for (var i = id.x; i < told.logits; i += groups.x * 256u) {
        let line = i / told.cells;
        let place = line / told.classes;
        let cell = i - line * told.cells;
        let kind = line - place * told.classes;
        let picture = place / told.per_cell;
        let row = (picture * told.cells + cell) * told.per_cell + place - picture * told.per_cell;
        let loss = loss_of(logits[i], labels[row] == f32(kind), told.gamma, told.alpha) * weights[row];
        if told.slopes != 0u {
            made[i] = loss.y * by;
        }
        sum += loss.x;
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u && told.slopes == 0u {
        made[group.x] = sums[0];
    }
}
