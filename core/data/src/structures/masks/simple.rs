//! A ring that may cross itself, as rings that do not: what `shapely.Polygon(ring).buffer(0)` makes of it.
//!
//! That keeps the points around which the ring runs in the direction of its whole area: of a figure eight the larger lobe, of a
//! part that is run around twice one copy, of a spike nothing.

use std::collections::HashMap;

use super::polygon::twice_signed_area;

/// A ring of more points is taken as it is: real outlines are far shorter, and the work grows with the square.
const MOST_POINTS: usize = 2048;

type Point = [f64; 2];

/// Rings with the region at their left (y up), holes as rings that turn right. Finite values only.
pub(super) fn rings(ring: &[f64]) -> Vec<Vec<f64>> {
    let mut points: Vec<Point> = ring
        .chunks_exact(2)
        .map(|p| [p[0] + 0.0, p[1] + 0.0])
        .collect();
    points.dedup();
    while points.len() > 1 && points.first() == points.last() {
        points.pop();
    }
    if points.len() < 3 {
        return Vec::new();
    }
    let left = twice_signed_area(points.as_flattened()) > 0.0;
    if !left {
        points.reverse();
    }
    let splits = (points.len() <= MOST_POINTS)
        .then(|| splits(&points))
        .flatten();
    let mut distinct: Vec<_> = points.iter().map(|p| p.map(f64::to_bits)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let meets = |s: &[Vec<Point>]| distinct.len() < points.len() || s.iter().any(|s| !s.is_empty());
    match splits {
        Some(splits) if meets(&splits) => trace(&points, splits),
        _ => vec![points.into_flattened()],
    }
}

/// On each edge, the points where another edge touches it inside. `None` if there are too many.
fn splits(points: &[Point]) -> Option<Vec<Vec<Point>>> {
    let count = points.len();
    let edge = |i: usize| (points[i], points[(i + 1) % count]);
    let mut order: Vec<usize> = (0..count).collect();
    let left = |i: usize| edge(i).0[0].min(edge(i).1[0]);
    order.sort_by(|a, b| left(*a).total_cmp(&left(*b)));
    let mut out = vec![Vec::new(); count];
    let mut total = 0;
    for (n, i) in order.iter().enumerate() {
        let (a, b) = edge(*i);
        let right = a[0].max(b[0]);
        for j in &order[n + 1..] {
            let (c, d) = edge(*j);
            if c[0].min(d[0]) > right {
                break;
            }
            if c[1].min(d[1]) > a[1].max(b[1]) || a[1].min(b[1]) > c[1].max(d[1]) {
                continue;
            }
            for point in meet(a, b, c, d).into_iter().flatten() {
                for (k, ends) in [(*i, [a, b]), (*j, [c, d])] {
                    if !ends.contains(&point) && !out[k].contains(&point) {
                        out[k].push(point);
                        total += 1;
                    }
                }
            }
            if total > 4 * count + 64 {
                return None;
            }
        }
    }
    Some(out)
}

fn cross(o: Point, a: Point, b: Point) -> f64 {
    (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
}

/// Points that two edges have in common: their crossing, or ends that lie on the other.
fn meet(a: Point, b: Point, c: Point, d: Point) -> [Option<Point>; 4] {
    let (from, to) = (cross(a, b, c), cross(a, b, d));
    let (first, second) = (cross(c, d, a), cross(c, d, b));
    let within = |p: Point, a: Point, b: Point| {
        (0..2).all(|k| p[k] >= a[k].min(b[k]) && p[k] <= a[k].max(b[k]))
    };
    if (from > 0.0) != (to > 0.0)
        && (first > 0.0) != (second > 0.0)
        && [from, to, first, second].iter().all(|v| *v != 0.0)
    {
        let t = from / (from - to);
        return [
            Some([0, 1].map(|k| c[k] + t * (d[k] - c[k]))),
            None,
            None,
            None,
        ];
    }
    let touch =
        |side: f64, p: Point, a: Point, b: Point| (side == 0.0 && within(p, a, b)).then_some(p);
    [
        touch(from, c, a, b),
        touch(to, d, a, b),
        touch(first, a, c, d),
        touch(second, b, c, d),
    ]
}

/// A piece of the ring between two nodes: how often it is run from the first to the second, less the other way.
struct Piece {
    ends: [usize; 2],
    runs: i64,
}

/// The rings around the points with a positive winding number.
fn trace(points: &[Point], mut splits: Vec<Vec<Point>>) -> Vec<Vec<f64>> {
    let (mut nodes, mut known) = (Vec::new(), HashMap::new());
    let mut node = |p: Point| {
        *known.entry(p.map(f64::to_bits)).or_insert_with(|| {
            nodes.push(p);
            nodes.len() - 1
        })
    };
    let mut pieces = HashMap::<[usize; 2], i64>::new();
    for (i, from) in points.iter().enumerate() {
        let to = points[(i + 1) % points.len()];
        let distance = |p: &Point| (p[0] - from[0]).powi(2) + (p[1] - from[1]).powi(2);
        splits[i].sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let mut last = node(*from);
        for next in splits[i].iter().chain([&to]) {
            let next = node(*next);
            if last != next {
                *pieces.entry([last.min(next), last.max(next)]).or_default() +=
                    if last < next { 1 } else { -1 };
            }
            last = next;
        }
    }
    let mut pieces: Vec<Piece> = pieces
        .into_iter()
        .filter(|(_, runs)| *runs != 0)
        .map(|(ends, runs)| Piece { ends, runs })
        .collect();
    // a map has no order of its own
    pieces.sort_by_key(|p| p.ends);
    let mut leaving: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for i in 0..pieces.len() {
        if let Some([from, to]) = border(i, &pieces, &nodes) {
            leaving[from].push(to);
        }
    }
    let mut out = Vec::new();
    for start in 0..nodes.len() {
        while let Some(next) = leaving[start].pop() {
            let (mut path, mut at) = (vec![start], next);
            let mut before = start;
            while at != start || !leaving[at].is_empty() && path.len() <= 1 {
                // a node met again ends a ring of its own
                if let Some(seen) = path.iter().position(|n| *n == at) {
                    out.push(path.drain(seen..).flat_map(|n| nodes[n]).collect());
                }
                path.push(at);
                let Some(turn) = leftmost(&leaving[at], nodes[before], nodes[at], &nodes) else {
                    break;
                };
                before = at;
                at = leaving[at].swap_remove(turn);
            }
            if path.len() > 2 {
                out.push(path.into_iter().flat_map(|n| nodes[n]).collect());
            }
        }
    }
    out
}

/// Which way to run a piece so that the region is at its left; `None` if it is on both sides or on none.
fn border(i: usize, pieces: &[Piece], nodes: &[Point]) -> Option<[usize; 2]> {
    let Piece { ends, runs } = &pieces[i];
    let [a, b] = ends.map(|n| nodes[n]);
    // a ray from the middle, across the piece
    let axis = usize::from((b[1] - a[1]).abs() < (b[0] - a[0]).abs());
    let (ray, other) = (axis, 1 - axis);
    let middle = [0, 1].map(|k| (a[k] + b[k]) / 2.0);
    let sign = if axis == 0 { 1 } else { -1 };
    let mut beyond = 0;
    for (j, piece) in pieces.iter().enumerate() {
        let [c, d] = piece.ends.map(|n| nodes[n]);
        let (below, above) = (c[other] <= middle[other], d[other] <= middle[other]);
        if i == j || below == above {
            continue;
        }
        let t = (middle[other] - c[other]) / (d[other] - c[other]);
        if c[ray] + t * (d[ray] - c[ray]) > middle[ray] {
            beyond += if below { piece.runs } else { -piece.runs } * sign;
        }
    }
    let rises = b[other] > a[other];
    let own = if rises { *runs } else { -*runs } * sign;
    // the piece itself is crossed only from its near side
    let (far, near) = (beyond > 0, beyond + own > 0);
    if far == near {
        return None;
    }
    // running up, the far end of a ray to the right lies at the right; across, a ray upwards from a piece to the right ends at the left
    let near_is_left = rises == (axis == 0);
    Some(if near == near_is_left {
        *ends
    } else {
        [ends[1], ends[0]]
    })
}

/// The sharpest turn to the left: it stays at the same part of the region.
fn leftmost(targets: &[usize], before: Point, at: Point, nodes: &[Point]) -> Option<usize> {
    let back = (before[1] - at[1]).atan2(before[0] - at[0]);
    let turn = |n: usize| {
        let p = nodes[n];
        let angle = back - (p[1] - at[1]).atan2(p[0] - at[0]);
        let whole = std::f64::consts::TAU;
        let angle = angle.rem_euclid(whole);
        // straight back comes last
        if angle == 0.0 { whole } else { angle }
    };
    (0..targets.len()).min_by(|a, b| turn(targets[*a]).total_cmp(&turn(targets[*b])))
}
