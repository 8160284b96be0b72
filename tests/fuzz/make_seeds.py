"""Makes the binary seeds: python make_seeds.py, with Pillow for the pictures. Texts in seeds/ are written by hand.

Neither torch nor numpy: what a pickle calls is only a name, made here.
"""
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

SEEDS = Path(__file__).parent / 'seeds'


def name(path):
    """Something that pickles as a class or function of this dotted name."""
    module, _, last = path.rpartition('.')
    parts = module.split('.')
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault('.'.join(parts[:end]), types.ModuleType('.'.join(parts[:end])))
    if not hasattr(sys.modules[module], last):
        setattr(sys.modules[module], last, type(last, (), {'__module__': module}))
    return getattr(sys.modules[module], last)


class Call:
    def __init__(self, function, *args):
        self.call = name(function), args

    def __reduce__(self):
        return self.call


class Storage:
    def __init__(self, kind, key, count):
        self.id = 'storage', name(f'torch.{kind}Storage'), key, 'cpu', count


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.id if isinstance(thing, Storage) else None


class Legacy(Pickler):
    def persistent_id(self, thing):
        return (*thing.id, None) if isinstance(thing, Storage) else None


def tensor(storage, size, stride, offset=0):
    return Call('torch._utils._rebuild_tensor_v2', storage, offset, size, stride, False, OrderedDict())


def pickled(thing, protocol=2, pickler=Pickler):
    out = io.BytesIO()
    pickler(out, protocol).dump(thing)
    return out.getvalue()


BYTES = {'0': struct.pack('<6f', 1, -2, 3.5, 0, 1e-3, 6), '1': struct.pack('<q', 7), '2': b'\0\x3c\0\xc0'}
a, b, c = Storage('Float', '0', 6), Storage('Long', '1', 1), Storage('Half', '2', 2)
state = OrderedDict({
    'backbone.conv.weight': tensor(a, (2, 3), (3, 1)),
    'backbone.conv.turned': tensor(a, (2, 2), (1, 2), 1),
    'backbone.bn.num_batches_tracked': tensor(b, (), ()),
    'head.bias': Call('torch._utils._rebuild_parameter', tensor(c, (2,), (1,)), True, OrderedDict()),
    'head.wide': tensor(c, (3, 2), (0, 1)),
})
training = dict(
    meta=dict(epoch=2, iter=40, mmengine_version='0.10.7', cfg='a = 1\n', dataset_meta=dict(CLASSES=('cat', 'dog'))),
    state_dict=state, optimizer=dict(lr=[0.1], state={0: dict(step=1)}), message_hub=Call('mmengine.Hub', 1))

run = dict(
    training,
    ema_state_dict=OrderedDict({'steps': tensor(b, (), ()), 'module.head.bias': tensor(c, (2,), (1,))}),
    optimizer=dict(
        state={0: dict(step=1, exp_avg=tensor(a, (2, 3), (3, 1)))}, param_groups=[dict(lr=0.1, betas=(0.9, 0.999), params=[0])]),
    param_schedulers=[dict(milestones=Call('collections.Counter', {8: 1}), last_step=2)],
    message_hub=dict(log_scalars={}, runtime_info=dict(iter=39), resumed_keys={}), mine=dict(random=[1, None]))


def archive(thing, compressed, checksums=True):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as file:
        file.writestr('a/data.pkl', pickled(thing))
        if checksums:
            file.writestr('a/byteorder', 'little')
        for key, data in BYTES.items():
            file.writestr(f'a/data/{key}', data)
    data = bytearray(out.getvalue())
    if not checksums:
        for mark, at in ((b'PK\3\4', 14), (b'PK\1\2', 16)):
            found = data.find(mark)
            while found >= 0:
                data[found + at:found + at + 4] = bytes(4)
                found = data.find(mark, found + 4)
    return bytes(data)


def legacy(thing, protocol=2):
    counts = {'0': 6, '1': 1, '2': 2}
    system = dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4))
    parts = [0x1950a86a20f9469cfc6c, 1001, system]
    out = b''.join(pickle.dumps(part, protocol) for part in parts)
    out += pickled(thing, protocol, Legacy) + pickle.dumps(list(counts), protocol)
    return out + b''.join(struct.pack('<q', count) + BYTES[key] for key, count in counts.items())


def array(kind, shape, data, protocol):
    dtype = Call('numpy.dtype', kind, False, True)
    dtype.call += ((3, '<', None, None, None, -1, -1, 0),)
    made = Call('numpy.core.multiarray._reconstruct', name('numpy.ndarray'), (0,), b'b')
    made.call += ((1, shape, dtype, False, data),)
    return made


def arrays(protocol):
    model = {'conv.weight': array('f4', (2, 3), BYTES['0'], protocol), 'bytes': array('u1', (4,), b'ab\r\xff', protocol)}
    return pickled({'model': model, '__author__': 'someone', 'set': {1}, 'float': [1.5, None, True, 1 << 70]}, protocol)


def cbor(value):
    def head(kind, number):
        return bytes([kind << 5 | number]) if number < 24 else bytes([kind << 5 | 25]) + struct.pack('>H', number)
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, str):
        return head(3, len(value)) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b''.join(map(cbor, value))
    return head(5, len(value)) + b''.join(cbor(key) + cbor(item) for key, item in value.items())


