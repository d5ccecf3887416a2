#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/num.txt: points and 300-bit values of the functions of src/base/num.c.

Each line: function, x, (y for pow), and the value as two doubles whose sum it is to 106 bits, all
in hexadecimal. Needs mpmath. Usage: make_num_golden.py > tests/golden/num.txt
"""
import random
from mpmath import mp, mpf, exp, log, log1p, expm1, power, sin, cos, tanh, loggamma, pi

mp.prec = 1400


def pair(v):
    hi = float(v)
    lo = float(v - mpf(hi)) if abs(hi) < 1e308 else 0.0
    return "%s %s" % (hi.hex(), lo.hex())


def main():
    rnd = random.Random(20240229)
    u = rnd.uniform
    wide = lambda: rnd.choice((-1, 1)) * u(1, 2) * 2.0 ** rnd.randint(-300, 300)
    near = lambda c: c + u(-1, 1) * 2.0 ** -rnd.randint(1, 50)
    table = [
        ("exp", exp, [lambda: u(-700, 705), lambda: u(-1, 1), lambda: near(0.0)]),
        ("log", log, [lambda: abs(wide()), lambda: u(0.5, 2), lambda: near(1.0)]),
        ("log1p", log1p, [lambda: u(-0.99, 3), lambda: near(0.0), lambda: abs(wide())]),
        ("expm1", expm1, [lambda: u(-40, 700), lambda: u(-1, 1), lambda: near(0.0)]),
        ("tanh", tanh, [lambda: u(-25, 25), lambda: u(-1, 1), lambda: near(0.0)]),
        ("sin", sin, [lambda: u(-10, 10), lambda: u(-1e9, 1e9), lambda: wide(),
                      lambda: rnd.randint(1, 10**6) * float(pi / 2)]),
        ("cos", cos, [lambda: u(-10, 10), lambda: u(-1e9, 1e9), lambda: wide(),
                      lambda: rnd.randint(1, 10**6) * float(pi / 2)]),
        ("lgamma", loggamma, [lambda: u(0.01, 10), lambda: near(1.0), lambda: near(2.0),
                              lambda: u(1, 2) * 2.0 ** rnd.randint(-60, 300)]),
    ]
    for name, f, gens in table:
        for g in gens:
            for _ in range(60):
                x = g()
                print(name, x.hex(), "0x0p+0", pair(f(mpf(x))))
    for _ in range(200):
        x, y = (u(0.5, 2), u(-900, 900)) if rnd.random() < 0.5 else (abs(wide()), u(-3, 3))
        print("pow", x.hex(), y.hex(), pair(power(mpf(x), mpf(y))))
    x = 6381956970095103.0 * 2.0 ** 797  # of all doubles the one nearest to a multiple of pi/2
    print("cos", x.hex(), "0x0p+0", pair(cos(mpf(x))))


main()
