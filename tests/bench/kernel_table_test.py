"""Tests of bench/kernel_table on a report that is made up."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = """### Elementwise

| kernel | formula | % of peak |
| --- | --- | --- |
| `unary` | relu, -x | not measured |
| `add_relu` | relu(a + b) | not measured |

### Convolution

| kernel | needs | % of peak | fallback |
| --- | --- | --- | --- |
| `conv_fprop` | memory | 12 (3–40) | cuDNN |

`unary` stands alone.
"""


def row(kernel, ms, bytes_moved=0, flops=0):
    return {"kernel": kernel, "shape": "1x1", "ms": ms, "bytes": bytes_moved, "flops": flops}


REPORT = {
    "device": "Some GPU",
    "ceilings": {"bytes_per_s": 1e12, "flops_per_s": 1e14},
    # 1 GB at 1 TB/s are 1 ms; 1e11 operations at 100 TFLOP/s are 1 ms.
    "kernels": [row("unary", 2.0, bytes_moved=1e9), row("unary", 2.0, bytes_moved=1.5e9), row("conv_fprop + statistics", 4.0, 1e9, 3e11), row("copy (the bandwidth to reach)", 1.0, 1e9)],
}


class KernelTable(unittest.TestCase):
    def run_on(self, report, *flags):
        with tempfile.TemporaryDirectory() as folder:
            page, file = Path(folder) / "page.md", Path(folder) / "report.json"
            page.write_text(PAGE)
            file.write_text(json.dumps(report))
            command = [sys.executable, "-B", str(ROOT / "bench" / "kernel_table"), str(file), "--page", str(page), *flags]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done, page.read_text()

    def test_a_share_is_of_the_longer_floor_over_all_shapes(self):
        done, page = self.run_on(REPORT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| `unary` | relu, -x | 62 (50–75) |\n", page)
        self.assertIn("| `conv_fprop` | memory | 75 | cuDNN |\n", page)

    def test_what_was_not_measured_stays(self):
        _, page = self.run_on(REPORT)
        self.assertIn("| `add_relu` | relu(a + b) | not measured |\n", page)
        self.assertIn("`unary` stands alone.\n", page)

    def test_kernels_without_a_row_are_named(self):
        self.assertIn("copy has no row", self.run_on(REPORT)[0].stderr)

    def test_flags_replace_the_ceilings(self):
        _, page = self.run_on(REPORT, "--gb-per-s", "2000", "--tflop-per-s", "100")
        self.assertIn("31 (25–38)", page)

    def test_without_ceilings_nothing_is_written(self):
        done, page = self.run_on({**REPORT, "ceilings": {}})
        self.assertEqual((done.returncode, page), (2, PAGE))
        self.assertIn("give --gb-per-s and --tflop-per-s", done.stderr)

    def test_the_emulator_is_refused(self):
        done, page = self.run_on({**REPORT, "device": "emulated GPU"})
        self.assertEqual((done.returncode, page), (2, PAGE))

    def test_a_gpu_check_file_is_read_too(self):
        self.assertIn("62 (50–75)", self.run_on({"stages": {"kernel_table": REPORT}})[1])

    def test_every_row_of_the_project_can_be_filled(self):
        text = (ROOT / "kernels" / "README.md").read_text()
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        kernels = [line.split("`")[1] for line in rows]
        report = {**REPORT, "kernels": [row(kernel, 1.0, bytes_moved=1e8) for kernel in kernels]}
        with tempfile.TemporaryDirectory() as folder:
            page, file = Path(folder) / "page.md", Path(folder) / "report.json"
            page.write_text(text)
            file.write_text(json.dumps(report))
            done = subprocess.run([sys.executable, "-B", str(ROOT / "bench" / "kernel_table"), str(file), "--page", str(page)], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            filled = [line for line in page.read_text().splitlines() if line.startswith("| `")]
        self.assertTrue(kernels)
        self.assertEqual([line for line in filled if not line.endswith("| 10 |")], [])


if __name__ == "__main__":
    unittest.main()
