"""Groups of parameters that the constructors of MMEngine, MMDetection and MMPretrain make: groups.json.gz.

mmengine 0.10.7, MMDetection 3.3.0, MMPretrain 1.2.0, torch 2.4.1. A row: a model's parameters in order (name, shape, layer's kind, frozen), an
`optim_wrapper` as config text, the backbone's type, and PyTorch's groups: numbers of parameters, settings. Frozen parameters were unfrozen before, so
that they have the groups that they would have.
"""
import copy
import gzip
import json
import logging
import pathlib
import warnings

warnings.filterwarnings('ignore')
logging.disable(logging.WARNING)
import mmdet.engine  # noqa: E402,F401
import mmpretrain.engine  # noqa: E402,F401
import mmpretrain.models  # noqa: E402,F401
import torch  # noqa: E402
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmpretrain.registry import MODELS as PRETRAIN  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from torch import nn  # noqa: E402

register_all_modules()


def retina(backbone, channels, **neck):
    return dict(type='RetinaNet', backbone=backbone, neck=dict(type='FPN', in_channels=channels, out_channels=8, num_outs=5, **neck),
                bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8,
                               anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32, 64, 128]),
                               bbox_coder=dict(type='DeltaXYWHBBoxCoder')))


MOBILENET = retina(dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11)), [24, 48, 96], norm_cfg=dict(type='GN', num_groups=2))
RESNET = retina(dict(type='ResNet', depth=18, base_channels=4, frozen_stages=1, norm_eval=True), [4, 8, 16, 32], start_level=1)
DEFORM = retina(dict(type='ResNet', depth=50, base_channels=4, frozen_stages=1, dcn=dict(type='DCNv2', deform_groups=2), stage_with_dcn=(False, True, False, False)), [16, 32, 64, 128], start_level=1)
RTMDET = dict(type='RTMDet', backbone=dict(type='CSPNeXt', deepen_factor=0.167, widen_factor=0.0625, channel_attention=True, norm_cfg=dict(type='BN')),
              neck=dict(type='CSPNeXtPAFPN', in_channels=[16, 32, 64], out_channels=16, num_csp_blocks=1, expand_ratio=0.5, norm_cfg=dict(type='BN')),
              bbox_head=dict(type='RTMDetSepBNHead', num_classes=2, in_channels=16, stacked_convs=2, feat_channels=16, share_conv=True, exp_on_reg=False,
                             anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]), bbox_coder=dict(type='DistancePointBBoxCoder'),
                             norm_cfg=dict(type='BN')))
CONVNEXT = retina(dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 2, 10, 1], channels=[8, 16, 24, 32]), out_indices=[0, 1, 2, 3], gap_before_final_norm=False), [8, 16, 24, 32])
SMALL_CONVNEXT = retina(dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 3, 1], channels=[8, 16, 24, 32]), out_indices=[0, 1, 2, 3], gap_before_final_norm=False), [8, 16, 24, 32])
SWIN = retina(dict(type='mmpretrain.SwinTransformer', arch=dict(embed_dims=8, depths=[1, 2, 3, 1], num_heads=[1, 1, 1, 1]), out_indices=(1, 2, 3)), [16, 32, 64])
VIT = dict(type='mmpretrain.ImageClassifier', data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'), backbone=dict(type='mmpretrain.VisionTransformer', arch=dict(embed_dims=8, num_layers=4, num_heads=1, feedforward_channels=16), img_size=32),
           head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=8))
SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
ADAM = dict(type='AdamW', lr=0.0002, weight_decay=0.05)
NO_DECAY = dict(type='AdamW', lr=0.0002)


def w(optimizer, paramwise=None, **keys):
    wrapper = dict(optimizer=optimizer, **keys)
    if paramwise is not None:
        wrapper['paramwise_cfg'] = paramwise
    return wrapper


