#!/usr/bin/env python3
"""Pillow's rates for what bench/image_bench measures, the two interleaved on one core.

    pip install pillow
    bench/peers/pillow_images.py FOLDER IMAGE_BENCH [ROUNDS]

Prints the median photos per second of processor time of both and their quotient.
"""

import io
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

from PIL import Image

SECONDS = 1.0
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def evaluate(image, resample):
    short, long = min(image.size), max(image.size)
    new_long = int(256 * long / short)
    image = image.resize((256, new_long) if image.width <= image.height else (new_long, 256), resample)
    x, y = round((image.width - 224) / 2), round((image.height - 224) / 2)
    return image.crop((x, y, x + 224, y + 224))


def random_resized_crop(image, resample):
    for _ in range(10):
        target = image.width * image.height * random.uniform(0.08, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= image.width and 0 < h <= image.height:
            x, y = random.randint(0, image.width - w), random.randint(0, image.height - h)
            break
    else:
        x, y, (w, h) = 0, 0, image.size
    image = image.crop((x, y, x + w, y + h)).resize((224, 224), resample)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def rate(items, work):
    for item in items:
        work(item)
    start, rounds = time.process_time(), 0
    while (elapsed := time.process_time() - start) < SECONDS:
        for item in items:
            work(item)
        rounds += 1
    return rounds * len(items) / elapsed


def measure_pillow(files):
    images = [decode(data) for data in files]
    rates = {"decode": rate(files, decode)}
    for name, resample in FILTERS.items():
        rates[f"resize_256_crop_224_{name}"] = rate(images, lambda image, r=resample: evaluate(image, r))
        rates[f"random_resized_crop_{name}"] = rate(images, lambda image, r=resample: random_resized_crop(image, r))
    bilinear = FILTERS["bilinear"]
    rates["decode_and_random_resized_crop"] = rate(files, lambda data: random_resized_crop(decode(data), bilinear))
    return rates


def measure_engine(program, folder):
    lines = subprocess.run([program, folder, str(SECONDS)], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split("\t") for line in lines.splitlines())}


def main():
    folder, program = sys.argv[1], sys.argv[2]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    files = [path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())]
    engine, pillow = [], []
    for _ in range(rounds):
        engine.append(measure_engine(program, folder))
        pillow.append(measure_pillow(files))
    print(f"{'photos/s on one core':40} {'engine':>10} {'Pillow':>10} {'ratio':>7}")
    for name in engine[0]:
        ours = statistics.median(r[name] for r in engine)
        theirs = statistics.median(r[name.removesuffix("_in_part")] for r in pillow)
        print(f"{name:40} {ours:10.0f} {theirs:10.0f} {ours / theirs:7.2f}")


if __name__ == "__main__":
    main()
