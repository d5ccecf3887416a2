#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes .venv with the references and rivals that tests and benchmarks compare against. The program
# itself never needs it. Does nothing when the virtual environment is complete.
set -eu
cd "$(dirname "$0")/.."
venv=${REPEXP_VENV:-.venv}
want="numpy scipy scikit-learn sympy safetensors sentencepiece tokenizers gguf jinja2 torch transformers peft"
if [ -x "$venv/bin/python" ] && "$venv/bin/python" - <<'PY' 2>/dev/null
import importlib.util as u, sys
need = "numpy scipy sklearn sympy safetensors sentencepiece tokenizers gguf jinja2 torch transformers peft"
sys.exit(any(u.find_spec(n) is None for n in need.split()))
PY
then
    exit 0
fi
python3 -m venv "$venv"
# shellcheck disable=SC2086 # a list of words
"$venv/bin/pip" -q install $want
