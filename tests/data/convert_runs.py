"""Runs what `smalti convert` makes in MMDetection, and compares its boxes with those of the software that it came from. Too slow for a test.

python convert_runs.py SMALTI ORACLE, the program and the folder with formula.py and golden/; torch 2.4.1, torchvision 0.19.1, MMDetection 3.3.0.
torchvision: random weights, a picture of 128x256. Detectron2: the golden rows of its models with FPN, weights and input by formula.
"""
import gzip
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torchvision.models import detection

TORCHVISION = ['fasterrcnn_resnet50_fpn', 'maskrcnn_resnet50_fpn', 'retinanet_resnet50_fpn']


def converted(smalti, command, source, folder, *options):
    """MMDetection's model with the converted weights and config."""
    target, config = str(folder / 'target.pth'), str(folder / 'config.py')
    subprocess.run([smalti, 'convert', command, source, target, '--config', config, *options], check=True, stdout=subprocess.DEVNULL)
    model = MODELS.build(Config.fromfile(config).model).eval()
    left = model.load_state_dict(torch.load(target, weights_only=True)['state_dict'], strict=False)
    missing = [key for key in left.missing_keys if not key.endswith('num_batches_tracked')]
    assert not missing and not left.unexpected_keys, (missing, left.unexpected_keys)
    return model


def predicted(model, batch):
    height, width = batch.shape[2:]
    size = (height, width)
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1., 1.)))
    with torch.no_grad():
        return model.predict(batch, [sample], rescale=False)[0].pred_instances


def same(found, boxes, scores, labels):
    """How many boxes are found, and the largest distance of those."""
    count, worst = 0, 0.
    for box, score, label in zip(boxes, scores, labels):
        apart = (found.bboxes - box).abs().max(1)[0] + (found.labels != label) * 1e4
        at = int(apart.argmin())
        if apart[at] < 0.1 and abs(found.scores[at] - score) < 1e-3:
            count, worst = count + 1, max(worst, float(apart[at]))
    return f'{count} of {len(boxes)} the same, at most {worst:.1e} px apart'


def randomize(model):
    """Weights that give scores and boxes apart from each other; RetinaNet's class 0, which is not converted, is never found."""
    generator = torch.Generator().manual_seed(1)
    def normal(value): return torch.randn(value.shape, generator=generator)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() >= 2:
                value.copy_(normal(value) * 1.2 / value[0].numel()**0.5)
            else:
                value.copy_(normal(value) * 0.05 + ('bn' in key and key.endswith('weight')))
            if key.endswith('bn3.weight'): value.mul_(0.3)
            if 'bbox_pred.weight' in key or 'bbox_reg.weight' in key: value.mul_(0.1)
            if 'classification_head.cls_logits.weight' in key: value[::5] = 0
            if 'classification_head.cls_logits.bias' in key: value.sub_(2)[::5] = -50
        for key, value in model.named_buffers():
            if 'running_var' in key: value.copy_(1 + 0.2 * normal(value).clamp(-2, 2))


def without_rounding(generator):
    """RetinaNet's anchors as MMDetection has them."""
    def cell(size):
        sizes = size * 2**(torch.arange(3.) / 3)
        high = torch.tensor([0.5, 1.0, 2.0]).sqrt()
        width, height = (1 / high[:, None] * sizes).view(-1), (high[:, None] * sizes).view(-1)
        return torch.stack([-width, -height, width, height], 1) / 2
    generator.cell_anchors = [cell(size) for size in (32, 64, 128, 256, 512)]


def of_torchvision(smalti, folder):
    height, width = 128, 256
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) + 20 * np.sin(x * y / 50) for c in range(3)]
    rgb = torch.from_numpy(np.stack(planes).clip(0, 255).astype(np.uint8))
    for name in TORCHVISION:
        model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5, min_size=height, max_size=width).eval()
        randomize(model)
        source = str(folder / 'source.pth')
        torch.save(model.state_dict(), source)
        ours = converted(smalti, 'torchvision-to-mmdet', source, folder)
        batch = ours.data_preprocessor(dict(inputs=[rgb.flip(0)], data_samples=[DetDataSample()]), False)['inputs']
        if 'retina' in name: without_rounding(model.anchor_generator)
        with torch.no_grad():
            theirs = model([rgb.float() / 255])[0]
        print(name, same(predicted(ours, batch), theirs['boxes'], theirs['scores'], theirs['labels'] - 1))


def of_detectron2(smalti, oracle, folder):
    sys.path.insert(0, oracle)
    from formula import image, weight
    for line in gzip.open(Path(oracle) / 'golden/detectron2.jsonl.gz', 'rt'):
        row = json.loads(line)
        state = {key: weight(key, shape) for key, shape in row['state']}
        if row['cfg']['MODEL']['RESNETS']['NORM'] == 'FrozenBN':
            # Buffers, which the rows leave as they are built.
            for key, value in state.items():
                if key.endswith('norm.weight'): value.fill(1)
                if key.endswith('norm.bias'): value.fill(0)
        source = str(folder / 'source.pkl')
        with open(source, 'wb') as file:
            pickle.dump({'model': state}, file)
        try:
            ours = converted(smalti, 'detectron2-to-mmdet', source, folder, '--native')
        except subprocess.CalledProcessError:
            print(row['case'], 'has no native form')
            continue
        expected = row['predict'][0]
        found = predicted(ours, torch.from_numpy(image(*row['input'][2:])))
        print(row['case'], same(found, *(torch.tensor(expected[key]) for key in ('bboxes', 'scores', 'labels'))), 'of', row['agree'])


def main():
    smalti, oracle = sys.argv[1:]
    register_all_modules()
    with tempfile.TemporaryDirectory() as folder:
        of_torchvision(smalti, Path(folder))
        of_detectron2(smalti, oracle, Path(folder))


main()
