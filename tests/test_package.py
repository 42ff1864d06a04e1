"""What a wheel holds, and its one command."""

import tomllib

import pytest

from experiments.__main__ import COMMANDS, main
from experiments.shared import usage
from makemore_jax.files import embedded
from tests.conftest import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def makemore(monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", ["makemore", *flags])
    monkeypatch.setattr("experiments.__main__.__package__", "experiments")
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0


def test_the_wheel_holds_every_package_under_one_name():
    packages = {*SETTINGS["tool"]["setuptools"]["packages"]}
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("makemore_jax/**/*.py")}
    commands = {"makemore_jax" / path.parent.relative_to(ROOT) for path in ROOT.glob("experiments/**/*.py")}
    checks = {"makemore_jax" / path.parent.relative_to(ROOT) for path in ROOT.glob("lessons/**/__init__.py")}
    assert packages == {".".join(folder.parts) for folder in folders | commands | checks} | {"makemore_jax.texts"}


def test_every_command_can_be_named():
    modules = {path.stem for path in ROOT.glob("experiments/*.py")} | {
        path.parent.name for path in ROOT.glob("experiments/*/__main__.py")
    }
    assert {*COMMANDS} == modules - {"__init__", "__main__"}


def test_a_command_is_run_by_its_name(monkeypatch, capsys):
    assert makemore(monkeypatch, "train", "--model", "nope") == 2
    assert "--model is 'nope'" in capsys.readouterr().err


def test_what_is_neither_a_file_nor_a_command_is_one_line(monkeypatch, capsys):
    assert makemore(monkeypatch, "trian") == 2
    assert capsys.readouterr().err.startswith("error: trian: neither a file nor a command; the commands: benchmark, ")


def test_help_ends_with_every_command(monkeypatch, capsys):
    assert makemore(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_a_printed_command_can_be_pasted(monkeypatch):
    assert usage.command_line("sample", "my runs/a") == "python -m experiments.sample 'my runs/a'"
    monkeypatch.setattr(usage, "IN_A_CLONE", False)
    assert usage.command_line("sample", "my runs/a") == "makemore sample 'my runs/a'"
    assert usage.called("make") == "makemore"


def test_the_names_are_found_from_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert str(embedded("names.txt")) == "data/names.txt"
    monkeypatch.chdir(tmp_path)
    assert embedded("names.txt").samefile(ROOT / "data/names.txt")
