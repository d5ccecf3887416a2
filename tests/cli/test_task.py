# SPDX-License-Identifier: MIT
"""The contract of `repexp task`: list, make, verify, audit, and the protocol of external."""
import json
import os
import sys
import time

import repexp

ECHO = """
import json, sys, time, os
mode = sys.argv[1]
log = open(sys.argv[2], "a") if len(sys.argv) > 2 else None
if log: log.write("start\\n"); log.flush()
held = []
for line in sys.stdin:
    r = json.loads(line)
    text = r["response"]
    out = {"id": r["id"], "reward": int(text == r.get("answer")), "reason": "saw " + text}
    if mode == "verdict": out = {"id": r["id"], "verdict": "timeout", "reason": "slow"}
    if mode == "graded": out["reward"] = 0.25
    if mode == "null": out["reward"] = None
    if "die" in text: os._exit(3)
    if "hang" in text: time.sleep(60)
    if "flood" in text:
        while True: sys.stdout.write("x" * 65536)
    if "garbage" in text: print("what?", flush=True); continue
    if "stranger" in text: out["id"] += 1000
    if "mood" in text: out["verdict"] = "moody"
    if mode == "reverse":
        held.append(out)
        if len(held) == 3:
            for o in reversed(held): print(json.dumps(o), flush=True)
            held = []
        continue
    print(json.dumps(out), flush=True)
"""


def claims(*texts, answer="ok"):
    return [{"answer": answer, "response": t} for t in texts]


