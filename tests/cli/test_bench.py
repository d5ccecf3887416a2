# SPDX-License-Identifier: MIT
"""What docs/performance.md shows between its marks is what the benchmarks print today: the same rows, figures aside.
The parts that need no rival and little time."""
import os
import sys
import unittest

import repexp

os.environ.setdefault("BUILD", os.path.dirname(repexp.PROGRAM))
sys.path.insert(0, "scripts")
import bench  # noqa: E402  (it reads BUILD)


class Bench(unittest.TestCase):
    def same(self, part):
        if not os.path.exists(bench.PARTS[part][0][0]):
            self.skipTest("no %s: make bench-programs" % bench.PARTS[part][0][0])
        self.assertEqual(bench.shape(bench.kept(part)), bench.shape(bench.run(part, True)))

    def test_json(self):
        self.same("json")

    def test_records(self):
        self.same("records")

    def test_every_part_has_its_marks(self):
        for part in bench.PARTS:
            self.assertTrue(bench.shape(bench.kept(part)), part)


if __name__ == "__main__":
    repexp.main()
