"""Writes datasets.json.gz: small annotation files, configs of data sets, and what MMDetection's data sets make of them.

usage: datasets.py [SEED [CASES]] | gzip -9 > datasets.json.gz      made with mmdet 3.3.0, mmengine 0.10.7, pycocotools 2.0.11

LVIS's own package is not needed: the class below stands in for the part of it that MMDetection's data sets call.
"""
import collections, contextlib, io, json, os, random, sys, tempfile, types, warnings
warnings.filterwarnings('ignore')
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    from mmengine.config import Config
    from mmengine.logging import MMLogger
    from mmdet.utils import register_all_modules
    from mmdet.registry import DATASETS
    register_all_modules()
MMLogger.get_instance('mmengine').setLevel('ERROR')


class LVIS:
    def __init__(self, path):
        data = json.load(open(path))
        self.imgs = {i['id']: i for i in data['images']}
        self.cats = {c['id']: c for c in data['categories']}
        self.anns = {a['id']: a for a in data['annotations']}
        self.of_image, self.cat_img_map = collections.defaultdict(list), collections.defaultdict(list)
        for a in data['annotations']:
            self.of_image[a['image_id']].append(a)
            self.cat_img_map[a['category_id']].append(a['image_id'])

    def get_cat_ids(self): return list(self.cats)
    def get_img_ids(self): return list(self.imgs)
    def load_imgs(self, ids): return [self.imgs[i] for i in ids]
    def load_anns(self, ids): return [self.anns[i] for i in ids]
    def get_ann_ids(self, img_ids): return [a['id'] for i in img_ids for a in self.of_image[i]]


sys.modules['lvis'] = types.ModuleType('lvis')
sys.modules['lvis'].LVIS = LVIS
rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 1


def segmentation(w, h):
    kind = rng.randrange(8)
    if kind == 0: return []
    if kind == 1: return dict(counts=[rng.randrange(9) for _ in range(rng.randrange(1, 7))], size=[h, w])
    if kind == 2: return dict(counts='PQR04^o1', size=[h, w])
    if kind == 3: return [[1, 2, 3, 4]]  # too short for a polygon
    digits = rng.choice([1, 2, 14])
    return [[round(rng.random() * 99, digits) for _ in range(2 * rng.randrange(3, 6))] for _ in range(rng.randrange(1, 3))]


def box(w, h):
    kind = rng.randrange(9)
    x, y = rng.random() * w, rng.random() * h
    bw, bh = rng.random() * w, rng.random() * h
    if kind == 0: bw = rng.choice([0, -3, .5, .999, 1, 1.0001])
    if kind == 1: x = rng.choice([-bw, -bw - 1, -bw + .01, w, w - .01])
    if kind == 2: return [int(v) for v in (x, y, bw + 1, bh + 1)]
    digits = rng.choice([1, 2, 3, 12])
    return [round(v, digits) for v in (x, y, bw, bh)]


def coco(categories, pictures=12, text_ids=False, lvis=None, names='{}.jpg'):
    """A file with crowds, run lengths, odd boxes, empty and small pictures, and categories that nobody wants."""
    images, annotations = [], []
    ids = rng.sample(range(1, 99), pictures)
    for i in ids:
        w, h = rng.choice([(64, 48), (31, 80), (32, 32), (100, 60)])
        image = dict(id=str(i) if text_ids else i, file_name=names.format(i), width=w, height=h)
        if lvis: image['coco_url'] = f'http://images.cocodataset.org/{lvis}/{i:012d}.jpg'
        images.append(image)
    number = 0
    for _ in range(4 * pictures):
        image = rng.choice(images[:-2])  # the last two stay empty
        number += rng.randrange(1, 4)
        a = dict(id=number, image_id=image['id'], category_id=rng.choice(categories)['id'], bbox=box(image['width'], image['height']),
                 area=rng.choice([7.5, 100, 31, 0, -1][: 5 if rng.random() < .3 else 3]))
        if rng.random() < .8: a['iscrowd'] = int(rng.random() < .2)
        if rng.random() < .1: a['ignore'] = rng.choice([0, 1, True, False])
        if rng.random() < .8: a['segmentation'] = segmentation(image['width'], image['height'])
        annotations.append(a)
    rng.shuffle(annotations)
    return json.dumps(dict(info={}, images=images, annotations=annotations, categories=categories))


def cats(names, first=1):
    numbers = rng.sample(range(first, first + 3 * len(names)), len(names))
    return [dict(id=n, name=name, supercategory='s') for n, name in zip(numbers, names)]