LAYERS = dict(constructor='mmdet.LearningRateDecayOptimizerConstructor')
DEPTHS = dict(constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor')
CASES = [
    (RESNET, w(SGD)),
    (RESNET, w(SGD, {})),
    (RESNET, w(SGD, dict(norm_decay_mult=0., bias_decay_mult=0., custom_keys={'backbone': dict(lr_mult=0.1), 'layer4': dict(lr_mult=0.5, decay_mult=0.2)}))),
    (RESNET, w(SGD, dict(bias_lr_mult=2., bias_decay_mult=0.))),
    (RESNET, w(SGD, dict(custom_keys={'conv1': dict(lr_mult=0.1), 'conv2': dict(lr_mult=0.2), '.bn1.': dict(decay_mult=0., momentum=0.5), 'bias': dict(lr_mult=3), 'ayer1': dict(lr_mult=4), 'layer2.0': dict(lr_mult=5)}))),
    (RESNET, w(SGD, dict(custom_keys={'neck': dict(), 'bbox_head.retina_cls.bias': dict(lr_mult=2, weight_decay=0.5, nesterov=True)}, bias_lr_mult=3.))),
    (DEFORM, w(SGD, dict(bias_lr_mult=2., bias_decay_mult=0., dcn_offset_lr_mult=0.1))),
    (DEFORM, w(ADAM, dict(bias_lr_mult=2., norm_decay_mult=0.5, flat_decay_mult=0.))),
    (MOBILENET, w(ADAM, dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True))),
    (MOBILENET, w(ADAM, dict(dwconv_decay_mult=0.3, norm_decay_mult=0.5, bias_decay_mult=0.7))),
    (MOBILENET, w(ADAM, dict(dwconv_decay_mult=0.3, flat_decay_mult=0.1))),
    (MOBILENET, w(ADAM, dict(flat_decay_mult=0., bias_lr_mult=0.5, dcn_offset_lr_mult=0.1))),
    (MOBILENET, w(NO_DECAY, dict(flat_decay_mult=0., bias_lr_mult=0.5))),
    (MOBILENET, w(NO_DECAY, dict(custom_keys={'backbone': dict(lr_mult=0.1)}))),
    (RTMDET, w(ADAM, dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True))),
    (RTMDET, w(ADAM)),
    (CONVNEXT, w(ADAM, dict(decay_rate=0.7, decay_type='layer_wise', num_layers=12), **LAYERS)),
    (SMALL_CONVNEXT, w(ADAM, dict(decay_rate=0.95, num_layers=6), **LAYERS)),
    (CONVNEXT, w(ADAM, dict(decay_rate=0.8, decay_type='stage_wise', num_layers=4), **LAYERS)),
    (CONVNEXT, w(ADAM, dict(layer_decay_rate=0.8, norm_decay_mult=0., flat_decay_mult=0., bias_decay_mult=0.5), **DEPTHS)),
    (SMALL_CONVNEXT, w(ADAM, dict(layer_decay_rate=0.8), **DEPTHS)),
    (SWIN, w(ADAM, dict(layer_decay_rate=0.9, norm_decay_mult=0., custom_keys={'.relative_position_bias_table': dict(decay_mult=0.), 'patch_embed': dict(decay_mult=0.5, eps=1e-6)}), **DEPTHS)),
    (VIT, w(ADAM, dict(layer_decay_rate=0.65, custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}), **DEPTHS)),
]


def kind(module, parent):
    if isinstance(parent, (DeformConv2d, ModulatedDeformConv2d)):
        return 'offsets'
    if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)):
        return 'norm'
    if isinstance(module, nn.Conv2d):
        return 'dwconv' if module.in_channels == module.groups else 'conv'
    return 'linear' if isinstance(module, nn.Linear) else 'other'


def text(value):
    if isinstance(value, dict):
        return '{' + ', '.join(f'{k!r}: {text(v)}' for k, v in value.items()) + '}'
    return repr(value)


models, rows = [], []
for config, wrapper in CASES:
    model = (PRETRAIN if config['type'].startswith('mmpretrain') else MODELS).build(copy.deepcopy(config))
    modules = dict(model.named_modules())
    frozen = [not p.requires_grad for p in model.parameters()]
    model.requires_grad_(True)
    parameters = [[key, list(p.shape), kind(*(modules[key.rsplit('.', i)[0] if key.count('.') >= i else ''] for i in (1, 2))), f] for (key, p), f in zip(model.named_parameters(), frozen)]
    names = {id(p): i for i, p in enumerate(model.parameters())}
    if 'mmpretrain' in wrapper.get('constructor', '') and not hasattr(model, 'get_layer_depth'):
        model.__dict__['get_layer_depth'] = lambda name, model=model: model.backbone.get_layer_depth(name, 'backbone.')
    made = build_optim_wrapper(model, copy.deepcopy(wrapper))
    groups = []
    for group in made.optimizer.param_groups:
        settings = {k: v for k, v in group.items() if k not in ('params', 'param_names', 'foreach', 'fused', 'capturable', 'differentiable')}
        groups.append([[names[id(p)] for p in group['params']], settings])
    shared = made.optimizer.defaults
    for _, settings in groups:
        for key in list(settings):
            if key in shared and settings[key] == shared[key]:
                del settings[key]
    of = dict(backbone=config['backbone']['type'], parameters=parameters)
    if of not in models:
        models.append(of)
    rows.append(json.dumps(dict(model=models.index(of), optim_wrapper=text(wrapper), groups=groups)))
body = '{"models": [\n' + ',\n'.join(map(json.dumps, models)) + '\n], "rows": [\n' + ',\n'.join(rows) + '\n]}\n'
path = pathlib.Path(__file__).with_suffix('.json.gz')
path.write_bytes(gzip.compress(body.encode(), 9, mtime=0))
print(len(models), len(rows), len(body))
