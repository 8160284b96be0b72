#!/usr/bin/env python3
"""Samples a second of training pipelines: smalti and MMDetection in turn, on the same pictures, and the ratios.

    compare_data.py --smalti target/release/smalti --ann train.json --pictures train/ [--classes 0 1 2 ...] [--rounds 3]

Run it with the Python that has mmdet 3.3.0 (and torch, mmcv). Four pipelines at 640x640: loading alone, Mosaic, Mosaic + RandomAffine, and the whole of
YOLOX (Mosaic, RandomAffine, MixUp, HSV, flip, resize, pad, filter). Each with one and two workers, with pictures decoded for every sample and with
pictures that stay decoded in memory. A worker is a process there and a thread here; OpenCV has one thread, as in MMDetection's own workers. A round is one
run of each; ratios (smalti / MMDetection, above 1 is faster) are taken within a round and their median is printed, since such machines are noisy.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SIZE = (640, 640)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
MOSAIC = dict(type='Mosaic', img_scale=SIZE, pad_val=114.0)
AFFINE = dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-SIZE[0] // 2, -SIZE[1] // 2))
PIPELINES = {
    'load': [],
    'mosaic': [MOSAIC],
    'mosaic+affine': [MOSAIC, AFFINE],
    'yolox': [
        MOSAIC, AFFINE,
        dict(type='MixUp', img_scale=SIZE, ratio_range=(0.8, 1.6), pad_val=114.0),
        dict(type='YOLOXHSVRandomAug'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Resize', scale=SIZE, keep_ratio=True),
        dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
        dict(type='PackDetInputs'),
    ],
}


def dataset(options, pipeline):
    inner = dict(
        type='CocoDataset', ann_file=os.path.abspath(options.ann), data_prefix=dict(img=os.path.abspath(options.pictures) + '/'),
        metainfo=dict(classes=tuple(options.classes)), pipeline=LOAD, filter_cfg=dict(filter_empty_gt=False, min_size=32))
    return dict(type='MultiImageMixDataset', dataset=inner, pipeline=pipeline)


def child(options):
    """MMDetection's figure, in this process: samples a second with `--workers` workers."""
    import logging
    import warnings
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    import cv2
    import numpy
    import torch
    from mmcv.transforms import BaseTransform, LoadImageFromFile
    from mmdet.registry import DATASETS, TRANSFORMS
    from mmdet.utils import register_all_modules
    register_all_modules()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

    @TRANSFORMS.register_module()
    class LoadDecoded(BaseTransform):
        """Pictures that stay decoded; a copy, as decoding gives one too."""
        pictures = {}

        def transform(self, results):
            path = results['img_path']
            if path not in self.pictures:
                self.pictures[path] = LoadImageFromFile()(dict(img_path=path))['img']
            img = self.pictures[path].copy()
            results.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
            return results

    config = dataset(options, PIPELINES[options.pipeline])
    if options.decoded:
        config['dataset']['pipeline'] = [dict(type='LoadDecoded'), LOAD[1]]
    data = DATASETS.build(config)
    if options.decoded:
        for i in range(len(data)):
            data.dataset[i]
    numpy.random.seed(0)
    order = numpy.random.permutation(len(data))[:options.samples + 20]
    if options.workers == 1:
        for i in order[:20]:
            data[i]
        start = time.perf_counter()
        for i in order[20:]:
            data[i]
        return (len(order) - 20) / (time.perf_counter() - start)
    loader = torch.utils.data.DataLoader(torch.utils.data.Subset(data, order), batch_size=None, num_workers=options.workers, collate_fn=lambda s: s['img_path'] if 'img_path' in s else 0,
                                         worker_init_fn=lambda i: (cv2.setNumThreads(0), numpy.random.seed(i)))
    start = None
    for n, _ in enumerate(loader):
        if n == 19:
            start = time.perf_counter()
    return (n - 19) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--smalti', default='target/release/smalti', help='the program (default: %(default)s)')
    parser.add_argument('--ann', required=True, help="annotation file in COCO's form")
    parser.add_argument('--pictures', required=True, help='folder of its pictures')
    parser.add_argument('--classes', nargs='+', default=[str(i) for i in range(10)])
    parser.add_argument('--samples', type=int, default=200, help='timed samples a run of MMDetection (ours: ten times as many)')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--only', default='', help='pipelines whose name contains this')
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--pipeline', help=argparse.SUPPRESS)
    parser.add_argument('--workers', type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument('--decoded', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    rows = []
    print(f'{"pipeline":<16}{"pictures":>12}{"workers":>9}{"smalti/s":>11}{"exact/s":>10}{"MMDet/s":>10}{"ratio":>8}{"exact":>8}')
    with tempfile.TemporaryDirectory() as folder:
        for name in PIPELINES:
            if options.only not in name:
                continue
            path = os.path.join(folder, f'{name}.py')
            with open(path, 'w') as f:
                f.write(f'train_dataloader = dict(batch_size=1, num_workers=0, dataset={dataset(options, PIPELINES[name])!r})\n')
            for decoded in (False, True):
                for workers in (1, 2):
                    rounds = []
                    for _ in range(options.rounds):
                        ours = [options.smalti, 'bench', path, '--data', '--json', '--device', options.device, '--workers', str(workers),
                                '--samples', str(options.samples * 10)] + ['--decoded'] * decoded
                        fused = json.loads(subprocess.run(ours, check=True, capture_output=True, text=True).stdout)['samples_per_second']
                        exact = json.loads(subprocess.run(ours + ['--exact'], check=True, capture_output=True, text=True).stdout)['samples_per_second']
                        theirs = [sys.executable, __file__, '--child', '--ann', options.ann, '--pictures', options.pictures, '--classes', *options.classes,
                                  '--samples', str(options.samples), '--pipeline', name, '--workers', str(workers)] + ['--decoded'] * decoded
                        peer = json.loads(subprocess.run(theirs, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1])
                        rounds.append((fused, exact, peer))
                    fused, exact, peer = (statistics.median(column) for column in zip(*rounds))
                    ratios = [statistics.median(r[i] / r[2] for r in rounds) for i in (0, 1)]
                    print(f'{name:<16}{"in memory" if decoded else "JPEG files":>12}{workers:>9}{fused:>11.0f}{exact:>10.0f}{peer:>10.0f}{ratios[0]:>8.1f}{ratios[1]:>8.1f}', flush=True)
                    rows.append(dict(pipeline=name, decoded=decoded, workers=workers, smalti=fused, exact=exact, mmdetection=peer, ratio=ratios[0], exact_ratio=ratios[1]))
    if options.json:
        with open(options.json, 'w') as f:
            json.dump(rows, f, indent=1)


if __name__ == '__main__':
    main()