class Task(repexp.Case):
    def verify(self, task, rows, *args, status=0):
        p = self.run_cmd("task", "verify", "--task", task, "--json", *args,
                         stdin="".join(json.dumps(r) + "\n" for r in rows))
        self.assertEqual(p.status, status, p.err)
        return p

    def external(self, rows, mode="plain", *args, status=0):
        prog = self.write("echo.py", ECHO)
        cmd = "%s '%s' %s \"%s\"" % (sys.executable, prog, mode, self.path("starts"))
        return self.verify("external", rows, "--cmd", cmd, *args, status=status)

    def starts(self):
        with open(self.path("starts")) as f:
            return len(f.readlines())

    def verdicts(self, p):
        return [x["verdict"] for x in p.lines()]

    # list and make

    def test_list(self):
        p = self.run_cmd("task", "list", "--json")
        names = [x["task"] for x in p.lines()]
        for name in ("gsm8k", "math", "aime", "game24", "countdown", "maze", "arithmetic", "exact",
                     "regex", "external"):
            self.assertIn(name, names)
        self.assertIn("countdown", self.run_cmd("task", "list").out)

    def test_make_is_seeded_distinct_and_split(self):
        def make(*args):
            p = self.run_cmd("task", "make", "--task", "countdown", "-n", "300", *args)
            self.assertEqual(p.status, 0, p.err)
            return p.out
        test, again, other = make("--seed", "1"), make("--seed", "1"), make("--seed", "2")
        self.assertEqual(test, again)
        self.assertNotEqual(test, other)
        self.assertEqual(test, make("--seed", "1", "--split", "test"))
        train = make("--seed", "1", "--split", "train")
        ids = [{json.loads(x)["prompt_id"] for x in t.splitlines()} for t in (test, other, train)]
        self.assertEqual([len(i) for i in ids], [300, 300, 300])
        self.assertFalse((ids[0] | ids[1]) & ids[2])
        for line in test.splitlines():
            r = json.loads(line)
            self.assertEqual(len(r["problem"]["numbers"]), 4)
            want = "%s:%d>" % (" ".join(map(str, r["problem"]["numbers"])), r["problem"]["target"])
            self.assertEqual(r["prompt"], want.rjust(15))
            self.assertNotIn("response", r)

    def test_made_solutions_verify(self):
        for task, args in (("countdown", []), ("countdown", ["--format", "expression"]),
                           ("maze", []), ("game24", []), ("arithmetic", [])):
            p = self.run_cmd("task", "make", "--task", task, "-n", "50", "--solutions", *args)
            self.assertEqual(p.status, 0, p.err)
            got = self.verify(task, p.lines(), *args)
            self.assertEqual(self.verdicts(got), ["correct"] * 50)

    def test_make_refusals(self):
        for args, text in ((["--task", "countdown"], "say how many"),
                           (["--task", "math", "-n", "3"], "--data"),
                           (["--task", "nothing", "-n", "3"], "no task"), (["-n", "3"], "--task"),
                           (["--task", "maze", "-n", "1", "--side", "8"], "odd"),
                           (["--task", "countdown", "-n", "1", "--low", "9", "--high", "3"],
                            "--low")):
            p = self.run_cmd("task", "make", *args)
            self.assertEqual(p.status, 2, p.err)
            self.assertIn(text, p.err)
            self.assertEqual(p.out, "")

    # verify

    def test_verify_shape(self):
        p = self.verify("exact", claims("ok", "no", ""))
        self.assertEqual(p.lines()[0], {"verdict": "correct", "reward": 1, "extracted": "ok",
                                        "reason": "'ok' equals the gold 'ok'"})
        self.assertEqual([x["reward"] for x in p.lines()], [1, 0, 0])
        self.assertEqual(self.verdicts(p), ["correct", "wrong", "unparsed"])
        self.assertIsNone(p.lines()[2]["extracted"])
        self.assertTrue(all(x["reason"] for x in p.lines()))
        self.assertIn("3 responses: 1 correct, 1 wrong, 1 unparsed", p.err)

    def test_verify_paper(self):
        rows = [{"answer": "72", "response": "#### 72"}, {"answer": "72", "response": "####72"}]
        self.assertEqual(self.verdicts(self.verify("gsm8k", rows, "--grader", "paper")),
                         ["correct", "unparsed"])
        rows = [{"answer": "\\frac{1}{2}", "response": "\\boxed{\\frac12}"},
                {"answer": "2.5", "response": "\\boxed{2.50}"}]
        self.assertEqual(self.verdicts(self.verify("math", rows, "--grader", "paper")),
                         ["correct", "wrong"])
        rows = [{"answer": 7, "response": "\\boxed{07}"}]
        p = self.verify("aime", rows, "--grader", "paper")
        self.assertEqual(self.verdicts(p), ["correct"])

    def test_verify_strict(self):
        rows = [{"answer": "72", "response": "so\n#### 72."},
                {"answer": "1,234", "response": "#### $1234"},
                {"answer": "steps\n#### 5",
                 "response": "The answer is 5.\n"}, {"answer": "5", "response": "#### 6"}]
        self.assertEqual(self.verdicts(self.verify("gsm8k", rows)),
                         ["correct", "correct", "correct", "wrong"])
        rows = [{"answer": "\\frac{1}{2}", "response": "it is \\boxed{0.5}"},
                {"answer": "2.5", "response": "\\boxed{2.50}"},
                {"answer": "", "response": "\\boxed{1}"}]
        p = self.verify("math", rows)
        self.assertEqual(self.verdicts(p), ["correct", "correct", "ambiguous"])
        self.assertTrue(p.lines()[2]["reason"].startswith("gold:"))

    def test_verify_problem_lines(self):
        rows = [{"problem": {"numbers": [4, 4, 6, 8], "target": 24}, "response": "(4+8)*(6-4)"},
                {"problem": {"numbers": [4, 4], "target": 24},
                 "response": "4*4"}, {"problem": {}, "response": "1"},
                {"response": "1"}]
        p = self.verify("game24", rows)
        self.assertEqual(self.verdicts(p), ["correct", "wrong", "ambiguous", "ambiguous"])
        self.assertTrue(p.lines()[3]["reason"].startswith("gold:"))

    def test_finish(self):
        row = {"problem": {"numbers": [5, 4, 11, 1], "target": 10},
               "response": "11*1=11,5-4=1,11-1=10"}
        p = self.verify("countdown", [row, dict(row, finish="length")])
        self.assertEqual(self.verdicts(p), ["correct", "unparsed"])

    def test_verify_reads_a_file_and_writes_records(self):
        rows = [{"prompt_id": "a", "sample": 3, "text": "ok", "answer": "ok", "mine": [1, 2]}]
        path = self.write("pool.jsonl", rows)
        p = self.run_cmd("task", "verify", "--task", "exact", path, "--records")
        self.assertEqual(p.status, 0, p.err)
        r = p.lines()[0]
        self.assertEqual((r["prompt_id"], r["sample"], r["verdict"], r["reward"], r["extracted"],
                          r["mine"], r["answer"]),
                         ("a", 3, "correct", 1, "ok", [1, 2], "ok"))

    def test_verify_names_the_line(self):
        for row, text in (("{", "line 2"), ('{"answer": 1}', "line 2: neither response nor text"),
                          ("[]", "line 2")):
            path = self.write("in.jsonl", '{"answer": "a", "response": "a"}\n' + row + "\n")
            p = self.run_cmd("task", "verify", "--task", "exact", path, "--json")
            self.assertEqual(p.status, 1)
            self.assertIn(text, p.err)

    def test_threads_do_not_matter(self):
        rows = [{"answer": str(i % 7), "response": "\\boxed{%d}" % (i % 5)} for i in range(5000)]
        one = self.verify("math", rows, "--threads", "1")
        self.assertEqual(one.out, self.verify("math", rows, "--threads", "3").out)

    # audit

    def test_audit(self):
        rows = [{"prompt_id": "p", "answer": "2.5", "text": "\\boxed{2.50}"},
                {"prompt_id": "q", "answer": "3", "text": "\\boxed{3}"}]
        p = self.run_cmd("task", "audit", "--task", "math", "--data",
                         self.write("pool.jsonl", rows), "--json")
        self.assertEqual(p.status, 0, p.err)
        (r,) = p.lines()
        self.assertEqual((r["line"], r["prompt_id"], r["strict"]["verdict"],
                          r["paper"]["verdict"]), (1, "p", "correct", "wrong"))
        self.assertIn("2 responses, the graders disagree on 1", p.err)

    # external

    def test_external_answers(self):
        p = self.external(claims("ok", "no") * 100)
        self.assertEqual(self.verdicts(p), ["correct", "wrong"] * 100)
        self.assertEqual(p.lines()[1]["reason"], "saw no")
        self.assertEqual(self.starts(), 1)
        p = self.external(claims("ok"), "verdict")
        self.assertEqual(p.lines()[0], {"verdict": "timeout", "reward": 0, "extracted": None,
                                        "reason": "slow"})
        self.assertEqual(self.external(claims("ok"), "graded").lines()[0]["reward"], 0.25)

    def test_external_in_any_order(self):
        p = self.external(claims("ok", "no", "ok", "no", "no", "ok"), "reverse")
        self.assertEqual(self.verdicts(p), ["correct", "wrong", "correct", "wrong", "wrong",
                                            "correct"])

    def test_external_null_is_broken(self):
        p = self.external(claims("ok"), "null")
        self.assertEqual((p.lines()[0]["verdict"], p.lines()[0]["reward"]), ("broken", None))

    def test_external_failures_are_broken_and_go_on(self):
        for bad, part in (("die", "ended with status 3"), ("hang", "no answer within"),
                          ("flood", "floods"),
                          ("garbage",
                           "nonsense: 'what?'"), ("stranger", "nonsense"), ("mood", "nonsense")):
            with self.subTest(bad):
                p = self.external(claims("ok", "no", bad, "ok", "no"), "plain", "--deadline", "1")
                self.assertEqual(self.verdicts(p),
                                 ["correct", "wrong", "broken", "correct", "wrong"])
                r = p.lines()[2]
                self.assertIsNone(r["reward"])
                self.assertIn(part, r["reason"])
                self.assertIn(part, p.err)

    def test_five_broken_in_a_row_stop_the_run(self):
        rows = claims("ok", "die", "die", "die", "die", "ok", "die", "die", "die", "die", "die",
                      "ok")
        p = self.external(rows, status=1)
        self.assertIn("5 responses in a row", p.err)
        self.assertEqual(self.external(rows[:6]).status, 0)
        p = self.external(claims(*["ok"] * 9), "null", status=1)
        self.assertIn("5 responses in a row", p.err)

    def test_external_refusals(self):
        self.assertIn("--cmd", self.verify("external", claims("a"), status=2).err)
        self.assertIn("quote", self.verify("external", claims("a"), "--cmd", "a 'b", status=2).err)
        self.assertIn("cannot start", self.verify("external", claims("a"), "--cmd",
                                                  "/no/such/program", status=1).err)

    def test_external_leaves_no_process(self):
        linger = ("import subprocess\nchild = subprocess.Popen(['sleep', '300'])\n"
                  "open(sys.argv[2], 'w').write(str(child.pid))\nheld = []\n")
        prog = self.write("stay.py", ECHO.replace("held = []\n", linger, 1))
        cmd = "%s %s plain %s" % (sys.executable, prog, self.path("pid"))
        self.verify("external", claims("ok", "die"), "--cmd", cmd)
        with open(self.path("pid")) as f:
            pid = int(f.read())
        for _ in range(100):  # a killed process takes its time to go on a busy machine
            try:
                with open("/proc/%d/stat" % pid) as f:
                    gone = f.read().split()[2] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                gone = True
            if gone:
                break
            time.sleep(0.1)
        self.assertTrue(gone)


if __name__ == "__main__":
    repexp.main()
