"""Every lesson runs, its exercises can be told right from wrong, and its notebook is its script."""

import importlib
import inspect
import re
import runpy
import sys

import jax
import jax.numpy as jnp
import jupytext
import nbformat
import numpy as np
import pytest

import lessons
from lessons import build
from lessons.build import MAX_BYTES, cells
from lessons.grading import check, grade
from lessons.waiting import in_parts, watch
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
NUMBER = re.compile(r"(?<![\w.,\\{^])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w{])")
each_lesson = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """As in an installed package, with the lessons of this checkout."""
    monkeypatch.setitem(sys.modules, "makemore_jax.lessons", lessons)


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
    tempting = importlib.import_module(f"lessons.tempting.{name}").WRONG
    named = exercises(script)
    public = [key for key, value in vars(graders).items() if inspect.isfunction(value) and not key.startswith("_")]
    defined = [key for key in public if getattr(graders, key).__module__ == graders.__name__]
    assert len(named) >= 2
    assert named == list(tempting)
    assert sorted(named) == sorted(defined)
    for exercise in named:
        grader, right, wrong = getattr(graders, exercise), getattr(solutions, exercise), tempting[exercise]
        assert grader.__doc__
        assert wrong
        assert grade(grader, right) == "right!", exercise
        if callable(right):
            assert right.__doc__
            assert grade(grader, lambda *args: None) == "not yet. It returns None: does it end with `return`?"
        for answer in [*wrong, "a text"]:
            assert re.fullmatch(r"not yet\. \S.*", found := grade(grader, answer)), f"{exercise}: {answer}: {found}"


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
        prose = re.sub(r"\d+ for the exercises", "", prose)  # minutes
        prose = re.sub(r"[Ee]xercise \d+\.\d", "", prose)
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
        for path in re.findall(r"`((?:makemore_jax|experiments|lessons|data|tests)/[\w/.]+)`", prose):
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


def broken(x):
    return x.nonsense


def test_what_stops_an_answer_is_one_line_with_a_hint(capsys):
    def traced(answer):
        jax.jit(answer)(jnp.zeros(2))

    def added(answer):
        return answer(jnp.zeros(2)) + "1"

    found = grade(traced, broken)
    assert found.startswith("not yet. AttributeError in your line `return x.nonsense`: ")
    assert grade(traced, np.asarray).endswith("so use jnp and not np, and `jnp.where` instead of `if`.")
    assert re.match(r"not yet\. \w+ when the check used your answer: .*Compare its type", grade(added, len))
    check(added, broken)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "number", [0.1, np.float32(0.1), np.array(0.1), jnp.array(0.1)], ids=lambda n: type(n).__name__
)
def test_any_kind_of_number_is_a_number(number):
    assert grade(importlib.import_module("lessons.graders.lesson_2").best_smoothing, number) == "right!"


def test_an_answer_in_numpy_is_an_answer():
    grader = importlib.import_module("lessons.graders.lesson_2").logits_after
    assert grade(grader, lambda W_VV, x_N: np.asarray(W_VV)[np.asarray(x_N)]) == "right!"
    with np.errstate(invalid="ignore"):
        assert "still is a one-hot" in grade(grader, lambda W_VV, x_N: np.eye(27)[np.asarray(x_N)] @ np.asarray(W_VV))


def test_the_26_gradients_are_compared_one_by_one():
    grader = importlib.import_module("lessons.graders.lesson_5").gradients
    solution = importlib.import_module("lessons.solutions.lesson_5").gradients

    def up_to(name):
        def answer(v, d):
            for key, value in vars(solution(v, type(d)())).items():
                if key == name:
                    break
                setattr(d, key, value)
            return d

        return answer

    assert grade(grader, up_to("logprobs")) == "not answered yet"
    assert grade(grader, up_to("h")) == "not yet. 8 of 26 are right. Now `h`."


@each_lesson
def test_a_lesson_has_the_form_of_all_lessons(script):
    """Time and needs at the top, folded answers, exercises at the end with their solutions, and nothing to type in."""
    number, notebook = int(script.name[:2]), jupytext.read(script)
    prose, text = of_kind(notebook, "markdown"), script.read_text()
    assert re.search(r"\*\*Time:\*\* \d+ minutes, and \d+ for the exercises", prose[0])
    assert "**You need**" in " ".join(prose[0].split())
    before, after = text.split("# ## Exercises\n")
    assert f"(solutions/lesson_{number}.py)" in after
    titles = re.findall(r"\*\*Exercise (\d+)\.(\d)\.\*\*", text)
    assert titles == [(str(number), str(i)) for i in range(1, len(titles) + 1)]
    assert "check(lesson_" not in before
    assert "**Exercise" not in before
    assert "input(" not in text
    questions = re.findall(r"\*\*[^*]+\?\*\*", before)
    assert before.count("<details><summary>Answer</summary>") == before.count("</details>") == len(questions)


@each_lesson
def test_every_picture_has_an_alternative_text(script):
    for cell in read_notebook(script).cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert len(cell.metadata.mystnb.image.alt) > 20, cell.source


def test_with_an_address_a_notebook_opens_in_colab(monkeypatch):
    """One line of pyproject.toml gives every notebook a badge, and a cell that installs the package."""
    plain = cells(SCRIPTS[0])
    assert build.repository() is None
    monkeypatch.setattr(build, "repository", lambda: "https://github.com/someone/a_name")
    title, setup, *rest = cells(SCRIPTS[0]).cells
    assert "(https://colab.research.google.com/github/someone/a_name/blob/main/lessons/00_jax.ipynb)" in title.source
    assert setup.source.endswith("%pip install -q git+https://github.com/someone/a_name")
    assert [cell.source for cell in rest] == [cell.source for cell in plain.cells[1:]]


def test_bars_are_left_out_of_a_notebook():
    stream = lambda text, name="stderr": nbformat.v4.new_output("stream", name=name, text=text)
    assert build.is_bar(stream("\rsteps:   0%|  | 0/20\rsteps:  50%|## | 10/20 [00:01<00:01]\r      \r"))
    assert not build.is_bar(stream("\rsteps:   0%|  | 0/20\rUserWarning: look\n"))
    assert not build.is_bar(stream("100%|", name="stdout"))


def test_steps_in_parts_are_the_same_steps():
    run = lambda total, x_N: jax.lax.scan(lambda total, x: (total + x, total), total, x_N)
    x_N = jnp.arange(45)
    (total, sum_N), (expected, expected_N) = in_parts(run, 0, x_N), run(0, x_N)
    assert total == expected
    np.testing.assert_array_equal(sum_N, expected_N)
    assert list(watch("abc")) == ["a", "b", "c"]


def test_solutions_graders_and_wrong_answers_belong_to_lessons():
    numbers = {f"lesson_{int(script.name[:2])}" for script in SCRIPTS}
    for folder in ("graders", "solutions", "tempting"):
        assert {path.stem for path in (ROOT / "lessons" / folder).glob("lesson_*.py")} == numbers
