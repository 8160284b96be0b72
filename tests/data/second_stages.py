"""Expected values of second stages that are given proposals, sample in their own way, or suppress softly: what they find, and a step of training.

usage: second_stages.py OUT.jsonl
Rows as in `two-stage.jsonl.gz`, with `proposals` of each picture where the detector has no RPN: xyxy px, the i-th with the score 1 / (i + 1).
Weights and pictures by formula (`backbones.py`). Random samplers get num=1000000, so that nothing is drawn.
MMDetection 3.3.0, mmcv 2.1.0, torch 2.4.1.
"""
import copy, json, logging, sys, warnings

warnings.filterwarnings('ignore')
import numpy as np
import torch
from backbones import digest, fill, image, summary, tag, uniform
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

logging.disable(logging.WARNING)
SIZE = (192, 256)
GT = [dict(bboxes=[[20.5, 30.25, 90.75, 120.0], [100.0, 40.0, 230.5, 170.25], [60.0, 100.5, 85.25, 140.0], [5.0, 5.0, 25.0, 22.5]], labels=[0, 3, 1, 6]),
      dict(bboxes=[[150.0, 20.0, 250.0, 180.0]], labels=[2]),
      dict(bboxes=[], labels=[])]


def proposals(i):
    """60 boxes by formula, then the objects moved about: some overlap an object, most do not."""
    u = uniform(f'proposals.{i}', 240).reshape(60, 4).astype(np.float64)
    h, w = SIZE
    x, y = (u[:, 0] + 1) / 2 * (w - 20), (u[:, 1] + 1) / 2 * (h - 20)
    boxes = [np.stack([x, y, np.minimum(x + 12 + 60 * (u[:, 2] + 1), w), np.minimum(y + 12 + 50 * (u[:, 3] + 1), h)], 1)]
    for k, box in enumerate(GT[i]['bboxes']):
        off = uniform(f'moved.{i}.{k}', 24).reshape(6, 4)
        side = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        boxes.append(np.array(box) + 0.18 * off * side)
    return np.concatenate(boxes).clip(0, [w, h, w, h]).round(3).tolist()


def model(kind='FasterRCNN', roi='StandardRoIHead', sampler=None, head=None, mask=False, rcnn=None, test=None, rpn_test=None, extra=None, stages=None):
    coder = lambda stds: dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds=stds)
    extractor = lambda side: dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=side, sampling_ratio=0),
                                  out_channels=16, featmap_strides=[4, 8, 16, 32])
    box = dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=7, num_classes=7, bbox_coder=coder([0.1, 0.1, 0.2, 0.2]),
               reg_class_agnostic=False, loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
               loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))
    box.update(head or {})
    nms = dict(type='nms', iou_threshold=0.7)
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False, ignore_iof_thr=-1)
    learned = dict(assigner=assigner, sampler=sampler or dict(type='RandomSampler', num=1000000, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
                   mask_size=28, pos_weight=-1, debug=False)
    learned.update(rcnn or {})
    roi_head = dict(type=roi, bbox_roi_extractor=extractor(7), bbox_head=box)
    if mask:
        roi_head.update(mask_roi_extractor=extractor(14), mask_head=dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=7,
                                                                         loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)))
    if stages:
        roi_head.update(num_stages=stages, stage_loss_weights=[1, 0.5, 0.25][:stages], bbox_head=[copy.deepcopy(box) for _ in range(stages)])
        learned = [learned] * stages
    made = dict(
        type=kind,
        backbone=dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
                      norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
        rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16,
                      anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]), bbox_coder=coder([1., 1., 1., 1.]),
                      loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0), loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        roi_head=roi_head,
        train_cfg=dict(
            rpn=dict(assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True),
                     sampler=dict(type='RandomSampler', num=1000000, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False), allowed_border=-1, pos_weight=-1, debug=False),
            rpn_proposal=dict(nms_pre=2000, max_per_img=100, nms=nms, min_bbox_size=0), rcnn=learned),
        test_cfg=dict(rpn=dict(dict(nms_pre=300, max_per_img=100, nms=nms, min_bbox_size=0), **(rpn_test or {})),
                      rcnn=dict(dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5), **(test or {}))))
    made.update(extra or {})
    if kind == 'FastRCNN':
        del made['rpn_head'], made['train_cfg']['rpn'], made['train_cfg']['rpn_proposal'], made['test_cfg']['rpn']
    return made


