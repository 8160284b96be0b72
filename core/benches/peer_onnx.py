#!/usr/bin/env python3
"""Times ONNX Runtime (CPU) on the network of an MMDetection detector: backbone, neck and head, up to raw logits and deltas.

    peer_onnx.py --config digits.py --checkpoint digits.pth --size 320x320 --export digits.onnx
    peer_onnx.py --network digits.onnx --threads 1

--export needs peer.py's environment and `onnx`. It takes model and input as peer.py makes them (same weights, picture and test pipeline; the input's size is
fixed), and writes the network in evaluation mode, so that BatchNorm is folded into the convolutions before it. Beside it lie the input (`.input`) and what
PyTorch makes of it (`.outputs`: the outputs one after another), raw little-endian float32.

--network needs numpy and `onnxruntime` alone, so that its peak memory is ONNX Runtime's own. It first checks that every output is PyTorch's within 1e-3 of
that output's largest value: the same work is timed. Then it times --repeat runs after --warmup runs. Prints one line of JSON.

Single-stage detectors only (those with a `bbox_head`). `compare.py --onnx` runs both beside smalti and PyTorch.
"""
import argparse
import json
import sys

sys.dont_write_bytecode = True  # no cache of peer.py among the sources

from peer import decoded_picture, load_model, peak_mib, preprocessing, quiet, timed

TOLERANCE = 1e-3  # of an output's largest value; two orders of summation differ by about 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--export', metavar='FILE.onnx', help='write the network of --config here')
    parser.add_argument('--config')
    parser.add_argument('--checkpoint')
    parser.add_argument('--picture')
    parser.add_argument('--size', default='320x320', help='HEIGHTxWIDTH of the picture before the test pipeline (default: %(default)s)')
    parser.add_argument('--network', metavar='FILE.onnx', help='time this one')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeat', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    options = parser.parse_args()
    if bool(options.export) == bool(options.network) or (options.export and not options.config):
        parser.error('give --export FILE.onnx --config CONFIG.py, or --network FILE.onnx')
    print(json.dumps(export(options) if options.export else time_network(options)))


def export(options):
    quiet()
    config, model = load_model(options, {})
    if not hasattr(model, 'bbox_head') or hasattr(model, 'roi_head'):
        raise SystemExit(f'{options.config}: a {type(model).__name__} has more than backbone, neck and one head')
    import torch

    class Network(torch.nn.Module):
        """All outputs of the head, kind by kind, each from the finest level on."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, batch):
            kinds = self.model.bbox_head(self.model.extract_feat(batch))
            return tuple(level for levels in kinds for level in levels)

    network = Network().eval()
    batch = preprocessing(config, model, decoded_picture(options))()['inputs']
    outputs = network(batch)
    torch.onnx.export(network, (batch,), options.export, input_names=['batch'], output_names=[f'output{i}' for i in range(len(outputs))], opset_version=17)
    batch.numpy().tofile(options.export + '.input')
    torch.cat([output.flatten() for output in outputs]).numpy().tofile(options.export + '.outputs')
    return dict(network=options.export, input=list(batch.shape), outputs=[list(output.shape) for output in outputs], torch=torch.__version__)


def time_network(options):
    import numpy as np
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.network, settings, providers=['CPUExecutionProvider'])
    shape = session.get_inputs()[0].shape
    feed = {'batch': np.fromfile(options.network + '.input', np.float32).reshape(shape)}
    expected = np.fromfile(options.network + '.outputs', np.float32)
    outputs, forward = timed(lambda: session.run(None, feed), options.repeat, options.warmup)
    worst, at = 0.0, 0
    for output in outputs:
        want = expected[at:at + output.size].reshape(output.shape)
        at += output.size
        worst = max(worst, float(np.abs(output - want).max() / np.abs(want).max()))
    if at != expected.size or not worst <= TOLERANCE:
        raise SystemExit(f'{options.network}: {at} values, and PyTorch made {expected.size}; they differ by {worst:.2g} of the largest')
    return dict(network=options.network, threads=options.threads, input=shape, forward=forward, largest_difference=worst,
                peak_mib=round(peak_mib(), 1), onnxruntime=onnxruntime.__version__)


if __name__ == '__main__':
    main()
