#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prompts for `make results-llm`: the N questions of GSM8K's test set with the shortest reference solutions, in the
order of the file, each behind six worked examples. Prints one JSON object a line: prompt_id, prompt, answer.

    python3 scripts/llm-prompts.py TEST.jsonl [N]      N: 200
"""

import json
import sys

WORKED = [
    ("A bakery packs 6 rolls in a bag. It fills 7 bags and has 5 rolls left over. How many rolls did it bake?",
     "The bags hold 7 * 6 = 42 rolls. With those left over there are 42 + 5 = 47. The answer is 47."),
    ("Mira has 60 euros. She buys two books for 14 euros each and a pen for 3 euros. How much does she have left?",
     "The books cost 2 * 14 = 28 euros. All together she pays 28 + 3 = 31. She has 60 - 31 = 29 left. The answer is 29."),
    ("A train travels 80 kilometers an hour. How far does it go in 3 hours and a half?",
     "In 3 hours it goes 3 * 80 = 240 kilometers, in half an hour 80 / 2 = 40. Together 240 + 40 = 280. The answer is 280."),
    ("There are 48 children in a club. A quarter of them play chess, and a third of the others swim. How many swim?",
     "Chess is played by 48 / 4 = 12. The others are 48 - 12 = 36. Of them 36 / 3 = 12 swim. The answer is 12."),
    ("Jonas is twice as old as Lea. In 5 years the two of them will be 40 years old together. How old is Lea now?",
     "Now they are 40 - 5 - 5 = 30 together. That is three times the age of Lea: 30 / 3 = 10. The answer is 10."),
    ("A shirt costs 40 dollars. It is sold 25% cheaper. What do 3 shirts cost then?",
     "The price falls by 40 * 0.25 = 10 dollars to 40 - 10 = 30. Three shirts cost 3 * 30 = 90. The answer is 90."),
]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    with open(sys.argv[1], encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    shortest = sorted(range(len(rows)), key=lambda i: (len(rows[i]["answer"]), i))[:int((sys.argv[2:] or ["200"])[0])]
    head = "".join("Question: %s\nAnswer: %s\n\n" % w for w in WORKED)
    for i in sorted(shortest):
        print(json.dumps({"prompt_id": "gsm8k/test/%d" % i, "prompt": head + "Question: %s\nAnswer:" % rows[i]["question"].strip(),
                          "answer": rows[i]["answer"].rpartition("####")[2].strip()}))


if __name__ == "__main__":
    main()