HLR = dict(type='ScoreHLRSampler', num=1000000, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True, k=0.5, bias=0.)
OHEM = dict(type='OHEMSampler', num=64, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True)
IOU_BALANCED = dict(type='CombinedSampler', num=1000000, pos_fraction=0.25, add_gt_as_proposals=True, pos_sampler=dict(type='InstanceBalancedPosSampler'),
                    neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, floor_fraction=0, num_bins=3))
CASES = {
    'fast_rcnn': model('FastRCNN'),
    'fast_rcnn_mask': model('FastRCNN', mask=True),
    'fast_rcnn_libra': model('FastRCNN', sampler=IOU_BALANCED, head=dict(loss_bbox=dict(type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=1.0, loss_weight=1.0))),
    'fast_rcnn_cascade': model('FastRCNN', roi='CascadeRoIHead', stages=3, head=dict(reg_class_agnostic=True)),
    'fast_rcnn_ohem': model('FastRCNN', sampler=OHEM),
    'fast_rcnn_ohem_weighted': model('FastRCNN', sampler=dict(OHEM, num=32, neg_pos_ub=3), head=dict(loss_cls=dict(
        type='CrossEntropyLoss', loss_weight=0.7, class_weight=[0.5, 2.0, 1.5, 1.0, 3.0, 0.25, 1.0, 0.8]))),
    'fast_rcnn_cascade_ohem': model('FastRCNN', roi='CascadeRoIHead', stages=2, sampler=OHEM, head=dict(reg_class_agnostic=True)),
    'fast_rcnn_pisa': model('FastRCNN', 'PISARoIHead', HLR, rcnn=dict(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))),
    'fast_rcnn_pisa_few': model('FastRCNN', 'PISARoIHead', dict(HLR, num=40, pos_fraction=0.9, k=1.5, bias=0.1, score_thr=0.01, iou_thr=0.3),
                                rcnn=dict(isr=dict(k=1.5, bias=0.3), carl=dict(k=2, bias=0.1, sigmoid=True, avg_factor=37.0))),
    'pisa_faster': model('FasterRCNN', 'PISARoIHead', HLR, rcnn=dict(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))),
    'pisa_mask': model('MaskRCNN', 'PISARoIHead', HLR, mask=True, rcnn=dict(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))),
    'pisa_agnostic': model('FasterRCNN', 'PISARoIHead', dict(HLR, score_thr=2.0), head=dict(reg_class_agnostic=True, loss_bbox=dict(type='L1Loss', loss_weight=0.5)), rcnn=dict(carl=dict())),
    'pisa_isr_alone': model('FasterRCNN', 'PISARoIHead', HLR, rcnn=dict(isr=dict())),
    'soft_everywhere': model('MaskRCNN', mask=True, rpn_test=dict(nms=dict(type='soft_nms', iou_threshold=0.6, sigma=0.3, min_score=0.02, method='gaussian')),
                             test=dict(nms=dict(type='soft_nms', iou_threshold=0.4, min_score=0.04, method='linear'), score_thr=0.02)),
    'soft_naive_agnostic': model(rpn_test=dict(nms=dict(type='soft_nms', iou_threshold=0.7, min_score=0.05, method='naive')),
                                 test=dict(nms=dict(type='soft_nms', iou_threshold=0.5, sigma=0.4, min_score=0.1, method='gaussian', class_agnostic=True))),
}


