"""Every lesson runs, its exercises can be told right from wrong, and its notebook is its script."""

import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys

import jax
import jupytext
import nbformat
import pytest

from lessons.build import MAX_BYTES, cells
from lessons.grading import check, grade
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
NUMBER = re.compile(r"(?<![\w.,\\{^])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w{])")
each_lesson = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def exercises(script):
    """The names of the exercises that a lesson checks."""
    return re.findall(rf"^check\(lesson_{int(script.name[:2])}\.(\w+), \w+\)", script.read_text(), re.MULTILINE)


def of_kind(notebook, kind):
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def read_notebook(script):
    path = script.with_suffix(".ipynb")
    if not path.exists():
        pytest.skip(f"lessons/{path.name} is not built yet: python lessons/build.py {path.name[:2]}")
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@each_lesson
def test_a_lesson_runs_top_to_bottom(script, tmp_path, monkeypatch, capfd):
    """From anywhere, with warnings as errors; nobody has answered its exercises."""
    monkeypatch.setenv("QUICK", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(ROOT))])
    runpy.run_path(str(script), run_name="__main__")
    out, err = capfd.readouterr()
    assert not err
    assert re.findall(r"^(\w+): not answered yet$", out, re.MULTILINE) == exercises(script)
    assert not list(tmp_path.iterdir())


@each_lesson
def test_graders_pass_the_solutions_and_fail_tempting_answers(script):
    name = f"lesson_{int(script.name[:2])}"
    graders = importlib.import_module(f"lessons.graders.{name}")
    solutions = importlib.import_module(f"lessons.solutions.{name}")
    named = exercises(script)
    public = [key for key, value in vars(graders).items() if inspect.isfunction(value) and not key.startswith("_")]
    defined = [key for key in public if getattr(graders, key).__module__ == graders.__name__]
    assert len(named) >= 2
    assert named == list(solutions.RIGHT) == list(solutions.WRONG)
    assert sorted(named) == sorted(defined)
    for exercise in named:
        grader, wrong = getattr(graders, exercise), solutions.WRONG[exercise]
        assert grader.__doc__
        assert wrong
        assert grade(grader, solutions.RIGHT[exercise]) == "right!", exercise
        for answer in wrong:
            assert re.match(r"not yet\. \S", found := grade(grader, answer)), f"{exercise}: {answer}: {found}"


@each_lesson
def test_the_notebook_holds_the_cells_of_the_script_and_their_outputs(script):
    notebook = read_notebook(script)
    path, code = script.with_suffix(".ipynb"), [cell for cell in notebook.cells if cell.cell_type == "code"]
    stale = f"run: python lessons/build.py {path.name[:2]}"
    plain = cells(script)
    assert [(c.cell_type, c.id, c.source) for c in notebook.cells] == [
        (c.cell_type, c.id, c.source) for c in plain.cells
    ], stale
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), stale
    assert notebook.metadata == plain.metadata
    assert path.stat().st_size <= MAX_BYTES
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@each_lesson
def test_every_figure_in_the_prose_is_computed_or_checked(script):
    """A figure of three digits or more stands in the code, in the graders, or in what the code prints."""
    notebook = jupytext.read(script)
    graders = ROOT / f"lessons/graders/lesson_{int(script.name[:2])}.py"
    stated = "\n".join([*of_kind(notebook, "code"), graders.read_text()])
    if script.with_suffix(".ipynb").exists():
        outputs = [output for cell in read_notebook(script).cells for output in cell.get("outputs", [])]
        stated += "\n".join(str(o.get("text", "") or o.get("data", {}).get("text/plain", "")) for o in outputs)
    found = re.findall(r"\d[\d_,]*(?:\.\d+)?(?:e-?\d+)?", stated)
    known = {float(re.sub("[_,]", "", number)) for number in found}
    for prose in of_kind(notebook, "markdown"):
        prose = re.sub(r"\]\([^)]*\)|`[^`]*`|arXiv:[\d.]+", "", prose)
        prose = re.sub(r"\b(?:19|20)\d\d\b", "", prose)  # years
        figures = [number.replace(",", "") for number in NUMBER.findall(prose)]
        unknown = [figure for figure in figures if len(figure.replace(".", "")) >= 3 and float(figure) not in known]
        assert not unknown, f"neither computed nor checked: {unknown}"


@each_lesson
def test_what_the_prose_points_to_exists(script):
    for prose in of_kind(jupytext.read(script), "markdown"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
            target = re.sub(r"\.ipynb$", ".py", target)  # it is built from that
            assert target.startswith("https://") or (script.parent / target).exists(), target
        for name in re.findall(r"python -m experiments\.(\w+)", prose):
            assert (ROOT / f"experiments/{name}.py").exists() or (ROOT / "experiments" / name).is_dir(), name
        for path in re.findall(r"`((?:makemore_jax|experiments|lessons|data)/[\w/.]+)`", prose):
            assert (ROOT / path).exists(), path


def unanswered(x):
    raise NotImplementedError


def test_a_check_shows_its_message_and_nothing_else(capsys):
    def positive(answer):
        if answer < 0:
            raise AssertionError("It is negative.")

    for answer, said in [(..., "not answered yet"), (unanswered, "not answered yet"), (1, "right!")]:
        assert check(positive, answer) is None
        assert capsys.readouterr().out == f"positive: {said}\n"
    assert grade(positive, -1) == "not yet. It is negative."
    assert grade(positive, jax.jit(unanswered)) == "not answered yet"


@pytest.mark.parametrize(
    "given",
    [
        "https://github.com/someone/a_name",
        "https://github.com/someone/a_name/blob/main/lessons/00_jax.ipynb",
        "https://colab.research.google.com/github/someone/a_name/blob/main/lessons/00_jax.ipynb",
    ],
)
def test_colab_fetches_the_repository_whose_address_it_is_given(given, monkeypatch):
    """All lessons begin with the same cell; git and pip are not run here."""
    first = (of_kind(jupytext.read(script), "code")[0] for script in SCRIPTS)
    (cell,) = {"import os" + text.split("import os")[1].split("\nQUICK")[0] for text in first}
    ran = []
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("builtins.input", lambda prompt: given)
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(list(map(str, command))))
    monkeypatch.setattr(os, "chdir", ran.append)
    exec(cell, {"__file__": SCRIPTS[0]})
    cloned, installed, folder = ran
    assert cloned[:4] == ["git", "clone", "-q", "https://github.com/someone/a_name"]
    assert cloned[-1] == installed[-1] == str(folder.parent)


def test_solutions_and_graders_belong_to_lessons():
    numbers = {f"lesson_{int(script.name[:2])}" for script in SCRIPTS}
    for folder in ("graders", "solutions"):
        assert {path.stem for path in (ROOT / "lessons" / folder).glob("*.py")} == numbers
