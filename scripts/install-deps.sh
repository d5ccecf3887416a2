#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing on Debian 12 or Ubuntu; says nothing and needs no network when all is
# there. Usage: scripts/install-deps.sh [run|test]   ("test" adds what only the tests need)
set -u
what=${1:-run}
missing= wanted=
# A package is asked for only where the thing that it brings is not found.
need() { missing="$missing $1"; }
have() { command -v "$1" >/dev/null 2>&1; }
header() { echo "#include <$1>" | ${CC:-gcc} -E -x c - >/dev/null 2>&1; }

have gcc || need gcc
have make || need make
have pkg-config || need pkg-config
if have gcc && have pkg-config; then
    header stdlib.h || need libc6-dev
    header yaml.h || need libyaml-dev
    echo '#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>' | gcc -E -x c - >/dev/null 2>&1 || need libpcre2-dev
    header utf8proc.h || need libutf8proc-dev
    header gmp.h || need libgmp-dev
    header flint/fmpz.h || need libflint-dev
    header arb.h || header flint/arb.h || need libflint-arb-dev
else
    for p in libc6-dev libyaml-dev libpcre2-dev libutf8proc-dev libgmp-dev libflint-dev \
        libflint-arb-dev; do need $p; done
fi
if [ "$what" = test ]; then
    have g++ || need g++
    have clang || need clang
    have python3 || need python3
    if have gcc; then header check.h || need check; else need check; fi
    # Without these the tests of several ranks are skipped, nothing more.
    have mpirun || wanted="$wanted openmpi-bin"
    { have pkg-config && pkg-config --exists ompi-c; } || wanted="$wanted libopenmpi-dev"
fi
[ -n "$missing$wanted" ] || exit 0
[ -n "$missing" ] || have apt-get || exit 0

if ! have apt-get; then
    echo "missing:$missing" >&2
    echo "this script knows apt only; install what these packages bring and run make again" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    [ -n "$missing" ] || exit 0
    have sudo || { echo "missing:$missing (become root, or install sudo)" >&2; exit 1; }
    sudo=sudo
fi
echo "installing:$missing$wanted" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
[ -n "$missing" ] || { $sudo apt-get -qq install -y --no-install-recommends $wanted >/dev/null 2>&1; exit 0; }
$sudo apt-get -qq update || exit 1
# Ubuntu 24.04 and later have Arb inside FLINT: a package that is not offered is left out.
offered=
for p in $missing $wanted; do
    if apt-cache show "$p" >/dev/null 2>&1; then offered="$offered $p"; fi
done
# shellcheck disable=SC2086
$sudo apt-get -qq install -y --no-install-recommends $offered >/dev/null || exit 1
