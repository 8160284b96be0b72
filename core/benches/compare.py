#!/usr/bin/env python3
"""Times smalti and MMDetection on PyTorch in turn, and prints the ratios.

    compare.py --smalti target/release/smalti --config CONFIG.py [--checkpoint FILE.pth] [--size 480x800] [--package mmdet=DIR] [--rounds 3]

Run it with the Python that has MMDetection (see peer.py). --size is HEIGHTxWIDTH of the picture before the test pipeline. A round is one process of
each; the ratio (smalti / PyTorch, below 1 is faster) is taken within each round and its median is printed, since such machines are noisy.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STAGES = ['preprocess', 'backbone', 'neck', 'head', 'postprocess', 'total']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smalti', default='target/release/smalti', help='the program (default: %(default)s)')
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint')
    parser.add_argument('--size', default='320x320')
    parser.add_argument('--package', action='append', default=[], metavar='NAME=DIR')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', default='2', help="PyTorch's threads (default: %(default)s)")
    parser.add_argument('--runs', default='5')
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()

    height, width = options.size.split('x')
    ours = [options.smalti, 'bench', options.config, '--device', options.device, '--json', '--runs', options.runs, '--size', f'{width}x{height}']
    theirs = [sys.executable, os.path.join(HERE, 'peer.py'), '--config', options.config, '--size', options.size,
              '--threads', options.threads, '--repeat', options.runs]
    if options.checkpoint:
        ours.insert(3, options.checkpoint)
        theirs += ['--checkpoint', options.checkpoint]
    for package in options.package:
        ours += ['--package', package]

    rows = []
    for _ in range(options.rounds):
        smalti = json.loads(subprocess.run(ours, check=True, capture_output=True, text=True).stdout)
        lines = subprocess.run(theirs, check=True, capture_output=True, text=True).stdout.strip().splitlines()
        rows.append((smalti, json.loads(lines[-1])['reports'][0]))
    print(f'{options.config}, picture {options.size}, {options.rounds} rounds of {options.runs} runs, smalti on {rows[0][0]["device"]}')
    print(f'{"ms":<16}{"smalti":>10}{"PyTorch":>10}{"ratio":>8}')
    for stage in STAGES:
        pairs = [(a['stages'][stage]['median_ms'], b['stages'][stage]['ms']) for a, b in rows if stage in b['stages']]
        show(stage, pairs)
    show('first detection', [(a['first_detection_ms'], b['stages']['first_detection']['ms']) for a, b in rows if 'first_detection' in b['stages']])
    show('peak MiB', [(a['peak_memory_mib'], b['peak_mib']) for a, b in rows if 'peak_mib' in b])


def show(name, pairs):
    if not pairs:
        return
    ours, theirs = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f'{name:<16}{ours:>10.1f}{theirs:>10.1f}{ratio:>8.2f}')


if __name__ == '__main__':
    main()
