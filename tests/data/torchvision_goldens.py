#!/usr/bin/env python3
"""Writes what torchvision makes of images and batches, for augment_test and mix_test to compare with.

    pip install torchvision==0.29.2 timm==1.0.31 pillow==13.0.0 xxhash
    tests/data/torchvision_goldens.py

Only torchvision's Python code on PIL images counts, so a torchvision built for another torch will do.
"""

import itertools
from unittest import mock

import numpy
import torch
import xxhash
from PIL import Image
from timm.data import auto_augment as timm
from torchvision.transforms import InterpolationMode, autoaugment, v2
from torchvision.transforms import functional as F

from pillow_goldens import GOLDEN, picture

FILTERS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
OPERATIONS = {  # torchvision's name -> ours
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "saturation",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "auto_contrast",
    "Equalize": "equalize",
    "Invert": "invert",
}


def flat():
    """One colour and one pixel of another; flat() in augment_test.cpp is the same."""
    array = numpy.full((9, 11, 3), (40, 7, 250), dtype=numpy.uint8)
    array[4, 5] = (41, 200, 250)
    return Image.fromarray(array)


def pictures():
    return {"oblong": picture(33, 27), "square": picture(32, 32), "flat": flat()}


def spaces(image):
    """Name -> torchvision's operations with their magnitudes, and the number of these."""
    size = (image.height, image.width)
    yield "ta_wide", autoaugment.TrivialAugmentWide()._augmentation_space(31), 31
    yield "ra", autoaugment.RandAugment()._augmentation_space(31, size), 31
    yield "imagenet", autoaugment.AutoAugment()._augmentation_space(10, size), 10


def digest(images):
    return xxhash.xxh64(b"".join(image.tobytes() for image in images)).hexdigest()


def write_operations():
    """policy, picture, filter, operation, sign -> the pictures of all levels, one after the other."""
    with open(GOLDEN / "operations.tsv", "w", encoding="utf-8") as out:
        for label, image in pictures().items():
            for policy, space, levels in spaces(image):
                for (name, (magnitudes, signed)), (filter_name, mode) in itertools.product(space.items(), FILTERS.items()):
                    if filter_name == "bicubic" and name[:5] not in ("Shear", "Trans", "Rotat"):
                        continue
                    for sign in (1, -1) if signed else (1,):
                        count = levels if magnitudes.ndim > 0 else 1
                        values = [float(magnitudes[i].item()) * sign if magnitudes.ndim > 0 else 0.0 for i in range(count)]
                        results = [autoaugment._apply_op(image, name, v, mode, None) for v in values]
                        fields = [policy, label, filter_name, OPERATIONS[name], sign, count, digest(results)]
                        out.write("\t".join(str(f) for f in fields) + "\n")


def write_sub_policies():
    """policy, number, probabilities, signs -> the picture after both operations."""
    image = picture(32, 32)
    with open(GOLDEN / "sub_policies.tsv", "w", encoding="utf-8") as out:
        for policy in autoaugment.AutoAugmentPolicy:
            augment = autoaugment.AutoAugment(policy, interpolation=InterpolationMode.BILINEAR)
            for number, parts in enumerate(augment.policies):
                for sign in (0, 1):
                    drawn = (number, torch.tensor([0.0, 0.0]), torch.tensor([sign, sign]))
                    with mock.patch.object(augment, "get_params", lambda count, drawn=drawn: drawn):
                        # A probability of 0 is met by a draw of 0.
                        result = augment(image)
                    fields = [policy.value, number, parts[0][1], parts[1][1], sign, digest([result])]
                    out.write("\t".join(str(f) for f in fields) + "\n")


def write_jitter():
    """operation, picture, value -> hash"""
    factors = [0.0, 0.25, 0.6, 1.0, 1.37, 1.9, 3.0]
    adjustments = {
        "brightness": (F.adjust_brightness, factors),
        "contrast": (F.adjust_contrast, factors),
        "saturation": (F.adjust_saturation, factors),
        "hue": (F.adjust_hue, [-0.5, -0.21, -0.003, 0.0, 0.004, 0.1, 0.33, 0.5]),
    }
    # Every hue and every saturation at several values.
    wheel = numpy.mgrid[0:256:5, 0:256:5, 0:256:5].reshape(3, -1, 52).transpose(1, 2, 0).astype(numpy.uint8)
    images = pictures() | {"wheel": Image.fromarray(numpy.ascontiguousarray(wheel))}
    with open(GOLDEN / "jitter.tsv", "w", encoding="utf-8") as out:
        for (name, (adjust, values)), (label, image) in itertools.product(adjustments.items(), images.items()):
            for value in values:
                out.write(f"{name}\t{label}\t{value}\t{digest([adjust(image, value)])}\n")


def write_timm():
    """operation, whether it increases, sign, filter -> the pictures of the magnitudes 0, 0.5 ... 10"""
    image = picture(33, 27)
    magnitudes = [i / 2 for i in range(20)]  # at 10 an increasing posterize would keep no bit, which Pillow refuses
    fill = (124, 116, 104)
    with open(GOLDEN / "timm.tsv", "w", encoding="utf-8") as out:
        for names, increasing in ((timm._RAND_TRANSFORMS, 0), (timm._RAND_INCREASING_TRANSFORMS, 1)):
            for name, sign, filter_name in itertools.product(names, (1, -1), FILTERS):
                ours = OPERATIONS.get(name.removesuffix("Increasing").removesuffix("Rel"), "solarize_add")
                if filter_name == "bicubic" and not name.startswith(("Shear", "Trans", "Rotat")):
                    continue
                if name == "Posterize" and not increasing:
                    wanted = [m for m in magnitudes if m >= 2.5]  # below, no bit is kept
                else:
                    wanted = magnitudes
                results = []
                for magnitude in wanted:
                    op = timm.AugmentOp(name, 1.0, magnitude, {"img_mean": fill, "interpolation": getattr(Image, filter_name.upper())})
                    with mock.patch("random.random", lambda sign=sign: 0.0 if sign > 0 else 1.0):
                        results.append(op(image))
                fields = [ours, increasing, sign, filter_name, wanted[0], len(wanted), digest(results)]
                out.write("\t".join(str(f) for f in fields) + "\n")


def write_cutmix():
    """lambda, centre y and x, height, width -> left, top, right, bottom, weight of the picture's own label."""
    cutmix = v2.CutMix(num_classes=2)
    with open(GOLDEN / "cutmix.tsv", "w", encoding="utf-8") as out:
        for (height, width), weight in itertools.product([(32, 32), (224, 176), (7, 50)], [0.0, 0.03, 0.5, 0.77, 1.0]):
            for y, x in [(0, 0), (height // 2, width // 3), (height - 1, width - 1)]:
                numbers = iter([torch.tensor([x]), torch.tensor([y])])
                with (
                    mock.patch.object(cutmix, "_dist", mock.Mock(sample=lambda shape, w=weight: torch.tensor(w))),
                    mock.patch("torch.randint", lambda *args, numbers=numbers, **kwargs: next(numbers)),
                ):
                    params = cutmix.make_params([torch.zeros(1, 3, height, width)])
                fields = [float(torch.tensor(weight)), y, x, height, width, *params["box"], params["lam_adjusted"]]
                out.write("\t".join(str(f) for f in fields) + "\n")


if __name__ == "__main__":
    write_cutmix()
    write_operations()
    write_sub_policies()
    write_jitter()
    write_timm()
