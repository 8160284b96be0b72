"""Makes `torch_random.json`: what in-place draws of PyTorch's CPU generator give, one after the other from one seed.

python torch_random.py, with torch 2.4.1 and mmengine 0.10.7. Each row: the seed, the draw's name and numbers, how many values, and the first, the
middle and the last of them.
"""
import json

import torch
from mmengine.model.weight_init import trunc_normal_

rows = []
for seed in (0, 5489, (1 << 40) + 3):
    torch.manual_seed(seed)
    for n in [*range(1, 41), 1000, 4099] if seed == 0 else (3, 40, 5, 700):
        for name, numbers in (('normal', (0.5, 2.0)), ('uniform', (-1.0, 3.0)), ('trunc_normal', (0.1, 0.7, -1.0, 0.9))):
            values = torch.empty(n)
            if name == 'trunc_normal':
                trunc_normal_(values, *numbers)
            else:
                getattr(values, name + '_')(*numbers)
            seen = [values[i].item() for i in (0, n // 2, n - 1)]
            rows.append([seed, name, numbers, n, [float(f'{value:.9g}') for value in seen]])
with open('torch_random.json', 'w') as file:
    file.write('[\n' + ',\n'.join(json.dumps(row) for row in rows) + '\n]\n')
