"""Loads a file that the engine saved into PyTorch's net of that name with strict=True.

    python tests/models/check_weights.py NAME CLASSES FILE

The values must be those of write_goldens.value_of: names, axes and bits.
"""

import json
import sys

import numpy as np
import torch
import write_goldens as goldens


def read_safetensors(path):
    data = open(path, "rb").read()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    assert header.pop("__metadata__") == {"format": "pt"}
    types = {"F32": np.float32, "I64": np.int64}
    return {
        name: torch.from_numpy(
            np.frombuffer(data[end + entry["data_offsets"][0] : end + entry["data_offsets"][1]], types[entry["dtype"]])
            .reshape(entry["shape"])
            .copy()
        )
        for name, entry in header.items()
    }


name, classes, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
net = goldens.family()[name]()
if net.fc.out_features != classes:
    net.fc = torch.nn.Linear(net.fc.in_features, classes)
net.load_state_dict(read_safetensors(path), strict=True)
for key, tensor in net.state_dict().items():
    expected = goldens.value_of(key, tuple(tensor.shape))
    assert tensor.numpy().dtype == expected.dtype and np.array_equal(tensor.numpy(), expected), key
print(f"{name}: {len(net.state_dict())} tensors are equal")
