#!/usr/bin/env python3
"""Times torchvision's RetinaNet-R50 on a picture of 1333x800, from tensor to boxes, in float32 and in torch's default (TF32 convolutions on NVIDIA).

A peer of `smalti bench configs/_base_/retinanet_r50.py --size 1333x800` on the same device: the same network but for 91 classes, random weights.
"""
import statistics
import time

import torch
import torchvision

device = 'cuda' if torch.cuda.is_available() else 'cpu'
name = torch.cuda.get_device_name() if device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
model = torchvision.models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None).eval().to(device)
picture = torch.rand(3, 800, 1333, device=device)


@torch.inference_mode()
def median_ms(run, warmup=3, runs=20):
    times = []
    for i in range(warmup + runs):
        start = time.perf_counter()
        run()
        if device == 'cuda':
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[warmup:])


seen = []
for tf32 in (False, True) if device == 'cuda' else (False,):
    torch.backends.cudnn.allow_tf32 = tf32
    batch, _ = model.transform([picture])

    def forward():
        maps = list(model.backbone(batch.tensors).values())
        return model.head(maps)

    seen.append(f'{"TF32" if tf32 else "float32"}: forward {median_ms(forward):.1f} ms, to boxes {median_ms(lambda: model([picture])):.1f} ms')
print(f'torch {torch.__version__}, {name}; ' + '; '.join(seen))
