// Where each cell's samples begin, from how many there are in each.
// Twin: src/reference/deform.rs, equal to the bit.
//
// binding 0  count  u32: the number of cells
// binding 1  cells  u32 [count]: how many samples there are, replaced by how many there are in the cells before
//
// dispatch: 1; one workgroup does all.

@group(0) @binding(0) var<storage, read_write> count: array<u32>;
@group(0) @binding(1) var<storage, read_write> cells: array<u32>;

var<workgroup> sums: array<u32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(local_invocation_id) local: vec3<u32>) {
    let each = (count[0] + 255u) / 256u;
    let begin = min(local.x * each, count[0]);
    let end = min(begin + each, count[0]);
    var sum = 0u;
    for (var i = begin; i < end; i += 1u) {
        sum += cells[i];
    }
    sums[local.x] = sum;
    for (var step = 1u; step < 256u; step *= 2u) {
        workgroupBarrier();
        var more = 0u;
        if local.x >= step {
            more = sums[local.x - step];
        }
        workgroupBarrier();
        sums[local.x] += more;
    }
    var before = sums[local.x] - sum;
    for (var i = begin; i < end; i += 1u) {
        let here = cells[i];
        cells[i] = before;
        before += here;
    }
}
