#!/usr/bin/env python3
"""Writes what Pillow makes of images, for image_test, resize_test and transforms_test to compare with.

    pip install pillow==13.0.0 numpy xxhash
    tests/data/pillow_goldens.py [TEST_DATA]

Makes the small encoded images in golden/ itself and lists their decoded bytes by hash. With TEST_DATA (the folder
that ENGINE_TEST_DATA names) it also lists the photos and odd files there; without, those lists stay as they are.
"""

import pathlib
import struct
import sys
import warnings
import zlib

import numpy
import xxhash
from PIL import Image

GOLDEN = pathlib.Path(__file__).parent / "golden"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Broken files, decoded otherwise by libjpeg-turbo 3, which Pillow carries, than by 2.1, and lossless JPEG, which
# only 3 reads.
VERSION_DEPENDENT = {
    "jpeg-seeds/id:005030,sync:jpeg_turbo,src:003849.jpg",
    "jpeg-seeds/id:005050,sync:jpeg_turbo,src:003808.jpg",
    "jpeg-seeds/id:005070,sync:jpeg_turbo,src:003847.jpg",
    "jpeg-seeds/id:005083,sync:jpeg_turbo,src:003851.jpg",
    "jpeg-seeds/random8_91x100_lossless_psv6_pt0.jpg",
    "jpeg-seeds/random8_98x93_lossless_psv4_pt5.jpg",
}


def digest(image):
    return xxhash.xxh64(image.convert("RGB").tobytes()).hexdigest()


