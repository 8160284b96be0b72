# Mosaic in any detector: its pictures come from MultiImageMixDataset, which holds the real data set. Here the digit detector, with Mosaic,
# RandomAffine and MixUp as YOLOX has them, and masks, which Smalti takes through all three.
#
#     smalti browse configs/how_to/retinanet_mosaic_digits.py --mode pipeline --index 3
_base_ = '../demo/retinanet_mobilenetv3-small_fpn_digits.py'
img_scale = (320, 320)

# The inner data set: load only. What is done to one picture before it is mixed also belongs here.
load_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
]
train_pipeline = [
    # Four pictures on a canvas of twice the size ...
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
    # ... of which a part, turned and scaled, is shown in the size that the model takes: the border cuts half a size from every side.
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-img_scale[0] // 2, -img_scale[1] // 2)),
    dict(type='MixUp', img_scale=img_scale, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='YOLOXHSVRandomAug'),
    # A mirrored digit is none, so no RandomFlip here.
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='CocoDataset',
            data_root='digits/',
            metainfo=dict(classes=('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')),
            ann_file='train.json',
            data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=False),
            pipeline=load_pipeline),
        pipeline=train_pipeline))
