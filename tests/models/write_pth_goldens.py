"""Writes tests/golden/torch_save*.pth: small files of torch.save in both of its formats.

    python tests/models/write_pth_goldens.py

What is in them is what pth_to_safetensors_test.py expects: element i of a tensor, in row-major order, is i.
"""

import collections
import pathlib

import torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def numbers(*shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


channels_last = torch.empty(3, 2, 2, 2, memory_format=torch.channels_last).copy_(numbers(3, 2, 2, 2))
shared = torch.cat([torch.full((5,), -1.0), numbers(4), torch.full((3,), -1.0)])
weights = collections.OrderedDict(
    [
        ("conv.weight", channels_last),
        ("bn.running_var", shared[5:9]),
        ("fc.weight", torch.nn.Parameter(numbers(4, 3).t().contiguous().t())),
        ("half", numbers(3, dtype=torch.float16)),
        ("brain", numbers(2, 2, dtype=torch.bfloat16)),
        ("double", numbers(2, dtype=torch.float64)),
        ("flags", torch.tensor([False, True])),
        ("bytes", numbers(3, dtype=torch.uint8)),
        ("empty", numbers(0, 4)),
    ]
)
weights._metadata = collections.OrderedDict([("", {"version": 1})])
torch.save(weights, GOLDEN / "torch_save.pth")
checkpoint = {"model": {"module." + name: tensor for name, tensor in weights.items()}, "epoch": 3, "lr": [0.1, None]}
torch.save(checkpoint, GOLDEN / "torch_save_legacy.pth", _use_new_zipfile_serialization=False)
