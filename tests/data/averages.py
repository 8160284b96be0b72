"""Averages of a small model by MMEngine's and MMDetection's averaged models under EMAHook: averages.json.

mmengine 0.10.7, MMDetection 3.3.0, torch 2.4.1. The model has a parameter of two names, a parameter, a buffer and a counter; before each iteration
they get the numbers of `values`. A row: the hook as config text, and the average's numbers after each iteration.
"""
import json
import pathlib
import types
import warnings

warnings.filterwarnings('ignore')
import torch  # noqa: E402
from mmdet.models.layers import ExpMomentumEMA  # noqa: E402,F401
from mmengine.hooks import EMAHook  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import nn  # noqa: E402

init_default_scope('mmdet')


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Part()
        self.b = self.a
        self.c = Part()
        self.register_buffer('mean', torch.zeros(2))
        self.register_buffer('count', torch.tensor(0))


CASES = [
    dict(),
    dict(momentum=0.3),
    dict(momentum=0.3, update_buffers=True),
    dict(momentum=0.7, interval=3, update_buffers=True),
    dict(momentum=0.3, interval=2),
    dict(momentum=0.2, begin_iter=4),
    dict(momentum=0.2, begin_epoch=2, update_buffers=True),
    dict(ema_type='ExpMomentumEMA', momentum=0.1, gamma=3, update_buffers=True, priority=49),
    dict(ema_type='mmdet.ExpMomentumEMA', momentum=0.0002),
    dict(ema_type='MomentumAnnealingEMA', momentum=0.3, gamma=2),
    dict(ema_type='MomentumAnnealingEMA', interval=2, update_buffers=True),
    dict(ema_type='StochasticWeightAverage'),
    dict(ema_type='StochasticWeightAverage', interval=2, update_buffers=True),
]
torch.manual_seed(3)
EPOCH = 3
values = [[[round(float(x), 5) for x in torch.randn(2)] for _ in range(3)] for _ in range(8)]
rows = []
for case in CASES:
    model = Model()
    keys = dict(case)
    priority = keys.pop('priority', None)
    hook = EMAHook(**keys)
    runner = types.SimpleNamespace(model=model, iter=0, epoch=0)
    hook.before_run(runner)
    after = []
    for i, numbers in enumerate(values):
        runner.iter, runner.epoch = i, i // EPOCH
        for tensor, value in zip([model.a.w, model.c.w, model.mean], numbers):
            tensor.data.copy_(torch.tensor(value))
        model.count.fill_(i + 1)
        hook.after_train_iter(runner, i)
        state = hook.ema_model.state_dict()
        after.append([[float(f'{float(x):.8g}') for x in state[f'module.{key}']] for key in ['a.w', 'c.w', 'mean']]
                     + [[int(state['module.count']), int(state['steps'])]])
    text = ''.join(f', {k}={v!r}' for k, v in case.items())
    rows.append(json.dumps(dict(hook=f"dict(type='EMAHook'{text})", after=after)))
body = json.dumps(dict(epoch_length=EPOCH, values=values))[:-1] + ', "rows": [\n' + ',\n'.join(rows) + '\n]}\n'
pathlib.Path(__file__).with_suffix('.json').write_text(body)
