_base_ = ['./base.py', 'other.py']
size = (640, 480)
model = dict(
    backbone=dict(_delete_=True, type='A', depth=18, scale=size),
    neck=dict(type='B', in_channels=[64 * 2**i for i in range(4)]))
pipeline = [dict(type='Load'), dict(type='Resize', scale=size, keep_ratio=True)]
pipeline[1]['scale'] = _base_.size
train = dict(dataset=dict(pipeline=pipeline, classes=('a', "b")))
test = {{_base_.train}}
del size
#####
model = dict(backbone=dict(type='C', depth=50), head=dict(num_classes=80))
train = dict(batch=2, lr=1e-3)
#####
size = [1, 2]
hooks = [dict(type='H', interval=1)]
