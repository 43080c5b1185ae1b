"""Tests of what bench/compare decides: which cells, what they say, and whether the engine became slower. No timing."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "peers"))

import regression  # noqa: E402
import summary  # noqa: E402
from cells import GPU_SETTINGS, Cell, UnknownCell, cell_of, select  # noqa: E402


class Cells(unittest.TestCase):
    def test_one_pattern_with_every_part_is_one_cell(self):
        self.assertEqual(select(["resnet18_cifar@32x128:train:bf16"], [1]), [Cell("resnet18_cifar", 32, 128, "train", "bf16", 1)])

    def test_parts_left_out_mean_all(self):
        found = select(["resnet50"], [2])
        self.assertEqual({cell.batch for cell in found}, {16, 32})
        self.assertEqual({(cell.mode, cell.precision) for cell in found}, {(m, p) for m in ("train", "inference") for p in ("fp32", "bf16")})
        self.assertEqual(len(found), 8)

    def test_a_size_alone_takes_the_usual_batches_of_that_size(self):
        self.assertEqual([cell.batch for cell in select(["resnet18@224:train:fp32"], [2])], [16, 32])
        self.assertEqual([cell.batch for cell in select(["resnet18@64:train:fp32"], [2])], [16])

    def test_every_thread_count_is_measured(self):
        self.assertEqual([cell.threads for cell in select(["resnet20:train:fp32"], [1, 2])], [1, 2])

    def test_all_cells_are_48(self):
        self.assertEqual(len(select([], [1, 2])), 48)

    def test_a_gpu_gets_batches_that_fill_it(self):
        self.assertEqual([cell.batch for cell in select(["resnet50:train:bf16"], [2], GPU_SETTINGS)], [256])

    def test_a_cell_named_twice_is_measured_once(self):
        self.assertEqual(len(select(["resnet20:train:fp32", "resnet20@32x128:train:fp32"], [2])), 1)

    def test_what_it_does_not_know_is_named(self):
        for pattern, text in (
            ("vgg16", "'vgg16' in 'vgg16' is none of"),
            ("resnet20:fast", "'fast' in 'resnet20:fast' is none of train, inference"),
            ("resnet20@32x0", "'32x0' in 'resnet20@32x0' is no SIZE or SIZExBATCH"),
            ("resnet20:train:fp32:2", "has 4 parts"),
        ):
            with self.assertRaises(UnknownCell) as caught:
                select([pattern], [2])
            self.assertIn(text, str(caught.exception))

    def test_the_first_files_are_still_read(self):
        report = {"model": "resnet20", "batch": 128, "mode": "train", "precision": "fp32", "engine": {"start": {"image_size": 32}}}
        self.assertEqual(cell_of(report, {"threads": 2}), Cell("resnet20", 32, 128, "train", "fp32", 2))


def side(rates, compute=1.0, copy=1.0):
    return {"rates": rates, "gauges": [{"compute_s": compute, "copy_s": copy}] * len(rates)}


class Regression(unittest.TestCase):
    def test_the_same_rates_are_equal(self):
        found = regression.compare(side([100, 101, 99]), side([100, 100, 100]))
        self.assertEqual((found["verdict"], found["ratio"]), ("equal", 1))

    def test_a_fifth_less_on_a_quiet_machine_is_slower(self):
        self.assertEqual(regression.compare(side([100, 100]), side([80, 80]))["verdict"], "slower")

    def test_a_fifth_more_on_a_quiet_machine_is_faster(self):
        self.assertEqual(regression.compare(side([100, 100]), side([120, 120]))["verdict"], "faster")

    def test_a_slower_machine_is_no_slower_engine(self):
        found = regression.compare(side([100, 100]), side([50, 50], compute=2, copy=2))
        self.assertEqual((found["verdict"], found["ratio"]), ("equal", 1))

    def test_a_faster_machine_does_not_hide_a_slower_engine(self):
        self.assertEqual(regression.compare(side([100, 100]), side([100, 100], compute=0.5, copy=0.5))["verdict"], "slower")

    def test_scales_that_disagree_decide_nothing(self):
        found = regression.compare(side([100, 100]), side([80, 80], compute=1, copy=1.3))
        self.assertEqual(found["verdict"], "equal")
        self.assertAlmostEqual(found["ratio_range"][0], 0.8)
        self.assertAlmostEqual(found["ratio_range"][1], 1.04)

    def test_noise_raises_the_threshold(self):
        noisy = regression.compare(side([95, 100, 105]), side([85.5, 90, 94.5]))
        self.assertEqual(noisy["verdict"], "equal")
        self.assertAlmostEqual(noisy["threshold"], 2 * (0.05**2 + 0.05**2) ** 0.5)

    def test_too_much_noise_is_unsure_unless_the_change_is_larger(self):
        self.assertEqual(regression.compare(side([80, 100, 120]), side([64, 80, 96]))["verdict"], "unsure")
        self.assertEqual(regression.compare(side([80, 100, 120]), side([40, 50, 60]))["verdict"], "slower")

    def test_one_bad_round_of_five_is_left_out(self):
        self.assertEqual(regression.compare(side([100, 100, 100, 100, 50]), side([85, 85, 85, 40, 85]))["verdict"], "slower")

    def test_a_quiet_measurement_keeps_the_least_threshold(self):
        self.assertEqual(regression.compare(side([100]), side([100]))["threshold"], regression.LEAST_THRESHOLD)

    def test_another_processor_is_refused_in_a_sentence(self):
        here = {"processor": "A", "family_model": "1/2", "processors": 2, "isa": ["avx2"]}
        self.assertIsNone(regression.why_incomparable(here, dict(here)))
        for key, value in (("processor", "B"), ("family_model", "1/3"), ("processors", 4), ("isa", [])):
            self.assertIn("was measured on A (family/model 1/2, 2 processors), this is", regression.why_incomparable(here, {**here, key: value}))


def report(engine, pytorch, *, mode="train", precision="fp32", others=0.0, stable=True):
    """A cell as bench/compare writes it."""
    memory = {"peak_resident_bytes": 100}
    start = {"stable": stable, "bare_resident_bytes": 10, "fallbacks": {}, "memory_format": "contiguous"}
    noise = {"calibration": {"compute_s": 1, "copy_s": 1}, "others_processors": others, "stolen_processors": 0, "idle_processors": {"engine": 0}}
    sides = {name: {"start": start, "rounds": [{"img_per_s": rate, "memory": memory} for rate in rates]} for name, rates in (("engine", engine), ("pytorch", pytorch))}
    return {"mode": mode, "precision": precision, "noise": [noise] * len(engine), **sides}


class Summary(unittest.TestCase):
    def test_the_ratio_is_taken_within_each_round(self):
        found = summary.summarize(report([20, 40, 60], [10, 20, 20]))
        self.assertEqual((found["ratio"], found["ratio_range"]), (2, [2, 3]))

    def test_a_ratio_below_its_goal_is_missed(self):
        for mode, precision, least in (("train", "fp32", 1.5), ("train", "bf16", 1.2), ("inference", "fp32", 1.2)):
            at = summary.summarize(report([least * 10], [10], mode=mode, precision=precision))
            below = summary.summarize(report([least * 9.9], [10], mode=mode, precision=precision))
            self.assertEqual((at["missed"], len(below["missed"])), ([], 1))

    def test_a_busy_machine_and_unstable_programs_are_doubted(self):
        self.assertEqual(summary.doubts(report([1], [1])), [])
        self.assertIn("0.50 processors", summary.doubts(report([1], [1], others=0.5))[0])
        self.assertEqual(len(summary.doubts(report([1], [1], stable=False))), 2)

    def test_a_repetition_replaces_only_what_is_worse(self):
        quiet, loud = (report([1], [1], others=share) for share in (0.0, 0.5))
        for entry in (quiet, loud):
            entry["summary"] = {"doubtful": summary.doubts(entry)}
        self.assertTrue(summary.better(quiet, loud))
        self.assertFalse(summary.better(loud, quiet))


if __name__ == "__main__":
    unittest.main()
