"""Makes the small checkpoints beside this file, with torch 2.4.1, mmengine 0.10.7, MMDetection 3.3.0 and numpy 1.26.4.

python make.py; the values are checked in core/weights/src/tests.rs, those of proposals.pkl in core/weights/src/proposals.rs.
"""
import collections
import pickle

import numpy as np
import torch
from mmdet.evaluation import DumpProposals
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

weight = (torch.arange(12.0) / 8).reshape(3, 4)
averaged = collections.OrderedDict()
averaged['module.a.weight'] = weight
averaged['module.a.tied'] = weight
averaged['module.a.transposed'] = weight.t()
averaged['module.a.slice'] = weight[1:, ::2]
averaged['module.half'] = torch.tensor([1.5, -2.0]).half()
averaged['module.bf16'] = torch.nn.Parameter(torch.tensor([3.0, -0.5]).bfloat16())
averaged['module.bn.num_batches_tracked'] = torch.tensor(7)
averaged['module.empty'] = torch.zeros(0, 3)
averaged['module.flags'] = torch.tensor([True, False])
averaged['module.sparse'] = torch.eye(2).to_sparse()
averaged._metadata = collections.OrderedDict({'': {'version': 1}})
trained = {'module.a.weight': weight + 1, 'steps': torch.tensor(3)}

checkpoint = dict(
    meta=dict(epoch=np.int64(2), iter=40, mmengine_version='0.10.7', cfg='max_epochs = 2\n',
              dataset_meta=ConfigDict(classes=('cat', 'dog'))),
    state_dict=averaged,
    ema_state_dict=trained,
    message_hub=dict(info=ConfigDict(a=ConfigDict(b=(1, 2))), loss=HistoryBuffer([1.0], [1])),
    optimizer=dict(state={0: dict(momentum_buffer=torch.ones(3, 4))}, param_groups=[dict(lr=0.1)]),
)
torch.save(checkpoint, 'zip.pth')
torch.save(checkpoint, 'legacy.pth', _use_new_zipfile_serialization=False)

arrays = {
    'conv1.weight': np.arange(6, dtype='f4').reshape(2, 3) * 0.5,
    'columns': np.asfortranarray(np.arange(6, dtype='f4').reshape(2, 3)),
    'big_endian': np.array([1.5, -2.0], dtype='>f8'),
    'bytes': np.array([200, 255, 10, 13], dtype='u1'),
}
for protocol in range(6):
    with open(f'detectron2-p{protocol}.pkl', 'wb') as file:
        pickle.dump({'model': arrays, '__author__': 'someone'}, file, protocol=protocol)

dump = DumpProposals(output_dir='.', proposals_file='proposals.pkl')
boxes = torch.tensor([[0.0, 0.0, 8.0, 9.5], [1.5, 2.0, 30.25, 40.0]])
for path, found in (('root/val/a.jpg', boxes), ('root/val/b.jpg', boxes[:0])):
    scores = torch.tensor([0.25, 0.75])[:len(found)]
    dump.process({}, [dict(img_path=path, pred_instances=dict(bboxes=found, scores=scores))])
dump.evaluate(2)
