#!/usr/bin/env python3
"""Times smalti, MMDetection on PyTorch and, with --onnx, ONNX Runtime in turn, and prints the ratios.

    compare.py --smalti target/release/smalti --config CONFIG.py [--checkpoint FILE.pth] [--size 480x800] [--package mmdet=DIR] [--threads 1 2] [--rounds 3] [--onnx]

Run it with the Python that has MMDetection (see peer.py; peer_onnx.py for --onnx, of single-stage detectors alone). --size is HEIGHTxWIDTH of the picture
before the test pipeline. A round is one process of each; a ratio (smalti / peer, below 1 is faster) is taken within each round and its median is printed,
since such machines are noisy. `forward` is backbone, neck and head: all that ONNX Runtime does. It gets PyTorch's input and has to give its outputs.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FORWARD = ['backbone', 'neck', 'head']
STAGES = ['preprocess', *FORWARD, 'forward', 'postprocess', 'total']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smalti', default='target/release/smalti', help='the program (default: %(default)s)')
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint')
    parser.add_argument('--size', default='320x320')
    parser.add_argument('--package', action='append', default=[], metavar='NAME=DIR')
    parser.add_argument('--device', default='cpu', help="smalti's; the peers are on the CPU (default: %(default)s)")
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], help='thread counts of all three, one after another (default: 1 2)')
    parser.add_argument('--runs', default='5')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--onnx', action='store_true', help='time ONNX Runtime too')
    options = parser.parse_args()

    height, width = options.size.split('x')
    checkpoint = [options.checkpoint] if options.checkpoint else []
    ours = [options.smalti, 'bench', options.config, *checkpoint, '--device', options.device, '--json', '--runs', options.runs, '--size', f'{width}x{height}']
    for package in options.package:
        ours += ['--package', package]
    same = ['--config', options.config, '--size', options.size, *(['--checkpoint', *checkpoint] if checkpoint else [])]
    eager = [sys.executable, os.path.join(HERE, 'peer.py'), *same, '--repeat', options.runs]
    onnx = [sys.executable, os.path.join(HERE, 'peer_onnx.py')]
    with tempfile.TemporaryDirectory() as folder:
        network = os.path.join(folder, 'network.onnx')
        if options.onnx:
            read([*onnx, *same, '--export', network])
        for threads in options.threads:
            rounds = []
            for _ in range(options.rounds):
                smalti = read(ours, RAYON_NUM_THREADS=str(threads))
                pytorch = read([*eager, '--threads', str(threads)])['reports'][0]
                runtime = read([*onnx, '--network', network, '--threads', str(threads), '--repeat', options.runs]) if options.onnx else None
                rounds.append((smalti, pytorch, runtime))
            report(options, threads, rounds)


def read(command, **environment):
    """The JSON that a command prints last, on one line or more."""
    done = subprocess.run(command, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'{" ".join(command)} failed:\n{done.stderr[-3000:]}')
    text = '\n' + done.stdout
    return json.loads(text[text.rindex('\n{'):])


def report(options, threads, rounds):
    smalti, pytorch, runtime = rounds[0]
    versions = f'PyTorch {pytorch["torch"]}' + (f', ONNX Runtime {runtime["onnxruntime"]}' if runtime else '')
    print(f'\n{options.config}, picture {options.size}, {threads} thread(s), {options.rounds} rounds of {options.runs} runs, smalti on {smalti["device"]}, {versions}')
    print(f'{"ms":<16}{"smalti":>10}{"PyTorch":>10}{"ratio":>8}' + (f'{"ONNX RT":>10}{"ratio":>8}' if runtime else ''))
    tables = [columns(*row) for row in rounds]
    for name in [*STAGES, 'first detection', 'peak MiB']:
        values = [table[name] for table in tables]
        if None in values[0][:2]:
            continue
        line = f'{name:<16}{statistics.median(row[0] for row in values):>10.1f}'
        for peer in (1, 2):
            if values[0][peer] is not None:
                line += f'{statistics.median(row[peer] for row in values):>10.1f}{statistics.median(row[0] / row[peer] for row in values):>8.2f}'
        print(line)
    if runtime:
        print(f'ONNX Runtime\'s outputs are PyTorch\'s within {runtime["largest_difference"]:.1g} of the largest value')
    sys.stdout.flush()


def columns(smalti, pytorch, runtime):
    """Of one round, by name of the row: ours, PyTorch's and ONNX Runtime's, None where there is no such figure."""
    def pick(stages, key):
        found = {name: stages[name][key] for name in stages if name in STAGES}
        if 'backbone' in found and 'head' in found:
            found['forward'] = sum(found.get(name, 0) for name in FORWARD)
        return found

    ours, theirs = pick(smalti['stages'], 'median_ms'), pick(pytorch['stages'], 'ms')
    rows = {name: [ours.get(name), theirs.get(name), None] for name in STAGES}
    rows['first detection'] = [smalti['first_detection_ms'], pytorch['stages']['first_detection']['ms'], None]
    rows['peak MiB'] = [smalti['peak_memory_mib'], pytorch['peak_mib'], runtime and runtime['peak_mib']]
    if runtime:
        rows['forward'][2] = runtime['forward']['ms']
    return rows


if __name__ == '__main__':
    main()
