#!/usr/bin/env python3
"""Times what second stages do beside convolutions, with smalti and with MMDetection's and torchvision's operators in turn, and prints the ratios.

    compare_regions.py --smalti target/release/deps/regions-... [--threads 2] [--rounds 3] [--device gpu]

`cargo bench -p smalti --bench regions --no-run` builds the program and says its name. Run this with the Python that has MMDetection. Inputs are the same numbers
on both sides. A ratio (smalti / peer, below 1 is faster) is taken within each round, and its median is printed. With `--device` smalti runs on that too, and the
last column is its time there by that on the CPU.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.utils import register_all_modules
from torchvision.ops import batched_nms

H, W = 800, 1344


def unit(i):
    return (i.astype(np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)).astype(np.float32) / np.float32(1 << 32)


def boxes(n):
    i = np.arange(n) * 4
    w, h = (16 * 32 ** unit(i + k) for k in range(2))
    x, y = unit(i + 2) * (W - w), unit(i + 3) * (H - h)
    return torch.from_numpy(np.stack([x, y, x + w, y + h], 1).astype(np.float32))


def timed(run):
    run()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def theirs():
    register_all_modules()
    found = {}
    maps = [torch.from_numpy(unit(np.arange(256 * (H // s) * (W // s)))).view(1, 256, H // s, W // s) for s in (4, 8, 16, 32)]
    rows = torch.cat([torch.zeros(1000, 1), boxes(1000)], 1)
    for side, count in ((7, 1000), (14, 100)):
        layer = SingleRoIExtractor(dict(type='RoIAlign', output_size=side, sampling_ratio=0), 256, [4, 8, 16, 32])
        found[f'roi_align {count} {side}x{side}'] = timed(lambda: layer(maps, rows[:count]))
    for n in (1000, 10000, 100000):
        i = np.arange(n)
        b, scores, groups = boxes(n), torch.from_numpy(unit(i + 7)), torch.from_numpy((unit(i + 13) * 80).astype(np.int64))
        found[f'nms {n}'] = timed(lambda: batched_nms(b, scores, groups, 0.5))
    masks = torch.from_numpy(unit(np.arange(100 * 28 * 28))).view(100, 1, 28, 28)
    b = boxes(100)

    def paste():  # one after another, as MMDetection does on the CPU
        out = torch.zeros(100, H, W, dtype=torch.bool)
        for k in range(100):
            part, at = _do_paste_mask(masks[k:k + 1], b[k:k + 1], H, W, skip_empty=True)
            out[(slice(k, k + 1), ) + at] = part >= 0.5
        return out

    found['paste 100 masks'] = timed(paste)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smalti', required=True, help='the program of the bench')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--device', help='another device of smalti, as its SMALTI_DEVICE')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    def ours(device):
        env = dict(os.environ, RAYON_NUM_THREADS=str(options.threads), SMALTI_DEVICE=device)
        done = subprocess.run([options.smalti], env=env, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    with torch.no_grad():
        rounds = [(ours('cpu'), theirs(), ours(options.device) if options.device else {}) for _ in range(options.rounds)]
    print(f'{options.threads} threads, {options.rounds} rounds, PyTorch {torch.__version__}\n'
          f'{"ms":<22}{"smalti":>10}{"peer":>10}{"ratio":>8}{"device":>10}{"ratio":>8}')
    for name in rounds[0][0]:

        def column(i):
            times = [round[i].get(name) for round in rounds]
            if None in times:
                return f'{"":>18}'
            ratios = [time / round[0][name] for time, round in zip(times, rounds)]
            ratio = statistics.median(ratios)
            return f'{statistics.median(times):>10.2f}{(1 / ratio if i == 1 else ratio):>8.2f}'

        print(f'{name:<22}{statistics.median(cpu[name] for cpu, _, _ in rounds):>10.2f}{column(1)}{column(2)}')

main()
