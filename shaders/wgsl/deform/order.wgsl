// Puts each cell's samples in order, so that sums over them are the same each time.
// Twin: src/reference/deform.rs, equal to the bit.
//
// A heap in the cell's part of the list (Williams 1964): no cell takes long, be all samples in it.
//
// binding 0  count  u32: the number of cells
// binding 1  cells  u32 [count]: where each cell's samples end, which is where the next one's begin
// binding 2  list   u32: samples of one cell after the other, put in order
//
// dispatch: ceil(count / 64) as x and y; one invocation is a cell.

@group(0) @binding(0) var<storage, read_write> count: array<u32>;
@group(0) @binding(1) var<storage, read_write> cells: array<u32>;
@group(0) @binding(2) var<storage, read_write> list: array<u32>;

// Lets what is at `top` of a heap that begins at `begin` sink to its place.
fn sink(begin: u32, top: u32, size: u32) {
    let value = list[begin + top];
    var at = top;
    loop {
        var below = at * 2u + 1u;
        if below >= size {
            break;
        }
        if below + 1u < size && list[begin + below + 1u] > list[begin + below] {
            below += 1u;
        }
        if list[begin + below] <= value {
            break;
        }
        list[begin + at] = list[begin + below];
        at = below;
    }
    list[begin + at] = value;
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let cell = (group.y * groups.x + group.x) * 64u + local.x;
    if cell >= count[0] {
        return;
    }
    var begin = 0u;
    if cell > 0u {
        begin = cells[cell - 1u];
    }
    let size = cells[cell] - begin;
    for (var top = size / 2u; top > 0u; top -= 1u) {
        sink(begin, top - 1u, size);
    }
    for (var left = size; left > 1u; left -= 1u) {
        let largest = list[begin];
        let last = list[begin + left - 1u];
        list[begin + left - 1u] = largest;
        list[begin] = last;
        sink(begin, 0u, left - 1u);
    }
}
