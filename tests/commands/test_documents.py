"""What the README and the pages of the site say is so. `.ci/run` builds the site, which checks its links."""

import hashlib
import re
import subprocess
import sys
import typing

import jax
import numpy as np
import pytest

import makemore_jax as mm
from experiments.__main__ import COMMANDS
from makemore_jax.data.lines import split
from makemore_jax.learning import training
from makemore_jax.models import interface
from tests.conftest import ROOT

PAGES = sorted(path for glob in ("*.md", "docs/**/*.md", "*/README.md") for path in ROOT.glob(glob))
TEXT = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
README = TEXT["README.md"]
SOURCES = [path.read_text() for folder in ("experiments", "makemore_jax") for path in ROOT.glob(f"{folder}/**/*.py")]
IMAGINED = {"makemore_jax/models/pair.py", "lessons/NN_name.py"}  # files that a reader would add
FLAGS = {"help", "version", *re.findall(r"^    (\w+): ", "\n".join(SOURCES), re.MULTILINE)}  # fields of dataclasses


def blocks(page, language="python"):
    """What stands between fences of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT[page], re.DOTALL | re.MULTILINE)


INTERFACES = [block for page in TEXT for block in blocks(page) if block.startswith("class ")]
EXAMPLES = {page: [block for block in blocks(page) if block not in INTERFACES] for page in TEXT}


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160
    assert len(TEXT["docs/results.md"].splitlines()) <= 150


def test_the_commands_are_the_ones_that_ci_runs_and_the_lessons_name():
    commands = re.findall(r"^python3 -m venv .*", README, re.MULTILINE)
    assert len(commands) == 3
    assert commands[0].endswith("-m experiments.bigram")
    assert commands[1].endswith("-m pytest")
    assert commands[2] in TEXT["lessons/README.md"]
    ci = (ROOT / ".ci/run").read_text()
    assert "eval \"$(grep -m 1 '^python3 -m venv .*pytest' README.md)\"" in ci
    (site,) = [line for line in blocks("CONTRIBUTING.md", "bash")[-1].splitlines() if "sphinx" in line]
    assert site.removeprefix("python -m sphinx -W") in ci


@pytest.mark.parametrize("page", [page for page, examples in EXAMPLES.items() if examples])
def test_the_examples_run(page, monkeypatch, tmp_path, names):
    """From top to bottom, in a folder of one's own, with a file of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/names.txt").write_text("\n".join(names[:300]))
    ran = {"__name__": "example"}
    for example in EXAMPLES[page]:
        exec(re.sub(r"steps=\d+", "steps=10", example), ran)
    if page == "docs/guides/library.md":
        assert ran["run"].dev == mm.evaluate(ran["gru"], ran["corpus"].tokens.dev).nats
        assert len(ran["losses"]) == 10


def test_the_readme_s_example_prints_what_it_says(capsys, monkeypatch, tmp_path, names):
    """Its figures differ for another file, and the same things are printed."""
    (example,) = EXAMPLES["README.md"]
    assert len(example.splitlines()) <= 8
    test_the_examples_run("README.md", monkeypatch, tmp_path, names)
    printed = capsys.readouterr().out
    said = blocks("README.md", "text")[0]
    assert re.sub(r"[\d.]+|'\w*',? ?", "", printed).split() == re.sub(r"[\d.]+|'\w*',? ?", "", said).split()
    assert printed.count("'ma") == 5
    assert (tmp_path / "traces.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_in_one_file_joins_the_table(monkeypatch, tmp_path, names):
    """The model of the guide: trained, saved, opened and sampled from by its name."""
    (tmp_path / "names.txt").write_text("\n".join(names[:300]))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pair.py").write_text(EXAMPLES["docs/guides/model.md"][0])
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
    (tree,) = blocks("docs/guides/code.md", "text")
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


@pytest.mark.parametrize("page", TEXT)
def test_what_a_page_names_exists(page):
    """Pictures, files in backticks, commands, and the flags of commands."""
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT[page]):
        assert (ROOT / page).parent.joinpath(picture).exists(), picture
    for path in re.findall(r"`((?:makemore_jax|experiments|tests|lessons|data|docs)/[\w/.-]+)`", TEXT[page]):
        assert (ROOT / path).exists() or path in IMAGINED, path
    for name in re.findall(r"experiments\.(\w+)", TEXT[page]):
        assert name in COMMANDS, name
    for command in re.findall(r"(?:experiments\.|^makemore )(?:[^`\n]|\\\n)*", TEXT[page], re.MULTILINE):
        for flag in re.findall(r"(?<=\s)--([a-z][a-z0-9-]*)", command):
            assert flag.replace("-", "_") in FLAGS, command


def test_the_interfaces_are_printed_as_they_are():
    assert len(INTERFACES) == 2
    for block, ours in zip(INTERFACES, (interface.Model, training.Training), strict=True):
        printed = {}
        exec(block, vars(interface) | vars(training), printed)
        (shown,) = printed.values()
        assert shown.__name__ == ours.__name__
        assert typing.get_type_hints(shown) == typing.get_type_hints(ours)
        assert shown._field_defaults == ours._field_defaults


def test_the_reference_lists_what_the_library_offers():
    """`MODELS` and `plot` stand in its text; the folders are those of the library."""
    listed = re.findall(r"^   (~?)makemore_jax\.(\S+)$", TEXT["docs/reference.md"], re.MULTILINE)
    offered = [getattr(mm, name) for name in mm.__all__ if name not in ("MODELS", "plot")]
    names = {f"{value.__module__}.{value.__name__}" for value in offered}
    assert {f"makemore_jax.{name}" for tilde, name in listed if tilde} == names
    folders = {path.stem for path in (ROOT / "makemore_jax").iterdir() if path.name not in ("__init__.py", "py.typed")}
    assert {name for tilde, name in listed if not tilde} == folders - {"__pycache__"}


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


def test_the_split_in_the_results_is_the_one_of_the_code(names):
    assert [len(part) for part in split(names)] == [25_796, 3_149, 3_233]
