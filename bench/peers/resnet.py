"""The ResNets of the comparison in plain PyTorch, with torchvision's names: the engine's safetensors load with strict=True.

resnet18 and resnet50 are torchvision's (v1.5, the stride in the 3x3), resnet18_cifar has a 3x3 stem and no max pool
instead, resnet20 is the CIFAR net of He et al. 2015, section 4.2, with option A shortcuts (every second pixel, zero
channels around).
"""

import json
import struct

import numpy
import torch
from torch import nn
from torch.nn import functional


class OptionA(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.behind = out_channels - in_channels - self.before

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


def conv(in_channels, out_channels, size, stride=1):
    return nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)


class Block(nn.Module):
    def __init__(self, in_channels, width, out_channels, stride, bottleneck, option_a):
        super().__init__()
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1, self.bn1 = conv(in_channels, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, out_channels, 1), nn.BatchNorm2d(out_channels)
        else:
            self.conv1, self.bn1 = conv(in_channels, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, out_channels, 3), nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            if option_a:
                self.downsample = OptionA(in_channels, out_channels)
            else:
                self.downsample = nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(self.relu(y)))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck=False, channels=64, small=False, option_a=False, classes=1000):
        super().__init__()
        self.conv1 = conv(3, channels, 3) if small else conv(3, channels, 7, 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = None if small else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        width = channels
        for stage, count in enumerate(blocks):
            layer = []
            for i in range(count):
                out = 4 * width if bottleneck else width
                stride = 2 if stage > 0 and i == 0 else 1
                layer.append(Block(channels, width, out, stride, bottleneck, option_a))
                channels = out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            width *= 2
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


CIFAR = {"channels": 16, "small": True, "option_a": True, "classes": 10}
MODELS = {
    "resnet18": lambda: ResNet([2, 2, 2, 2]),
    "resnet34": lambda: ResNet([3, 4, 6, 3]),
    "resnet50": lambda: ResNet([3, 4, 6, 3], bottleneck=True),
    "resnet18_cifar": lambda: ResNet([2, 2, 2, 2], small=True, classes=10),
    "resnet20": lambda: ResNet([3, 3, 3], **CIFAR),
    "resnet56": lambda: ResNet([9, 9, 9], **CIFAR),
}
IMAGE_SIZE = {name: 32 if name in ("resnet18_cifar", "resnet20", "resnet56") else 224 for name in MODELS}


def read_safetensors(path):
    """All tensors of a file of f32, i64 and u8 entries."""
    types = {"F32": numpy.float32, "I64": numpy.int64, "U8": numpy.uint8}
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], dtype=types[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors
