#!/usr/bin/env python3
"""Which lines of the kernels do their tests execute, on the emulator?

  tests/kernels/coverage.py            builds in build/coverage, runs the kernels' tests, prints a table by file
  tests/kernels/coverage.py --lines    names the launchers' lines, too, that no test executed

Counted is what g++ makes code of in kernels/*.cu and the headers they include: device code (functions that are declared
__global__, __device__ or GPU_DEVICE), and apart from it the launchers around it. A line that several instantiations of a
template have counts as executed if one of them executed it. Needs cmake, ninja and gcov. Exit code 1 if a line of device
code was not executed.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The emulator and what only a GPU compiles are not device code under test.
LEFT_OUT = ("kernels/emulator/", "kernels/gpu/", "kernels/cuda/")


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], check=False, **options)
    if done.returncode != 0:
        sys.exit(f"coverage: {' '.join(map(str, command))} ended with exit code {done.returncode}")
    return done


COMMENT = re.compile(r"//.*")
DEVICE = re.compile(r"^(?!\s*#).*?\b(?:__global__|__device__|GPU_DEVICE)\b", re.MULTILINE)


def device_lines(source):
    """The lines of every function that is declared as device code, from its declaration to the end of its body."""
    text = "\n".join(COMMENT.sub("", line) for line in source.split("\n"))
    lines = set()
    for declaration in DEVICE.finditer(text):
        position, depth = declaration.end(), {"(": 0, "{": 0}
        while True:  # past the parameters to the body; a ';' before it means that this only declares
            character = text[position]
            if character in "({":
                depth[character] += 1
            elif character in ")}":
                depth["(" if character == ")" else "{"] -= 1
            if depth["("] == 0 and ((character == "}" and depth["{"] == 0) or (character == ";" and depth["{"] == 0)):
                break
            position += 1
        lines.update(range(text.count("\n", 0, declaration.start()) + 1, text.count("\n", 0, position) + 2))
    return lines


def counts_of(build):
    """{file: {line: executions}}"""
    counts = collections.defaultdict(lambda: collections.defaultdict(int))
    data = sorted((build / "kernels").rglob("engine_kernels_emulated.dir/**/*.gcda"))
    if not data:
        sys.exit(f"coverage: no test has left counts under {build / 'kernels'}")
    with tempfile.TemporaryDirectory() as folder:
        for path in data:
            done = run("gcov", "--json-format", "--stdout", path, cwd=folder, capture_output=True, text=True)
            for document in done.stdout.splitlines():
                for file in json.loads(document)["files"]:
                    name = os.path.relpath(os.path.join(build, file["file"]), ROOT)
                    if not name.startswith("kernels/") or name.startswith(LEFT_OUT):
                        continue
                    for line in file["lines"]:
                        counts[name][line["line_number"]] += line["count"]
    return counts


class Share:
    """Of some lines: how many were executed."""

    def __init__(self):
        self.total, self.missed = 0, []

    def add(self, lines, place):
        self.total += len(lines)
        self.missed += [(place, line) for line, count in sorted(lines.items()) if count == 0]

    def __str__(self):
        executed = self.total - len(self.missed)
        return f"{executed:6} of {self.total:5}" + (f" {100 * executed / self.total:6.2f}%" if self.total else "        ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    quiet = {"stdout": subprocess.DEVNULL}
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DENGINE_COVERAGE=ON", "-DENGINE_CUDA=OFF", "-DENGINE_TOOLS=OFF", "-DENGINE_BENCH=OFF"]
    run("cmake", "-S", ROOT, "-B", options.build, "-G", "Ninja", *flags, **quiet)
    run("cmake", "--build", options.build, "--target", "kernels_tests", "-j", options.jobs, **quiet)
    for path in options.build.rglob("*.gcda"):
        path.unlink()
    programs = [path for path in sorted(options.build.glob("bin/*_test")) if os.access(path, os.X_OK)]
    for program in programs:
        run(program, "--gtest_brief=1", **quiet)

    device_code, launchers = Share(), Share()
    print(f"{'executed lines of':44}{'device code':24}launchers")
    for name, lines in sorted(counts_of(options.build).items()):
        device = device_lines((ROOT / name).read_text())
        parts = [{line: count for line, count in lines.items() if (line in device) == inside} for inside in (True, False)]
        row = [Share(), Share()]
        for share, total, part in zip(row, (device_code, launchers), parts):
            share.add(part, name)
            total.add(part, name)
        print(f"{name:44}{str(row[0]):24}{row[1]}")
    print(f"{'all':44}{str(device_code):24}{launchers}")
    missed = device_code.missed + (launchers.missed if options.lines else [])
    for name, line in missed:
        print(f"  not executed: {name}:{line}: {(ROOT / name).read_text().splitlines()[line - 1].strip()}")
    return 1 if device_code.missed else 0


if __name__ == "__main__":
    sys.exit(main())
