from mmengine.config import read_base
from torch.optim import SGD
from mmdet.models import *
import torch.nn as nn

with read_base():
    from .base import *
    from .other import train as t

model.update(dict(backbone=dict(type=Resnet, act=nn.ReLU)))
optim = dict(optimizer=dict(type=SGD, lr=0.1))
t.pop('batch')
t.merge(dict(a=[1]))
#####
from mmdet.models.backbones import ResNet as Resnet
model = dict(backbone=dict(type=Resnet), list=[1, 2, 3])
#####
train = dict(batch=2)
