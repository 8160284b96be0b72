"""Expected values of `core/src/ops/detections_tests.rs`: MMDetection's own post-processing.

MMDetection 3.3.0, mmcv 2.1.0, torch 2.4.1, CPU. Head outputs are made by the generator of
shaders/src/reference/random.rs, so only the detections are stored: how many, and the first 12.
Run: python postprocess.py > postprocess.json
"""
import json

import numpy as np
import torch
from mmdet.models.dense_heads import RetinaHead
from mmengine.config import ConfigDict

MASK = (1 << 64) - 1


class Random:
    def __init__(self, seed):
        self.s = (seed * 0x9E3779B97F4A7C15 & MASK) | 1

    def bits(self):
        self.s ^= self.s >> 12
        self.s ^= self.s << 25 & MASK
        self.s ^= self.s >> 27
        return (self.s * 0x2545F4914F6CDD1D & MASK) >> 32

    def array(self, shape, scale, offset):
        n = int(np.prod(shape))
        v = np.array([self.bits() >> 8 for _ in range(n)], np.float32)
        v = v / np.float32(1 << 24) * np.float32(scale) + np.float32(offset)
        return torch.from_numpy(v.reshape(shape))


SIZES = [[12, 20], [6, 10], [3, 5]]
METAS = [
    dict(img_shape=[90, 155], scale_factor=[1.0, 1.0]),
    dict(img_shape=[96, 131], scale_factor=[1.6, 1.5]),
]
BASE = dict(nms_pre=200, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=12)
CASES = [
    ('base', {}, {}, {}, False),
    ('rescaled', {}, {}, {}, True),
    ('softmax', dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False)), {}, dict(score_thr=0.3), False),
    ('class agnostic', {}, {}, dict(nms=dict(type='nms', iou_threshold=0.3, class_agnostic=True)), True),
    ('soft linear', {}, {}, dict(nms=dict(type='soft_nms', iou_threshold=0.3, min_score=0.05)), False),
    ('soft gaussian', {}, {}, dict(nms=dict(type='soft_nms', method='gaussian', sigma=0.7)), False),
    ('no clip, few', {}, dict(clip_border=False, target_means=[0.1, 0.0, -0.1, 0.2]), dict(nms_pre=15, max_per_img=-1), False),
    ('all, split', {}, {}, dict(nms_pre=-1, score_thr=0.8, max_per_img=-40,
                                nms=dict(type='nms', iou_threshold=0.6, split_thr=100)), False),
    ('centre clamp, large only', {}, dict(add_ctr_clamp=True, ctr_clamp=4), dict(min_bbox_size=40), True),
]


def main():
    out = []
    for name, head, coder, test, rescale in CASES:
        test_cfg = dict(BASE, **test)
        cfg = dict(
            num_classes=4, in_channels=8,
            anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=2,
                                  ratios=[0.5, 2.0], strides=[8, 16, 32]),
            bbox_coder=dict(dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4, target_stds=[.5, .5, .3, .3]), **coder),
            test_cfg=test_cfg, **head)
        model = RetinaHead(**ConfigDict(cfg))
        channels = model.cls_out_channels
        rng = Random(11)
        cls, box = [], []
        for h, w in SIZES:
            cls.append(rng.array([2, 4 * channels, h, w], 10, -7))
            box.append(rng.array([2, 16, h, w], 4, -2))
        found = model.predict_by_feat(cls, box, batch_img_metas=METAS, cfg=ConfigDict(test_cfg), rescale=rescale)
        out.append(dict(
            name=name, channels=channels, test_cfg=test_cfg, coder=dict(cfg['bbox_coder']), rescale=rescale,
            pictures=[dict(count=len(f), boxes=[[round(float(v), 4) for v in b] for b in f.bboxes[:12].tolist()],
                           scores=[round(float(v), 6) for v in f.scores[:12].tolist()],
                           labels=f.labels[:12].tolist()) for f in found]))
    base = [[[float(v) for v in a] for a in level.tolist()] for level in model.prior_generator.base_anchors]
    rows = ',\n'.join(json.dumps(row) for row in out)
    print('{"sizes": %s, "metas": %s, "base_anchors": %s, "cases": [\n%s\n]}' %
          (json.dumps(SIZES), json.dumps(METAS), json.dumps(base), rows))


main()
