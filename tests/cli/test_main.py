# SPDX-License-Identifier: MIT
"""The frame of the command line: help, misuse, man pages, streams, signals."""

import os
import signal
import subprocess
import unittest

from repexp import PROGRAM, Case, main


class Frame(Case):
    def commands(self):
        return self.ok("man", "--list").out.split()

    def test_help_lists_every_command(self):
        text = self.ok("help").out
        for c in self.commands():
            self.assertIn("\n  " + c.split("-")[0], text)
        self.assertEqual(text, self.ok("--help").out)
        self.assertRegex(self.ok("--version").out, r"^repexp \d+\.\d+\.\d+\n$")

    def test_every_command_explains_itself(self):
        for c in self.commands():
            text = self.ok("help", c).out
            self.assertTrue(text.startswith("usage: repexp "), c)
            self.assertEqual(text, self.ok(c, "--help").out)
            self.assertIn(".SH OPTIONS", self.ok("man", c).out)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 110, c + ": " + line)
                self.assertEqual(line, line.rstrip(), c)

    def test_misuse_is_status_2(self):
        self.fails(status=2, saying="a command is needed")
        self.fails("hepl", status=2, saying="unknown command hepl, did you mean help?")
        for args in (("task",), ("task", "--help"), ("help", "task")):
            self.fails(*args, status=2, saying=["first word of several", "'repexp task make'", "'repexp task audit'"])
        self.fails("task", "mak", status=2, saying="unknown command task mak, did you mean task make?")
        self.fails("--seed", "1", status=2, saying="a command comes first")
        for c in self.commands():
            self.fails(c, "--no-such-option", status=2, saying="unknown option --no-such-option")

    def test_man_pages_are_roff(self):
        for c in self.commands():
            page = self.ok("man", c).out
            self.assertTrue(page.startswith(".TH REPEXP"), c)
            for line in page.splitlines():
                self.assertFalse(line.startswith("'"), line)

    def test_closed_stdout_is_quiet(self):
        read, write = os.pipe()
        os.close(read)
        p = subprocess.run([PROGRAM, "help"], stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        self.assertEqual((p.returncode, p.stderr), (1, ""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_full_disk_is_told(self):
        with open("/dev/full", "w") as full:
            p = subprocess.run([PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn("stdout: cannot write", p.stderr)

    def test_every_allocation_may_fail(self):
        self.assertGreater(self.torture("help"), 0)


if __name__ == "__main__":
    main()
