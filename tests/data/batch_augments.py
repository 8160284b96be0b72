"""Batches that MMDetection's batch augments make, one after the other: batch_augments.json.

MMDetection 3.3.0, mmengine 0.10.7, torch 2.4.1. A row: augments as config text, a seed for Python's `random`, and batches of an iteration each. Pixels
are numbers by formula (`uniform` of core/src/losses/tests.rs); of what comes out, every 29th is stored.
"""
import json
import pathlib
import random
import warnings

warnings.filterwarnings('ignore')
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.logging import MessageHub  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

init_default_scope('mmdet')
hub = MessageHub.get_instance('batch_augments')
MessageHub.get_current_instance = classmethod(lambda cls: hub)


def uniform(seed, n):
    h = np.arange(n, dtype=np.uint32) * np.uint32(2654435761)
    h = h + np.uint32(seed * 2246822519 % 2**32) + np.uint32(374761393)
    for by, shift in ((2246822507, 16), (3266489909, 13)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(by)
    return ((h ^ (h >> np.uint32(16))) >> np.uint32(8)).astype(np.float64) / 2**24


def sample(seed, height, width, divisor):
    """A picture that is a little smaller than its batch, with two objects and one that is ignored."""
    sides = [width, height, width, height]
    boxes = np.sort(uniform(seed, 12).reshape(3, 2, 2), axis=1).reshape(3, 4) * sides
    boxes = torch.tensor(boxes, dtype=torch.float32)
    shape = (height - 1, width - 2)
    data = DetDataSample(metainfo=dict(
        img_shape=shape, pad_shape=tuple(-(-side // divisor) * divisor for side in shape)))
    data.gt_instances = InstanceData(bboxes=boxes[:2].clone())
    data.ignored_instances = InstanceData(bboxes=boxes[2:].clone())
    return data


RESIZE = "dict(type='BatchSyncRandomResize', random_size_range=(8, 24), interval=2, size_divisor=4)"
CASES = [
    ([RESIZE], 3, [(12, 16)] * 5 + [(10, 17)] * 4),
    (["dict(type='BatchSyncRandomResize', random_size_range=(48, 144), interval=1)"], 0, [(32, 32), (20, 41), (96, 64), (33, 40)]),
    (["dict(type='BatchSyncRandomResize', random_size_range=(9, 30), size_divisor=2)"], 5, [(12, 12)] * 12),
    (["dict(type='BatchFixedSizePad', size=(20, 24), img_pad_value=7)"], 0, [(12, 16), (22, 16), (20, 24), (30, 30)]),
    (["dict(type='BatchResize', scale=(24, 32), pad_size_divisor=8, pad_value=1.5)"], 0, [(12, 16), (40, 15), (100, 90), (24, 31)]),
    (["dict(type='BatchResize', scale=(30, 21))"], 0, [(12, 16), (21, 30)]),
    ([RESIZE, "dict(type='BatchFixedSizePad', size=(32, 32), img_pad_value=0.5)"], 8, [(16, 12)] * 5),
]

rows = []
for augments, seed, batches in CASES:
    random.seed(seed)
    chain = [MODELS.build(eval(text)) for text in augments]  # noqa: S307
    row = dict(augments=augments, seed=seed, steps=[])
    for i, (height, width) in enumerate(batches):
        hub.update_info('iter', i)
        pixels = torch.tensor(uniform(i, 4 * height * width).reshape(2, 2, height, width), dtype=torch.float32)
        samples = [sample(10 * i + k, height, width, 4) for k in range(2)]
        for augment in chain:
            pixels, samples = augment(pixels, samples)
        boxes = [torch.cat([s.gt_instances.bboxes, s.ignored_instances.bboxes]).double().flatten().tolist() for s in samples]
        row['steps'].append(dict(
            input=[height, width],
            shape=list(pixels.shape[2:]),
            pixels=[round(v, 7) for v in pixels.double().flatten()[::29].tolist()],
            boxes=[[round(v, 6) for v in picture] for picture in boxes],
            img_shape=[list(s.img_shape) for s in samples],
            pad_shape=[list(s.pad_shape) for s in samples],
            scale_factor=[list(s.get('scale_factor', (1.0, 1.0))) for s in samples],
        ))
    rows.append(row)

path = pathlib.Path(__file__).with_suffix('.json')
path.write_text('[\n' + ',\n'.join(json.dumps(row, separators=(',', ':')) for row in rows) + '\n]\n')
