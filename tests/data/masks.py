"""Writes masks.json: what MMDetection's BitmapMasks and PolygonMasks make of small masks, one operation a row.

usage: masks.py > masks.json      made with mmdet 3.3.0, mmcv 2.1.0, pycocotools 2.0.11, shapely 2.2.0 (GEOS 3.14.1), OpenCV 4.11
A row: {size [w, h], polygons or bitmaps (COCO's text), op, out: {size, bitmaps (COCO's text), areas, boxes}}.
"""
import json, sys, warnings
warnings.filterwarnings('ignore')
import cv2, numpy as np, pycocotools.mask as M
from mmdet.structures.mask import BitmapMasks, PolygonMasks

rng = np.random.default_rng(4)
text = lambda b: M.encode(np.asfortranarray(np.asarray(b).astype(np.uint8)))['counts'].decode()
some = lambda a, b: int(rng.integers(a, b))

def ring(w, h, kind):
    n = some(3, 10)
    if kind == 0: p = rng.uniform(-.3, 1.3, (n, 2)) * [w, h]          # anything, mostly crossing itself
    elif kind == 1: p = np.round(rng.uniform(-.1, 1.1, (n, 2)) * [w, h])  # whole numbers
    else:                                                                # around a point
        a, r = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(.1, .6, n)
        p = (rng.uniform(.2, .8, 2) + np.stack([np.cos(a), np.sin(a)], 1) * r[:, None]) * [w, h]
    if rng.random() < .2: p = np.concatenate([p, p[:1]])
    return np.round(p, 3).reshape(-1).tolist()

def bitmap(w, h):
    z = np.zeros((h, w), np.uint8)
    cv2.ellipse(z, (some(0, w), some(0, h)), (some(1, w + 1), some(1, h + 1)), float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return z

def ops(w, h):
    sign, share = lambda a: float(np.round(rng.uniform(-a, a), 2)), bool(rng.random() < .5)
    x, y = some(0, w), some(0, h)
    yield ['fill']
    yield ['resize', [some(1, 40), some(1, 40)]]
    yield ['flip', str(rng.choice(['horizontal', 'vertical', 'diagonal']))]
    yield ['pad', [w + some(0, 5), h + some(0, 5)], some(0, 2)]
    yield ['crop', [x, y, some(x, w + 1), some(y, h + 1)]]
    yield ['translate', [some(1, 40), some(1, 40)], sign(10), share, bool(rng.random() < .5)]
    yield ['shear', [w, h], sign(.5), share, bool(rng.random() < .5)]
    yield ['rotate', [w, h], sign(180), [(w - 1) * .5, (h - 1) * .5], float(np.round(rng.uniform(.5, 1.5), 2)), bool(rng.random() < .5)]

def run(m, op):
    name, a = op[0], op[1:]
    kernel, way = 'bilinear' if a and a[-1] is True else 'nearest', lambda b: 'horizontal' if b else 'vertical'
    if name == 'fill': return m
    if name == 'resize': return m.resize(tuple(a[0][::-1]))
    if name == 'flip': return m.flip(a[0])
    if name == 'pad': return m.pad(tuple(a[0][::-1]), a[1])
    if name == 'crop': return m.crop(np.array(a[0]))
    if name == 'translate': return m.translate(tuple(a[0][::-1]), a[1], way(a[2]), 0, kernel)
    if name == 'shear': return m.shear(tuple(a[0][::-1]), a[1], way(a[2]), 0, kernel)
    return m.rotate(tuple(a[0][::-1]), a[1], tuple(a[2]), a[3], 0, kernel)

rows = []
for kind in 'polygons', 'bitmaps':
    for _ in range(6 if kind == 'polygons' else 4):
        w, h = some(1, 30), some(1, 30)
        for op in ops(w, h):
            if kind == 'polygons':
                given = [[ring(w, h, some(0, 3) if op[0] in ('fill', 'crop') else 2) for _ in range(some(1, 3))] for _ in range(2)]
                m = PolygonMasks([[np.array(p) for p in q] for q in given], h, w)
            else:
                bits = [bitmap(w, h) for _ in range(some(1, 4))]
                m, given = BitmapMasks(bits, h, w), [text(b) for b in bits]
            out = run(m, op)
            rows.append({'size': [w, h], kind: given, 'op': op, 'out': dict(size=[int(out.width), int(out.height)], bitmaps=[text(b) for b in out.to_ndarray()],
                         areas=[float(v) for v in out.areas], boxes=out.get_bboxes('hbox').tensor.tolist())})
print('[' + ',\n'.join(json.dumps(r) for r in rows) + ']')
