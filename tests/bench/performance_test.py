"""Tests of bench/performance on results that are made up: what counts, what is published, what a claim needs."""

import importlib.machinery
import importlib.util
import json
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "performance"
loader = importlib.machinery.SourceFileLoader("performance", str(SCRIPT))
performance = importlib.util.module_from_spec(importlib.util.spec_from_loader("performance", loader))
loader.exec_module(performance)

MACHINE = {
    "date": "2026-01-01T00:00:00+00:00",
    "processor": "P",
    "family_model": "1/2",
    "processors": 2,
    "isa": ["avx2"],
    "memory_bytes": 2**34,
    "virtual": False,
    "kernel": "6.1",
    "commit": "c" * 40,
}


def cell(ratio=2.0, date="2026-01-02", doubtful=(), missed=(), device="cpu"):
    start = {"backend": "P, oneDNN 1.2.3", "versions": {"torch": "9.8", "onednn": "v3.4"}}
    noise = [{"others_processors": 0.01, "stolen_processors": 0}]
    summary = {
        "engine_img_per_s": 100 * ratio,
        "pytorch_img_per_s": 100.0,
        "pytorch_variant": "eager",
        "ratio": ratio,
        "ratio_range": [ratio, ratio],
        "engine_peak_bytes": 2**20,
        "pytorch_peak_bytes": 2**21,
        "missed": list(missed),
        "doubtful": list(doubtful),
    }
    return {
        **{"model": "resnet20", "image_size": 32, "batch": 128, "mode": "train", "precision": "fp32", "threads": 2},
        **{"date": date, "device": device, "noise": noise, "engine": {"start": start}, "pytorch": {"start": start}, "summary": summary},
    }


