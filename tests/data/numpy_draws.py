"""Writes numpy_draws.json: calls on numpy's legacy generator with their results, in the form of the transform rows' draws.

usage: numpy_draws.py > numpy_draws.json      made with numpy 1.26.4
"""
import json, numpy as np

def plain(v):
    return v.tolist() if isinstance(v, np.ndarray) else v.item() if isinstance(v, np.generic) else v

R = np.random
CALLS = [
    ('rand', [], {}), ('random', [], {}), ('rand', [3], {}), ('random_sample', [], {}), ('uniform', [-.5, 2.25], {}), ('uniform', [.25], {}),
    ('uniform', [3, -1], {}), ('uniform', [-1, 1, 3], {}), ('randint', [1], {}), ('randint', [2], {}), ('randint', [7], {}), ('randint', [-24, 24], {}),
    ('randint', [0, 1], {}), ('randint', [0, 2, 3], {}), ('randint', [], dict(low=3., high=11.)), ('randint', [0, 4294967296], {}), ('randint', [0, 4294967297], {}),
    ('randint', [-2**63, 2**63 - 1], {}), ('randint', [5, 1000000007, 4], {}), ('permutation', [3], {}), ('permutation', [0], {}), ('permutation', [10], {}),
    ('choice', [['horizontal', None]], dict(p=[.5, .5])), ('choice', [[1, .1, .3, 0]], {}), ('choice', [8], {}), ('choice', [list(range(5))], dict(p=None)),
    ('choice', [6], dict(size=3, replace=False)), ('choice', [6], dict(size=0, replace=False)), ('choice', [[10, 20, 30, 40], 2], dict(p=None, replace=False)),
    ('choice', [[10, 20, 30, 40], 3], dict(p=[.7, .1, .1, .1], replace=False)), ('choice', [4], dict(size=5, p=[.1, .2, .3, .4])), ('choice', [[4, 5], 4], {}),
    ('choice', [5], dict(replace=False)),
    ('beta', [1.5, 1.5], {}), ('beta', [1., 3.], {}), ('beta', [.5, .5], {}), ('beta', [.2, 2.5], {}), ('beta', [32., 32.], {}), ('beta', [1e-3, 1e-3], {}),
    ('rand', [], {}),
]
rows = []
for seed in (0, 1, 2, 42, 1234567, 2**31, 2**32 - 1):
    R.seed(seed)
    order = np.arange(len(CALLS))
    if seed: order = np.random.RandomState(seed + 1 & 0xffffffff).permutation(len(CALLS))
    draws = []
    for i in order:
        name, args, named = CALLS[i]
        draws.append([f'np.{name}', args, named, plain(getattr(R, name)(*args, **named))])
    R.rand(700)  # into the next round of the state
    draws.append(['np.rand', [], {}, R.rand()])
    rows.append('{"seed": %d, "draws": %s}' % (seed, json.dumps(draws)))
print('[' + ',\n'.join(rows) + ']')
