_base_ = 'mmdet::base.py'
a = {{_base_.model.backbone}}
b = '{{_base_.lr}}'
c = dict(x={{ _base_.list.0 }}, y=_base_.model.backbone.depth, z=_base_['lr'])
model = dict(_scope_='mmdet', backbone=dict(_delete_=True, a=1), **{{_base_.other}})
list = {0: dict(a=2), '1': 3}
#####
model = dict(backbone=dict(depth=50), neck=None)
list = [dict(a=1), dict(b=2)]
lr = 0.1
other = dict(k=(1, 2))
