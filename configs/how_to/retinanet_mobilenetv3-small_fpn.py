# A backbone of MMPretrain in a detector of MMDetection: MobileNetV3-small in RetinaNet.
_base_ = '../_base_/retinanet.py'
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11)),
    neck=dict(in_channels=[24, 48, 96], start_level=0))
