#!/usr/bin/env python3
"""Runs the libFuzzer programs of build/fuzz and writes what they found to tests/fuzz/results.json.

    tests/fuzz/run.py [--executions N] [--seeds DIR] [--only TARGET,...]

Each target runs with AddressSanitizer and UBSan from its kept corpus, tests/fuzz/corpus/TARGET.bin, and from the files
of --seeds: a folder TARGET/ a target. Afterwards the inputs that matter are kept again, smallest first, in at most 64 KB.
A crash, or an input that takes more than 1 s of processor time or 256 MB, ends with exit code 1; the inputs are left in
build/fuzz/found.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
RESULTS = ROOT / "tests" / "fuzz" / "results.json"
# Name: program and longest input. JPEG and PNG share a program.
TARGETS = {
    "cifar": ("cifar_fuzz", 8192),
    "config": ("config_fuzz", 4096),
    "exif": ("exif_fuzz", 4096),
    "jpeg": ("image_fuzz", 4096),
    "manifest": ("manifest_fuzz", 4096),
    "packed": ("packed_fuzz", 4096),
    "pickle": ("pickle_fuzz", 4096),
    "png": ("image_fuzz", 4096),
    "safetensors": ("safetensors_fuzz", 4096),
    "tar": ("tar_fuzz", 8192),
}
LARGEST_CORPUS = 64 << 10
SECONDS, MEGABYTES = 1, 256
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=4:malloc_context_size=4:allocator_may_return_null=0",
              "UBSAN_OPTIONS": "halt_on_error=1"}


def unpack(name, folder):
    """The kept corpus: u32 length and bytes for each input."""
    path = CORPUS / f"{name}.bin"
    packed = path.read_bytes() if path.exists() else b""
    at = number = 0
    while at < len(packed):
        size = int.from_bytes(packed[at:at + 4], "little")
        (folder / f"kept-{number:04d}").write_bytes(packed[at + 4:at + 4 + size])
        at, number = at + 4 + size, number + 1


def pack(name, folder):
    packed, count = b"", 0
    for path in sorted(folder.iterdir(), key=lambda p: (p.stat().st_size, p.name)):
        data = path.read_bytes()
        if len(packed) + 4 + len(data) > LARGEST_CORPUS:
            break
        packed += len(data).to_bytes(4, "little") + data
        count += 1
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.bin").write_bytes(packed)
    return count


def run(program, arguments, log):
    environment = {**os.environ, **SANITIZERS}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with open(log, "wb") as output:
        code = subprocess.run([program, *map(str, arguments)], env=environment, stdout=output,
                              stderr=subprocess.STDOUT, check=False).returncode
    return code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def fuzz(name, build, seeds, executions):
    program, longest = TARGETS[name]
    program = build / "bin" / program
    work, found = build / "corpus" / name, build / "found" / name
    for folder in (work, found):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    unpack(name, work)
    start = [work] + ([seeds / name] if seeds and (seeds / name).is_dir() else [])
    log = build / f"{name}.log"
    # The clock of -timeout is on the wall, which a loaded machine stretches; slow inputs are timed again below.
    code, seconds = run(program, [*start, f"-runs={executions}", f"-max_len={longest}", "-timeout=30",
                                  f"-report_slow_units={SECONDS}", f"-malloc_limit_mb={MEGABYTES}",
                                  f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1",
                                  f"-artifact_prefix={found}/", "-seed=1"], log)
    text = log.read_text(errors="replace")
    stat = lambda key: int((re.findall(rf"stat::{key}:\s*(\d+)", text) or ["0"])[-1])
    slow = 0
    for unit in list(found.glob("slow-unit-*")):
        _, again = run(program, [unit, "-runs=1"], build / "again.log")
        if again > SECONDS:
            slow += 1
        else:
            unit.unlink()
    small = build / "merged" / name
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir(parents=True)
    run(program, ["-merge=1", f"-max_len={longest}", small, *start], build / "merge.log")
    kept = pack(name, small)
    crashes = len([path for path in found.iterdir() if not path.name.startswith("slow-unit-")])
    return {"executions": stat("number_of_executed_units"), "crashes": crashes, "over_1_s": slow,
            "peak_rss_mb": stat("peak_rss_mb"), "processor_seconds": round(seconds), "exit_code": code,
            "corpus_inputs": kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=pathlib.Path)
    parser.add_argument("--only", default=",".join(TARGETS))
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"unknown target {unknown[0]}; known are {', '.join(TARGETS)}")
    compiler = subprocess.run(["clang++", "--version"], capture_output=True, text=True,
                              check=True).stdout.splitlines()[0]
    failed = False
    for name in names:
        result = fuzz(name, arguments.build, arguments.seeds, arguments.executions)
        result["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        kept = json.loads(RESULTS.read_text())["targets"] if RESULTS.exists() else {}
        results = {"compiler": compiler, "platform": platform.machine(),
                   "sanitizers": "AddressSanitizer, UndefinedBehaviorSanitizer",
                   "targets": dict(sorted({**kept, name: result}.items()))}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(name, json.dumps(result), flush=True)
        failed = failed or result["exit_code"] != 0 or result["crashes"] > 0 or result["over_1_s"] > 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
