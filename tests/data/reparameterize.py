"""Norms, sums and first values of the tensors that `switch_to_deploy` of MMPretrain 1.2.0 gives, of small models with weights by formula
(`../src/golden.rs`). Writes `reparameterize.json`: {config, tensors: [[name, shape, norm, sum, first], ...]} for each.

usage: reparameterize.py
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
CASES = [
    "dict(type='mmpretrain.RepVGG', arch=dict(num_blocks=[1, 2, 1, 1], width_factor=[0.25, 0.25, 0.25, 0.25], group_layer_map={2: 2}, se_cfg=dict(ratio=4, divisor=2)), base_channels=32, out_indices=(1, 3))",
    "dict(type='mmpretrain.MobileOne', arch=dict(num_blocks=[1, 2, 1, 1], width_factor=[0.25, 0.125, 0.125, 0.0625], num_conv_branches=[2, 1, 3, 1], num_se_blocks=[0, 1, 0, 0]), out_indices=(1, 3))",
    "dict(type='mmpretrain.RepLKNet', arch=dict(large_kernel_sizes=[9, 7, 5, 3], layers=[1, 1, 2, 1], channels=[8, 16, 16, 24], small_kernel=3, dw_ratio=1), out_indices=(1, 3))",
]

sys.argv = ['backbones.py', '/dev/null', '/dev/null']
exec((HERE / 'backbones.py').read_text().split('\ncases, out =')[0])
register_all_modules()
import mmpretrain.models  # noqa: F401,E402
init_default_scope('mmdet')
rows = []
for text in CASES:
    model = MODELS.build(eval(text))
    fill(model)
    model.eval()
    model.switch_to_deploy()
    tensor = lambda k, v: [k, list(v.shape), *(float(f'{float(x):.8g}') for x in (v.double().norm(), v.double().sum(), v.flatten()[0]))]
    rows.append(dict(config=text, tensors=[tensor(k, v.detach()) for k, v in model.state_dict().items()]))
(HERE / 'reparameterize.json').write_text('[\n' + ',\n'.join(json.dumps(row) for row in rows) + '\n]\n')
