// How often each value occurs in each channel of a u8 picture.
// Twin: src/reference/augment/lookup.rs (`histogram`), equal.
//
// binding 0  plan    u32: channels, pixels, invocations in all
// binding 1  source  u8 picture (see place.wgsl)
// binding 2  counts  u32 [channels, 256], added to: 0 before
//
// dispatch: invocations / 256, 1, 1; an invocation takes every `invocations`-th pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;

var<workgroup> part: array<atomic<u32>, 1024>;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let channels = min(plan[0], 4u);
    for (var c = 0u; c < 4u; c += 1u) {
        atomicStore(&part[c * 256u + local], 0u);
    }
    workgroupBarrier();
    let end = min(plan[1], arrayLength(&source));
    for (var pixel = id.x; pixel < end; pixel += max(plan[2], 1u)) {
        let word = source[pixel];
        for (var c = 0u; c < channels; c += 1u) {
            atomicAdd(&part[c * 256u + ((word >> (c * 8u)) & 255u)], 1u);
        }
    }
    workgroupBarrier();
    for (var c = 0u; c < channels; c += 1u) {
        let at = c * 256u + local;
        let count = atomicLoad(&part[at]);
        if count > 0u && at < arrayLength(&counts) {
            atomicAdd(&counts[at], count);
        }
    }
}
