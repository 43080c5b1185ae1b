#!/usr/bin/env python3
"""Tests bench/peers/held_out.py against what the engine draws: tests/data/random_test.cpp expects the same numbers."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "peers"))

import held_out  # noqa: E402


class HeldOut(unittest.TestCase):
    def test_permutation_is_the_engines(self):
        self.assertEqual(held_out.random_permutation(12, seed=7, epoch=3, purpose=4), [7, 8, 0, 10, 9, 5, 6, 11, 2, 4, 3, 1])

    def test_the_first_of_the_order_are_held_out(self):
        self.assertEqual(held_out.held_out(12, 3, seed=7, class_index=3), set([7, 8, 0, 10, 9, 5, 6, 11, 2, 4, 3, 1][:3]))


if __name__ == "__main__":
    unittest.main()