def pattern(width, height, channels=3):
    """Smooth and sharp parts, no two channels alike; pattern() in resize_test.cpp is the same."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.int64)
    planes = [(x * (7 + 3 * c) + y * (13 - 2 * c) + (x * y) // (5 + c) + 29 * c) % 256 for c in range(channels)]
    hard = ((x // 4 + y // 3) % 5 == 0) * 255
    planes = [numpy.where((x + y) % 11 < 3, hard, p) for p in planes]
    return numpy.stack(planes, axis=2).astype(numpy.uint8)


def picture(width, height, channels=3):
    array = pattern(width, height, channels)
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def jpeg_files():
    rgb, gray = picture(45, 38), picture(45, 38, 1)
    cmyk = Image.fromarray(pattern(33, 21, 4), mode="CMYK")
    yield "gray.jpg", gray, {}
    yield "420.jpg", rgb, {"subsampling": "4:2:0", "quality": 90}
    yield "422.jpg", rgb, {"subsampling": "4:2:2", "quality": 75}
    yield "444_progressive.jpg", rgb, {"subsampling": "4:4:4", "progressive": True}
    yield "420_progressive.jpg", rgb, {"subsampling": "4:2:0", "progressive": True}
    yield "restart.jpg", rgb, {"restart_marker_rows": 1}
    yield "rgb.jpg", rgb, {"keep_rgb": True}
    yield "cmyk.jpg", cmyk, {}
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "rotated_exif.jpg", picture(19, 11), {"exif": exif}
    yield "1x1.jpg", picture(1, 1), {}
    yield "1x40.jpg", picture(1, 40), {}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, extra=b""):
    """`rows` are the filtered scanlines of all passes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 1 if isinstance(rows, list) else 0)
    data = b"".join(rows) if isinstance(rows, list) else rows
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def pack(samples, depth):
    """One scanline: samples of 1 ... 16 bits, big-endian, packed from the high bit."""
    bits = "".join(format(int(s), f"0{depth}b") for s in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def scanlines(array, depth, filter_type=0):
    """Unfiltered, or (filter 1, whole bytes only) each byte less the one a pixel before."""
    out = b""
    for row in array:
        line = pack(row.reshape(-1), depth)
        if filter_type == 1:
            step = row.shape[-1] * depth // 8
            line = bytes((b - (line[i - step] if i >= step else 0)) % 256 for i, b in enumerate(line))
        out += bytes([filter_type]) + line
    return out


def interlaced(array, depth):
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return [scanlines(array[y::dy, x::dx], depth) for x, y, dx, dy in passes if array[y::dy, x::dx].size]


def png_files():
    width, height = 21, 13
    for color, channels, name in ((0, 1, "gray"), (2, 3, "rgb"), (3, 1, "palette"), (4, 2, "gray_alpha"), (6, 4, "rgba")):
        for depth in (1, 2, 4, 8, 16):
            if (color == 3 and depth == 16) or (color in (2, 4, 6) and depth < 8):
                continue
            array = pattern(width, height, channels).astype(numpy.int64)
            array = array * 257 if depth == 16 else array >> (8 - depth)
            if depth == 16 and color == 0:
                array = array // 97  # some below 256: Pillow clips 16-bit gray
            palette = pattern(16, 16).tobytes()[: 3 * 2**depth]
            extra = chunk(b"PLTE", palette) if color == 3 else b""
            yield f"{name}{depth}.png", png(width, height, depth, color, scanlines(array, depth), extra)
            yield f"{name}{depth}_interlaced.png", png(width, height, depth, color, interlaced(array, depth), extra)
    rgb = pattern(width, height)
    yield "rgb_sub_filter.png", png(width, height, 8, 2, scanlines(rgb, 8, 1))
    yield "rgb_trns.png", png(width, height, 8, 2, scanlines(rgb, 8), chunk(b"tRNS", b"\0\1\0\2\0\3"))
    indices = pattern(width, height, 1) >> 4
    yield "palette_short.png", png(width, height, 4, 3, scanlines(indices, 4), chunk(b"PLTE", bytes(range(18))))
    yield "1x1.png", png(1, 1, 8, 2, scanlines(rgb[:1, :1], 8))


def write_encoded():
    for name, image, options in jpeg_files():
        image.save(GOLDEN / name, **options)
    for name, data in png_files():
        (GOLDEN / name).write_bytes(data)
    with open(GOLDEN / "decode.tsv", "w", encoding="utf-8") as out:
        for path in sorted([*GOLDEN.glob("*.jpg"), *GOLDEN.glob("*.png")]):
            with Image.open(path) as image:
                out.write(f"{path.name}\t{image.width}\t{image.height}\t{digest(image)}\n")


def write_resized():
    cases = [  # source, result, box
        ((60, 45), (20, 15), None),
        ((60, 45), (61, 46), None),
        ((45, 60), (224, 100), None),
        ((333, 250), (224, 224), None),
        ((200, 300), (190, 100), None),  # rows first
        ((300, 200), (100, 190), None),
        ((1, 1), (7, 5), None),
        ((1, 40), (9, 9), None),
        ((40, 1), (9, 9), None),
        ((500, 3), (2, 2), None),
        ((31, 31), (31, 17), None),
        ((31, 31), (17, 31), None),
        ((64, 48), (64, 48), None),
        ((64, 48), (30, 30), (3, 5, 43, 40)),
        ((64, 48), (30, 30), (3.25, 5.5, 43.75, 40.125)),
        ((64, 48), (40, 35), (3, 5, 43, 40)),
        ((64, 200), (60, 30), (0.5, 0.25, 63.5, 199)),
    ]
    with open(GOLDEN / "resize.tsv", "w", encoding="utf-8") as out:
        for source, result, box in cases:
            for name, resample in FILTERS.items():
                resized = picture(*source).resize(result, resample, box)
                fields = [*source, *result, name, *(box or (0, 0, *source)), digest(resized)]
                out.write("\t".join(str(f) for f in fields) + "\n")


def evaluate(image, resample):
    """torchvision's Resize(256), CenterCrop(224)."""
    short, long = min(image.size), max(image.size)
    new_long = int(256 * long / short)
    image = image.resize((256, new_long) if image.width <= image.height else (new_long, 256), resample)
    x, y = int(round((image.width - 224) / 2.0)), int(round((image.height - 224) / 2.0))
    return image.crop((x, y, x + 224, y + 224))


def crop(image, resample):
    """A crop as RandomResizedCrop might choose it."""
    x, y = image.width // 5, image.height // 7
    cut = image.crop((x, y, x + image.width * 3 // 5, y + image.height * 5 // 8))
    return cut.resize((224, 224), resample).transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def write_test_data(root):
    warnings.simplefilter("ignore")
    with open(GOLDEN / "photos.tsv", "w", encoding="utf-8") as out:
        for path in sorted((root / "images/photos").iterdir()):
            image = Image.open(path).convert("RGB")
            hashes = [digest(make(image, f)) for make in (evaluate, crop) for f in FILTERS.values()]
            out.write("\t".join([path.name, str(image.width), str(image.height), digest(image), *hashes]) + "\n")
    with open(GOLDEN / "corpus.tsv", "w", encoding="utf-8") as out:
        for folder in ("odd", "png-suite", "jpeg-seeds"):
            for path in sorted((root / "images" / folder).iterdir()):
                name = f"{folder}/{path.name}"
                try:
                    image = Image.open(path).convert("RGB")
                except Exception:  # Pillow has no one class for what is wrong with a file
                    continue
                if name not in VERSION_DEPENDENT:
                    out.write(f"{name}\t{image.width}\t{image.height}\t{digest(image)}\n")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    write_encoded()
    write_resized()
    if len(sys.argv) > 1:
        write_test_data(pathlib.Path(sys.argv[1]))