def xml(classes, folder=None):
    w, h = rng.choice([(64, 48), (31, 80), (100, 60)])
    objects = ''
    for _ in range(rng.randrange(5)):
        x, y = rng.random() * 50 + 1, rng.random() * 30 + 1
        corner = [x, y, x + rng.random() * 40, y + rng.random() * 30]
        if rng.random() < .5: corner = [int(v) for v in corner]
        frame = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(['xmin', 'ymin', 'xmax', 'ymax'], corner))
        difficult = rng.choice(['', '<difficult>0</difficult>', '<difficult>1</difficult>'])
        part = '<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>' if rng.random() < .2 else ''
        objects += f'<object><name>{rng.choice(classes)}</name>{difficult}<bndbox>{frame}</bndbox>{part}</object>\n'
    folder = f'<folder>{folder}</folder>' if folder else ''
    return (f'<annotation verified="yes">{folder}<!-- made --><size><width>{w}</width><height>{h}</height><depth>3</depth></size>\n{objects}</annotation>')


def plain(v):
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    return v


def expected(config, files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            os.makedirs(os.path.dirname(f'{folder}/{name}') or folder, exist_ok=True)
            open(f'{folder}/{name}', 'w').write(text)
        old = os.getcwd()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                d = DATASETS.build(Config.fromstring(config, '.py').dataset)
        except Exception as e:
            return dict(error=f'{type(e).__name__}: {e}')
        finally:
            os.chdir(old)
    meta = d.metainfo[0] if isinstance(d.metainfo, list) else d.metainfo
    infos = []
    for i in range(len(d)):
        info = d.get_data_info(i)
        objects = [dict(bbox=plain(o['bbox']), label=o['bbox_label'], ignore=bool(o['ignore_flag']), mask=o.get('mask')) for o in info['instances']]
        infos.append([info['img_path'], info['img_id'], info['sample_idx'], info['width'], info['height'], objects])
    return dict(classes=plain(meta['classes']), palette=plain(meta.get('palette')), dataset_type=meta.get('dataset_type'), infos=infos)


cases, texts = [], {}


def case(name, config, files):
    numbers = {path: texts.setdefault(text, len(texts)) for path, text in files.items()}
    cases.append(dict(name=name, config=config, files=numbers, expected=expected(config, files)))


for _ in range(COUNT):
    abc = coco(cats(['cat', 'dog', 'person', 'zebra', 'unwanted']))
    two = "metainfo=dict(classes=('person', 'cat'), palette=[(1, 2, 3), (4, 5, 6)])"
    files = {'root/ann.json': abc}
    for name, more in [
        ('as it is', ''),
        ('filtered', 'filter_cfg=dict(filter_empty_gt=True, min_size=32)'),
        ('small ones only', 'filter_cfg=dict(min_size=50)'),
        ('test mode filters nothing', 'filter_cfg=dict(filter_empty_gt=True, min_size=32), test_mode=True'),
        ('the first four', 'indices=4'),
        ('the last three', 'indices=-3'),
        ('chosen', 'indices=[3, 0, -1, 3]'),
        ('all accepted', "serialize_data=False, lazy_init=False, max_refetch=3, backend_args=None, return_classes=True, seg_map_suffix='.tif'"),
    ]:
        case(f'coco: {name}', f"dataset = dict(type='CocoDataset', data_root='root/', ann_file='ann.json', data_prefix=dict(img='img/'), {two}, {more})", files)
    case('coco: its own classes', "dataset = dict(type='mmdet.CocoDataset', ann_file='root/ann.json', data_prefix=dict(img=''), filter_cfg=dict(filter_empty_gt=True))", files)
    case('coco: classes all', "dataset = dict(type='CocoDataset', ann_file='root/ann.json', data_prefix=dict(img='/abs'), data_root='root', metainfo=dict(classes=('cat', 'dog', 'person', 'zebra', 'unwanted')))",
         {'root/root/ann.json': abc})
    case('coco: text ids', f"dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i'), {two}, filter_cfg=dict(filter_empty_gt=True))",
         {'a.json': coco(cats(['cat', 'person', 'x']), text_ids=True)})
    twice = json.loads(abc)
    twice['images'].insert(3, dict(twice['images'][7], file_name='again.jpg', width=40))
    twice['annotations'].append(dict(twice['annotations'][0], id=1000, image_id=4711))
    case('coco: picture ids twice, a missing picture', f"dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i'), {two})", {'a.json': json.dumps(twice)})
    same = cats(['cat', 'dog', 'cat'])
    case('coco: a name twice', f"dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i'), {two})", {'a.json': coco(same)})
    case('coco: an id twice', "dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i'), metainfo=dict(classes=('cat', 'dog')))",
         {'a.json': coco([dict(id=1, name='cat'), dict(id=2, name='cow'), dict(id=1, name='dog')])})
    case('cityscapes', "dataset = dict(type='CityscapesDataset', ann_file='a.json', data_prefix=dict(img='i/'), filter_cfg=dict(filter_empty_gt=True, min_size=32))",
         {'a.json': coco(cats(['person', 'rider', 'car']), pictures=24)})
    case('deepfashion', "dataset = dict(type='DeepFashionDataset', ann_file='a.json', data_prefix=dict(img='i/'))", {'a.json': coco(cats(['top', 'hair']))})
    names = "metainfo=dict(classes=('a', 'b', 'c'))"
    for kind in ['LVISV05Dataset', 'LVISDataset', 'LVISV1Dataset']:
        file = coco(cats(['a', 'b', 'c']), lvis='val2017', names='COCO_val2014_{:012d}.jpg')
        case(kind, f"dataset = dict(type='{kind}', ann_file='a.json', data_prefix=dict(img='i/'), {names}, filter_cfg=dict(filter_empty_gt=True))", {'a.json': file})
    case('objects365 v1', f"dataset = dict(type='Objects365V1Dataset', ann_file='a.json', data_prefix=dict(img='i/'), {names})", {'a.json': coco(cats(['c', 'a', 'x', 'b']))})
    v2 = json.loads(coco(cats(['c', 'a', 'x', 'b']), names='images/v2/patch6/{}.jpg'))
    v2['images'][2]['file_name'] = 'images/v1/patch6/objects365_v1_00320532.jpg'
    case('objects365 v2', f"dataset = dict(type='Objects365V2Dataset', ann_file='a.json', data_prefix=dict(img='i/'), {names})", {'a.json': json.dumps(v2)})

    ids = [f'{i:06d}' for i in rng.sample(range(99), 6)]
    voc = {f'VOC2007/Annotations/{i}.xml': xml(['cat', 'dog', 'unicorn', 'tvmonitor']) for i in ids}
    voc['VOC2007/ImageSets/Main/t.txt'] = '\n'.join(ids) + '\n'
    voc = {f'data/{k}': v for k, v in voc.items()}
    head = "data_root='data/', ann_file='VOC2007/ImageSets/Main/t.txt', data_prefix=dict(sub_data_root='VOC2007/')"
    for name, more in [('as it is', ''), ('filtered', 'filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=20)'), ('two classes', "metainfo=dict(classes=('unicorn', 'dog')), indices=3")]:
        case(f'voc: {name}', f"dataset = dict(type='VOCDataset', {head}, {more})", voc)
    case('xml style', f"dataset = dict(type='XMLDataset', {head}, img_subdir='img', metainfo=dict(classes=['cat']), test_mode=True)", voc)
    wider = {f'data/Annotations/{i}.xml': xml(['face', 'x'], folder='5--Car') for i in ids} | {'data/t.txt': '\n'.join(ids)}
    case('wider face', "dataset = dict(type='WIDERFaceDataset', data_root='data/', ann_file='t.txt', data_prefix=dict(img=''), filter_cfg=dict(filter_empty_gt=True, bbox_min_size=17))", wider)

    inner = f"dict(type='CocoDataset', data_root='root/', ann_file='ann.json', data_prefix=dict(img='img/'), metainfo=dict(classes=('cat', 'dog', 'person', 'zebra')), filter_cfg=dict(filter_empty_gt=True))"
    for thr in [.05, .3, .9, 2.5]:
        case(f'class balanced {thr}', f"dataset = dict(type='ClassBalancedDataset', oversample_thr={thr}, dataset={inner})", files)
    case('repeated', f"dataset = dict(type='RepeatDataset', times=3, dataset={inner})", files)
    case('one after another', f"dataset = dict(type='ConcatDataset', datasets=[{inner}, dict(type='RepeatDataset', times=2, dataset={inner})])", files)
    case('other classes after', f"dataset = dict(type='ConcatDataset', datasets=[{inner}, dict(type='CocoDataset', ann_file='root/ann.json', data_prefix=dict(img='j'), {two})])", files)
    case('mixed', f"dataset = dict(type='MultiImageMixDataset', dataset={inner}, pipeline=[])", files)
json.dump(dict(texts=list(texts), cases=cases), sys.stdout, separators=(',', ':'))
