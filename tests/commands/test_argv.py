"""Flags before they are parsed: a run that is resumed brings its own."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest

from experiments.shared import cli
from experiments.shared.argv import Hidden, flag_names, with_recalled
from experiments.shared.flags import Output, Seed, Text, Trains, one_of, parse, with_model
from makemore_jax.files import write_json


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Trains, Text):
    model: Annotated[str, one_of(("gru", "wavenet"))] = "gru"
    widths: tuple[int, ...] = (1,)
    process: int | None = None
    out: Path | None = None
    resume: bool = False
    min_count: Hidden = 1


GIVEN = ["--model", "wavenet", "--layers", "2", "--separator", "\\n\\n", "--lowercase", "--context-length", "9"]
GIVEN += ["--learning-rate", "1e-5", "--micro-batches", "2", "--dropout", "0.5", "--widths", "3", "5"]
GIVEN += ["--data", "a b.txt"]


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def parsed(*flags):
        monkeypatch.setattr("sys.argv", ["train", *flags])
        return parse(with_model(Config, list(flags)))

    (tmp_path / "runs/wavenet").mkdir(parents=True)
    first = replace(parsed(*GIVEN), process=1)
    write_json(tmp_path / "runs/wavenet/config.json", cli.settings(first, "digest"))
    return parsed


def test_every_setting_comes_back_as_a_flag(parsed):
    """Numbers, lists, switches, texts with line ends or spaces, and the sizes of a model that is not the default."""
    expected = replace(parsed(*GIVEN), resume=True)
    assert asdict(parsed("--resume", "--model", "wavenet")) == asdict(expected)  # in the default folder of that model
    for flags in (["--out", "runs/wavenet"], ["--out=runs/wavenet"]):
        assert asdict(parsed(*flags, "--resume")) == asdict(replace(expected, out=Path("runs/wavenet")))


def test_a_flag_that_is_given_again_counts(parsed):
    again = parsed("--resume", "--out", "runs/wavenet", "--batch", "6", "--widths", "7", "--data", "moved.txt")
    assert (again.recipe.batch, again.widths, again.data) == (6, (7,), Path("moved.txt"))
    assert (again.recipe.learning_rate, again.sizes.layers) == (1e-5, 2)


def test_without_resume_or_a_run_nothing_is_recalled(parsed):
    for flags in (["--out", "runs/wavenet"], ["--out", "runs/none", "--resume"], ["--resume"]):
        assert with_recalled(Config, flags) == flags


def test_the_names_of_flags():
    assert {"model", "data", "seed", "widths", "no_figures"} < flag_names(Config)
    assert "min_count" not in flag_names(Config)
    assert {"layers", "steps"} < flag_names(with_model(Config, ["--model", "wavenet"]))
    assert not {"vocab", "sizes", "recipe"} & flag_names(with_model(Config, ["--model", "wavenet"]))
