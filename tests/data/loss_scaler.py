"""Runs of torch.amp.GradScaler as MMEngine's AmpOptimWrapper uses it, with gradients that are not finite: loss_scaler.json. torch 2.4.1, on CPU."""
import json
import math
import pathlib

import torch

# `loss_scale`, GradScaler's arguments, the number that AmpOptimWrapper updates with, optimizer, most norm.
CASES = [
    ("'dynamic'", dict(), None, 'SGD', dict(lr=0.1, momentum=0.5), None),
    ('', dict(init_scale=1024.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=2), None, 'AdamW', dict(lr=0.1), 2.0),
    ('512.0', dict(init_scale=512.0), 512.0, 'SGD', dict(lr=0.1), 1.5),
    ('', dict(init_scale=3.0, growth_factor=1.1, backoff_factor=0.3, growth_interval=1), None, 'Adam', dict(lr=0.05), None),
    ('', dict(enabled=False), None, 'SGD', dict(lr=0.1), None),
]
FACTORS = [1.0, -2.0, math.inf, 0.5, 1.0, 1.5, math.inf, math.inf, math.nan, 0.25, -1.0, 1.0]


def text(options):
    return ', '.join(f'{key}={value!r}' for key, value in options.items())


def row(loss_scale, options, fixed, name, settings, most):
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = getattr(torch.optim, name)(parameters, foreach=False, **settings)
    scaler = torch.amp.GradScaler('cpu', **options)
    steps = []
    for factor in FACTORS:
        if options.get('enabled') is False and not math.isfinite(factor):
            continue
        optimizer.zero_grad()
        slopes = torch.tensor([factor, 2 * factor, 3 * factor])
        scaler.scale(sum((p * slopes).sum() for p in parameters)).backward()
        norm = None
        if most is not None:
            scaler.unscale_(optimizer)
            norm = str(torch.nn.utils.clip_grad_norm_(parameters, most).item())
        scaler.step(optimizer)
        scaler.update(fixed)
        values = parameters[1].tolist()
        steps.append(dict(factor=str(factor), scale=scaler.get_scale(), values=values, norm=norm))
    loss_scale = loss_scale or f'dict({text(options)})'
    clip = '' if most is None else f', clip_grad=dict(max_norm={most})'
    wrapper = f"type='AmpOptimWrapper', loss_scale={loss_scale}, optimizer=dict(type='{name}', {text(settings)}){clip}"
    return dict(config=f'optim_wrapper = dict({wrapper})', steps=steps, state=scaler.state_dict())


rows = ',\n'.join(json.dumps(row(*case)) for case in CASES)
pathlib.Path(__file__).with_suffix('.json').write_text(f'[\n{rows}\n]\n')
