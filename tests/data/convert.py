"""Makes convert.json: small checkpoints by formula, and what MMDetection's own converters make of them.

python convert.py TOOLS, where TOOLS is tools/model_converters of MMDetection 3.3.0 (mmdet/.mim/tools/model_converters of its wheel); torch 2.4.1,
mmengine 0.10.7. The values are compared in core/weights/src/convert/tests.rs.
"""
import collections
import contextlib
import importlib
import io
import json
import math
import pickle
import sys
import tempfile
from pathlib import Path

import torch


def tensors(shapes):
    """The i-th value of the n-th tensor is 1000 n + i."""
    made = collections.OrderedDict()
    for n, (key, shape) in enumerate(shapes):
        values = torch.arange(float(math.prod(shape))) + 1000 * n
        made[key] = values.reshape(shape)
    return made


def described(state):
    """Names, shapes, and a sum of values that tells their order."""
    def check(tensor):
        values = tensor.flatten().long().tolist()
        return sum((i + 1) * value for i, value in enumerate(values)) % 1000003
    return [[key, list(value.shape), check(value)] for key, value in state.items()]


def layer(name, *shape):
    return [(f'{name}.weight', shape), (f'{name}.bias', shape[:1])]


def norm(name, size):
    return [(f'{name}.{part}', (size,)) for part in ('weight', 'bias', 'running_mean', 'running_var')]


TWO_STAGE = "old.py\nmodel = dict(type='MaskRCNN', rpn_head=dict(type='RPNHead'), bbox_head=dict(type='SharedFCBBoxHead'{}))"
OLD_MASK = (layer('backbone.conv1', 2, 3) + layer('rpn_head.rpn_cls', 3, 2, 1, 1) + layer('rpn_head.rpn_reg', 12, 2, 1, 1)
            + layer('bbox_head.fc_cls', 5, 3) + layer('bbox_head.fc_reg', 20, 3) + layer('mask_head.convs.0.conv', 2, 2, 1, 1)
            + layer('mask_head.conv_logits', 5, 2, 1, 1))
OLD_RETINA = (layer('backbone.conv1', 2, 3) + layer('bbox_head.cls_convs.0', 2, 2, 1, 1) + layer('bbox_head.reg_convs.3', 2, 2, 1, 1)
              + layer('bbox_head.retina_cls', 36, 2, 1, 1) + layer('bbox_head.retina_reg', 36, 2, 1, 1))
OLD_SSD = (layer('backbone.features.0', 2, 3, 1, 1) + layer('backbone.extra.0', 2, 2, 1, 1) + layer('backbone.extra.3', 2, 2, 3, 3)
           + [('backbone.l2_norm.weight', (4,))] + layer('bbox_head.cls_convs.0', 20, 2, 1, 1) + layer('bbox_head.reg_convs.5', 16, 2, 1, 1))

ROWS = [
    ('detectron2_to_mmdet', {}, {}, layer('backbone.bottom_up.stem.conv1', 4, 3) + layer('roi_heads.box_head.fc1', 3, 5)),
    ('detectron2_to_mmdet', dict(prefix='model'), {}, layer('proposal_generator.rpn_head.conv', 2, 2, 3, 3)),
    ('regnet2mmdet', {}, {},
     layer('stem.conv', 2, 3) + norm('stem.bn', 2) + layer('s1.b1.proj', 4, 2) + norm('s1.b1.bn', 4) + layer('s1.b1.f.a', 4, 2)
     + norm('s1.b1.f.a_bn', 4) + layer('s1.b1.f.b', 4, 2) + norm('s1.b1.f.b_bn', 4) + layer('s3.b12.f.c', 4, 2)
     + norm('s3.b12.f.c_bn', 4) + layer('head.fc', 5, 4) + layer('other', 2, 2)),
    ('upgrade_model_version', dict(num_classes=5), dict(mmdet_version='1.0.0', config=TWO_STAGE.format('')), OLD_MASK),
    ('upgrade_model_version', dict(num_classes=5), dict(mmdet_version='1.2.0', config=TWO_STAGE.format(', reg_class_agnostic=True')),
     layer('rpn_head.rpn_cls', 3, 2) + layer('bbox_head.fc_cls', 5, 3) + layer('bbox_head.fc_reg', 4, 3)
     + layer('mask_head.conv_logits', 1, 2, 1, 1) + layer('semantic_head.conv_logits', 7, 2)),
    ('upgrade_model_version', dict(num_classes=5),
     dict(mmdet_version='0.5.3', config="old.py\nmodel = dict(type='RetinaNet', bbox_head=dict(type='RetinaHead'))"), OLD_RETINA),
    ('upgrade_model_version', dict(num_classes=5),
     dict(mmdet_version='1.1.0', config="old.py\nmodel = dict(type='SingleStageDetector', bbox_head=dict(type='SSDHead'))"), OLD_SSD),
    ('upgrade_ssd_version', {}, dict(mmdet_version='2.14.0', config="old.py\nmodel = dict(type='SingleStageDetector', bbox_head=dict(type='SSDHead'))"),
     OLD_SSD),
]


def converted(tools, tool, args, meta, shapes, folder):
    state = tensors(shapes)
    source, target = str(folder / 'source.pkl'), str(folder / 'target.pth')
    if tool == 'detectron2_to_mmdet':
        with open(source, 'wb') as file:
            pickle.dump({'model': {key: value.numpy() for key, value in state.items()}}, file)
    elif tool == 'regnet2mmdet':
        torch.save({'model_state': state}, source)
    else:
        torch.save({'meta': meta, 'state_dict': state}, source)
    sys.path.insert(0, tools)
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(tool).convert(source, target, **args)
    return torch.load(target)['state_dict']


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for tool, args, meta, shapes in ROWS:
            made = converted(sys.argv[1], tool, args, meta, shapes, Path(folder))
            rows.append(dict(tool=tool, args=args, meta=meta, source=[[key, list(shape)] for key, shape in shapes],
                             target=described(made)))
    Path(__file__).with_suffix('.json').write_text('[\n' + ',\n'.join(map(json.dumps, rows)) + '\n]\n')


main()
