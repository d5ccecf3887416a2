# SPDX-License-Identifier: MIT
"""The worked examples compile against the public header and the library and run."""
import os
import re
import shutil
import subprocess

import repexp

BUILD = os.path.dirname(repexp.PROGRAM) or "."


class Examples(repexp.Case):
    def build(self, name, *args):
        compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
        if not compiler or not os.path.exists(os.path.join(BUILD, "librepexp.a")):
            self.skipTest("no compiler, or no library beside the program")
        with open(os.path.join(BUILD, "config.mk"), encoding="utf-8") as f:
            libs = re.search(r"^LIBS := (.*)$", f.read(), re.M).group(1).split()
        flags = ["-fsanitize=" + os.environ["SAN"]] if os.environ.get("SAN") else []
        out = self.path(name)
        p = subprocess.run([*compiler.split(), "-std=c11", "-Wall", "-Wextra", "-Werror",
                            "-Iinclude", *flags,
                            "examples/%s.c" % name, os.path.join(BUILD, "librepexp.a"), *libs,
                            "-o", out],
                           capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        p = subprocess.run([out, *args], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout

    def test_advantages(self):
        out = self.build("advantages")
        self.assertIn("pass@1 = 0.4375 [", out)
        self.assertIn("pass@4 = 0.8929 [", out)
        self.assertIn("-0.1741 +0.5222 -0.1741", out)

    def test_generate(self):
        model = repexp.need_data("models/stories260K/stories260K.gguf")
        out = self.build("generate", model, "Once upon a time").splitlines()
        self.assertEqual(len(out), 8)
        self.assertRegex(out[7], r"^7: 40 tokens, log-probability -[0-9.]+, feature ")


if __name__ == "__main__":
    repexp.main()
