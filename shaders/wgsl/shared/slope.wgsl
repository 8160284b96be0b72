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
