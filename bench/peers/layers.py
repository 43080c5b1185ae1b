"""Each convolution of a net by itself: the engine against PyTorch and against the best that oneDNN offered the chain."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from resident import Failed

ROOT = Path(__file__).resolve().parents[2]
CHAIN_DIRECTIONS = {"fprop": "forward", "dgrad": "backward_data", "wgrad": "backward_weights", "infer": "inference"}


def run(command, env):
    command = [str(part) for part in command]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return done


def pytorch_times(python, arguments, cases, env):
    """The best of the two memory formats for each case."""
    best = None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"layers": cases}, file)
        file.flush()
        for layout in ("contiguous", "channels_last"):
            command = [python, ROOT / "bench/peers/pytorch_step.py", *arguments, "--layers", file.name, "--memory-format", layout]
            times = [layer["ms"] for layer in json.loads(run(command, env).stdout)["layers"]]
            best = times if best is None else [min(pair) for pair in zip(best, times)]
    return best


def chain_times(program, model, batch, mode, precision, threads, env):
    """(shape, direction) -> (milliseconds, implementation), from lines such as
    `2 x 32x56x56x64 k64 r3 s1   fprop | jit:avx512_core/blocked 1.25 ms 0 KiB | ...`, the fastest first."""
    command = [program, "--net", model, "--batch", batch, "--precision", precision, "--threads", threads, "--mode", mode, "--layers", "--repeats", 1]
    pattern = re.compile(r"\d+ x (\d+x\d+x\d+x\d+ k\d+ r\d+ s\d+) +(\w+) \| (\S+) ([\d.]+) ms")
    times = {}
    for match in pattern.finditer(run(command, env).stderr):
        key, time = (match[1], CHAIN_DIRECTIONS[match[2]]), (float(match[4]), match[3])
        times[key] = min(times.get(key, time), time)  # in inference there are lines with and without a residual
    return times


def compare(options, python, cell, arguments, ours, peer):
    report = json.loads(run([options.bin / "step_bench", *arguments, "--layers", "--json"], ours).stdout)
    cases = report["layers"]
    pytorch = pytorch_times(python, arguments, cases, peer)
    batch = cases[0]["shape"]["n"]
    chain = {} if options.no_chain else chain_times(options.bin / "onednn_chain", cell.model, batch, cell.mode, cell.precision, cell.threads, ours)
    rows = []
    for case, pytorch_ms in zip(cases, pytorch):
        s, count = case["shape"], len(case["layers"])
        key = (f"{s['n']}x{s['h']}x{s['w']}x{s['c']} k{s['k']} r{s['r']} s{s['stride']}", case["direction"])
        chain_ms, chain_implementation = chain.get(key, (None, ""))
        best = min(time for time in (pytorch_ms, chain_ms) if time is not None)
        rows.append((count * (case["ms"] - best), case, pytorch_ms, chain_ms, chain_implementation))
    rows.sort(key=lambda row: -row[0])

    print(f"{cell}; most time lost first; times of one layer", file=sys.stderr)
    print(f"{'lost ms':>8} {'layers':26}{'direction':18}{'engine ms':>10}{'GFLOP/s':>9}{'PyTorch':>9}{'chain':>9}  implementation", file=sys.stderr)
    for lost, case, pytorch_ms, chain_ms, chain_implementation in rows:
        names = case["layers"][0] + (f" and {len(case['layers']) - 1} more" if len(case["layers"]) > 1 else "")
        other = f"{chain_ms:9.2f}" if chain_ms is not None else f"{'-':>9}"
        choice = case["implementation"] + (f"; chain: {chain_implementation}" if chain_implementation else "")
        print(
            f"{lost:8.2f} {names:26}{case['direction']:18}{case['ms']:10.2f}{case['gflop_per_s']:9.0f}{pytorch_ms:9.2f}{other}  {choice}",
            file=sys.stderr,
        )
    lost = sum(max(row[0], 0) for row in rows)
    total = sum(len(row[1]["layers"]) * row[1]["ms"] for row in rows)
    print(f"all convolutions {total:.1f} ms, of which {lost:.1f} ms are lost to the better of the two", file=sys.stderr)
    print(json.dumps({"model": cell.model, "mode": cell.mode, "precision": cell.precision, "threads": cell.threads, "layers": [
        {**row[1], "lost_ms": row[0], "pytorch_ms": row[2], "chain_ms": row[3], "chain_implementation": row[4]} for row in rows
    ]}))  # fmt: skip
