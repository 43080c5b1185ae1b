"""Writes tests/golden/*.json: what PyTorch computes for the nets of the parity tests.

    python tests/models/write_goldens.py [NAME ...]

Needs PyTorch and NumPy only; the nets are defined below. Weights and images are not stored: both sides compute them
from names (see `uniform`). Every value comes from a float64 run. Beside it stands the error of PyTorch's own float32
(for *_bf16: of its bfloat16 autocast) against that run, the largest of several ways to compute the same: it is the
yardstick of tests/models/parity.h.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
SKETCHES = 8  # dot products with vectors of random signs, for each tensor
SAMPLES = 8  # elements, for each tensor
STEPS = 10
BATCHES = 2  # the steps take them in turn


# --- numbers that both sides compute ---


def bits(name, count):
    """64 random bits for each element: SplitMix64 from a state that is the FNV-1a hash of the name."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(name, count):
    """Multiples of 2^-23 in [-1, 1), exact in float32."""
    return (bits(name, count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1


def value_of(name, shape):
    """The initial value of a parameter or buffer, exact in float32."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    u = uniform(name, math.prod(shape))
    if len(shape) > 1:  # filters and matrices: variance 2 / fan in, 1 / fan in
        bound = np.float64(np.float32(math.sqrt((6 if len(shape) == 4 else 3) / math.prod(shape[1:]))))
        return (u * bound).astype(np.float32).reshape(shape)
    if name.endswith("running_var"):
        return (1 + 0.5 * u).astype(np.float32)
    # Inside a block gammas are small: the shortcut outweighs the block, else a deep net amplifies every rounding error.
    scale = 0.25 if name.startswith("layer") and ".bn" in name else 1.0
    middle = scale if name.endswith("weight") else 0.0
    return (middle + 0.25 * scale * u).astype(np.float32)


# --- the family ---


class Block(nn.Module):
    """A residual block: kind "basic" or "bottleneck"; shortcut "none", "identity", "projection" or "subsample"."""

    def __init__(self, kind, channels, stride=1, groups=1, bias=False, shortcut="identity"):
        super().__init__()
        before, middle, after = channels
        self.kind, self.shortcut, self.stride, self.after = kind, shortcut, stride, after
        if kind == "basic":
            self.conv1 = nn.Conv2d(before, middle, 3, stride, 1, bias=bias)
            self.bn1 = nn.BatchNorm2d(middle)
            self.conv2 = nn.Conv2d(middle, after, 3, 1, 1, bias=bias)
            self.bn2 = nn.BatchNorm2d(after)
        else:
            self.conv1 = nn.Conv2d(before, middle, 1, bias=bias)
            self.bn1 = nn.BatchNorm2d(middle)
            self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, groups=groups, bias=bias)
            self.bn2 = nn.BatchNorm2d(middle)
            self.conv3 = nn.Conv2d(middle, after, 1, bias=bias)
            self.bn3 = nn.BatchNorm2d(after)
        if shortcut == "projection":
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=bias), nn.BatchNorm2d(after))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.kind == "bottleneck":
            y = self.bn3(self.conv3(F.relu(y)))
        if self.shortcut == "none":
            return F.relu(y)
        if self.shortcut == "projection":
            x = self.downsample(x)
        elif self.shortcut == "subsample":  # option A: every second pixel, new channels are zero
            x = x[:, :, :: self.stride, :: self.stride]
            new = self.after - x.shape[1]
            x = F.pad(x, (0, 0, 0, 0, new // 2, new - new // 2))
        return F.relu(y + x)


class Net(nn.Module):
    """`layers`: a list of blocks for each stage. With `small` a 3x3 stem, otherwise 7x7/2 and a pool."""

    def __init__(self, layers, small, classes, bias=False, average_pool=None):
        super().__init__()
        self.small, self.average_pool, self.depth = small, average_pool, len(layers)
        width = layers[0][0].conv1.in_channels
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=bias) if small else nn.Conv2d(3, width, 7, 2, 3, bias=bias)
        self.bn1 = nn.BatchNorm2d(width)
        for i, blocks in enumerate(layers):
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(layers[-1][-1].after, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.depth):
            x = getattr(self, f"layer{i + 1}")(x)
        x = F.avg_pool2d(x, self.average_pool, 1) if self.average_pool else F.adaptive_avg_pool2d(x, 1)
        return self.fc(torch.flatten(x, 1))


def imagenet(kind, blocks, classes, groups=1, width_per_group=64, small=False):
    """torchvision's ResNet, ResNeXt and Wide ResNet; with `small` behind a 3x3 stem."""
    layers, before = [], 64
    for i, count in enumerate(blocks):
        planes = 64 * 2**i
        middle = planes if kind == "basic" else planes * width_per_group // 64 * groups
        after = planes if kind == "basic" else planes * 4
        layers.append([])
        for b in range(count):
            stride = 2 if b == 0 and i > 0 else 1
            shortcut = "projection" if stride != 1 or before != after else "identity"
            layers[-1].append(Block(kind, [before, middle, after], stride, groups, shortcut=shortcut))
            before = after
    return Net(layers, small=small, classes=classes)


def intro(kind, blocks, classes):
    """The introduction's nets: its channel tables, biases everywhere, a projection in each stage's first block."""
    channels = {
        "basic": [[64, 64, 128], [128, 128, 256], [256, 256, 512], [512, 512, 512]],
        "bottleneck": [[64, 64, 256], [256, 128, 512], [512, 256, 1024], [1024, 512, 2048]],
    }[kind]
    layers = []
    for i, count in enumerate(blocks):
        before, middle, after = channels[i]
        first = Block(kind, [before, middle, after], 2 if i > 0 else 1, bias=True, shortcut="projection")
        layers.append([first] + [Block(kind, [after, middle, after], bias=True) for _ in range(count - 1)])
    return Net(layers, small=False, classes=classes, bias=True, average_pool=7)


def cifar(blocks, classes, shortcuts=True):
    """He et al. 2015, section 4.2, with option A, or plain."""
    layers, before = [], 16
    for i, count in enumerate(blocks):
        after = 16 * 2**i
        layers.append([])
        for b in range(count):
            stride = 2 if b == 0 and i > 0 else 1
            shortcut = "none" if not shortcuts else "subsample" if before != after else "identity"
            layers[-1].append(Block("basic", [before, after, after], stride, shortcut=shortcut))
            before = after
    return Net(layers, small=True, classes=classes)


def tiny_intro(kind):
    """The two blocks of the introduction with few channels, behind a small stem."""
    after = 32 if kind == "basic" else 64
    blocks = [
        Block(kind, [16, 16, after], stride=2, bias=True, shortcut="projection"),
        Block(kind, [after, 16, after], bias=True),
    ]
    return Net([blocks], small=True, classes=10, bias=True)


DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def family():
    """Every member by name, with its default number of classes."""
    nets = {}
    for depth, blocks in DEPTHS.items():
        kind = "basic" if depth < 50 else "bottleneck"
        nets[f"resnet{depth}"] = lambda k=kind, b=blocks: imagenet(k, b, 1000)
        nets[f"resnet{depth}_intro"] = lambda k=kind, b=blocks: intro(k, b, 10)
    nets["resnet18_cifar"] = lambda: imagenet("basic", DEPTHS[18], 10, small=True)
    for name, depth, groups, width in [
        ("resnext50_32x4d", 50, 32, 4),
        ("resnext101_32x8d", 101, 32, 8),
        ("wide_resnet50_2", 50, 1, 128),
        ("wide_resnet101_2", 101, 1, 128),
    ]:
        nets[name] = lambda d=depth, g=groups, w=width: imagenet("bottleneck", DEPTHS[d], 1000, g, w)
    for depth in [20, 32, 44, 56, 110]:
        n = (depth - 2) // 6
        nets[f"resnet{depth}"] = lambda n=n: cifar([n, n, n], 10)
        nets[f"plain{depth}"] = lambda n=n: cifar([n, n, n], 10, shortcuts=False)
    return nets


# name: (net, image size, batch, optimiser and loss)
CASES = {
    "basic_identity": (lambda: cifar([1], 10), 8, 4, {"lr": 0.05}),
    "basic_option_a": (lambda: cifar([1, 1], 10), 9, 4, {"lr": 0.05, "nesterov": True}),
    "basic_plain": (lambda: cifar([1, 1], 10, shortcuts=False), 8, 4, {"lr": 0.05}),
    "basic_projection": (lambda: imagenet("basic", [1, 1], 10), 24, 4, {"lr": 0.02, "label_smoothing": 0.1}),
    "bottleneck": (lambda: imagenet("bottleneck", [2, 1], 10), 24, 4, {"lr": 0.02}),
    "bottleneck_grouped": (lambda: imagenet("bottleneck", [1, 1], 10, 32, 4), 24, 4, {"lr": 0.02, "nesterov": True}),
    "intro_basic": (lambda: tiny_intro("basic"), 9, 4, {"lr": 0.05}),
    "intro_bottleneck": (lambda: tiny_intro("bottleneck"), 9, 4, {"lr": 0.05, "label_smoothing": 0.1}),
    "resnet20": (family()["resnet20"], 16, 8, {"lr": 0.02, "label_smoothing": 0.1}),
    "resnet18": (lambda: imagenet("basic", DEPTHS[18], 10), 64, 4, {"lr": 0.005, "nesterov": True}),
    "resnet50": (lambda: imagenet("bottleneck", DEPTHS[50], 10), 64, 4, {"lr": 0.002}),
    "resnet18_intro": (family()["resnet18_intro"], 224, 2, {"lr": 0.005}),
}
CASES |= {f"{name}_bf16": CASES[name] for name in ["basic_option_a", "bottleneck"]}


# --- one run ---


def run(build, size, batch, sgd, dtype, *, autocast=False, channels_last=False, threads=2, onednn=True, jitter=None):
    """Logits in evaluation mode, then ten steps of SGD: what the first computes, and all losses, as float64 arrays.
    With a `jitter` the images are off by one unit in the last place at random."""
    torch.set_num_threads(threads)
    net = build()
    net.load_state_dict({k: torch.from_numpy(value_of(k, tuple(v.shape))) for k, v in net.state_dict().items()})
    net = net.to(dtype)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=sgd["lr"], momentum=0.9, weight_decay=1e-4, nesterov=sgd.get("nesterov", False)
    )

    def images(step):
        x = 2 * uniform(f"images{step % BATCHES}", batch * 3 * size * size).reshape(batch, 3, size, size)
        if jitter is not None:
            x *= 1 + 2.0**-23 * np.sign(uniform(f"jitter{jitter}", x.size)).reshape(x.shape)
        x = torch.from_numpy(x).to(dtype)
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x

    def labels(step):
        return torch.from_numpy((bits(f"labels{step % BATCHES}", batch) % np.uint64(10)).astype(np.int64))

    def forward(step):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return net(images(step))

    array = lambda t: t.detach().to(torch.float64).contiguous().numpy().copy()
    result = {"losses": []}
    with torch.backends.mkldnn.flags(enabled=onednn):
        net.eval()
        with torch.no_grad():
            result["eval_logits"] = array(forward(0))
        net.train()
        for step in range(STEPS):
            optimiser.zero_grad()
            logits = forward(step)
            logits = logits if dtype == torch.float64 else logits.float()
            loss = F.cross_entropy(logits, labels(step), label_smoothing=sgd.get("label_smoothing", 0.0))
            loss.backward()
            result["losses"].append(loss.item())
            if step == 0:
                result["logits"] = array(logits)
                result["gradients"] = {k: array(v.grad) for k, v in net.named_parameters()}
                result["statistics"] = {k: array(v) for k, v in net.named_buffers() if "running" in k}
            optimiser.step()
    return result


def digest(name, exact, approximations):
    """Norm, largest element, sketches and samples of a tensor, and the errors of its approximations."""
    flat = exact.reshape(-1)
    errors = [a.reshape(-1) - flat for a in approximations]
    signs = bits(f"{name}#signs", flat.size)
    sketches = [((1 - 2 * (signs >> np.uint64(k) & np.uint64(1)).astype(np.float64)) @ flat) for k in range(SKETCHES)]
    chosen = bits(f"{name}#samples", SAMPLES) % np.uint64(flat.size)
    return {
        "norm": np.linalg.norm(flat),
        "norm_error": max(np.linalg.norm(e) for e in errors),
        "peak": np.abs(flat).max(),
        "peak_error": max(np.abs(e).max() for e in errors),
        "sketches": sketches,
        "samples": list(flat[chosen]),
    }


def rounded(value):
    """To nine digits: tests compare in float32, and the files stay small."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def write_case(name):
    build, size, batch, sgd = CASES[name]
    exact = run(build, size, batch, sgd, torch.float64)
    if name.endswith("_bf16"):
        variants = [{"autocast": True}, {"autocast": True, "channels_last": True}]
    else:
        variants = [{}, {"channels_last": True}, {"threads": 1}, {"onednn": False}]
        # In a deep net a few of a million ReLUs change sides by rounding, others in every implementation, and each
        # moves the gradients of all layers before it. More runs show how far.
        variants += [{"jitter": number} for number in range(8)]
    others = [run(build, size, batch, sgd, torch.float32, **v) for v in variants]
    tensors = lambda key: {k: digest(k, exact[key][k], [o[key][k] for o in others]) for k in exact[key]}
    golden = {
        "image_size": size,
        "batch": batch,
        "sgd": {"momentum": 0.9, "weight_decay": 1e-4, "nesterov": False, "label_smoothing": 0.0} | sgd,
        "losses": exact["losses"],
        "loss_errors": [max(abs(o["losses"][t] - exact["losses"][t]) for o in others) for t in range(STEPS)],
        "eval_logits": digest("eval_logits", exact["eval_logits"], [o["eval_logits"] for o in others]),
        "logits": digest("logits", exact["logits"], [o["logits"] for o in others]),
        "gradients": tensors("gradients"),
        "statistics": tensors("statistics"),
    }
    members = {k: json.dumps(rounded(v)) for k, v in golden.items()}
    for key in ["gradients", "statistics"]:
        members[key] = rows({k: json.dumps(rounded(v)) for k, v in golden[key].items()}, "  ")
    (GOLDEN / f"{name}.json").write_text(rows(members, " ") + "\n")
    total = lambda key: math.hypot(*(g[key] for g in golden["gradients"].values()))
    print(f"{name}: losses {golden['losses'][0]:.4f} .. {golden['losses'][-1]:.4f}, errors of the losses "
          f"{golden['loss_errors'][0]:.1e} .. {golden['loss_errors'][-1]:.1e}, of the logits "
          f"{golden['logits']['norm_error'] / golden['logits']['norm']:.1e}, "
          f"of the gradient {total('norm_error') / total('norm'):.1e}")


def rows(members, indent):
    """A JSON object with one member a line."""
    lines = [f'{indent}"{name}": {member}' for name, member in members.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent[1:] + "}"


def write_family():
    """Parameters, and names and shapes of the state, of every member: the text "name [shape]\\n" hashed by FNV-1a."""
    members = {}
    with torch.device("meta"):
        for name, build in family().items():
            net = build()
            text = "".join(f"{k} {list(v.shape)}\n".replace(", ", ",") for k, v in net.state_dict().items())
            state = 0xCBF29CE484222325
            for byte in text.encode():
                state = (state ^ byte) * 0x100000001B3 % 2**64
            members[name] = {
                "parameters": sum(p.numel() for p in net.parameters()),
                "entries": len(net.state_dict()),
                "fnv1a": f"{state:016x}",
            }
    (GOLDEN / "family.json").write_text(rows({k: json.dumps(v) for k, v in members.items()}, " ") + "\n")
    print(f"family: {len(members)} members")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or ["family", *CASES]
    for case in wanted:
        write_family() if case == "family" else write_case(case)
