"""Orders and batches of mmengine's and MMDetection's own samplers: writes samplers.json.

Made with mmdet 3.3.0, mmengine 0.10.7, torch 2.4.1. GroupMultiSourceSampler is left out: it draws groups from numpy's global generator.
"""
import itertools
import json

from mmdet.datasets.samplers import AspectRatioBatchSampler, ClassAwareSampler, MultiSourceSampler
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler


class Known:
    """Sizes and labels of pictures, and where the data sets of a ConcatDataset end."""

    def __init__(self, pictures, ends):
        self.pictures, self.cumulative_sizes = pictures, ends
        self.metainfo = dict(classes=tuple('abcd'))
        self.datasets = [range(b - a) for a, b in zip([0] + ends, ends)]

    def __len__(self):
        return len(self.pictures)

    def get_data_info(self, i):
        return dict(width=self.pictures[i][0], height=self.pictures[i][1])

    def get_cat_ids(self, i):
        return self.pictures[i][2]


SAMPLERS = dict(DefaultSampler=DefaultSampler, InfiniteSampler=InfiniteSampler, ClassAwareSampler=ClassAwareSampler,
                MultiSourceSampler=MultiSourceSampler)


def data(n):
    labels = [[0], [1, 1, 3], [3, 0], [], [2, 0]]
    pictures = [[7, 5 + 3 * (i * 7 % 3 == 1), labels[i * i % 5]] for i in range(n)]
    return Known(pictures, [n // 3, n])


def batches(name, options, size, aspect, drop_last, n, epochs):
    sampler = SAMPLERS[name](data(n), **options)
    kind = AspectRatioBatchSampler if aspect else BatchSampler
    endless = name in ('InfiniteSampler', 'MultiSourceSampler')
    out = []
    if endless:
        # What is called an epoch is as many batches as the data set makes.
        each = n // size if drop_last else -(-n // size)
        stream = iter(kind(sampler, size, drop_last))
        return [list(itertools.islice(stream, each)) for _ in range(epochs)]
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        out.append([list(b) for b in kind(sampler, size, drop_last)])
    return out


cases = []
for name, options in [('DefaultSampler', dict(shuffle=True)), ('DefaultSampler', dict(shuffle=False)), ('InfiniteSampler', dict(shuffle=True)),
                      ('InfiniteSampler', dict(shuffle=False)), ('ClassAwareSampler', dict(num_sample_class=1)), ('ClassAwareSampler', dict(num_sample_class=3)),
                      ('MultiSourceSampler', dict(batch_size=4, source_ratio=[1, 3], shuffle=True))]:
    for n, seed, aspect, drop_last in itertools.product((1, 13, 64), (0, 5), (False, True), (False, True)):
        if name == 'MultiSourceSampler' and (n == 1 or aspect):
            continue
        size = options.get('batch_size', 4)
        cases.append(dict(sampler=name, options=dict(options, seed=seed), batch_size=size, aspect=aspect, drop_last=drop_last, pictures=n,
                          epochs=batches(name, dict(options, seed=seed), size, aspect, drop_last, n, 3)))
with open('samplers.json', 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
