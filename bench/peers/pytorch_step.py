#!/usr/bin/env python3
"""Times training steps or inference passes of a ResNet in PyTorch on random data that stays in memory.

The work, the options and the answers are those of step_bench (bench/step_bench.cpp); bench/README.md describes the
protocol. Additional options: --memory-format contiguous|channels_last, --exchange DIR reads the weights and the batch
or batches that step_bench wrote, and --variant chooses how PyTorch runs: eager, the whole step as one CUDA graph, or compiled.
"""

import argparse
import contextlib
import json
import resource
import sys
import time

import torch
from resnet import IMAGE_SIZE, MODELS, read_safetensors
from torch.nn import functional


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", choices=sorted(MODELS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--variant", default="eager", choices=["eager", "graph", "compile", "max-autotune"])
    parser.add_argument("--mode", default="train", choices=["train", "inference"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-format", default="contiguous", choices=["contiguous", "channels_last"])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warmup-limit", type=float, default=180)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--rotate", type=int, default=0, help="another of so many batches of u8 images each step")
    parser.add_argument("--exchange")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--layers", metavar="FILE", help="time the convolutions that step_bench --layers --json wrote to FILE")
    return parser.parse_args()


def status_bytes(key):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return 0


def memory_report():
    report = {"peak_resident_bytes": status_bytes("VmHWM"), "resident_bytes": status_bytes("VmRSS")}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        report["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    return report


def quantile(values, share):
    values = sorted(values)
    position = share * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (position - low) * (values[high] - values[low])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_batches(options, size, classes):
    """Under the names of step_bench's file."""
    labels = torch.randint(0, classes, (max(options.rotate, 1), options.batch))
    if not options.rotate:
        return {"images": torch.randn(options.batch, 3, size, size), "labels": labels[0]}
    images = torch.randint(0, 256, (options.rotate, options.batch, size, size, 3), dtype=torch.uint8)
    return {f"images.{i}": batch for i, batch in enumerate(images)} | {f"labels.{i}": batch for i, batch in enumerate(labels)}


class Workload:
    def __init__(self, options):
        self.options = options
        layout = torch.channels_last if options.memory_format == "channels_last" else torch.contiguous_format
        torch.manual_seed(0)
        net = MODELS[options.model]()
        size = options.image_size or IMAGE_SIZE[options.model]
        if options.exchange:
            net.load_state_dict(read_safetensors(options.exchange + "/weights.safetensors"), strict=True)
            batch = read_safetensors(options.exchange + "/batch.safetensors")
        else:
            batch = random_batches(options, size, net.fc.out_features)
        self.next, self.rotating = 0, []
        if options.rotate:
            # [N,H,W,3] seen as [N,3,H,W] is channels-last.
            pairs = [(batch[f"images.{i}"].permute(0, 3, 1, 2), batch[f"labels.{i}"]) for i in range(options.rotate)]
            self.rotating = [(images.contiguous(memory_format=layout).to(options.device), labels.to(options.device)) for images, labels in pairs]
            self.images, self.labels = (tensor.clone() for tensor in self.rotating[0])
        else:
            self.images = batch["images"].contiguous(memory_format=layout).to(options.device)
            self.labels = batch["labels"].to(options.device)
        self.image_size = self.images.shape[2]
        self.mean = 255 * torch.tensor(MEAN, device=options.device).view(1, 3, 1, 1)
        self.scale = 1 / (255 * torch.tensor(STD, device=options.device).view(1, 3, 1, 1))
        self.net = net.to(memory_format=layout).to(options.device).train(options.mode == "train")
        # fused: the faster of PyTorch's implementations on the CPU, though not its default.
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4, fused=True)
        # Only fp16 needs its loss scaled; otherwise this passes everything through.
        self.scaler = torch.amp.GradScaler(options.device, enabled=options.precision == "fp16" and options.mode == "train")
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
        self.forward = self.loss_of_batch if options.mode == "train" else self.logits_of_batch
        if options.variant in ("compile", "max-autotune"):
            if options.memory_format == "channels_last":
                # Otherwise the compiler may fall back to contiguous convolutions in the backward pass.
                torch._inductor.config.force_layout_optimization = True
            if options.variant == "max-autotune":
                torch._inductor.config.coordinate_descent_tuning = True
                torch._inductor.config.max_autotune_conv_backends = "ATEN,TRITON"
            # Inside a graph of the whole step, graphs of its parts are in the way.
            tuned = {"mode": "max-autotune-no-cudagraphs"} if options.variant == "max-autotune" else {}
            self.forward = torch.compile(self.forward, **tuned)
        self.graph = None
        if options.variant in ("graph", "max-autotune") and options.device == "cuda":
            self.capture()

    def precision(self):
        return torch.autocast(self.options.device, dtype=self.dtype) if self.dtype else contextlib.nullcontext()

    def logits_of_batch(self):
        images = (self.images - self.mean) * self.scale if self.rotating else self.images
        with self.precision():
            return self.net(images)

    def loss_of_batch(self):
        logits = self.logits_of_batch()
        with self.precision():
            return functional.cross_entropy(logits, self.labels)

    def take_next_batch(self):
        if self.rotating:
            images, labels = self.rotating[self.next]
            self.images.copy_(images)
            self.labels.copy_(labels)
            self.next = (self.next + 1) % len(self.rotating)

    def eager_step(self):
        if self.options.mode == "inference":
            with torch.inference_mode():
                self.forward()
            return None
        loss = self.forward()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.sgd)
        self.scaler.update()
        self.sgd.zero_grad(set_to_none=self.options.variant not in ("graph", "max-autotune"))
        return loss.detach()

    def capture(self):
        """The whole step as one graph. The steps that PyTorch needs before it are undone, so that losses compare."""
        before = {name: value.clone() for name, value in self.net.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(11):
                self.eager_step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.captured_loss = self.eager_step()
        self.net.load_state_dict(before)
        for state in self.sgd.state.values():
            state["momentum_buffer"].zero_()

    def step(self):
        self.take_next_batch()
        if self.graph is None:
            return self.eager_step()
        self.graph.replay()
        return self.captured_loss

    def finish(self):
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def loss(self):
        with torch.inference_mode():
            return self.loss_of_batch().item()

    def timed_step(self):
        start = time.perf_counter()
        self.step()
        self.finish()
        return time.perf_counter() - start


def warm_up(work, limit):
    """Steps until two neighbouring windows of five (three, if a step takes over a second) have medians within 2%."""
    times = []
    while sum(times) < limit:
        times.append(work.timed_step())
        window = 3 if times[-1] > 1 else 5
        if len(times) < 2 * window:
            continue
        last, before = quantile(times[-window:], 0.5), quantile(times[-2 * window : -window], 0.5)
        if abs(last - before) <= 0.02 * before:
            return times, True
    return times, False


def measure(work, seconds):
    """Steps for at least `seconds`, and at least three, after one that does not count."""
    work.timed_step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    times = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(work.timed_step())
    after = resource.getrusage(resource.RUSAGE_SELF)
    median = quantile(times, 0.5)
    return {
        "img_per_s": len(work.labels) / median,
        "median_s": median,
        "p5_s": quantile(times, 0.05),
        "p95_s": quantile(times, 0.95),
        "steps": len(times),
        "minor_faults_per_step": (after.ru_minflt - before.ru_minflt) / len(times),
        "major_faults_per_step": (after.ru_majflt - before.ru_majflt) / len(times),
        "cpu_per_wall": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / sum(times),
        "memory": memory_report(),
        "step_s": times,
    }


def describe(options):
    return {
        "program": "pytorch_step",
        "model": options.model,
        "batch": options.batch,
        "precision": options.precision,
        "mode": options.mode,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "variant": options.variant,
        "memory_format": options.memory_format,
        "versions": {
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "onednn": next((line.strip(" -") for line in torch.__config__.show().splitlines() if "MKL-DNN" in line), ""),
        },
        "isa": torch.backends.cpu.get_cpu_capability(),
    }


def time_layers(options):
    """Each convolution of the list by itself: forward, backward_data and backward_weights, or inference."""
    with open(options.layers) as file:
        cases = json.load(file)["layers"]
    layout = torch.channels_last if options.memory_format == "channels_last" else torch.contiguous_format
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    results = []
    for case in cases:
        s = case["shape"]
        x = torch.randn(s["n"], s["c"], s["h"], s["w"]).to(dtype).contiguous(memory_format=layout)
        w = torch.randn(s["k"], s["c"] // s["groups"], s["r"], s["r"]).to(dtype).contiguous(memory_format=layout)
        y = functional.conv2d(x, w, None, s["stride"], s["padding"], 1, s["groups"])
        geometry = ([s["stride"]] * 2, [s["padding"]] * 2, [1, 1], False, [0, 0], s["groups"])

        def run(direction=case["direction"], x=x, w=w, y=y, geometry=geometry, s=s):
            if direction in ("forward", "inference"):
                functional.conv2d(x, w, None, s["stride"], s["padding"], 1, s["groups"])
            else:
                mask = [direction == "backward_data", direction == "backward_weights", False]
                torch.ops.aten.convolution_backward(y, x, w, None, *geometry, mask)

        run()
        times, begin = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < 0.3:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        results.append({"layers": case["layers"], "direction": case["direction"], "ms": 1e3 * quantile(times, 0.5)})
    return {**describe(options), "layers": results}


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
    if options.layers:
        with torch.inference_mode():
            print(json.dumps(time_layers(options)))
        return
    bare = status_bytes("VmRSS")
    work = Workload(options)
    losses, first_step = [], None
    for _ in range(max(options.losses, 1)):
        start = time.perf_counter()
        loss = work.step()
        work.finish()
        first_step = first_step or time.perf_counter() - start
        losses.append(work.loss() if loss is None else loss.item())
    del loss
    warm, stable = warm_up(work, options.warmup_limit)
    report = {
        **describe(options),
        "image_size": work.image_size,
        "losses": losses,
        "first_step_s": first_step,
        "warmup_steps": len(warm),
        "warmup_s": warm,
        "stable": stable,
        "bare_resident_bytes": bare,
        "memory": memory_report(),
    }
    if options.serve:
        print(json.dumps(report), flush=True)
        for line in sys.stdin:
            if line.strip() == "quit":
                return
            print(json.dumps(measure(work, float(line.split()[1]))), flush=True)
        return
    run = measure(work, options.seconds)
    if options.json:
        print(json.dumps({"start": report, "run": run}))
        return
    print(f"{options.model} {options.precision} {options.mode}, {options.memory_format}: {run['img_per_s']:.2f} img/s; step median "
          f"{1e3 * run['median_s']:.2f} ms, p5 {1e3 * run['p5_s']:.2f}, p95 {1e3 * run['p95_s']:.2f} ({run['steps']} steps); "
          f"first step {first_step:.2f} s, warm-up {len(warm)} steps{'' if stable else ' (NOT STABLE)'}")
    print(f"peak memory {run['memory']['peak_resident_bytes'] / 2**20:.0f} MiB; {run['minor_faults_per_step']:.0f} page faults a "
          f"step; first losses {losses}")


if __name__ == "__main__":
    main()
