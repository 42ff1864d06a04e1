"""The library's main path is short: one device with data in memory enters few files, and none of the special cases."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FILES, LINES = 19, 1370  # at most: files entered, and lines of the functions entered in them
MAIN_PATH = """
import ast, json, sys
from pathlib import Path
import jax
import makemore_jax as mm

root, entered = Path(mm.__file__).parent, set()

def enter(frame, event, arg):  # returns None: lines are not traced
    code = frame.f_code
    if code.co_filename.startswith(str(root)) and code.co_name != "<module>":
        entered.add((code.co_filename, code.co_firstlineno))

sys.settrace(enter)
corpus = mm.load(sys.argv[1])
sizes = {"layers": 1, "embed": 8, "heads": 2}
recipe = mm.Recipe(steps=2, batch=8)  # AdamW without dropout: Muon and dropout are attached from outside
trained = mm.train(jax.random.key(0), "transformer", corpus, recipe, **sizes, progress=False)
mm.evaluate(trained, corpus.tokens.test)
assert len(mm.sample(jax.random.key(0), trained, 3)) == 3
sys.settrace(None)

lines = {}
for name in sorted({name for name, _ in entered}):
    spans = set()
    for node in ast.walk(ast.parse(Path(name).read_text())):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", []))])
            spans |= set(range(first, node.end_lineno + 1)) if (name, first) in entered else set()
    lines[str(Path(name).relative_to(root))] = len(spans)
print(json.dumps(lines))
"""
IMPORTED = "import json, sys, makemore_jax; print(json.dumps(list(sys.modules)))"


def python(program, *args):
    """What a program in a process of its own prints, from JSON."""
    command = [sys.executable, "-c", program, *map(str, args)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_the_main_path_is_short(names, tmp_path):
    """Load, train a transformer, evaluate and sample. `-s` shows the lines of each file."""
    file = tmp_path / "names.txt"
    file.write_text("\n".join(names[::100]))
    lines = python(MAIN_PATH, file)
    print(json.dumps(lines, indent=1), sum(lines.values()))
    assert {"data/lines.py", "models/transformer.py", "learning/fit.py", "inference/sampler.py"} < lines.keys()
    assert not [name for name in lines if name.startswith(("runs/", "distributed/")) or name == "data/token_files.py"]
    assert len(lines) <= FILES
    assert sum(lines.values()) <= LINES


def test_importing_the_library_imports_nothing_special():
    modules = python(IMPORTED)
    assert "makemore_jax.learning.fit" in modules
    special = ("makemore_jax.distributed", "makemore_jax.data.token_files", "orbax")
    assert not [name for name in modules if name.startswith(special)]
