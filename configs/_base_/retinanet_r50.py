# RetinaNet with ResNet-50.
_base_ = './retinanet.py'
model = dict(
    backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=True, style='pytorch'),
    neck=dict(in_channels=[256, 512, 1024, 2048], start_level=1))
