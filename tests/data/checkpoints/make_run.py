"""Makes `run.pth` beside this file: what a run of MMEngine's Runner saves, with torch 2.4.1 and mmengine 0.10.7 on the CPU.

python make_run.py, in an empty folder; the values that the script prints are checked in core/weights/src/tests/training.rs.
"""
import torch
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset


class Points(Dataset):
    metainfo = dict(classes=('cat', 'dog'), palette=[(220, 20, 60), (0, 0, 255)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.full((2, ), float(index)))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.bn = torch.nn.BatchNorm1d(3)
        self.unused = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.bn(self.linear(torch.stack(inputs))).square().sum())


torch.manual_seed(0)
runner = Runner(
    model=Model(),
    work_dir='.',
    experiment_name='points',
    randomness=dict(seed=3),
    train_dataloader=dict(
        batch_size=2, num_workers=0, dataset=Points(), sampler=dict(type='DefaultSampler', shuffle=True)),
    optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0.0)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=3),
        dict(type='MultiStepLR', milestones=[1, 8, 8], gamma=0.1, by_epoch=True),
    ],
    train_cfg=dict(by_epoch=True, max_epochs=2),
    default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    custom_hooks=[dict(type='EMAHook', momentum=0.5)],
)
runner.train()
saved = torch.load('epoch_2.pth')
# It has the folder that this ran in.
saved['message_hub']['runtime_info'].update(last_ckpt='epoch_2.pth')
torch.save(saved, 'run.pth')
for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub', 'meta'):
    print(part, saved[part])
