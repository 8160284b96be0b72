"""Steps of PyTorch's optimizers on one parameter of seven numbers: optimizers.json. torch 2.4.1, on CPU."""
import json
import pathlib

import torch

CASES = [
    ('SGD', dict(lr=0.1)),
    ('SGD', dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ('SGD', dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.05, maximize=True)),
    ('SGD', dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ('SGD', dict(lr=0.1, weight_decay=0.01, maximize=True)),
    ('Adam', dict(lr=0.05)),
    ('Adam', dict(lr=0.05, betas=[0.8, 0.95], eps=1e-3, weight_decay=0.1, amsgrad=True)),
    ('Adam', dict(lr=0.05, betas=[0.3, 0.5], maximize=True)),
    ('AdamW', dict(lr=0.05)),
    ('AdamW', dict(lr=0.05, betas=[0.8, 0.95], eps=1e-3, weight_decay=0.1, amsgrad=True)),
    ('AdamW', dict(lr=0.05, weight_decay=0.0, maximize=True)),
    ('RMSprop', dict()),
    ('RMSprop', dict(lr=0.02, alpha=0.8, eps=0.03, momentum=0.9, weight_decay=0.1)),
    ('RMSprop', dict(lr=0.02, alpha=0.9, eps=0.5, centered=True)),
    ('RMSprop', dict(lr=0.02, alpha=0.4, eps=0.5, centered=True, momentum=0.7, maximize=True)),
    ('Adadelta', dict()),
    ('Adadelta', dict(lr=0.5, rho=0.6, eps=1e-2, weight_decay=0.1, maximize=True)),
    ('Adagrad', dict()),
    ('Adagrad', dict(lr=0.1, lr_decay=0.2, initial_accumulator_value=0.3, eps=1e-2, weight_decay=0.1, maximize=True)),
    ('Adamax', dict(lr=0.05)),
    ('Adamax', dict(lr=0.05, betas=[0.8, 0.95], eps=1e-3, weight_decay=0.1, maximize=True)),
    ('RAdam', dict(lr=0.05)),
    ('RAdam', dict(lr=0.05, betas=[0.8, 0.6], eps=1e-3, weight_decay=0.1)),
    ('RAdam', dict(lr=0.05, betas=[0.8, 0.9], weight_decay=0.1, decoupled_weight_decay=True, maximize=True)),
    ('Rprop', dict(lr=0.05)),
    ('Rprop', dict(lr=0.05, etas=[0.4, 1.6], step_sizes=[0.02, 0.07], maximize=True)),
]


def numbers(tensor):
    return [float(f'{float(x):.8g}') for x in tensor]


def row(name, options, start, gradients):
    parameter = torch.nn.Parameter(start.clone())
    optimizer = getattr(torch.optim, name)([parameter], foreach=False, **options)
    values = []
    for i, gradient in enumerate(gradients):
        parameter.grad = None if i == 4 else gradient.clone()
        if i == 3:
            optimizer.param_groups[0]['lr'] *= 0.5
        optimizer.step()
        values.append(numbers(parameter.data))
    state = optimizer.state[parameter]
    step = float(state.pop('step')) if 'step' in state else None
    keys = ''.join(f', {key}={value!r}' for key, value in options.items())
    kept = {key: numbers(value) for key, value in state.items() if value is not None}
    return dict(config=f"dict(type='{name}'{keys})", values=values, kept=kept, step=step)


torch.manual_seed(5)
start = torch.randn(7)
gradients = [torch.randn(7) * 10.0 ** (i % 3 - 1) for i in range(6)]
start, *gradients = [torch.tensor([round(float(x), 8) for x in t]) for t in [start, *gradients]]
rows = [json.dumps(row(*case, start, gradients)) for case in CASES]
head = json.dumps(dict(start=numbers(start), gradients=[numbers(g) for g in gradients]))
text = head[:-1] + ', "cases": [\n' + ',\n'.join(rows) + '\n]}\n'
pathlib.Path(__file__).with_suffix('.json').write_text(text)
