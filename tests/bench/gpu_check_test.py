"""Tests of what bench/gpu_check decides about its peers, without a GPU. Its dry run is another test."""

import contextlib
import importlib.machinery
import importlib.util
import io
import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "gpu_check"
loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
gpu_check = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
loader.exec_module(gpu_check)


def answer(losses):
    return {"start": {"losses": losses}, "run": {}}


class SameWork(unittest.TestCase):
    def judge(self, engine, **variants):
        failures = []
        check = types.SimpleNamespace(
            report={"stages": {"throughput": {"net train bf16 measured": {"losses": engine}}}},
            fail=lambda stage, sentence: failures.append(sentence),
        )
        entries = {"fp32 losses": answer([2.0, 1.0]), **variants}
        with contextlib.redirect_stderr(io.StringIO()) as said:
            result = gpu_check.same_work(check, "net", entries)
        return result, failures, said.getvalue()

    def test_losses_within_the_bound_pass(self):
        result, failures, said = self.judge([2.01, 1.01], eager=answer([1.99, 1.0]))
        self.assertEqual((failures, said), ([], ""))
        self.assertAlmostEqual(result["worst_relative"]["engine"], 0.01)

    def test_the_engine_off_the_bound_fails(self):
        _, failures, _ = self.judge([2.0, 1.03], eager=answer([2.0, 1.0]))
        self.assertEqual(len(failures), 1)
        self.assertIn("net: the engine's losses differ by 3.0e-02", failures[0])

    def test_a_peer_off_the_bound_is_named_and_no_failure(self):
        _, failures, said = self.judge([2.0, 1.0], graph=answer([2.2, 1.0]))
        self.assertEqual(failures, [])
        self.assertIn("the losses of graph differ", said)

    def test_losses_that_are_no_numbers_fail(self):
        _, failures, _ = self.judge([2.0, float("nan")])
        self.assertEqual(len(failures), 1)

    def test_a_peer_that_ended_is_left_out(self):
        result, failures, _ = self.judge([2.0, 1.0], compile={"exit": 124})
        self.assertEqual((list(result["losses"]), failures), (["engine"], []))


class Command(unittest.TestCase):
    def test_folders_of_this_machine_are_not_published(self):
        with mock.patch.object(sys, "argv", ["gpu_check", "--bin", "/a/b", "--python=/c/d", "--only", "peers", "--out", "e"]):
            self.assertEqual(gpu_check.own_command(), "bench/gpu_check --only peers")


class Pack(unittest.TestCase):
    def test_programs_that_are_not_built_are_named(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
            options = types.SimpleNamespace(bin=Path(folder), pack=Path(folder) / "check.tar.xz")
            self.assertEqual(gpu_check.pack(options), 2)
            self.assertFalse(options.pack.exists())
        self.assertIn("lacks step_bench, kernel_bench", said.getvalue())


if __name__ == "__main__":
    unittest.main()
