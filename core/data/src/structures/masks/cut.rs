//! Cutting polygons at a box, as mmdet's `PolygonMasks.crop` has shapely do it: `Polygon(ring).buffer(0)`, its intersection
//! with the box, and of every part of that the outer ring.

use super::Polygon;
use super::polygon::twice_signed_area;
use super::simple;

/// One object's rings inside of a box (`x1, y1, x2, y2`), from whose corner the result counts. Where nothing is left: one ring of three equal
/// points, so that masks and boxes stay in step.
pub(super) fn at_box(polygon: &Polygon, frame: [f64; 4]) -> Polygon {
    let [x1, y1, x2, y2] = frame;
    let mut out = Vec::new();
    for ring in polygon {
        if ring.len() < 6 || ring.iter().any(|v| !v.is_finite()) || x2 <= x1 || y2 <= y1 {
            continue;
        }
        // the region lies at the left of these (y up)
        let mut parts = simple::rings(ring);
        for (axis, limit, below) in [(0, x1, false), (0, x2, true), (1, y1, false), (1, y2, true)] {
            parts = half_plane(parts, axis, limit, below);
        }
        for mut part in parts {
            // what turns the other way is a hole
            if twice_signed_area(&part) > 0.0 {
                for point in part.chunks_exact_mut(2) {
                    point[0] -= x1;
                    point[1] -= y1;
                }
                out.push(part);
            }
        }
    }
    if out.is_empty() {
        out.push(vec![0.0; 6]);
    }
    out
}

/// Where a ring goes over the line.
struct Crossing {
    /// Place along the line.
    along: f64,
    /// Into the half that is kept.
    enters: bool,
    /// Points in the kept half from here to the next crossing of the same ring, if it enters.
    run: Vec<f64>,
    /// Index of the crossing at the end of `run`.
    exit: usize,
}

/// The part of a region on one side of a line `axis = limit`.
fn half_plane(rings: Vec<Vec<f64>>, axis: usize, limit: f64, below: bool) -> Vec<Vec<f64>> {
    let kept = |p: &[f64]| {
        if below {
            p[axis] <= limit
        } else {
            p[axis] >= limit
        }
    };
    let (mut out, mut crossings) = (Vec::new(), Vec::<Crossing>::new());
    for ring in rings {
        let inside = ring.chunks_exact(2).filter(|p| kept(p)).count();
        if inside * 2 == ring.len() {
            out.push(ring);
        } else if inside > 0 {
            cross(&ring, axis, limit, kept, &mut crossings);
        }
    }
    // along the line the region begins and ends in turns
    let mut order: Vec<usize> = (0..crossings.len()).collect();
    order.sort_by(|a, b| crossings[*a].along.total_cmp(&crossings[*b].along));
    let mut partner = vec![0; crossings.len()];
    for pair in order.chunks_exact(2) {
        (partner[pair[0]], partner[pair[1]]) = (pair[1], pair[0]);
    }
    if (0..partner.len()).any(|i| crossings[i].enters == crossings[partner[i]].enters) {
        // a ring that crosses itself: each exit goes to the ring's next entry
        let mut next = None;
        for i in (0..crossings.len()).rev().chain((0..crossings.len()).rev()) {
            if crossings[i].enters {
                next = Some(i);
            } else if let Some(next) = next {
                partner[i] = next;
            }
        }
    }
    let mut done = vec![false; crossings.len()];
    for start in 0..crossings.len() {
        let mut ring = Vec::new();
        let mut at = start;
        while crossings[at].enters && !done[at] {
            done[at] = true;
            ring.append(&mut crossings[at].run);
            at = partner[crossings[at].exit];
        }
        if ring.len() >= 6 {
            out.push(ring);
        }
    }
    out
}

/// Adds the crossings of one ring, in its order, an entry first.
fn cross(
    ring: &[f64],
    axis: usize,
    limit: f64,
    kept: impl Fn(&[f64]) -> bool,
    crossings: &mut Vec<Crossing>,
) {
    let count = ring.len() / 2;
    let point = |i: usize| &ring[(i % count) * 2..(i % count) * 2 + 2];
    let start = (0..count)
        .find(|i| !kept(point(*i)) && kept(point(i + 1)))
        .unwrap_or(0);
    for i in start..start + count {
        let (from, to) = (point(i), point(i + 1));
        let (was, is) = (kept(from), kept(to));
        if was != is {
            let t = (limit - from[axis]) / (to[axis] - from[axis]);
            let other = 1 - axis;
            let along = from[other] + t * (to[other] - from[other]);
            let mut place = [limit; 2];
            place[other] = along;
            let index = crossings.len();
            crossings.push(Crossing {
                along,
                enters: is,
                run: Vec::new(),
                exit: 0,
            });
            let entry = if is { index } else { index - 1 };
            crossings[entry].run.extend(place);
            crossings[entry].exit = index;
        }
        if is && let Some(last) = crossings.last_mut() {
            last.run.extend(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::masks::polygon;

    #[test]
    fn a_comb_falls_apart() {
        // a bar above 3 teeth, cut below the bar
        let comb = vec![
            0.0, 0.0, 7.0, 0.0, 7.0, 5.0, 6.0, 5.0, 6.0, 1.0, 4.0, 1.0, 4.0, 5.0, 3.0, 5.0, 3.0,
            1.0, 1.0, 1.0, 1.0, 5.0, 0.0, 5.0,
        ];
        let out = at_box(&vec![comb.clone()], [0.0, 2.0, 7.0, 9.0]);
        assert_eq!(out.len(), 3);
        assert_eq!(polygon::area(&out), 9.0);
        // the box's corner is the origin
        assert_eq!(polygon::bbox(&out, [9, 9]), [0.0, 0.0, 7.0, 3.0]);
        let out = at_box(&vec![comb], [1.0, 2.0, 3.0, 9.0]);
        assert_eq!(out, [[0.0; 6]], "between two teeth");
    }

    #[test]
    fn what_crosses_itself() {
        let area =
            |ring: &[f64]| polygon::area(&at_box(&vec![ring.to_vec()], [-9.0, -9.0, 99.0, 99.0]));
        // shapely 2.2: Polygon(...).buffer(0), rings outside
        let eight = [0.0, 0.0, 10.0, 10.0, 10.0, 0.0, 0.0, 20.0];
        assert!((area(&eight) - 200.0 / 3.0).abs() < 1e-9, "the larger lobe");
        let square = [0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0];
        assert_eq!(area(&[square, square].concat()), 100.0, "twice around");
        let spike = [0.0, 0.0, 4.0, 0.0, 4.0, 9.0, 4.0, 4.0, 0.0, 4.0];
        assert_eq!(area(&spike), 16.0);
        let hole = [2.0, 2.0, 2.0, 8.0, 8.0, 8.0, 8.0, 2.0, 2.0, 2.0, 0.0, 0.0];
        assert_eq!(
            area(&[&square[..], &[0.0, 0.0], &hole].concat()),
            100.0,
            "holes are filled"
        );
        assert_eq!(area(&[0.0, 0.0, 5.0, 0.0, 9.0, 0.0]), 0.0);
        // but a hole that the cut opens is none any more
        let ring = [&square[..], &[0.0, 0.0], &hole].concat();
        let half = at_box(&vec![ring], [0.0, 0.0, 5.0, 10.0]);
        assert_eq!(polygon::area(&half), 50.0 - 18.0);
    }
}