def burnpack():
    entry = lambda dtype, shape, end: dict(dtype=dtype, shape=shape, data_offsets=[0, end], param_id=3)
    header = cbor(dict(tensors={'a.weight': entry('F32', [2, 3], 24), 'b': entry({'Bool': 'Native'}, [1], 1)}, metadata=dict(by='x')))
    file = b'NRUB' + struct.pack('<HI', 1, len(header)) + header
    return file + bytes(-len(file) % 256) + BYTES['0']


def write(target, files):
    for file, data in files.items():
        (SEEDS / target / file).write_bytes(data)


write('checkpoint', {
    'stored.pth': archive(training, False),
    'run.pth': archive(run, False),
    'deflated.pth': archive(training, True),
    'no_checksums.pth': archive(training, False, False),
    'legacy.pth': legacy(training),
    'legacy0.pth': legacy(state, 0),
    'burn.bpk': burnpack(),
    **{f'arrays{protocol}.pkl': arrays(protocol) for protocol in range(6)},
})

# Without its length, which the target puts before it.
header = {
    '__metadata__': {'format': 'pt'},
    'backbone.weight': dict(dtype='F32', shape=[2, 3], data_offsets=[0, 24]),
    'backbone.bias': dict(dtype='I64', shape=[], data_offsets=[24, 32]),
    'head.flags': dict(dtype='BOOL', shape=[1, 2], data_offsets=[32, 34]),
    'head.empty': dict(dtype='BF16', shape=[0, 2], data_offsets=[34, 34]),
}
kinds = {'F64': 8, 'F16': 2, 'F8_E4M3': 1, 'F8_E5M2': 1, 'U64': 8, 'U32': 4, 'I16': 2, 'U16': 2, 'I8': 1, 'U8': 1, 'F4': 1}
more, at = {}, 0
for kind, size in kinds.items():
    more[kind] = dict(dtype=kind, shape=[1], data_offsets=[at, at + size])
    at += size
write('safetensors', {
    'model.safetensors': json.dumps(header).encode() + bytes(34),
    'kinds.safetensors': json.dumps(more).encode() + bytes(at),
})

from PIL import Image

rgb = Image.frombytes('RGB', (11, 9), bytes((i * 37 + i // 11) % 256 for i in range(11 * 9 * 3)))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


exif = Image.Exif()
exif[0x112] = 6
grey, alpha, palette = rgb.convert('L'), rgb.convert('RGBA'), rgb.quantize(7)
write('picture', {
    'baseline.jpg': saved(rgb, 'JPEG', quality=60, optimize=True),
    'turned.jpg': saved(rgb, 'JPEG', quality=30, exif=exif, subsampling=0, optimize=True),
    'progressive.jpg': saved(rgb, 'JPEG', progressive=True, quality=40),
    'grey.jpg': saved(grey, 'JPEG', quality=40, optimize=True, restart_marker_blocks=1),
    'cmyk.jpg': saved(rgb.convert('CMYK'), 'JPEG', quality=30, optimize=True),
    'rgb.png': saved(rgb, 'PNG', exif=exif),
    'alpha.png': saved(alpha, 'PNG'),
    'palette.png': saved(palette, 'PNG', transparency=2, bits=4),
    'grey16.png': saved(grey.convert('I;16'), 'PNG'),
    'grey_alpha.png': saved(rgb.convert('LA'), 'PNG'),
    'bits.png': saved(rgb.convert('1'), 'PNG'),
    'picture.gif': saved(palette, 'GIF'),
    'two.gif': saved(palette, 'GIF', save_all=True, append_images=[palette.rotate(90)], transparency=1, disposal=2, interlace=1),
    'lossy.webp': saved(rgb, 'WEBP', quality=30),
    'lossless.webp': saved(alpha, 'WEBP', lossless=True, exif=exif),
    'alpha.webp': saved(alpha, 'WEBP', quality=30),
    'rgb.bmp': saved(rgb, 'BMP'),
    'palette.bmp': saved(palette, 'BMP'),
    'bits.bmp': saved(rgb.convert('1'), 'BMP'),
    'rle.bmp': b'BM' + struct.pack('<IHHIIiiHHIIiiII', 80, 0, 0, 62, 40, 4, 2, 1, 8, 1, 14, 0, 0, 2, 2) + bytes(4) + b'\xff\xff\xff\0'
               + b'\3\1\1\0\0\0\0\4\0\1\1\0\0\1',
    'rgb.ppm': saved(rgb, 'PPM'),
    'plain.pgm': b'P2\n# c\n3 2 15\n1 2 3 4 5 15\n',
    'bits.pbm': b'P4 9 2\n\xaa\x80\x55\0',
    'wide.pgm': b'P5 2 1 65535\n\1\2\3\4',
    'any.pam': b'P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n12345678',
    'packbits.tif': saved(palette, 'TIFF', compression='packbits'),
    'lzw.tif': saved(rgb, 'TIFF', compression='tiff_lzw', tiffinfo={317: 2, 274: 6}),
    'deflate.tif': saved(alpha, 'TIFF', compression='tiff_adobe_deflate'),
    'fax3.tif': saved(rgb.convert('1'), 'TIFF', compression='group3'),
    'fax4.tif': saved(rgb.convert('1'), 'TIFF', compression='group4'),
    'cmyk.tif': saved(rgb.convert('CMYK'), 'TIFF'),
    'float.tif': saved(grey.convert('F'), 'TIFF'),
    'jpeg.tif': saved(rgb, 'TIFF', compression='jpeg', quality=30),
    'wide.tif': saved(grey.convert('I;16'), 'TIFF'),
})
