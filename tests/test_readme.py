"""What the README says is so."""

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from makemore_jax import models
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_are_the_ones_that_ci_runs():
    commands = re.findall(r"^python3 -m venv .*", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("-m experiments.bigram")
    assert commands[1].endswith("-m pytest")
    assert "eval \"$(grep -m 1 '^python3 -m venv .*pytest' README.md)\"" in (ROOT / ".ci/run").read_text()


def test_the_library_example_runs_as_printed(capsys, monkeypatch):
    (example,) = re.findall(r"```python\n(import jax\n.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line and "import" not in line]) <= 10
    monkeypatch.chdir(ROOT)
    names = {}
    exec(example, names)
    quality, drawn = capsys.readouterr().out.splitlines()
    assert float(re.search(r"nats=([\d.]+)", quality)[1]) < 2.3
    assert drawn.count("'ma") == 5


def test_the_tree_names_every_file_and_no_other():
    (tree,) = re.findall(r"```text\n(data/.*?)```", README, re.DOTALL)
    folders, named = [], set()
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        folders = folders[: len(indent) // 2]
        if name.endswith("/"):
            folders.append(name)
        else:
            named.add("".join([*folders, name]))
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("makemore_jax", "experiments")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert named == there


def test_the_data_is_what_its_readme_says():
    text = (ROOT / "data/README.md").read_text()
    named = dict(reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  \S+$", text, re.MULTILINE))
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "data").glob("*.txt")}
    assert there.pop("words-copyright.txt")
    assert named == there


def test_every_picture_exists():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert len(pictures) >= 2
    assert all((ROOT / picture).exists() for picture in pictures)


def test_the_interface_is_printed_as_it_is():
    printed = re.findall(r"^    (\w+): Callable", README, re.MULTILINE)
    assert tuple(printed) == models.ngram.Model._fields


@pytest.mark.parametrize(
    "module", ["makemore_jax.model", "makemore_jax.models", "makemore_jax.loss", "makemore_jax.sample"]
)
def test_the_library_imports_no_experiment_and_no_figure(module):
    """Imports go one way: what a researcher imports does not pull in the command line or matplotlib."""
    code = (
        f"import sys, {module}; print([m for m in ('experiments', 'matplotlib', 'tyro', 'tqdm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_the_split_in_the_readme_is_the_one_of_the_code(names):
    from makemore_jax import data

    assert np.array_equal([len(side) for side in data.split(names)], [25_796, 3_149, 3_233])
