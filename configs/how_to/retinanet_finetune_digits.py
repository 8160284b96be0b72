# Fine-tuning on other classes: a trained digit detector learns to find ones and sevens alone. Its head is of ten classes, so that the tensor
# that tells classes apart does not fit and is drawn anew, which the run says; all else is taken over. First the new head learns alone,
# with the backbone frozen; from epoch 1 on (the second) the backbone learns too.
#
#     smalti train configs/how_to/retinanet_finetune_digits.py --plan
_base_ = '../demo/retinanet_mobilenetv3-small_fpn_digits.py'
load_from = 'configs/demo/digits.pth'
metainfo = dict(classes=('1', '7'))
max_epochs = 4

model = dict(
    # All of MobileNetV3-small's layers, batch norms too.
    backbone=dict(frozen_stages=12, norm_eval=False),
    bbox_head=dict(num_classes=2))
# Pictures without a one or a seven are left out of the training, not of the validation.
train_dataloader = dict(dataset=dict(metainfo=metainfo, filter_cfg=dict(filter_empty_gt=True)))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = dict(dataset=dict(metainfo=metainfo))

train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.0005))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [dict(type='UnfreezeBackboneEpochBasedHook', unfreeze_epoch=1)]
