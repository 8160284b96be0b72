# The demo's detector as it was trained: on Mosaic for 40 epochs, without it for the last 14.
_base_ = './retinanet_mobilenetv3-small_fpn_digits.py'
img_scale = (320, 320)
max_epochs = 54

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='CachedMosaic', img_scale=img_scale, pad_val=114.0, max_cached_images=40),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-160, -160)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=False),
    dict(type='PackDetInputs')
]
last_pipeline = _base_.train_pipeline
train_dataloader = dict(num_workers=4, dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=2e-5, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=40, switch_pipeline=last_pipeline)]
