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