class Page(unittest.TestCase):
    def page(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / f"{name}.json").write_text(json.dumps({"machine": MACHINE, "command": "bench/compare", **content}))
            return performance.page(Path(folder))

    def test_a_cell_shows_ratio_and_file(self):
        text = self.page(a={"cells": [cell(1.75)]})
        self.assertIn("| `resnet20` 32², 128 | fp32 | 175.0 | 100.0 | **1.75×** | 1.75–1.75 |  | 1 / 2 | 1 |", text)
        self.assertIn("| 1. [a.json](../bench/results/a.json) |", text)

    def test_the_newest_measurement_counts(self):
        text = self.page(a={"cells": [cell(1.75, "2026-01-03")]}, b={"cells": [cell(1.25, "2026-01-02")]})
        self.assertIn("**1.75×**", text)
        self.assertNotIn("**1.25×**", text)

    def test_a_doubtful_measurement_counts_only_alone(self):
        doubtful = cell(1.75, "2026-01-03", doubtful=["loud"])
        self.assertNotIn("**1.75×**", self.page(a={"cells": [doubtful]}, b={"cells": [cell(1.25)]}))
        alone = self.page(a={"cells": [doubtful]})
        self.assertIn("| 1? |", alone)
        self.assertIn("2 threads: loud", alone)

    def test_losses_are_published(self):
        text = self.page(a={"cells": [cell(0.9, missed=["0.90x PyTorch, goal 1.5x"])]})
        self.assertIn("- resnet20@32x128 train fp32, 2 threads: 0.90x PyTorch, goal 1.5x\n", text)
        self.assertIn("| 0.90× |", text)
        self.assertIn("| 0 of 1 |", text)

    def test_the_gpu_is_not_measured_until_there_is_a_file(self):
        self.assertIn("Not measured yet.", self.page(a={"cells": [cell()]}))
        run = {"img_per_s": 1000.0, "median_s": 0.008}
        stages = {"device": {"nvidia_smi": {"name": "G", "driver_version": "1"}}, "throughput": {"resnet20 train": {"batch": 8, **run}}}
        stages["peers"] = {"torch": "9.8", "resnet20 graph": {"start": {"batch": 8}, "run": run}}
        text = self.page(a={"device": "cuda", "stages": stages, "failures": ["parity: off"]})
        self.assertNotIn("Not measured yet.", text)
        self.assertIn("| engine: resnet20 train | 8 | 1000 | 8.000 |", text)
        self.assertIn("| PyTorch: resnet20 graph | 8 | 1000 | 8.000 |", text)
        self.assertIn("FAILED parity: off", text)

    def test_a_check_on_the_emulator_is_no_gpu(self):
        self.assertIn("Not measured yet.", self.page(a={"device": "emulated", "stages": {}}))

    def test_rows_of_resnet_bench_show_the_distance_to_the_floor(self):
        row = {"model": "resnet20", "image_size": 32, "batch_size": 128, "bench": "training", "precision": "fp32", "threads": 2}
        row |= {"device": "cpu", "status": "doubtful", "img_per_s": 1000.0, "tflop_per_s": 0.25, "matrix_percent": 80.4, "bandwidth_percent": None}
        row |= {"floor_percent": 91.0, "commit": "d" * 40, "started": "2026-01-02T03:04:05Z", "command_line": "resnet-bench"}
        quick = {**row, "status": "quick", "img_per_s": 7.0}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.json").write_text(json.dumps({"program": "resnet-bench", "rows": [row, quick]}))
            text = performance.page(Path(folder))
        self.assertIn("| `resnet20` 32², 128, training fp32, 2 threads | 1000.0 | 0.25 | 80% |  | 91% | 1? |", text)
        self.assertNotIn("7.0", text)
        self.assertIn("Not measured yet.", text)

    def test_several_seeds_show_their_mean_and_its_error(self):
        run = lambda accuracy, seconds: {"command": "t --precision bf16", "epochs": 6, "final_val_acc1": accuracy, "wall_s": seconds}  # noqa: E731
        trained = {"engine": [run(76, 10), run(78, 12)], "pytorch": [run(75, 20), run(77, 24)]}
        text = self.page(a={**trained, "command": "bench/accuracy D --recipe r", "difference": {"mean": 1.0, "standard_error": 0.5}})
        self.assertIn("| `resnet20`, `r`, 6 epochs, seed 1 | bf16 | 78.00% | 77.00% | 12 s | 24 s | 2.00× | 1 |", text)
        self.assertIn("mean of 2 (difference +1.00 ± 0.50) | bf16 | 77.00% | 76.00% | 11 s | 22 s | 2.00× | 1 |", text)

    def test_files_are_in_the_order_of_their_numbers(self):
        names = [Path(f"{name}.json") for name in ("r-10", "r-2", "r")]
        self.assertEqual([path.stem for path in sorted(names, key=performance.natural)], ["r", "r-2", "r-10"])


class Claims(unittest.TestCase):
    def faults(self, text, page="median 1.75× and 100.5"):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "performance.md").write_text(page)
            return performance.unproven(text, Path(folder), page)

    def test_text_without_speeds_needs_nothing(self):
        self.assertEqual(self.faults("It trains 18 layers in 3 files, 2 times."), [])

    def test_a_speed_with_its_source_is_proven(self):
        self.assertEqual(self.faults("It is 1.75× as fast: [page](performance.md)."), [])

    def test_a_speed_without_a_link_is_not(self):
        self.assertIn("links to no file", self.faults("It makes 100.5 img/s.")[0])

    def test_a_link_in_another_paragraph_does_not_help(self):
        self.assertEqual(len(self.faults("It makes 100.5 img/s.\n\n[page](performance.md)")), 1)

    def test_a_speed_that_the_source_does_not_have_is_named(self):
        self.assertIn("claims 0.5, which is not in performance.md", self.faults("0.5 img/s: [page](performance.md)")[0])

    def test_a_source_that_is_missing_is_named(self):
        self.assertIn("missing x.json", self.faults("1.75×: [x](bench/results/x.json)")[0])


if __name__ == "__main__":
    unittest.main()
