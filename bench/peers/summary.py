"""What the samples of a cell say: rates, ratios, goals that are missed, and reasons not to believe them."""

import statistics
import sys

# Least ratio to PyTorch, and least share of the chain. On a GPU the best of PyTorch's variants is to be reached.
GOALS = {("train", "fp32"): (1.5, 0.85), ("train", "bf16"): (1.2, None), ("inference", "fp32"): (1.2, None), ("inference", "bf16"): (1.2, None)}
GPU_GOAL = (1.0, None)
IDLE_LIMIT = 0.02  # processors that a program may use while it is another's turn
NOISE_LIMIT = 0.1  # processors that the rest of the machine may use
SIDES = ("engine", "pytorch", "chain")


def say(*parts):
    print(*parts, file=sys.stderr, flush=True)


def peak_bytes(report, side):
    """Of the device's memory on a GPU, of the process's on the CPU."""
    memory = report[side]["rounds"][-1]["memory"]
    if report.get("device", "cpu") == "cpu":
        return memory["peak_resident_bytes"]
    return memory["engine_peak_bytes" if side == "engine" else "peak_device_bytes"]


def summarize(report):
    rate = {side: [r["img_per_s"] for r in report[side]["rounds"]] for side in SIDES if side in report}
    ratio = [a / b for a, b in zip(rate["engine"], rate["pytorch"])]
    memory = {side: peak_bytes(report, side) for side in ("engine", "pytorch")}
    start = {side: report[side]["start"] for side in rate}
    summary = {
        "engine_img_per_s": statistics.median(rate["engine"]),
        "pytorch_img_per_s": statistics.median(rate["pytorch"]),
        "pytorch_memory_format": start["pytorch"]["memory_format"],
        "pytorch_variant": start["pytorch"].get("variant", "eager"),
        "ratio": statistics.median(ratio),
        "ratio_range": [min(ratio), max(ratio)],
        "engine_peak_bytes": memory["engine"],
        "pytorch_peak_bytes": memory["pytorch"],
    }
    if report.get("device", "cpu") == "cpu":
        # What the process held before it built the network: the interpreter and the library.
        for side in memory:
            summary[f"{side}_peak_above_bare_bytes"] = memory[side] - start[side]["bare_resident_bytes"]
    if "chain" in rate:
        share = [a / b for a, b in zip(rate["engine"], rate["chain"])]
        summary |= {"chain_img_per_s": statistics.median(rate["chain"]), "chain_share": statistics.median(share)}
        summary["chain_share_range"] = [min(share), max(share)]
    summary["missed"], summary["doubtful"] = missed(report, summary), doubts(report)
    return summary


def missed(report, summary):
    """The goals that this cell does not reach."""
    faults = []
    on_cpu = report.get("device", "cpu") == "cpu"
    least_ratio, least_share = GOALS[report["mode"], report["precision"]] if on_cpu else GPU_GOAL
    if summary["ratio"] < least_ratio:
        faults.append(f"{summary['ratio']:.2f}x PyTorch, goal {least_ratio}x")
    if least_share and "chain_share" in summary and summary["chain_share"] < least_share:
        faults.append(f"{100 * summary['chain_share']:.0f}% of the chain, goal {100 * least_share:.0f}%")
    if summary["engine_peak_bytes"] > summary["pytorch_peak_bytes"]:
        faults.append("peak memory above PyTorch's")
    elif on_cpu and summary["engine_peak_above_bare_bytes"] > summary["pytorch_peak_above_bare_bytes"]:
        faults.append("peak memory above PyTorch's when libraries are not counted")
    if report["engine"]["start"]["fallbacks"]:
        faults.append(f"fallbacks: {', '.join(report['engine']['start']['fallbacks'])}")
    return faults


def others_used(noise):
    """Processors that the rest of the machine and the hypervisor used in the worst round."""
    return max(r["others_processors"] + r["stolen_processors"] for r in noise)


def doubts(report):
    """Why the figures of this cell should not be believed."""
    reasons = [f"{side} never became stable" for side in SIDES if side in report and not report[side]["start"]["stable"]]
    noise = report["noise"]
    idle = {name: max(r["idle_processors"][name] for r in noise) for name in noise[0]["idle_processors"]}
    reasons += [f"{name} used {use:.2f} processors while idle" for name, use in idle.items() if use > IDLE_LIMIT]
    if others_used(noise) > NOISE_LIMIT:
        reasons.append(f"the rest of the machine used {others_used(noise):.2f} processors")
    return reasons


def better(new, old):
    """Whether a repeated cell replaces the earlier one: fewer doubts, or as many and a quieter machine."""
    doubtful = [len(report["summary"]["doubtful"]) for report in (new, old)]
    return doubtful[0] < doubtful[1] or (doubtful[0] == doubtful[1] and others_used(new["noise"]) < others_used(old["noise"]))


def print_table(rows):
    """Of (cell, report) pairs."""
    mib = 2**20
    say(f"\n{'cell':46}{'engine':>10}{'PyTorch':>10}  {'format':14}{'ratio [range]':22}{'chain':>9}{'share':>7}  peak memory, MiB")
    for cell, report in rows:
        s = report["summary"]
        ratio = f"{s['ratio']:.2f} [{s['ratio_range'][0]:.2f}-{s['ratio_range'][1]:.2f}]"
        chain = f"{s['chain_img_per_s']:9.1f}{100 * s['chain_share']:6.0f}%" if "chain_share" in s else f"{'-':>9}{'-':>7}"
        memory = f"{s['engine_peak_bytes'] / mib:.0f} against {s['pytorch_peak_bytes'] / mib:.0f}"
        if "engine_peak_above_bare_bytes" in s:
            memory += f" (net {s['engine_peak_above_bare_bytes'] / mib:.0f}, {s['pytorch_peak_above_bare_bytes'] / mib:.0f})"
        peer = s["pytorch_memory_format"] if s.get("pytorch_variant", "eager") == "eager" else s["pytorch_variant"]
        say(f"{str(cell):46}{s['engine_img_per_s']:10.1f}{s['pytorch_img_per_s']:10.1f}  {peer:14}{ratio:22}{chain}  {memory}")
        gauge = [r["calibration"]["compute_s"] for r in report["noise"]]
        say(f"{'':46}noise: others and hypervisor used {others_used(report['noise']):.2f} processors at most, fixed work took {max(gauge) / min(gauge):.2f}x its best time")
        for fault in s["missed"]:
            say(f"{'':46}MISSED: {fault}")
        for reason in s["doubtful"]:
            say(f"{'':46}DOUBTFUL: {reason}")
    if not any(report["summary"]["missed"] for _, report in rows):
        say("All goals reached.")
