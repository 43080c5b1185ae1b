#!/usr/bin/env python3
"""Puts known bugs into the kernels, one at a time, and expects the race build of their tests to notice each.

  tests/emulator/seeded_bugs.py                     all of them (a few minutes)
  tests/emulator/seeded_bugs.py --quick             one of each family
  tests/emulator/seeded_bugs.py conv_no_barrier     some; --list names them

A bug is a piece of a source file and what stands there instead. The changed source is compiled, in a copy, with the race
build's own flags and linked before the library, so that it takes the place of the right one; then the named tests run
under three schedules until one fails. Needs a release build with its tests. Exit code 1 if a bug went unnoticed, or if the
source has changed so that a bug can no longer be put in.
"""

import argparse
import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICIES = (("forward", "lazy"), ("random:7", "random"), ("reverse", "eager"))
LIMIT = 120  # seconds of one run; a hang is noticed, too


@dataclass(frozen=True)
class Bug:
    name: str
    file: str  # where the bug is
    right: str
    wrong: str
    compiled: str  # the .cu file that shows it
    program: str
    tests: str = "*"
    quick: bool = False


CONV, FPROP, DGRAD, WGRAD = "convolution_kernels_test", "*ConvForward*", "*ConvBackwardData*", "*ConvBackwardWeights*"

