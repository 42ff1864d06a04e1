"""Flags before they are parsed: a run that is resumed brings its own."""

import ast
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest

from experiments.shared import cli
from experiments.shared.argv import OTHER_NAMES, Hidden, flag_types, spelled, with_recalled
from experiments.shared.flags import Output, Seed, Text, Trains, one_of, parse, with_model
from makemore_jax.files import write_json
from makemore_jax.models.registry import NEURAL
from tests.conftest import ROOT


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Trains, Text):
    model: Annotated[str, one_of(("gru", "wavenet"))] = "gru"
    widths: tuple[int, ...] = (1,)
    process: int | None = None
    out: Path | None = None
    resume: bool = False
    min_count: Hidden = 1


GIVEN = ["--model", "wavenet", "--layers", "2", "--separator", "\\n\\\\n", "--lowercase", "--context-length", "9"]
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
    assert {"model", "data", "seed", "widths", "no_figures"} < flag_types(Config).keys()
    assert "min_count" not in flag_types(Config)
    whole = flag_types(with_model(Config, ["--model", "wavenet"])).keys()
    assert {"layers", "steps"} < whole
    assert not {"vocab", "sizes", "recipe"} & whole


def test_a_name_is_spelled_as_a_flag_where_the_command_has_it():
    message = "`learning_rate` and `order`, not `excluding`"
    assert spelled(message, {"learning_rate"}) == "--learning-rate and order, not excluding"
    assert spelled(message, {"count"}) == "learning_rate and --count, not excluding"


SOURCES = [path for folder in ("makemore_jax", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]


def messages(path):
    """The strings of a module that are not documentation."""
    tree = ast.parse(path.read_text())
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = {node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return [node.value for node in strings - documentation]


def fields(path):
    """The annotated names of the dataclasses of a module, which are flags if the dataclass is a command's."""
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return {each.target.id for one in classes for each in one.body if isinstance(each, ast.AnnAssign)}


def test_every_name_in_a_message_is_a_flag():
    """Of some command; so nobody is sent to a flag that does not exist."""
    flags = {name for path in SOURCES if path.is_relative_to(ROOT / "experiments") for name in fields(path)}
    flags |= set().union(*(flag_types(with_model(Config, ["--model", name])) for name in NEURAL))
    flags |= fields(ROOT / "makemore_jax/making.py") | fields(ROOT / "makemore_jax/inference/sampler.py")
    named = {name: path for path in SOURCES for text in messages(path) for name in re.findall(r"`(\w+)`", text)}
    assert len(named) > 50
    assert {name: path for name, path in named.items() if name not in flags | OTHER_NAMES.keys()} == {}


def test_no_message_advises_to_delete_a_run():
    advice = [text for path in SOURCES for text in messages(path) if re.search("`overwrite`|--overwrite", text)]
    assert advice == []
