"""Makes `initial.json`: the values that MMDetection gives the parameters of small models.

python initial.py, with MMDetection 3.3.0, mmengine 0.10.7, mmpretrain 1.2.0, timm 0.9.16 and torch 2.4.1. For each model: its config, and of each
parameter, in the state dict's order, the first and the last value after `torch.manual_seed(0)`, building and `init_weights`, as a Runner of seed 0
does it; one number where both are the same.
"""
import json
import logging

import mmpretrain.models  # noqa: F401
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

logging.disable(logging.WARNING)
register_all_modules()


def ends(parameter):
    first, last = (float(f'{parameter.flatten()[i].item():.8g}') for i in (0, -1))
    return first if first == last else [first, last]


BN = dict(type='BN', requires_grad=True)
RESNET = dict(type='ResNet', depth=50, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3), norm_cfg=BN)
FPN = dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=32, num_outs=5)
PRE = dict(type='DetDataPreprocessor')
ANCHORS = dict(
    type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128])
RETINA = dict(
    type='RetinaHead', num_classes=3, in_channels=32, feat_channels=32, stacked_convs=2, anchor_generator=ANCHORS,
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='FocalLoss', use_sigmoid=True))
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
TRAIN = dict(assigner=ASSIGNER, allowed_border=-1, pos_weight=-1, debug=False)
SAMPLER = dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
TEST = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)


def retinanet(backbone, channels, start_level=1, **neck):
    neck = dict(FPN, in_channels=channels, start_level=start_level, add_extra_convs='on_input', **neck)
    return dict(type='RetinaNet', data_preprocessor=PRE, backbone=backbone, neck=neck, bbox_head=RETINA, train_cfg=TRAIN, test_cfg=TEST)


def fcos(**head):
    return dict(
        type='FCOS', data_preprocessor=PRE,
        backbone=dict(RESNET, norm_cfg=dict(type='BN', requires_grad=False), style='caffe', norm_eval=True),
        neck=dict(FPN, start_level=1, add_extra_convs='on_output', relu_before_extra_convs=True),
        bbox_head=dict(
            type='FCOSHead', num_classes=3, in_channels=32, feat_channels=32, stacked_convs=2, strides=[8, 16, 32, 64, 128], **head),
        train_cfg=TRAIN, test_cfg=TEST)


def yolox(**kwargs):
    model = dict(
        type='YOLOX', data_preprocessor=PRE,
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, use_depthwise=kwargs.pop('depthwise', False)),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=32, feat_channels=32),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)))
    model['bbox_head'].update(kwargs)
    return model


RPN = dict(
    type='RPN', data_preprocessor=PRE, backbone=RESNET, neck=FPN, train_cfg=dict(rpn=dict(TRAIN, sampler=SAMPLER)),
    rpn_head=dict(
        type='RPNHead', in_channels=32, feat_channels=32,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)))
MOBILENET = dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11))
SMALL = dict(RESNET, depth=18)


def with_part(model, part, **keys):
    return dict(model, **{part: dict(model[part], **keys)})


RESNET50 = retinanet(RESNET, [32, 64, 128, 256])
RESNET18 = retinanet(SMALL, [8, 16, 32, 64])
MODELS_OF = {
    'MobileNetV3': retinanet(MOBILENET, [24, 48, 96], start_level=0),
    'ResNet-50': RESNET50,
    'FCOS': fcos(),
    'YOLOX': yolox(),
    'YOLOX depthwise': yolox(depthwise=True, use_depthwise=True),
    'RPN': RPN,
    'RPN of three convolutions': with_part(RPN, 'rpn_head', num_convs=3),
    'EfficientNet-B1': retinanet(
        dict(type='mmpretrain.TIMMBackbone', model_name='efficientnet_b1', features_only=True, pretrained=False,
             out_indices=(1, 2, 3, 4)), [24, 40, 112, 320]),
    'ResNet-18': RESNET18,
    'ResNet-18 of no zeros': with_part(RESNET18, 'backbone', zero_init_residual=False, init_cfg=None),
    'ResNetV1d-50 of GN': retinanet(
        dict(RESNET, type='ResNetV1d', norm_cfg=dict(type='GN', num_groups=4)), [32, 64, 128, 256],
        norm_cfg=dict(type='GN', num_groups=4)),
    'parts of their own': with_part(
        with_part(
            with_part(RESNET18, 'backbone', init_cfg=[
                dict(type='TruncNormal', layer='Conv2d', std=0.02, a=-0.02, b=0.03, bias=0.1),
                dict(type='Uniform', layer=['_BatchNorm'], a=0.5, b=1.5, bias=0.25),
            ]),
            'neck', init_cfg=dict(type='Caffe2Xavier', layer='Conv2d', bias=0.5)),
        'bbox_head',
        init_cfg=dict(
            type='Xavier', gain=0.5, layer='Conv2d',
            override=[dict(name='retina_reg'), dict(type='Constant', name='retina_cls', val=0.25, bias_prob=0.02)])),
    'the whole before its parts': dict(
        with_part(with_part(RESNET18, 'neck', init_cfg=None), 'bbox_head', init_cfg=None),
        init_cfg=dict(
            type='Kaiming', a=0.1, mode='fan_in', nonlinearity='leaky_relu', layer=['Conv2d'],
            override=dict(type='Normal', name='neck', mean=1, std=0.1, bias=-1))),
    'ConvModules have a will of their own': with_part(
        retinanet(MOBILENET, [24, 48, 96], start_level=0), 'backbone',
        init_cfg=dict(type='Constant', val=5, bias=5, layer=['Conv2d', 'BatchNorm2d'])),
    'EfficientNet to its head': dict(
        retinanet(dict(type='mmpretrain.TIMMBackbone', model_name='efficientnet_b0', pretrained=False), [1280], start_level=0)),
    'FCOS of a normed classifier': fcos(cls_predictor_cfg=dict(type='NormedLinear', tempearture=20)),
    'timm before init_cfg': retinanet(
        dict(type='mmpretrain.TIMMBackbone', model_name='efficientnet_b0', features_only=True, pretrained=False,
             out_indices=(1, 2, 3, 4), init_cfg=dict(type='Kaiming', nonlinearity='tanh', layer='Conv2d')), [24, 40, 112, 320]),
    'YOLOX of its own': yolox(init_cfg=dict(type='Normal', std=0.1, layer='Conv2d')),
}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


rows = []
for name, config in MODELS_OF.items():
    torch.manual_seed(0)
    model = MODELS.build(plain(config))
    model.init_weights()
    values = [ends(parameter) for parameter in model.parameters()]
    rows.append(dict(name=name, model=repr(plain(config)), values=values))
    print(name, len(values))
with open('initial.json', 'w') as file:
    file.write('[\n' + ',\n'.join(json.dumps(row) for row in rows) + '\n]\n')
