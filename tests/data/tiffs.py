"""Writes tiffs.json.gz: small TIFFs of many kinds, and the pixels that OpenCV reads (null: it reads none).

pip install opencv-python-headless==4.11.0.86 numpy tifffile==2026.3.3 imagecodecs==2026.3.6 pillow==13.0.0
python tiffs.py
"""

import gzip
import io
import json
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

WIDTH, HEIGHT = 21, 18
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
GREY = ((x * 7 + y * 11) % 256).astype(np.uint8)
RGB = np.stack([GREY, (x * 5 + 40) % 256, (y * 12) % 256], -1).astype(np.uint8)
ALPHA = ((x * 3 + y * 9 + 60) % 256).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
BITS = (((x // 3 + y // 2) % 3) == 0).astype(np.uint8)
WIDE_RGBA = np.stack([x * 3001 + y * 257, x * 129 + y * 3000, x * 2000 + 99, y * 3100 + 7], -1).astype(np.uint16)
WIDE_RGB, WIDE = WIDE_RGBA[..., :3].copy(), WIDE_RGBA[..., 0].copy()
COLORMAP = (np.arange(256) * np.array([[257], [100], [211]]) + 55).astype(np.uint16)

files = {}


def tiff(name, data, **options):
    out = io.BytesIO()
    writer = {k: options.pop(k) for k in ("bigtiff", "byteorder") if k in options}
    options.setdefault("metadata", None)
    with tifffile.TiffWriter(out, **writer) as file:
        file.write(data, **options)
    files[name] = out.getvalue()


def pillow(name, picture, **options):
    out = io.BytesIO()
    picture.save(out, "TIFF", **options)
    files[name] = out.getvalue()


def patched(name, source, tag, value):
    """`source` with another value of a tag that is one SHORT."""
    data = bytearray(files[source])
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack(order + "I", data[4:8])[0]
    for i in range(struct.unpack(order + "H", data[at : at + 2])[0]):
        entry = at + 2 + 12 * i
        if struct.unpack(order + "H", data[entry : entry + 2])[0] == tag:
            data[entry + 8 : entry + 10] = struct.pack(order + "H", value)
            files[name] = bytes(data)
            return
    raise KeyError(tag)


tiff("grey", GREY, photometric="minisblack")
tiff("grey white is zero", GREY, photometric="miniswhite")
tiff("rgb", RGB, photometric="rgb")
for byteorder in "<>":
    for bigtiff in (False, True):
        name = f"{'big' if byteorder == '>' else 'little'} endian{', BigTIFF' if bigtiff else ''}"
        tiff(f"rgb, {name}", RGB, photometric="rgb", byteorder=byteorder, bigtiff=bigtiff)
        tiff(f"rgb of 16 bits, {name}", WIDE_RGB, photometric="rgb", byteorder=byteorder, bigtiff=bigtiff)
tiff("grey of 16 bits", WIDE, photometric="minisblack")
tiff("grey of 16 bits, white is zero", WIDE, photometric="miniswhite")
tiff("grey of 16 bits, signed", WIDE.view(np.int16), photometric="minisblack")
tiff("grey of 8 bits, signed", GREY.view(np.int8), photometric="minisblack")
tiff("rgb of 16 bits, signed", WIDE_RGB.view(np.int16), photometric="rgb")
for alpha in ("assocalpha", "unassalpha", "unspecified"):
    tiff(f"rgb and {alpha}", RGBA, photometric="rgb", extrasamples=[alpha])
    tiff(f"rgb and {alpha} of 16 bits", WIDE_RGBA, photometric="rgb", extrasamples=[alpha])
    tiff(f"rgb and {alpha}, planes", RGBA.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", extrasamples=[alpha])
    tiff(f"grey and {alpha}", np.dstack([GREY, ALPHA]), photometric="minisblack", planarconfig="contig", extrasamples=[alpha])
    tiff(f"grey and {alpha}, planes", np.stack([GREY, ALPHA]), photometric="minisblack", planarconfig="separate", extrasamples=[alpha])
tiff("grey and alpha of 16 bits", WIDE_RGBA[..., :2].copy(), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
tiff("white is zero, alpha, planes", np.stack([GREY, ALPHA]), photometric="miniswhite", planarconfig="separate", extrasamples=["assocalpha"])
tiff("grey and alpha of 16 bits, planes", WIDE_RGBA[..., :2].transpose(2, 0, 1).copy(), photometric="minisblack", planarconfig="separate", extrasamples=["assocalpha"])
tiff("rgb, planes", RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
tiff("rgb of 16 bits, planes", WIDE_RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
tiff("rgb, planes, tiles", RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", tile=(16, 16))
tiff("rgb, tiles", RGB, photometric="rgb", tile=(16, 32))
tiff("rgb, strips of 4 rows", RGB, photometric="rgb", rowsperstrip=4)
for compression in ("lzw", "deflate", "packbits", "adobe_deflate"):
    for predictor in (False, True) if compression in ("lzw", "deflate") else (False,):
        name = f"{compression}{', predictor' if predictor else ''}"
        tiff(f"rgb, {name}", RGB, photometric="rgb", compression=compression, predictor=predictor, rowsperstrip=5)
        tiff(f"rgb of 16 bits, {name}, big endian", WIDE_RGB, photometric="rgb", compression=compression, predictor=predictor, byteorder=">")
        tiff(f"grey, tiles, {name}", GREY, photometric="minisblack", compression=compression, predictor=predictor, tile=(16, 16))
        tiff(f"rgb, planes, {name}", RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", compression=compression, predictor=predictor)
tiff("palette", GREY, photometric="palette", colormap=COLORMAP)
tiff("palette, lzw", GREY, photometric="palette", colormap=COLORMAP, compression="lzw", predictor=True)
tiff("palette of 8 bits in the lower byte", GREY, photometric="palette", colormap=COLORMAP >> 8)
palette = Image.fromarray(RGB).quantize(16)
pillow("palette, Pillow", palette)
tiff("cmyk", RGBA, photometric="separated")
tiff("cmyk, planes", RGBA.transpose(2, 0, 1).copy(), photometric="separated", planarconfig="separate")
pillow("cmyk, lzw", Image.fromarray(RGB).convert("CMYK"), compression="tiff_lzw")
pillow("ycbcr", Image.fromarray(RGB).convert("YCbCr"))
pillow("ycbcr, deflate", Image.fromarray(RGB).convert("YCbCr"), compression="tiff_adobe_deflate")
for quality in (50, 95):
    pillow(f"ycbcr, jpeg {quality}", Image.fromarray(RGB).convert("YCbCr"), compression="jpeg", quality=quality)
    pillow(f"rgb, jpeg {quality}", Image.fromarray(RGB), compression="jpeg", quality=quality)
    pillow(f"grey, jpeg {quality}", Image.fromarray(GREY), compression="jpeg", quality=quality)
pillow("cmyk, jpeg", Image.fromarray(RGB).convert("CMYK"), compression="jpeg")
tiff("rgb, jpeg tiles", RGB, photometric="rgb", compression="jpeg", tile=(16, 16))
tiff("ycbcr, jpeg tiles", RGB, photometric="ycbcr", compression="jpeg", tile=(16, 32))
tiff("grey, jpeg strips", GREY, photometric="minisblack", compression="jpeg", rowsperstrip=8)
bits = Image.fromarray(BITS * 255).convert("1")
for compression in (None, "packbits", "tiff_lzw", "tiff_deflate", "group3", "group4", "tiff_ccitt"):
    pillow(f"1 bit, {compression}", bits, compression=compression)
for order in ("group4", "group3", "None"):
    name = f"1 bit, {order}, other fill order"
    files[name] = files[f"1 bit, {order}"]
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    ifd[266] = 2
    pillow(name, bits, compression=None if order == "None" else order, tiffinfo=ifd)
tiff("1 bit, tifffile", BITS.astype(bool), photometric="minisblack")
tiff("1 bit, white is zero", BITS.astype(bool), photometric="miniswhite")
tiff("pages", np.stack([GREY, 255 - GREY]), photometric="minisblack")
for orientation in range(1, 9):
    tiff(f"orientation {orientation}", RGB, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
patched("three samples called grey", "rgb", 262, 1)

# what OpenCV does not read
tiff("floats", GREY.astype(np.float32) / 255, photometric="minisblack")
tiff("half floats", GREY.astype(np.float16), photometric="minisblack")
tiff("32 bits", GREY.astype(np.uint32) << 20, photometric="minisblack")
tiff("complex", GREY.astype(np.complex64), photometric="minisblack")
tiff("five samples", np.dstack([RGBA, GREY]), photometric="minisblack", planarconfig="contig")
for compression in ("lzma", "zstd", "webp", "jpeg2000", "jpegxl", "lerc", "png"):
    data = RGB
    tiff(f"rgb, {compression}", data, photometric="rgb", compression=compression)
pillow("lab", Image.merge("LAB", Image.fromarray(RGB).split()))
patched("mask", "grey", 262, 4)

rows = []
for name, data in files.items():
    read = {}
    for mode, flag in (("color", cv2.IMREAD_COLOR), ("grayscale", cv2.IMREAD_GRAYSCALE), ("unchanged", cv2.IMREAD_UNCHANGED)):
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        except cv2.error:
            pixels = None
        if mode == "unchanged" and pixels is not None and pixels.dtype != np.uint8:
            pixels = None
        read[mode] = pixels
    shown = lambda pixels: None if pixels is None else {"shape": list(pixels.shape), "crc": zlib.crc32(pixels.tobytes())}
    rows.append({"name": name, "file": data.hex(), **{mode: shown(pixels) for mode, pixels in read.items()}})
    print(f"{name}: {len(data)} bytes, {[None if p is None else p.shape for p in read.values()]}")
with open("tiffs.json.gz", "wb") as file:
    file.write(gzip.compress(json.dumps(rows).encode(), 9, mtime=0))