def samples(n, given, learn, with_mask):
    h, w = SIZE
    out = []
    for i in range(n):
        s = DetDataSample()
        s.set_metainfo(dict(img_id=0, img_path='x.jpg', img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1.0, 1.0), flip=False))
        if given:
            boxes = torch.tensor(proposals(i), dtype=torch.float32)
            s.proposals = InstanceData(bboxes=boxes, scores=1 / torch.arange(1, len(boxes) + 1))
        if learn:
            g = GT[i]
            d = InstanceData(bboxes=torch.tensor(g['bboxes'], dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(g['labels'], dtype=torch.long))
            ignored = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
            if with_mask:  # the box, rounded out, less a fifth of its width on the left
                m = np.zeros((len(g['bboxes']), h, w), np.uint8)
                for k, (x1, y1, x2, y2) in enumerate(g['bboxes']):
                    m[k, int(np.floor(y1)):int(np.ceil(y2)), int(np.floor(x1 + (x2 - x1) / 5)):int(np.ceil(x2))] = 1
                d.masks = BitmapMasks(m, h, w)
                ignored.masks = BitmapMasks(np.zeros((0, h, w), np.uint8), h, w)
            s.gt_instances, s.ignored_instances = d, ignored
        out.append(s)
    return out


def start(name, cfg):
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(copy.deepcopy(cfg)))
    row = dict(file=name, model=tag(cfg))
    row['state'], row['alias'] = fill(built)
    if cfg['type'] == 'FastRCNN':
        row['proposals'] = [proposals(i) for i in range(3)]
    return built, row


def found(built, x, given):
    with torch.no_grad():
        p, = built.predict(x, samples(1, given, False, False), rescale=False)
    p = p.pred_instances[:100]
    out = dict(bboxes=p.bboxes.tolist(), scores=p.scores.tolist(), labels=p.labels.tolist())
    if 'masks' in p:
        out['mask_area'] = [int(m.sum()) for m in p.masks]
    return out


def matched(a, b):
    n, used = 0, set()
    for box, s, l in zip(a['bboxes'], a['scores'], a['labels']):
        for j, (box2, s2, l2) in enumerate(zip(b['bboxes'], b['scores'], b['labels'])):
            if j not in used and l == l2 and abs(s - s2) < 1e-3 and max(abs(p - q) for p, q in zip(box, box2)) < .1:
                used.add(j)
                n += 1
                break
    return n


def predict_row(name, cfg):
    built, row = start(name, cfg)
    built.eval()
    x, given = image(*SIZE), 'proposals' in row
    row['input'] = list(x.shape)
    if given:
        row['proposals'] = row['proposals'][:1]
    with torch.no_grad():
        parts = {'backbone': built.backbone(x), 'neck': built.extract_feat(x)}
        if not given:
            parts.update({f'rpn.{i}': maps for i, maps in enumerate(built.rpn_head(parts['neck']))})
    row['stages'] = {f'{name}.{i}': dict(shape=list(m.shape), **summary(m)) for name, maps in parts.items() for i, m in enumerate(maps)}
    row['predict'] = [found(built, x, given)]
    tries = [found(built, x * (1 + 1e-5 * torch.from_numpy(uniform(f'try.{t}', x.numel())).view(x.shape)), given) for t in range(3)]
    row['agree'] = min(matched(row['predict'][0], other) for other in tries)
    return row


def train_row(name, cfg):
    built, row = start(name, cfg)
    built.train()
    base = image(*SIZE)
    x = torch.cat([base, base.flip(3), base.flip(2)])
    with_mask = any('mask' in k for k, _ in built.named_parameters())
    row.update(input=list(x.shape), gt=GT, with_mask=with_mask)
    total, logs = built.parse_losses(built.loss(x, samples(3, 'proposals' in row, True, with_mask)))
    row['losses'] = {k: float(v) for k, v in logs.items() if k != 'loss'}
    row['total'] = float(total)
    total.backward()
    row['frozen'] = [k for k, q in built.named_parameters() if not q.requires_grad]
    row['grads'] = {k: digest(q.grad) for k, q in built.named_parameters() if q.grad is not None}
    row['running'] = {k: digest(v) for k, v in built.state_dict().items() if k.endswith(('running_mean', 'running_var'))}
    return row


register_all_modules()
init_default_scope('mmdet')
with open(sys.argv[1], 'w') as f:
    for make in (predict_row, train_row):
        for name, cfg in CASES.items():
            if make is train_row and name.startswith('soft'):
                continue
            try:
                row = make(name, cfg)
            except Exception as e:
                print(make.__name__, name, f'FAILED {type(e).__name__}: {e}'[:400], flush=True)
                continue
            f.write(json.dumps(row) + '\n')
            print(make.__name__, name, row.get('losses') or (row['agree'], len(row['predict'][0]['scores'])), flush=True)
