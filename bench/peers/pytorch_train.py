#!/usr/bin/env python3
"""Trains a CIFAR net in eager PyTorch with the recipe of bench/accuracy: the counterpart of resnet-train.

The images are decoded once and stay in memory; crops and flips are made for a whole batch at once. SGD with momentum
0.9, cross-entropy. `--recipe airbench-like`: Nesterov's momentum, half an epoch of warm-up, then down to 0 in a straight line;
`--recipe paper-cifar`: a tenth of the rate at a half and at three quarters of the epochs. Prints a line an epoch to stderr
and one JSON object to stdout.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from resnet import MODELS
from torch.nn import functional

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PADDING = 4
WARMUP_EPOCHS = 0.5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", type=Path, required=True, help="holds train/CLASS/* and val/CLASS/*")
    parser.add_argument("--recipe", default="airbench-like", choices=["airbench-like", "paper-cifar"])
    parser.add_argument("--model", default="resnet20", choices=sorted(MODELS))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--memory-format", default="auto", choices=["auto", "contiguous", "channels_last"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_folder(folder, classes):
    """uint8 [N,3,H,W] and labels."""
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as image:
                images.append(numpy.asarray(image.convert("RGB")))
            labels.append(label)
    return torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


class Trainer:
    def __init__(self, options, layout):
        torch.manual_seed(options.seed)
        self.options, self.layout = options, layout
        self.net = MODELS[options.model]().to(memory_format=layout)
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=options.lr, momentum=0.9, nesterov=options.recipe == "airbench-like", weight_decay=options.weight_decay, fused=True)
        self.mean = torch.tensor(MEAN).view(1, 3, 1, 1) * 255
        self.scale = 1 / (torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def precision(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.options.precision == "bf16" else contextlib.nullcontext()

    def normalize(self, images):
        return ((images - self.mean) * self.scale).contiguous(memory_format=self.layout)

    def augment(self, padded, indices):
        """Random windows, half of them mirrored, of the images `indices`."""
        size, count = padded.shape[2] - 2 * PADDING, len(indices)
        along = torch.arange(size)
        rows = torch.randint(0, 2 * PADDING + 1, (count, 1)) + along
        columns = torch.where(torch.rand(count, 1) < 0.5, along, along.flip(0)) + torch.randint(0, 2 * PADDING + 1, (count, 1))
        window = padded[indices.view(-1, 1, 1), :, rows.view(count, size, 1), columns.view(count, 1, size)]  # [N,H,W,C]
        return self.normalize(window.permute(0, 3, 1, 2))

    def step(self, images, labels):
        with self.precision():
            loss = functional.cross_entropy(self.net(images), labels)
        loss.backward()
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        return loss.item()

    def train_epoch(self, padded, labels, rate_of_step, first_step):
        batch = self.options.batch_size
        order = torch.randperm(len(labels))
        self.net.train()
        losses = []
        for i in range(len(labels) // batch):
            indices = order[i * batch : (i + 1) * batch]
            self.sgd.param_groups[0]["lr"] = rate_of_step(first_step + i)
            losses.append(self.step(self.augment(padded, indices), labels[indices]))
        return sum(losses) / len(losses)

    def accuracy(self, images, labels):
        """In percent."""
        self.net.eval()
        correct = 0
        with torch.inference_mode(), self.precision():
            for part, truth in zip(images.split(self.options.batch_size), labels.split(self.options.batch_size)):
                correct += (self.net(self.normalize(part)).argmax(1) == truth).sum().item()
        return 100 * correct / len(labels)


def up_and_down(peak, total, warmup):
    """Linearly up from peak/100 in `warmup` steps, then linearly down to 0."""

    def rate(step):
        if step < warmup:
            return peak * (0.01 + 0.99 * step / warmup)
        return peak * (total - step) / (total - warmup)

    return rate


def in_steps(peak, total):
    """The peak, a tenth of it from the middle on, a hundredth in the last quarter."""

    def rate(step):
        return peak * (1 if step < total // 2 else 0.1 if step < total * 3 // 4 else 0.01)

    return rate


def fastest_layout(options, images, labels):
    """Ten steps of each memory format on a net that is thrown away."""
    times = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        trial = Trainer(options, layout)
        batch = trial.normalize(images[: options.batch_size])
        for i in range(12):
            if i == 2:
                start = time.perf_counter()
            trial.step(batch, labels[: options.batch_size])
        times[layout] = time.perf_counter() - start
    return min(times, key=times.get)


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    classes = sorted(folder.name for folder in (options.data_path / "train").iterdir() if folder.is_dir())
    images, labels = read_folder(options.data_path / "train", classes)
    val_images, val_labels = read_folder(options.data_path / "val", classes)
    padded = functional.pad(images, [PADDING] * 4)
    decoded = time.perf_counter()

    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    layout = layouts.get(options.memory_format) or fastest_layout(options, images, labels)
    tried = time.perf_counter()
    trainer = Trainer(options, layout)
    steps = len(labels) // options.batch_size
    if options.recipe == "paper-cifar":
        rate = in_steps(options.lr, options.epochs * steps)
    else:
        rate = up_and_down(options.lr, options.epochs * steps, round(WARMUP_EPOCHS * steps))
    history, train_seconds = [], 0
    for epoch in range(options.epochs):
        start = time.perf_counter()
        loss = trainer.train_epoch(padded, labels, rate, epoch * steps)
        train_seconds += time.perf_counter() - start
        history.append({"train_loss": loss, "val_acc1": trainer.accuracy(val_images, val_labels)})
        print(f"epoch {epoch + 1}: loss {loss:.4f}, held-out accuracy {history[-1]['val_acc1']:.2f}%", file=sys.stderr, flush=True)
    print(json.dumps({
        "torch": torch.__version__,
        "memory_format": "channels_last" if layout == torch.channels_last else "contiguous",
        "threads": torch.get_num_threads(),
        "final_val_acc1": history[-1]["val_acc1"],
        "best_val_acc1": max(entry["val_acc1"] for entry in history),
        "epochs": history,
        "decode_s": decoded - began,
        "format_trial_s": tried - decoded,  # no part of the training: bench/accuracy takes it off
        "train_s": train_seconds,
        "train_img_per_s": options.epochs * steps * options.batch_size / train_seconds,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
