"""Expected values of deformable convolution: mmcv 2.1.0's operators on the CPU, on random numbers and at borders.

usage: deform_conv.py > deform_conv.json
Rows: {modulated, dims and values of (x, offset, mask, weight, y's gradient), stride, padding, dilation, groups, sets, expected (y and the gradients
of x, offset, mask, weight)}; without modulation mask and its gradient are not used.
"""
import json

import torch
from mmcv.ops import deform_conv2d, modulated_deform_conv2d

CASES = [
    # modulated, x, weight, stride, padding, dilation, groups, sets, how far samples move (0: to the borders and to whole pixels)
    (False, (1, 2, 4, 5), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, 1, 1.5),
    (False, (2, 4, 5, 4), (2, 2, 3, 3), (2, 2), (1, 1), (1, 1), 2, 2, 1.0),
    (False, (1, 1, 3, 3), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1, 1, 0),
    (True, (1, 2, 4, 5), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, 1, 1.5),
    (True, (2, 4, 6, 5), (2, 2, 3, 3), (2, 1), (1, 2), (1, 2), 2, 2, 1.0),
    (True, (1, 1, 3, 3), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1, 1, 0),
    (True, (1, 2, 1, 2), (1, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, 1, 0.5),
]


def short(t):
    return [float(f'{v:.7g}') for v in t.detach().flatten().tolist()]


torch.manual_seed(0)
rows = []
for modulated, x, weight, stride, padding, dilation, groups, sets, far in CASES:
    n, k, taps = x[0], weight[0], weight[2] * weight[3]
    h, w = ((x[2 + i] + 2 * padding[i] - dilation[i] * (weight[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1))
    shapes = [x, (n, 2 * sets * taps, h, w), (n, sets * taps, h, w), weight, (n, k, h, w)]
    values = [torch.tensor(short(torch.rand(s) * 2 - 1)).view(s) for s in shapes]
    if far:
        values[1] = torch.tensor(short(values[1] * far)).view(shapes[1])
    else:
        places = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0, -0.5, 0.5, 2.5, -0.999, 2.999])
        grid = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing='ij'))[None]
        values[1] = places[torch.arange(18) * 7 % 10].view(1, 2, 3, 3) - grid
    leaves = [v.clone().requires_grad_() for v in values[:4]]
    lx, lo, lm, lw = leaves
    if modulated:
        y = modulated_deform_conv2d(lx, lo, lm, lw, None, stride, padding, dilation, groups, sets)
    else:
        y = deform_conv2d(lx, lo, lw, stride, padding, dilation, groups, sets)
    y.backward(values[4])
    grads = [v.grad if v.grad is not None else torch.zeros_like(v) for v in leaves]
    rows.append(dict(modulated=modulated, dims=shapes, stride=stride, padding=padding, dilation=dilation, groups=groups, sets=sets,
                     values=[short(v) for v in values], expected=[short(v) for v in [y, *grads]]))
print('[' + ',\n'.join(json.dumps(r, separators=(',', ':')) for r in rows) + ']')
