"""What the README says is so."""

import hashlib
import re
import subprocess
import sys
import typing

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.lines import split
from makemore_jax.learning import training
from makemore_jax.models import interface
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SIX, TWO, FOLLOWED, INTERFACES, WHOLE_MODEL = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_commands_are_the_ones_that_ci_runs_and_the_lessons_name():
    commands = re.findall(r"^python3 -m venv .*", README, re.MULTILINE)
    assert len(commands) == 3
    assert commands[0].endswith("-m experiments.bigram")
    assert commands[1].endswith("-m pytest")
    assert commands[2] in (ROOT / "lessons/README.md").read_text()
    assert "eval \"$(grep -m 1 '^python3 -m venv .*pytest' README.md)\"" in (ROOT / ".ci/run").read_text()


def test_the_library_example_runs_as_printed(capsys, monkeypatch, tmp_path, names):
    """In a folder of one's own, with a file of one's own: its figures differ, and the same things are printed."""
    assert len([line for line in SIX.splitlines() if line and "import" not in line]) <= 6
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/names.txt").write_text("\n".join(names[:300]))
    library = {}
    exec(re.sub(r"steps=\d+", "steps=10", SIX), library)
    quality, drawn, *_ = capsys.readouterr().out.splitlines()
    assert 2 < float(re.search(r"nats=([\d.]+)", quality)[1]) < 4
    assert drawn.count("'ma") >= 5
    assert (tmp_path / "traces.png").read_bytes().startswith(b"\x89PNG")
    exec(re.sub(r"steps=\d+", "steps=10", FOLLOWED), library)
    assert library["run"].dev == mm.evaluate(library["gru"], library["corpus"].tokens.dev).nats
    exec(TWO, library | {"model": library["gru"].model, "recipe": mm.Recipe(steps=10)})


def test_a_model_in_one_file_joins_the_table(monkeypatch, tmp_path, names):
    """The README's own model: trained, saved, opened and sampled from by its name."""
    (tmp_path / "names.txt").write_text("\n".join(names[:300]))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pair.py").write_text(WHOLE_MODEL)
    import pair

    monkeypatch.setitem(mm.MODELS, "pair", mm.Entry(pair.Config, pair.pair, pair.RECIPE))
    corpus = mm.load(tmp_path / "names.txt")
    trained = mm.train(jax.random.key(0), "pair", corpus, embed=3, steps=10)
    assert mm.evaluate(trained, corpus.tokens.test).nats < np.log(corpus.vocab.size) + 0.5
    mm.save(trained, tmp_path / "pair.safetensors")
    drawn = [mm.sample(jax.random.key(1), t, 5) for t in (trained, mm.open(tmp_path / "pair.safetensors"))]
    assert drawn[0] == drawn[1]
    assert mm.activations(trained, "ma").values["embed"].shape == (3, 2 * 3)


def test_the_tree_names_every_file_and_no_other():
    """But for the models, which have a `Config`: a new one is one file, and no line here."""
    (tree,) = re.findall(r"```text\n(data/.*?)```", README, re.DOTALL)
    folders, named = [], set()
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        folders = folders[: len(indent) // 2]
        if name.endswith("/"):
            folders.append(name)
        else:
            named.add("".join([*folders, name]))
    paths = {
        path.relative_to(ROOT).as_posix()
        for folder in ("makemore_jax", "experiments")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py" and not (path.parent.name == "models" and "class Config" in path.read_text())
    }
    assert named == paths


def test_the_data_is_what_its_readme_says():
    text = (ROOT / "data/README.md").read_text()
    named = dict(reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  \S+$", text, re.MULTILINE))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "data").glob("*.txt")}
    assert found.pop("words-copyright.txt")
    assert named == found


def test_every_picture_and_every_command_exists():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert len(pictures) >= 2
    assert all((ROOT / picture).exists() for picture in pictures)
    commands = set(re.findall(r"experiments\.(\w+)", README))
    assert len(commands) >= 8
    assert all(
        (ROOT / f"experiments/{name}.py").exists() or (ROOT / "experiments" / name).is_dir() for name in commands
    )


def test_the_interfaces_are_printed_as_they_are():
    printed = {}
    exec(INTERFACES, vars(interface) | vars(training), printed)
    for name, ours in (("Model", interface.Model), ("Training", training.Training)):
        assert typing.get_type_hints(printed[name]) == typing.get_type_hints(ours)
        assert printed[name]._fields == ours._fields
        assert printed[name]._field_defaults == ours._field_defaults


def test_the_library_imports_no_experiment_and_no_figure():
    """Imports go one way: the library does not pull in the command line, and matplotlib only when a figure is asked."""
    code = "import sys, makemore_jax; print([m for m in ('experiments', 'matplotlib', 'tyro') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "makemore_jax").rglob("*.py")), ids=lambda path: path.stem)
def test_the_library_neither_prints_nor_speaks_of_flags(path):
    code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
    assert not re.search(r"\bprint\(|\bsys\.exit\(", code)
    assert not re.search(r'["\s(]--[a-z]', code)


def test_the_split_in_the_readme_is_the_one_of_the_code(names):
    assert [len(part) for part in split(names)] == [25_796, 3_149, 3_233]
