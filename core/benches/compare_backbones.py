#!/usr/bin/env python3
"""Times backbones alone, smalti's and PyTorch's in turn, and prints the ratios, the slowest first.

    compare_backbones.py --smalti target/release/smalti [--cases backbones.txt] [--only TEXT] [--threads 1 2] [--runs 5] [--rounds 1] [--seconds N] [--json FILE]

Run it with the Python that has MMDetection and MMPretrain (see peer.py). A case is a line `HEIGHTxWIDTH TYPE(key=value, ...)`, as `smalti bench` takes
it. Both have initial weights and one picture; PyTorch is in evaluation mode, without gradients. A ratio (smalti / PyTorch, below 1 is faster) is of two medians
taken one after the other; with --rounds the median of the ratios. --seconds ends early: the cases that were not reached are said.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smalti', default='target/release/smalti', help='the program (default: %(default)s)')
    parser.add_argument('--cases', default=os.path.join(HERE, 'backbones.txt'))
    parser.add_argument('--only', default='', help='cases that have this text')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=float('inf'))
    parser.add_argument('--json', help='a file to which a line is added for each case')
    options = parser.parse_args()
    with open(options.cases) as file:
        cases = [line.split(None, 1) for line in file if line.strip() and not line.startswith('#') and options.only in line]
    build = peer()
    start, rows, failed = time.time(), [], []
    for size, text in cases:
        if time.time() - start > options.seconds:
            print(f'not reached: {text.strip()}')
            continue
        row = dict(backbone=text.strip(), size=size)
        try:
            model, picture = build(text.strip(), *map(int, size.split('x')))
            for threads in options.threads:
                rounds = [(ours(options, text.strip(), size, threads), theirs(model, picture, threads, options.runs)) for _ in range(options.rounds)]
                row[str(threads)] = [statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds), statistics.median(a / b for a, b in rounds)]
        except Exception as error:  # the other cases have figures all the same
            failed.append(f'{text.strip()}: {type(error).__name__}: {error}')
            continue
        rows.append(row)
        if options.json:
            with open(options.json, 'a') as file:
                file.write(json.dumps(row) + '\n')
    report(options, rows)
    if failed:
        sys.exit('failed:\n' + '\n'.join(failed))


def peer():
    """What builds PyTorch's model and its picture."""
    import logging
    import warnings
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.registry import init_default_scope
    import mmpretrain.models  # noqa: F401
    register_all_modules()
    init_default_scope('mmdet')

    def build(text, height, width):
        name, arguments = re.fullmatch(r'([\w.]+)\((.*)\)', text).groups()
        torch.manual_seed(0)
        model = MODELS.build(eval(f'dict(type={name!r}, {arguments})'))
        model.eval()
        return model, torch.rand(1, 3, height, width) - 0.5

    return build


def theirs(model, picture, threads, runs):
    """Median milliseconds of PyTorch."""
    import torch
    torch.set_num_threads(threads)
    times = []
    with torch.inference_mode():
        for i in range(2 + runs):
            begin = time.perf_counter()
            model(picture)
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[2:])


def ours(options, text, size, threads):
    """Median milliseconds of smalti."""
    height, width = size.split('x')
    command = [options.smalti, 'bench', text, '--size', f'{width}x{height}', '--runs', str(options.runs), '--warmup', '2', '--device', 'cpu', '--json']
    done = subprocess.run(command, env=dict(os.environ, RAYON_NUM_THREADS=str(threads)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)}:\n{done.stderr[-3000:]}')
    return json.loads(done.stdout)['stages']['backbone']['median_ms']


def report(options, rows):
    first = str(options.threads[0])
    print(f'{"ms, threads":<100}' + ''.join(f'{threads:>8} smalti   PyTorch   ratio' for threads in options.threads))
    for row in sorted(rows, key=lambda row: -row[first][2]):
        values = ''.join('{:>15.1f}{:>10.1f}{:>8.2f}'.format(*row[str(threads)]) for threads in options.threads)
        print(f'{row["size"] + " " + row["backbone"][:88]:<100}{values}')
    for threads in options.threads:
        ratios = [row[str(threads)][2] for row in rows]
        if ratios:
            print(f'{threads} thread(s): {len(ratios)} backbones, median ratio {statistics.median(ratios):.2f}, {sum(r < 1 for r in ratios)} below 1')


if __name__ == '__main__':
    main()
