#!/usr/bin/env python3
"""Times torchvision's RetinaNet-R50 on a picture of 1333x800 (in the network 800x1344), on an NVIDIA card or on the CPU.

    peer_torchvision.py                          # the card, if there is one: every precision
    peer_torchvision.py --device cpu --quick     # a small picture and few runs, to try the script

A peer of `smalti bench configs/_base_/retinanet_r50.py --size 1333x800` on the same device: the same network but for 91 classes, with random weights, of which
hardly a score passes the threshold, on both sides. For each precision, the median of --runs runs after a warm-up, the card waited for after each run:

    forward     backbone, FPN and head, milliseconds, and the arithmetic done a second (as torch counts it: two operations for a multiply and an add)
    to boxes    the whole model: resizing and normalising the picture, forward, decode, NMS (in float32 always)
    limit       what the device reaches where there is nothing else to wait for: a product of two square matrices of 8192 in the same precision

    training    a step on two such pictures with eight objects each: losses, gradients, SGD with momentum, the first stage and all batch norms frozen, as
                MMDetection's config has it (float32 and TF32 only)

float32 is without TF32 anywhere; `TF32` is PyTorch's default for convolutions; `float16` has the network in half precision, storage and arithmetic, and
`channels last` has its tensors in the order that a card's matrix units want. Needs torch and torchvision alone, and no network. The last line is JSON.
"""
import argparse
import json
import statistics
import time
import warnings

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda' if torch.cuda.is_available() else 'cpu', help='(default: %(default)s)')
    parser.add_argument('--runs', type=int, default=20)
    parser.add_argument('--warmup', type=int, default=5)
    parser.add_argument('--threads', type=int, help="the CPU's threads (default: all)")
    parser.add_argument('--quick', action='store_true', help='a picture of 320x192, two runs, small matrices')
    options = parser.parse_args()
    warnings.filterwarnings('ignore')
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.runs, options.warmup = 2, 1
    options.width, options.height, options.matrix = (320, 192, 512) if options.quick else (1333, 800, 8192 if options.device == 'cuda' else 2048)

    card = torch.cuda.get_device_name() if options.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    precisions = ['float32', 'TF32', 'float16', 'float16 channels last'] if options.device == 'cuda' or options.quick else ['float32']
    print(f'torch {torch.__version__}, torchvision {torchvision.__version__}, {card}, picture {options.width}x{options.height}')
    print(f'{"":<24}{"forward ms":>12}{"to boxes ms":>13}{"training ms":>13}{"GFLOP/s":>10}{"limit":>10}{"share":>8}{"peak MiB":>10}')
    rows = []
    for precision in precisions:
        row = dict(precision=precision, **time_precision(precision, options))
        rows.append(row)
        training = f'{row["training_ms"]:.1f}' if row['training_ms'] else '-'
        peak = f'{row["peak_mib"]:.0f}' if row['peak_mib'] else '-'
        print(f'{precision:<24}{row["forward_ms"]:>12.1f}{row["to_boxes_ms"]:>13.1f}{training:>13}{row["gflops"]:>10.0f}{row["limit_gflops"]:>10.0f}{row["gflops"] / row["limit_gflops"]:>8.2f}{peak:>10}', flush=True)
    print(f'one forward is {rows[0]["gflop"]:.0f} GFLOP')
    print(json.dumps(dict(torch=torch.__version__, torchvision=torchvision.__version__, device=card, runs=options.runs, rows=rows)))


def time_precision(precision, options):
    tf32, half, channels_last = precision == 'TF32', precision.startswith('float16'), precision.endswith('channels last')
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    dtype = torch.float16 if half else torch.float32
    order = torch.channels_last if channels_last else torch.contiguous_format
    cuda = options.device == 'cuda'
    wait = torch.cuda.synchronize if cuda else lambda: None

    def median_ms(run):
        times = []
        for _ in range(options.warmup + options.runs):
            start = time.perf_counter()
            run()
            wait()
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times[options.warmup:])

    torch.manual_seed(0)
    model = torchvision.models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, min_size=options.height, max_size=options.width)
    model = model.eval().to(options.device)
    for part in (model.backbone, model.head):
        part.to(dtype=dtype, memory_format=order)
    if half:  # anchors and boxes stay in float32: half precision has no pixels beyond 2048
        model.backbone.register_forward_pre_hook(lambda _, given: (given[0].to(dtype=dtype, memory_format=order),))
        model.head.register_forward_hook(lambda _, given, made: {name: value.float() for name, value in made.items()})
        model.anchor_generator.register_forward_pre_hook(lambda _, given: (given[0], [level.float() for level in given[1]]))
    picture = torch.rand(3, options.height, options.width, device=options.device)
    batch = model.transform([picture])[0].tensors.to(dtype=dtype, memory_format=order)

    def forward():
        return model.head(list(model.backbone(batch).values()))

    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # in inference mode it would see no convolution
        forward()
    wait()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    gflop = counter.get_total_flops() / 1e9
    with torch.inference_mode():
        forward_ms = median_ms(forward)
        to_boxes_ms = median_ms(lambda: model([picture]))
    peak_mib = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    n = options.matrix
    a, b = (torch.rand(n, n, device=options.device).to(dtype) for _ in range(2))
    with torch.inference_mode():
        matrix_ms = median_ms(lambda: a @ b)
        del a, b
    training_ms = None if half else median_ms(training_step(model, options))
    return dict(input=list(batch.shape), forward_ms=forward_ms, to_boxes_ms=to_boxes_ms, training_ms=training_ms, gflop=gflop, gflops=gflop / forward_ms * 1e3,
                limit_gflops=2 * n**3 / 1e9 / matrix_ms * 1e3, peak_mib=peak_mib)


def training_step(model, options):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    body = model.backbone.body
    for part in (body.conv1, body.bn1, body.layer1):
        part.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9, weight_decay=1e-4)
    corner = torch.rand(8, 2, device=options.device) * torch.tensor([options.width / 2, options.height / 2], device=options.device)
    boxes = torch.cat([corner, corner + 64], 1)
    targets = [dict(boxes=boxes, labels=torch.arange(8, device=options.device)) for _ in range(2)]
    pictures = [torch.rand(3, options.height, options.width, device=options.device) for _ in range(2)]

    def step():
        optimizer.zero_grad()
        sum(model(pictures, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()

    return step


if __name__ == '__main__':
    main()
