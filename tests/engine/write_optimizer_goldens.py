"""Writes tests/golden/optimizers.json: steps of PyTorch's and timm's optimisers in float64.

    python tests/engine/write_optimizer_goldens.py

Needs PyTorch and the source of timm (its requirements apart), for Lars and Lamb. Values and gradients are multiples of
1/64, which float32 holds; the decays are by group: a filter, a norm's gamma without decay, and a bias of zeros.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import torch

STEPS = 5
MAX_NORM = 1.0
SHAPES = {"w": [3, 5], "gamma": [4], "b": [3]}


def timm_optimizers():
    """timm's Lars and Lamb, without what timm's own __init__ imports."""
    root = pathlib.Path(importlib.util.find_spec("timm").submodule_search_locations[0])
    for package, path in (("timm", root), ("timm.optim", root / "optim")):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(path)]
    return importlib.import_module("timm.optim.lars").Lars, importlib.import_module("timm.optim.lamb").Lamb


def values(seed, shape, scale):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-scale, scale + 1, shape, generator=generator).double() / 64


def run(make, clip, decays):
    start = {"w": values(1, SHAPES["w"], 128), "gamma": values(2, SHAPES["gamma"], 64) + 1, "b": torch.zeros(3).double()}
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    groups = [{"params": [parameters[name]], "weight_decay": decays[name]} for name in parameters]
    optimizer = make(groups)
    gradients, after, norms = [], [], []
    for step in range(STEPS):
        gradients.append({})
        for i, (name, parameter) in enumerate(parameters.items()):
            gradient = values(10 * step + i + 100, SHAPES[name], 96)
            gradients[-1][name] = gradient.flatten().tolist()
            parameter.grad = gradient
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), MAX_NORM).item())
        optimizer.step()
        after.append({name: parameter.detach().flatten().tolist() for name, parameter in parameters.items()})
    return {
        "decays": decays,
        "max_norm": MAX_NORM if clip else 0,
        "norms": norms,
        "start": {name: value.flatten().tolist() for name, value in start.items()},
        "gradients": gradients,
        "after": after,
    }


def main():
    lars, lamb = timm_optimizers()
    every = {"w": 0.125, "gamma": 0.125, "b": 0.125}
    filters = {"w": 0.125, "gamma": 0.0, "b": 0.0}
    cases = {
        "sgd": run(lambda g: torch.optim.SGD(g, lr=0.25), False, every),
        "sgd_momentum": run(lambda g: torch.optim.SGD(g, lr=0.25, momentum=0.875), False, every),
        "sgd_nesterov": run(lambda g: torch.optim.SGD(g, lr=0.25, momentum=0.875, nesterov=True), False, filters),
        "sgd_clipped": run(lambda g: torch.optim.SGD(g, lr=0.25, momentum=0.875), True, filters),
        "adamw": run(lambda g: torch.optim.AdamW(g, lr=0.0625, betas=(0.875, 0.96875), eps=1e-8), False, every),
        "adamw_clipped": run(lambda g: torch.optim.AdamW(g, lr=0.0625, betas=(0.875, 0.96875), eps=1e-8), True, filters),
        "lars": run(lambda g: lars(g, lr=4, momentum=0.875, trust_coeff=0.015625, eps=1e-8), False, filters),
        "lars_nesterov": run(lambda g: lars(g, lr=4, momentum=0.875, nesterov=True, trust_coeff=0.015625), False, every),
        "lars_plain": run(lambda g: lars(g, lr=4, trust_coeff=0.015625), False, every),
        "lamb": run(lambda g: lamb(g, lr=0.0625, betas=(0.875, 0.96875), eps=1e-6, max_grad_norm=None), False, filters),
        "lamb_every": run(lambda g: lamb(g, lr=0.0625, betas=(0.875, 0.96875), max_grad_norm=None), False, every),
        "lamb_clipped": run(lambda g: lamb(g, lr=0.0625, betas=(0.875, 0.96875), max_grad_norm=MAX_NORM), False, filters)
        | {"max_norm": MAX_NORM},
    }
    path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "optimizers.json"
    path.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "shapes": SHAPES, "cases": cases}) + "\n")
    print(path, path.stat().st_size, "bytes")


main()
