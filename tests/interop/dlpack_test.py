#!/usr/bin/env python3
"""Shares tensors between PyTorch and the engine, both ways and without a copy: dlpack_test.py LIBRARY

LIBRARY is libengine_tensors.so, made of docs/examples/engine_tensors.cpp. Exit code 77, with the reason: no PyTorch here.
"""
import gc
import os
import resource
import runpy
import sys
import unittest
from pathlib import Path

try:
    import torch
except ImportError as error:
    print(f"skipped: no PyTorch for {sys.executable} ({error}); see tests/interop")
    sys.exit(77)

os.environ["ENGINE_TENSORS"] = os.path.abspath(sys.argv.pop(1))
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
sys.path.insert(0, str(EXAMPLES))
from engine_tensors import Tensor, relu, scale


class FromPyTorch(unittest.TestCase):
    def test_shares_the_memory(self):
        theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
        ours = Tensor.from_dlpack(theirs)
        self.assertEqual(torch.from_dlpack(ours).data_ptr(), theirs.data_ptr())

    def test_sees_what_the_engine_writes(self):
        theirs = torch.ones(2, 3)
        ours = Tensor.from_dlpack(theirs)
        scale(ours, 5)
        self.assertTrue(torch.equal(theirs, torch.full((2, 3), 5.0)))

    def test_the_engine_sees_what_it_writes(self):
        theirs = torch.full((4,), -1.0)
        ours = Tensor.from_dlpack(theirs)
        theirs[2] = 7
        self.assertTrue(torch.equal(torch.from_dlpack(relu(ours)), torch.tensor([0.0, 0, 7, 0])))

    def test_the_memory_stays_while_the_engine_has_it(self):
        theirs = torch.full((1 << 20,), 3.0)
        ours = Tensor.from_dlpack(theirs)
        del theirs
        gc.collect()
        others = torch.zeros(1 << 20)  # would get it
        self.assertEqual(torch.from_dlpack(ours).sum().item(), 3 * (1 << 20))
        self.assertEqual(others.sum().item(), 0)

    def test_every_type(self):
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int64):
            theirs = torch.arange(4).to(dtype)
            again = torch.from_dlpack(Tensor.from_dlpack(theirs))
            self.assertEqual(again.data_ptr(), theirs.data_ptr())
            self.assertTrue(torch.equal(again, theirs), dtype)

    def test_channels_last_images_are_nhwc(self):
        images = torch.randn(2, 3, 5, 7).to(memory_format=torch.channels_last)
        ours = Tensor.from_dlpack(images.permute(0, 2, 3, 1))
        again = torch.from_dlpack(ours).permute(0, 3, 1, 2)
        self.assertEqual(again.data_ptr(), images.data_ptr())
        self.assertTrue(again.is_contiguous(memory_format=torch.channels_last))
        with self.assertRaisesRegex(RuntimeError, "expected row-major elements without gaps"):
            Tensor.from_dlpack(images)

    def test_what_is_no_tensor_here_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "type code 2 with 64 bits"):
            Tensor.from_dlpack(torch.zeros(3, dtype=torch.float64))
        with self.assertRaisesRegex(RuntimeError, "without gaps"):
            Tensor.from_dlpack(torch.zeros(4, 4)[:, :2])


class ToPyTorch(unittest.TestCase):
    def setUp(self):
        self.ours = relu(Tensor.from_dlpack(torch.tensor([-1.0, 2, 3])))  # the engine's own memory

    def test_shares_the_memory_both_ways(self):
        first, second = torch.from_dlpack(self.ours), torch.from_dlpack(self.ours)
        self.assertEqual(first.data_ptr(), second.data_ptr())
        first[0] = 9
        self.assertEqual(second.tolist(), [9, 2, 3])
        scale(self.ours, 2)
        self.assertEqual(first.tolist(), [18, 4, 6])

    def test_the_memory_stays_while_pytorch_has_it(self):
        theirs = torch.from_dlpack(self.ours)
        del self.ours
        gc.collect()
        relu(Tensor.from_dlpack(torch.zeros(3)))  # would get it
        self.assertEqual(theirs.tolist(), [0, 2, 3])

    def test_the_legacy_form(self):
        theirs = torch.utils.dlpack.from_dlpack(self.ours.__dlpack__())
        self.assertEqual(theirs.data_ptr(), torch.from_dlpack(self.ours).data_ptr())

    def test_an_unused_capsule_lets_go(self):
        size, before = 1 << 24, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        for round in range(24):
            relu(Tensor.from_dlpack(torch.zeros(size // 4))).__dlpack__(max_version=(1, 1) if round % 2 else None)
        self.assertLess((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before, 10 * size)

    def test_the_page_s_example(self):
        runpy.run_path(str(EXAMPLES / "torch_relu.py"))


class NumPy(unittest.TestCase):
    def setUp(self):
        try:
            import numpy
        except ImportError as error:
            self.skipTest(str(error))
        if tuple(map(int, numpy.__version__.split(".")[:2])) < (2, 1):
            self.skipTest(f"NumPy {numpy.__version__} knows no DLPack 1")
        self.numpy = numpy

    def test_shares_the_memory_both_ways(self):
        theirs = self.numpy.ones(4, self.numpy.float32)
        ours = Tensor.from_dlpack(theirs)
        scale(ours, 3)
        again = self.numpy.from_dlpack(ours)
        theirs[1] = 7
        self.assertEqual(again.tolist(), [3, 7, 3, 3])

    def test_what_may_not_be_written_is_not(self):
        theirs = self.numpy.ones(4, self.numpy.float32)
        theirs.flags.writeable = False
        ours = Tensor.from_dlpack(theirs)
        with self.assertRaisesRegex(RuntimeError, "allows no writing"):
            scale(ours, 3)
        self.assertFalse(self.numpy.from_dlpack(ours).flags.writeable)


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__}")
    unittest.main()
