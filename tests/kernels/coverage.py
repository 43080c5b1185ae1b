#!/usr/bin/env python3
"""Which lines of the kernels do their tests execute, on the emulator?

  tests/kernels/coverage.py            builds in build/coverage, runs the kernels' tests, prints a table by file
  tests/kernels/coverage.py --lines    names each line that no test executed

Counted is what g++ makes code of in kernels/*.cu and the headers of device code. A line that several instantiations of
a template have counts as executed if one of them executed it. Needs cmake, ninja and gcov. Exit code 1 below 100%.
"""

import argparse
import collections
import json
import os
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

    total = executed = 0
    for name, lines in sorted(counts_of(options.build).items()):
        missed = sorted(line for line, count in lines.items() if count == 0)
        total, executed = total + len(lines), executed + len(lines) - len(missed)
        print(f"{name:44}{len(lines) - len(missed):6} of {len(lines):5} lines")
        if options.lines:
            source = (ROOT / name).read_text().splitlines()
            for line in missed:
                print(f"  {name}:{line}: {source[line - 1].strip()}")
    print(f"{'all':44}{executed:6} of {total:5} lines, {100 * executed / total:.2f}%")
    return 0 if executed == total else 1


if __name__ == "__main__":
    sys.exit(main())
