"""Learning rates, momenta and weight decays that MMEngine's schedulers give: schedules.json.gz.

mmengine 0.10.7, MMDetection 3.3.0 (QuadraticWarmup), MMPretrain 1.2.0 (CosineAnnealingWeightDecay), torch 2.4.1. A row: an optimizer of two groups,
schedulers as config text, how long the run is, what each epoch's validation finds, and after the start and each iteration the values of both
groups and of the base; at the end what a checkpoint has of each scheduler.
"""
import copy
import gzip
import json
import math
import pathlib
import random
import warnings

import mmdet.engine  # noqa: F401
import mmpretrain.engine  # noqa: F401
import torch
from mmdet.registry import PARAM_SCHEDULERS
from mmengine.optim import OptimWrapper

warnings.simplefilter('ignore')

SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0005)
ADAM = dict(type='AdamW', lr=0.001, betas=(0.9, 0.99), weight_decay=0.05)


def d(kind, **keys):
    return dict(type=kind, **keys)


FIXED = [
    (SGD, 3, 4, [d('LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=6), d('MultiStepLR', begin=0, end=3, by_epoch=True, milestones=[2], gamma=0.1)]),
    (SGD, 12, 2, [d('LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=5), d('MultiStepLR', milestones=[8, 11])]),
    (ADAM, 3, 4, [d('LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=4), d('CosineAnnealingLR', eta_min=5e-5, begin=1, end=3, T_max=2, by_epoch=True, convert_to_iter_based=True)]),
    (SGD, 6, 3, [d('mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=2, convert_to_iter_based=True), d('CosineAnnealingLR', eta_min=0.001, begin=2, T_max=3, end=5, by_epoch=True, convert_to_iter_based=True), d('ConstantLR', by_epoch=True, factor=1, begin=5, end=6)]),
    (SGD, 5, 3, [d('ConstantLR', factor=0.5, by_epoch=False, begin=2, end=9)]),
    (SGD, 5, 3, [d('ConstantLR')]),
    (SGD, 9, 2, [d('StepLR', step_size=2)]),
    (SGD, 9, 2, [d('StepLR', step_size=2, gamma=0.5, begin=1, end=7, convert_to_iter_based=True)]),
    (SGD, 6, 2, [d('ExponentialLR', gamma=0.7)]),
    (SGD, 6, 2, [d('ExponentialLR', gamma=0.9, by_epoch=False, begin=3)]),
    (SGD, 10, 2, [d('CosineAnnealingLR', T_max=3)]),
    (SGD, 10, 2, [d('CosineAnnealingLR', T_max=4, eta_min_ratio=0.05, by_epoch=False)]),
    (SGD, 10, 1, [d('CosineAnnealingLR', eta_min=0.003)]),
    (SGD, 10, 2, [d('CosineRestartLR', periods=[3, 4, 2], restart_weights=[1, 0.5, 0.25], eta_min=1e-4)]),
    (SGD, 8, 3, [d('CosineRestartLR', periods=[2, 3], restart_weights=[1, 0.5], eta_min_ratio=0.1, convert_to_iter_based=True)]),
    (SGD, 8, 2, [d('PolyLR', power=0.9, eta_min=1e-4)]),
    (SGD, 8, 2, [d('PolyLR', power=2, by_epoch=False, begin=4, end=12)]),
    (SGD, 6, 4, [d('OneCycleLR', eta_max=0.1, by_epoch=False)]),
    (SGD, 6, 4, [d('OneCycleLR', eta_max=[0.1, 0.2, 0.3], total_steps=30, pct_start=0.4, anneal_strategy='linear', by_epoch=False, div_factor=10., final_div_factor=100.)]),
    (SGD, 6, 4, [d('OneCycleLR', eta_max=0.05, three_phase=True, convert_to_iter_based=True)]),
    (SGD, 7, 2, [d('mmdet.QuadraticWarmupLR', begin=1, end=4), d('mmdet.QuadraticWarmupMomentum', begin=0, end=3)]),
    (SGD, 8, 2, [d('LinearLR', start_factor=0.5, end_factor=0.1)]),
    (SGD, 8, 2, [d('LinearMomentum', start_factor=0.5, end=4), d('StepMomentum', step_size=3, gamma=0.8), d('LinearLR', end=5)]),
    (ADAM, 8, 2, [d('CosineAnnealingMomentum', eta_min=0.5, T_max=8), d('ConstantMomentum', factor=0.9, begin=2, end=5)]),
    (ADAM, 8, 2, [d('ExponentialMomentum', gamma=0.97, by_epoch=False), d('MultiStepMomentum', milestones=[2, 2, 5], gamma=0.95), d('PolyMomentum', eta_min=0.3, begin=6)]),
    (ADAM, 8, 2, [d('CosineRestartMomentum', periods=[4, 4], restart_weights=[1, 0.9], eta_min=0.2)]),
    (SGD, 8, 2, [d('CosineAnnealingParamScheduler', param_name='weight_decay', eta_min=1e-5, by_epoch=True)]),
    (ADAM, 8, 2, [d('mmpretrain.CosineAnnealingWeightDecay', eta_min=0.001, T_max=3, convert_to_iter_based=True)]),
    (SGD, 8, 2, [d('LinearParamScheduler', param_name='lr', start_factor=0.2, by_epoch=False)]),
    (SGD, 14, 1, [d('ReduceOnPlateauLR', monitor='m', patience=1)]),
    (SGD, 14, 1, [d('ReduceOnPlateauLR', monitor='m', rule='greater', patience=0, factor=0.5, threshold=0.05, cooldown=2, begin=2, end=13)]),
    (SGD, 14, 1, [d('ReduceOnPlateauLR', monitor='m', rule='greater', patience=1, threshold=0.02, threshold_rule='abs', min_value=[0.001, 0.0015])]),
    (ADAM, 14, 1, [d('ReduceOnPlateauMomentum', monitor='m', rule='less', patience=0, factor=0.9, threshold_rule='abs', eps=0.05)]),
    (SGD, 7, 2, [d('MultiStepLR', milestones=[1, 1, 3], begin=1)]),
    (SGD, 4, 2, []),
]


def drawn(rng):
    """A random chain."""
    epochs, length = rng.randint(4, 9), rng.randint(1, 4)
    momentum = lambda name: name + rng.choice(['LR', 'LR', 'LR', 'Momentum'])

    def span(most_epochs):
        keys = dict(by_epoch=rng.random() < 0.6)
        iters = most_epochs * (1 if keys['by_epoch'] else length)
        if rng.random() < 0.6:
            keys['begin'] = rng.randrange(max(1, iters - 3))
        if rng.random() < 0.6:
            keys['end'] = rng.randint(keys.get('begin', 0) + 3, iters + 3)
        if keys['by_epoch'] and rng.random() < 0.4:
            keys['convert_to_iter_based'] = True
        return keys

    def one():
        kind = rng.choice(['Linear', 'Constant', 'Step', 'MultiStep', 'Exponential', 'CosineAnnealing', 'CosineRestart', 'Poly', 'QuadraticWarmup'])
        keys = span(epochs)
        r = lambda a, b: round(rng.uniform(a, b), 4)
        if kind == 'Linear':
            keys.update(start_factor=r(0.001, 1), end_factor=r(0.1, 1))
        elif kind == 'Constant':
            keys.update(factor=r(0.1, 1))
        elif kind == 'Step':
            keys.update(step_size=rng.randint(1, 4), gamma=r(0.1, 1.5))
        elif kind == 'MultiStep':
            keys.update(milestones=sorted(rng.choices(range(9), k=rng.randint(1, 4))), gamma=r(0.1, 0.9))
        elif kind == 'Exponential':
            keys.update(gamma=r(0.5, 1.2))
        elif kind == 'CosineAnnealing':
            if rng.random() < 0.7:
                keys.update(T_max=rng.randint(1, 8))
            keys.update(rng.choice([dict(eta_min=r(0, 0.01)), dict(eta_min_ratio=r(0, 0.3)), {}]))
        elif kind == 'CosineRestart':
            n = rng.randint(1, 3)
            keys.update(periods=[rng.randint(1, 4) for _ in range(n)], restart_weights=[r(0.2, 1) for _ in range(n)])
            keys.update(rng.choice([dict(eta_min=r(0, 0.01)), dict(eta_min_ratio=r(0, 0.3))]))
        elif kind == 'Poly':
            keys.update(power=r(0.5, 2), eta_min=0.0)
        else:
            kind = 'mmdet.' + kind
        return d(momentum(kind), **keys)

    return rng.choice([SGD, ADAM]), epochs, length, [one() for _ in range(rng.randint(1, 3))]


def text(value):
    if isinstance(value, dict):
        return 'dict(' + ', '.join(f'{k}={text(v)}' for k, v in value.items()) + ')'
    if isinstance(value, list):
        return '[' + ', '.join(text(v) for v in value) + ']'
    return repr(value)


def row(optimizer, epochs, length, schedulers):
    options = {k: v for k, v in optimizer.items() if k != 'type'}
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [dict(params=[parameters[0]]), dict(params=[parameters[1]], lr=options['lr'] * 0.1, weight_decay=0.0)]
    wrapper = OptimWrapper(getattr(torch.optim, optimizer['type'])(groups, **options))
    built = []
    for scheduler in schedulers:
        scheduler = copy.deepcopy(scheduler)
        scheduler.setdefault('end', epochs if scheduler.get('by_epoch', True) else epochs * length)
        built.append(PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=wrapper, epoch_length=length)))
    metrics = [round(math.sin(i * i) * 0.1 + 1 - 0.5 ** i, 6) for i in range(epochs)]

    def now():
        return [[g['lr'], g['betas'][0] if 'betas' in g else g['momentum'], g['weight_decay']] for g in wrapper.param_groups]

    values = [now()]
    for epoch in range(epochs):
        for i in range(length):
            for s in built:
                if not s.by_epoch:
                    s.step()
            if i + 1 < length:
                values.append(now())
        for s in built:
            if s.by_epoch:
                s.step()
        for s in built:
            if s.by_epoch and getattr(s, 'need_val_args', False):
                s.step(dict(m=metrics[epoch]))
        values.append(now())
    keep = ['base_values', 'last_step', '_global_step', '_last_value', 'begin', 'end', 'best', 'num_bad_epochs', 'cooldown_counter']
    states = [{k: v for k, v in s.state_dict().items() if k in keep} for s in built]
    # What does not change is said once.
    moving = [any(v[g][i] != values[0][g][i] for v in values for g in range(3)) for i in range(3)]
    columns = {name: [[v[g][i] for g in range(3)] for v in values] for i, (name, m) in enumerate(zip(['lr', 'momentum', 'weight_decay'], moving)) if m}
    return dict(optimizer=text(optimizer), schedulers=text(schedulers), epochs=epochs, epoch_length=length, metrics=metrics,
                first=values[0], columns=columns, states=states)


rng = random.Random(7)
cases, rows = FIXED + [drawn(rng) for _ in range(70)], []
for case in cases:
    try:
        made = row(*case)
    except ZeroDivisionError:
        continue
    rows.append(json.dumps(made))
path = pathlib.Path(__file__).with_suffix('.json.gz')
path.write_bytes(gzip.compress(('[' + ',\n'.join(rows) + ']\n').encode(), 9, mtime=0))
print(len(rows), 'rows')