BUGS = [
    # --- the convolutions' tile loop ---
    Bug("conv_no_barrier", "kernels/conv/tile.h", "    __syncthreads();\n    load(slice + kStages - 1);", "    load(slice + kStages - 1);", "convolution_fprop_bf16.cu", CONV, FPROP, quick=True),
    Bug("conv_wait_too_short", "kernels/conv/tile.h", "cp_async_wait<kStages - 2>", "cp_async_wait<kStages - 1>", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_load_before_barrier", "kernels/conv/tile.h", "    __syncthreads();\n    load(slice + kStages - 1);", "    load(slice + kStages - 1);\n    __syncthreads();", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_ring_reused_early", "kernels/conv/tile.h", "  // All threads have used up the last slices.\n  __syncthreads();\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_no_commit", "kernels/conv/tile.h", "    gpu::cp_async_commit();\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_ring_too_small", "kernels/conv/tile.h", "slice % kStages * kSlotBytes;\n    if", "slice % (kStages + 1) * kSlotBytes;\n    if", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_f32_no_barrier", "kernels/conv/tile.h", "    __syncthreads();\n    load(slice + kStages - 1);", "    load(slice + kStages - 1);", "convolution_fprop_f32.cu", CONV, FPROP),
    Bug("conv_wrong_lanes", "kernels/conv/multiply.h", "step * 2 + lane / 16)", "step * 2 + lane / 8 % 2)", "convolution_fprop_bf16.cu", CONV, FPROP),
    # --- its sources ---
    Bug("conv_no_padding", "kernels/conv/sources.h", "inside(w_[i] + tap.middle, patches_.width)", "true", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_rows_past_the_end", "kernels/conv/sources.h", "      if (row >= patches.num_rows) h_[i] = kNowhere;\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_filter_past_the_end", "kernels/conv/sources.h", "const bool ok = row_exists && column < columns;", "const bool ok = column < columns;", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_elements_past_the_end", "kernels/conv/sources.h", "if (row_exists && column + e < columns)", "if (row_exists)", "convolution_fprop_bf16.cu", CONV, FPROP),
    # --- epilogues ---
    Bug("fprop_tile_read_early", "kernels/conv/fprop.h", "  // The tile is complete: its rows are read by other threads than wrote them.\n  __syncthreads();\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("fprop_means_read_early", "kernels/conv/fprop.h", "    // The means are there, and the scratch of the sums has been read.\n    __syncthreads();\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("conv_sums_read_early", "kernels/conv/epilogue.h", "    // All threads' sums are there.\n    __syncthreads();\n", "", "convolution_fprop_bf16.cu", CONV, FPROP),
    Bug("dgrad_tile_read_early", "kernels/conv/dgrad.h", "both are read by other threads than wrote them.\n  __syncthreads();", "both are read by other threads than wrote them.", "convolution_dgrad_bf16.cu", CONV, DGRAD, quick=True),
    Bug("dgrad_rows_past_the_end", "kernels/conv/dgrad.h", "row < num_rows; row += Rows::kRowsPerPass", "row < Shape::kM; row += Rows::kRowsPerPass", "convolution_dgrad_bf16.cu", CONV, DGRAD),
    Bug("dgrad_wrong_class", "kernels/conv/dgrad.h", "if (found.tile < tiles) break;", "if (found.tile <= tiles) break;", "convolution_dgrad_bf16.cu", CONV, DGRAD),
    Bug("wgrad_tile_read_early", "kernels/conv/wgrad.h", "  // The tile is complete: its rows are read by other threads than wrote them.\n  __syncthreads();\n", "", "convolution_wgrad_bf16.cu", CONV, WGRAD, quick=True),
    Bug("wgrad_splits_collide", "kernels/conv/wgrad.h", "float* to = params.dw + split * params.split_stride +", "float* to = params.dw +", "convolution_wgrad_bf16.cu", CONV, WGRAD),
    Bug("wgrad_pixels_past_the_end", "kernels/conv/sources.h", "const bool row_exists = row_ + i * Slice::kRowsPerPass < patches_.num_rows;", "const bool row_exists = true;", "convolution_wgrad_bf16.cu", CONV, WGRAD),
    Bug("wgrad_reduce_past_the_end", "kernels/convolution_wgrad.cu", "if (i < params.size_dw + params.size_dbias) {", "if (i <= params.size_dw + params.size_dbias) {", "convolution_wgrad.cu", CONV, WGRAD),
    # --- batch normalisation ---
    Bug("rows_added_early", "kernels/batch_norm_parts.h", "    __syncthreads();  // the level above has been written\n", "", "batch_norm.cu", "batch_norm_kernels_test", quick=True),
    Bug("statistics_past_the_end", "kernels/batch_norm.cu", "last = min(first + rows_per_part, rows)", "last = first + rows_per_part", "batch_norm.cu", "batch_norm_kernels_test"),
    Bug("normalize_past_the_end", "kernels/batch_norm.cu", "+ thread.row; row < rows; row += step) {", "+ thread.row; row <= rows; row += step) {", "batch_norm.cu", "batch_norm_kernels_test"),
    Bug("normalize_idle_threads", "kernels/batch_norm.cu", "  if (!thread.active) return;\n  const Floats<V> a", "  const Floats<V> a", "batch_norm.cu", "batch_norm_kernels_test"),
    Bug("finalize_last_part", "kernels/batch_norm_finalize.cu", "static_cast<double>(min(parts.rows_per_part, parts.rows - part * parts.rows_per_part))", "static_cast<double>(parts.rows_per_part)", "batch_norm_finalize.cu", "batch_norm_kernels_test"),
    Bug("finalize_added_early", "kernels/batch_norm_finalize.cu", "    __syncthreads();  // the level above has been written\n", "", "batch_norm_finalize.cu", "batch_norm_kernels_test"),
    Bug("backward_idle_threads", "kernels/batch_norm_backward.cu", "if (thread.row != 0 || !thread.active) return;", "if (thread.row != 0) return;", "batch_norm_backward.cu", "batch_norm_kernels_test"),
    Bug("backward_every_row_stores", "kernels/batch_norm_backward.cu", "if (thread.row != 0 || !thread.active) return;", "if (!thread.active) return;", "batch_norm_backward.cu", "batch_norm_kernels_test"),
    # --- head and optimiser ---
    Bug("linear_no_barrier", "kernels/linear_half.cu", "    __syncthreads();  // every thread's part of this step has arrived; the stage of the step before is free\n", "", "linear_half.cu", "linear_kernels_test", quick=True),
    Bug("linear_wait_too_short", "kernels/linear_half.cu", "cp_async_wait<kStages - 2>", "cp_async_wait<kStages - 1>", "linear_half.cu", "linear_kernels_test"),
    Bug("linear_past_the_end", "kernels/linear_half.cu", "if (row < m && column < n)", "if (row < m)", "linear_half.cu", "linear_kernels_test"),
    Bug("loss_divergent_shuffle", "kernels/loss.cu", "    loss = warp_sum(loss);\n    mass", "    if (lane < 16) loss = warp_sum(loss);\n    mass", "loss.cu", "loss_kernels_test", quick=True),
    Bug("loss_added_early", "kernels/loss.cu", "    __syncthreads();  // the level above has been written\n", "", "loss.cu", "loss_kernels_test"),
    Bug("sgd_past_the_end", "kernels/optimizer.cu", "static_cast<int>(threadIdx.x); i < count; i += kThreads", "static_cast<int>(threadIdx.x); i <= count; i += kThreads", "optimizer.cu", "optimizer_kernels_test"),
    Bug("sgd_reads_no_momentum", "kernels/optimizer.cu", "e.m = fmaf(rule.momentum, e.m, d);", "e.m = d;", "optimizer.cu", "optimizer_kernels_test", quick=True),
    Bug("sgd_does_not_skip", "kernels/optimizer.cu", "return skip && *skip != 0 ? 0 : static_cast<int>(chunk.count);", "return static_cast<int>(chunk.count);", "optimizer.cu", "optimizer_kernels_test"),
    Bug("lamb_reads_sums_too_early", "kernels/optimizer.cu", "  __syncthreads();  // the sums are there\n", "", "optimizer.cu", "optimizer_kernels_test"),
    Bug("search_no_barrier", "kernels/non_finite.cu", "  __syncthreads();  // every warp's votes and sum are there\n", "", "non_finite.cu", "non_finite_kernels_test"),
    Bug("norm_level_early", "kernels/gradient_norm.cu", "    __syncthreads();  // the level above has been written\n", "", "gradient_norm.cu", "optimizer_kernels_test"),
    # --- layout, images, pooling, elementwise ---
    Bug("transpose_read_early", "kernels/layout.cu", "    __syncthreads();  // the tile has been read\n", "", "layout.cu", "layout_kernels_test", quick=True),
    Bug("fill_past_the_end", "kernels/layout.cu", "if (first < count - tail)", "if (first <= count - tail)", "layout.cu", "layout_kernels_test"),
    Bug("subsample_outside", "kernels/layout.cu", "if (c >= 0 && c < s.c) {", "if (c >= 0) {", "layout.cu", "layout_kernels_test"),
    Bug("images_column_outside", "kernels/images.cu", "column >= 0 && column < job.w", "column >= 0 && column <= job.w", "images.cu", "images_kernels_test"),
    Bug("global_pool_past_the_end", "kernels/global_pool.cu", "pixel < pixels; pixel += thread.rows) {", "pixel <= pixels; pixel += thread.rows) {", "global_pool.cu", "pooling_kernels_test"),
    Bug("elementwise_tail", "kernels/elementwise.cu", "    if (i + V <= count) {\n      Floats<V> values = load<V>(x + i);", "    if (i < count) {\n      Floats<V> values = load<V>(x + i);", "elementwise.cu", "elementwise_kernels_test", quick=True),
]


class Bench:
    """Compiles and runs one bug."""

    def __init__(self, build):
        self.build = build
        self.compile = {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            if "engine_kernels_race.dir" in entry["command"]:
                self.compile[Path(entry["file"]).name] = shlex.split(entry["command"])

    def link_command(self, program):
        done = subprocess.run(["ninja", "-C", str(self.build), "-t", "commands", f"bin/{program}_race"], capture_output=True, text=True, check=True)
        words = shlex.split(done.stdout.strip().splitlines()[-1])
        return [word for word in words if word not in (":", "&&")]

    def run(self, bug):
        """What became of it: "caught ...", "MISSED", or "STALE ..."."""
        source = (ROOT / bug.file).read_text()
        if source.count(bug.right) != 1:
            return f"STALE: '{bug.right[:60]}' stands {source.count(bug.right)} times in {bug.file}, expected once"
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            shutil.copytree(ROOT / "kernels", folder / "kernels")
            (folder / bug.file).write_text(source.replace(bug.right, bug.wrong))
            mutant, program = folder / "mutant.o", folder / "program"
            command = self.compile[bug.compiled][:]
            if command[0].endswith("ccache"):
                command = command[1:]
            command[command.index("-o") + 1] = str(mutant)
            command[command.index("-c") + 1] = str(folder / "kernels" / bug.compiled)
            # A bug may leave something unused; that is not what is looked for.
            done = subprocess.run([command[0], f"-I{folder}", *command[1:], "-w"], cwd=self.build, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return f"STALE: does not compile: {done.stderr.strip()[:300]}"
            link = self.link_command(bug.program)
            link[link.index("-o") + 1] = str(program)
            link.insert(link.index("-o"), str(mutant))
            subprocess.run(link, cwd=self.build, check=True)
            for schedule, asynchrony in POLICIES:
                env = {**os.environ, "ENGINE_EMULATOR_SCHEDULE": schedule, "ENGINE_EMULATOR_ASYNC": asynchrony}
                try:
                    done = subprocess.run(
                        [program, f"--gtest_filter={bug.tests}", "--gtest_brief=1", "--gtest_fail_fast"], env=env, capture_output=True, text=True, timeout=LIMIT, check=False, errors="replace"
                    )
                except subprocess.TimeoutExpired:
                    return f"caught under {schedule}/{asynchrony}: hangs"
                if done.returncode != 0:
                    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("emulator:")]
                    return f"caught under {schedule}/{asynchrony}: {lines[0][10:150].strip() if lines else 'wrong result'}"
        return "MISSED"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    options = parser.parse_args()
    known = {bug.name: bug for bug in BUGS}
    for name in options.names:
        if name not in known:
            parser.error(f"there is no bug '{name}'; --list names them")
    bugs = [known[name] for name in options.names] or [bug for bug in BUGS if bug.quick or not options.quick]
    if options.list:
        print("\n".join(f"{bug.name:28}{bug.file}" for bug in bugs))
        return 0
    bench = Bench(options.build)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for bug, verdict in zip(bugs, pool.map(bench.run, bugs)):
            print(f"{bug.name:28}{verdict}", flush=True)
            bad += not verdict.startswith("caught")
    print(f"{len(bugs) - bad} of {len(bugs)} bugs were caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
