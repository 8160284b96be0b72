// A gradient's number as a step takes it: by the factor of all, then within a bound, unless that is negative. What is no number stays none.
fn bounded(slope: f32, factor: f32, most: f32) -> f32 {
    let v = slope * factor;
    return select(v, select(-most, most, v > 0.0), most >= 0.0 && abs(v) > most);
}
