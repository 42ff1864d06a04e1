"""What commands print and draw: JSON for every stream, figures after results."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from experiments.shared import cli
from experiments.shared.figures import drawing
from makemore_jax.errors import InputError
from tests.conftest import ROOT
from tests.tiny_run import RUN


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_on_every_stream(monkeypatch, encoding):
    summary = {"samples": ["zoë", "日本", "🙂", "plain", "\udcff"]}
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", stream)
    cli.print_json(summary)
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode(encoding)) == summary


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_characters_that_can_be_shown_are_shown(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", stream)
    cli.print_json({"name": "zoë"})
    stream.flush()
    assert (b"\\u00eb" in stream.buffer.getvalue()) == (encoding == "ascii")


def test_a_figure_that_cannot_be_drawn_is_a_warning(tmp_path, capsys):
    with pytest.warns(UserWarning, match=r"a\.png: not drawn \(latex is missing\)"), drawing(tmp_path / "a.png"):
        raise RuntimeError("latex\nis missing")
    with pytest.raises(InputError), drawing(tmp_path / "a.png"):
        raise InputError("a mistake")
    assert not capsys.readouterr().out
    with drawing(tmp_path / "b.png", "what it shows") as path:
        assert path == tmp_path / "b.png"
    assert capsys.readouterr().out == f"{path}: what it shows\n"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("module", "flags", "figures"),
    [
        ("bigram", ["--steps", 0, "--samples", 2], ["counts.png"]),
        ("train", [flag for flag in [*RUN, "--steps", 2, "--warmup", 1] if flag != "--no-figures"], ["loss.png"]),
    ],
)
def test_the_results_are_there_where_a_figure_is_not(command, monkeypatch, tmp_path, module, flags, figures, names):
    (tmp_path / "few.txt").write_text("\n".join([name for name in names if len(name) <= 4][:40]))
    monkeypatch.setenv("PATH", "")
    with matplotlib.rc_context({"text.usetex": True}):  # and there is no LaTeX
        status, _, err = command(module, *flags, "--data", tmp_path / "few.txt", "--out", tmp_path / "run")
    assert status == 0
    assert [line for line in err.splitlines() if "not drawn" in line and line.startswith("warning: ")]
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run/summary.json").read_text())["experiment"] == module
    assert not any((tmp_path / "run" / name).exists() for name in figures)


def test_commands_need_no_backend_of_matplotlib():
    env = os.environ | {"MPLBACKEND": "none-such"}
    subprocess.run([sys.executable, "-c", "import experiments.bigram.figures"], cwd=ROOT, env=env, check=True)


def test_a_path_is_shown_as_it_is_whatever_its_folder_is_called():
    assert cli.shown(Path("makemore-lists/towns.txt")) == "makemore-lists/towns.txt"
