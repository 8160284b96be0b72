# A backbone of timm through MMPretrain's wrapper: EfficientNet-B1 in RetinaNet.
_base_ = '../_base_/retinanet.py'
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='mmpretrain.TIMMBackbone', model_name='efficientnet_b1', features_only=True, pretrained=True, out_indices=(1, 2, 3, 4)),
    neck=dict(in_channels=[24, 40, 112, 320], start_level=1))
