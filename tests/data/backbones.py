"""Expected values of backbones alone: their maps, or the gradients of a loss over them. Weights and pictures by formula (`../src/golden.rs`).

usage: backbones.py CASES.txt OUT.jsonl
A case is a line `maps H W CONFIG` or `grads H W CONFIG`, for example
    maps 192 256 dict(type='mmpretrain.MobileNetV2', out_indices=(1, 2, 4, 7))
Rows that OUT has already are kept. `maps`: {file, backbone (tagged), state, alias, filled_first, input, stages}. `grads`: {file, backbone, state, alias, input,
frozen, total, grads, running}: two pictures, the second mirrored, in training (BatchNorm by the batch); the loss is the mean of each map's
numbers, each times `uniform(f'spread.{i}')`. Random layers must be off in CONFIG (drop_path_rate=0).
MMDetection 3.3.0, MMPretrain 1.2.0, timm 0.9.16, torch 2.4.1.
"""
import copy, json, logging, os, sys, warnings

warnings.filterwarnings('ignore')
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.registry import init_default_scope

logging.disable(logging.WARNING)
M = (1 << 64) - 1


def uniform(key, n):
    h = 0xCBF29CE484222325
    for b in key.encode():
        h = ((h ^ b) * 0x100000001B3) & M
    with np.errstate(over='ignore'):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def weight(key, shape):
    u = uniform(key, int(np.prod(shape)) if len(shape) else 1).reshape(shape)
    if key.endswith('running_var'):
        return (1 + 0.25 * u).astype(np.float32)
    if key.endswith('running_mean'):
        return (0.1 * u).astype(np.float32)
    if len(shape) <= 1:
        return ((1 + 0.1 * u) if key.endswith(('weight', 'gamma', 'scale')) else 0.1 * u).astype(np.float32)
    return (u * np.float32(np.sqrt(3.0 / int(np.prod(shape[1:]))))).astype(np.float32)


def image(h, w):
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    out = np.empty((1, 3, h, w), np.float32)
    for c in range(3):
        s = np.sin(2 * np.pi * ((c + 1) * x / w + y / h)) + np.cos(2 * np.pi * (2 * y / h - (c + 1) * x / w))
        out[0, c] = 0.8 * s + 0.4 * uniform(f'image.0.{c}', h * w).reshape(h, w).astype(np.float64)
    return torch.from_numpy(out)


def tag(v):
    if isinstance(v, dict):
        return {'d': [[k, tag(x)] for k, x in v.items()]}
    if isinstance(v, tuple):
        return {'t': [tag(x) for x in v]}
    return [tag(x) for x in v] if isinstance(v, list) else v


def fill(model):
    params = {k for k, _ in model.named_parameters(remove_duplicate=False)}
    first, alias, state = {}, {}, []
    for k, v in model.state_dict(keep_vars=True).items():
        state.append([k, list(v.shape)])
        if not v.is_floating_point() or (k not in params and not k.endswith(('running_mean', 'running_var'))):
            continue
        p = v.data_ptr() if v.numel() else id(v)
        if p in first:
            alias[k] = first[p]
            continue
        first[p] = k
        v.data.copy_(torch.from_numpy(np.ascontiguousarray(weight(k, tuple(v.shape)))).view(v.shape))
    return state, alias


def summary(t):
    t = t.detach().float().contiguous().view(-1)
    n = t.numel()
    k = min(64, n)
    idx = (np.arange(k, dtype=np.int64) * n // max(k, 1)).tolist()
    whole = dict(mean=float(t.double().mean()), std=float(t.double().std(unbiased=False)), absmax=float(t.abs().max()))
    return dict(whole, idx=idx, val=[float(t[i]) for i in idx])


def digest(t):
    return dict(norm=float(t.detach().double().norm()), sum=float(t.detach().double().sum()))


def row_of(kind, h, w, text):
    cfg = eval(text)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg))
    row = dict(file=text if kind == 'maps' else f'grads {text}', backbone=tag(cfg))
    row['state'], row['alias'] = fill(model)
    row['filled_first'] = True
    base = image(h, w)
    if kind == 'maps':
        model.eval()
        with torch.no_grad():
            maps = model(base)
        row['input'] = list(base.shape)
        maps = maps if isinstance(maps, (list, tuple)) else [maps]
        row['stages'] = {f'backbone.{i}': dict(shape=list(m.shape), **summary(m)) for i, m in enumerate(maps)}
        return row
    model.train()
    x = torch.cat([base, base.flip(3)])
    row['input'] = list(x.shape)
    maps = model(x)
    maps = maps if isinstance(maps, (list, tuple)) else [maps]
    total = sum((m * torch.from_numpy(uniform(f'spread.{i}', m.numel())).view(m.shape)).mean() for i, m in enumerate(maps))
    total.backward()
    row['total'] = float(total)
    row['frozen'] = [k for k, q in model.named_parameters() if not q.requires_grad]
    row['grads'] = {k: digest(q.grad) for k, q in model.named_parameters() if q.grad is not None}
    row['running'] = {k: digest(v) for k, v in model.state_dict().items() if k.endswith(('running_mean', 'running_var'))}
    return row


if __name__ == '__main__':
    cases, out = sys.argv[1:]
    register_all_modules()
    import mmpretrain.models  # noqa: F401,E402
    init_default_scope('mmdet')
    done = {json.loads(line)['file'] for line in open(out)} if os.path.exists(out) else set()
    for line in open(cases):
        if not line.strip() or line.startswith('#'):
            continue
        kind, h, w, text = line.strip().split(' ', 3)
        if (text if kind == 'maps' else f'grads {text}') in done:
            continue
        try:
            row = row_of(kind, int(h), int(w), text)
            said = f"{len(row['state'])} tensors, " + (f"{[s['shape'] for s in row['stages'].values()]}" if kind == 'maps' else f"{len(row['grads'])} gradients")
            with open(out, 'a') as f:
                f.write(json.dumps(row) + '\n')
        except Exception as e:
            said = f'FAILED {type(e).__name__}: {e}'[:400]
        print(line.strip()[:150], said, flush=True)
