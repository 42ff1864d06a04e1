"""Studies: rows are kept and continued, no random number is drawn twice, and what cannot be trusted is said."""

import errno
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
import tyro

import makemore_jax as mm
from experiments import compare, digits, excess, scaling, words
from experiments.shared import rows as kept_rows
from experiments.shared.argv import with_recalled
from experiments.shared.flags import key_for
from experiments.shared.signals import Stopped
from makemore_jax import checkpoint
from makemore_jax.analysis.laws import fit_law
from makemore_jax.data.lines import Split
from makemore_jax.errors import InputError
from makemore_jax.files import write_bytes
from makemore_jax.inference.evaluate import standard_error
from makemore_jax.models.registry import MODELS
from makemore_jax.recipe import Recipe
from makemore_jax.runs import writer
from tests.conftest import ROOT


@pytest.fixture
def file(tmp_path, names):
    path = tmp_path / "few.txt"
    path.write_text("\n".join([name for name in names if len(name) <= 5][:150]))
    return path


SMALL_COMPARE = ["--models", "bigram", "--steps", 3, "--seeds", 2, "--samples", 7, "--no-figures"]
SMALL_SCALING = ["--models", "mlp", "--lines", 31, "--widths", 5, "--seeds", 2, "--steps", 3, "--no-figures"]
SMALL_EXCESS = ["--sources", "copy", "--models", "ngram", "bigram", "--lines", 31, "--steps", 5, "--seeds", 1]
STUDIES = {
    "compare": SMALL_COMPARE,
    "scaling": SMALL_SCALING,
    "excess": [*SMALL_EXCESS, "--no-figures"],
    "words": ["--quick", "--samples", 2],
    "digits": ["--quick", "--drawn", 10, "--no-figures"],
}


@pytest.fixture
def small(monkeypatch):
    """Small models, and the least of all data."""
    monkeypatch.setattr(mm, "count", lambda corpus, order=2, count=mm.count: count(corpus, 2))
    for module in (words, digits):
        monkeypatch.setattr(module, "NEURAL", {"bigram": ({}, Recipe(batch=7, learning_rate=0.1))})
    monkeypatch.setattr(words, "QUICK_LINES", Split(300, 31, 29))
    monkeypatch.setattr(excess, "HELD_OUT", 31)


def stop_at(monkeypatch, number):
    """Let the row of this number, from 0, be measured and not kept: a signal comes."""
    measure, seen = kept_rows.Rows.measure, []

    def stopping(self, name, function):
        seen.append(name)
        if len(seen) > number:
            raise Stopped(2)
        return measure(self, name, function)

    monkeypatch.setattr(kept_rows.Rows, "measure", stopping)


MODULES = {"compare": compare, "scaling": scaling, "excess": excess, "words": words, "digits": digits}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_is_stopped_keeps_its_rows_and_continues(name, file, tmp_path, small, monkeypatch):
    """The rows before the stop are read, so even their seconds stay; all other numbers are those of a whole study."""
    out = tmp_path / "run"
    data = {"words": ROOT / "data/verses.txt", "digits": ROOT / "data/digits.txt"}.get(name, file)
    study = lambda *more, out=out: run_study(name, "--data", data, "--out", out, *more)
    with monkeypatch.context() as patch:
        stop_at(patch, 2 if name != "excess" else 1)
        with pytest.raises(Stopped) as stopped:
            study()
    assert str(stopped.value).endswith(f"to continue: python -m experiments.{name} --out {out} --resume")
    before = json.loads((out / ("copy.json" if name == "excess" else "summary.json")).read_text())["rows"]
    assert len(before) == (1 if name == "excess" else 2)
    with pytest.raises(InputError, match=r"holds \d rows already; continue with `resume`"):
        study()
    flags, config = ["--out", str(out), "--resume"], MODULES[name].Config  # the others come from the run
    summary = MODULES[name].run(tyro.cli(config, args=with_recalled(config, flags)))
    after = json.loads((out / ("copy.json" if name == "excess" else "summary.json")).read_text())["rows"]
    assert {row: after[row] for row in before} == before
    whole = study(out=tmp_path / "whole")
    assert untimed(summary["rows"]) == untimed(whole["rows"])
    assert list(summary["rows"]) == list(whole["rows"])


def run_study(name, *flags):
    config = tyro.cli(MODULES[name].Config, args=[*map(str, STUDIES[name]), *map(str, flags)])
    return MODULES[name].run(config)


def untimed(rows):
    """Rows without what a clock says, as JSON has them."""
    clock = ("seconds", "samples_per_second")
    drop = lambda row: {key: value for key, value in row.items() if key not in clock} if isinstance(row, dict) else row
    return json.loads(json.dumps({name: drop(row) for name, row in rows.items()}))


def test_a_full_disk_is_one_line_and_the_rows_stay(file, tmp_path, small, monkeypatch, command):
    """The models of a row are large, and its numbers are small: only the models are trained again."""
    flags = [*SMALL_COMPARE, "--data", file, "--out", tmp_path / "run"]
    with monkeypatch.context() as patch:

        def write(path, content):
            if path.suffix == ".safetensors":
                raise OSError(errno.ENOSPC, "No space left on device")
            write_bytes(path, content)

        patch.setattr(writer, "write_bytes", write)
        status, _, err = command("compare", *flags)
    assert (status, err.count("\n")) == (2, 1)
    assert "backoff.safetensors: cannot save (no space left on device); what was saved before is kept" in err
    assert list(json.loads((tmp_path / "run/summary.json").read_text())["rows"]) == ["backoff"]
    status, out, err = command("compare", *flags, "--resume")
    assert (status, err) == (0, "")
    assert "mixture of all" in out
    assert mm.open(tmp_path / "run").model.config.components


@pytest.mark.slow
def test_models_that_train_in_processes_of_their_own_are_those_that_train_alone(file, tmp_path, small):
    """The rows come in the order of the table; a row that is kept is not trained again."""
    flags = ["--data", file, "--no-figures", "--out", tmp_path / "run"]
    rows = run_study("compare", *flags, "--models", "bow", "bigram")["rows"]
    alone = run_study("compare", *flags[:-1], tmp_path / "alone")["rows"]
    assert list(rows) == ["backoff", "bow", "bigram", "2 x bow", "mixture of all"]
    assert rows["bow"]["nats"]["test"] != rows["bigram"]["nats"]["test"]
    np.testing.assert_allclose(rows["bigram"]["nats"]["test"], alone["bigram"]["nats"]["test"], rtol=1e-6)
    assert run_study("compare", *flags, "--models", "bow", "bigram", "--resume")["rows"] == rows


def test_damaged_models_are_trained_again(file, tmp_path, small):
    rows = lambda: run_study("compare", "--data", file, "--out", tmp_path / "run", "--resume")["rows"]
    out = tmp_path / "run"
    with pytest.raises(InputError, match="there is no run to resume"):
        rows()
    run_study("compare", "--data", file, "--out", out)
    before = {path.name: checkpoint.read(path)[0] for path in out.glob("*.safetensors")}
    assert len(before) == 4
    (out / "bigram-0.safetensors").write_bytes(b"damaged")
    (out / "best.safetensors").unlink()
    rows()
    for name, leaves in before.items():
        jax.tree.map(np.testing.assert_array_equal, checkpoint.read(out / name)[0], leaves)


def test_a_use_has_a_key_of_its_own():
    """A seed's own key is split by `training`, into the very keys that samples would draw their rows with."""
    data = lambda key: tuple(jax.random.key_data(key).tolist())
    of_seed = jax.random.key(5)
    assert data(jax.random.split(of_seed, 3)[0]) == data(jax.random.fold_in(of_seed, 0))  # what there is to avoid
    uses = [data(key_for(seed, use)) for seed in (5, 6) for use in ("lines", "floor")]
    assert len(set(uses)) == 4
    assert not set(uses) & {data(of_seed), *(data(jax.random.fold_in(of_seed, row)) for row in range(100))}


def test_a_floor_is_not_estimated_on_the_lines_that_are_learned(tmp_path, small, monkeypatch):
    keys = {}
    for name in ("floor", "write"):
        of = getattr(excess.sources, name)
        noted = lambda key, *rest, name=name, of=of: (
            keys.update({name: jax.random.key_data(key).tolist()}) or of(key, *rest)
        )
        monkeypatch.setattr(excess.sources, name, noted)
    run_study("excess", "--models", "ngram", "--out", tmp_path / "run")
    assert keys["floor"] != keys["write"]


def test_each_seed_has_lines_of_its_own(file, small):
    config = scaling.Config(data=file, seeds=3)
    corpus = config.load()
    some = scaling.on_some_lines(config, "backoff", corpus, 31)
    assert len(set(some["nats"])) == 3
    whole = scaling.on_some_lines(config, "backoff", corpus, len(corpus.lines.train))
    assert whole["nats"] == [pytest.approx(mm.evaluate(mm.count(corpus), corpus.tokens.test).nats)]
    assert some["line_error"] > 0


def test_the_standard_error_is_what_other_lines_would_give():
    """Against the spread over many samples; lines of different lengths, whose tokens share their luck."""
    random = np.random.default_rng(0)
    length_N = random.integers(1, 12, (2000, 97))
    nats_N = length_N * (2 + random.normal(0, 0.5, length_N.shape)) + random.normal(0, 1, length_N.shape)
    losses = nats_N.sum(1) / length_N.sum(1)
    errors = [standard_error(nats, length) for nats, length in zip(nats_N[:200], length_N[:200], strict=True)]
    assert np.mean(errors) == pytest.approx(losses.std(), rel=0.05)
    assert standard_error(3 * length_N[0], length_N[0]) == pytest.approx(0, abs=1e-12)  # each line as good as another


N = [500, 1000, 2000, 4000, 8000, 16_000]


def test_a_prediction_above_a_measurement_is_warned_of(capsys):
    """The last point lies below the floor that the others ask for."""
    mean_L = 2 + 8 * np.array(N, float) ** -0.5
    law = fit_law(np.array(N, float), mean_L)
    config = scaling.Config(predict=320_000)
    good = scaling.print_laws(config, N, {"good": law}, {"good": mean_L})
    assert "warning" not in capsys.readouterr().out
    assert not good["good"]["contradicted"]
    bad = scaling.print_laws(config, N, {"bad": law}, {"bad": [*mean_L[:-1], 1.987]})
    out = capsys.readouterr().out
    assert "warning: 16,000 lines already gave 1.987; the law does not hold that far" in out
    assert "floor 2.000 ±0.000 (95%" in out
    assert bad["bad"]["contradicted"]


def test_the_interval_of_a_floor_grows_with_the_noise():
    n = np.array(N, float)
    laws = [fit_law(n, 1.5 + 8 * n**-0.4 + noise * np.array([1, -1, 1, -1, 1, -1])) for noise in (1e-3, 1e-2)]
    assert laws[1].floor_interval == pytest.approx(10 * laws[0].floor_interval, rel=0.5)
    assert laws[1].floor_interval > abs(laws[1].floor - 1.5)


def test_sizes_above_the_data_are_named_and_a_figure_without_laws_speaks_of_none(
    file, tmp_path, small, monkeypatch, capsys
):
    drawn = []
    monkeypatch.setattr(mm.plot, "save", lambda figure, path: drawn.append(figure))
    flags = ["--models", "mlp", "--lines", 31, 9999, "--widths", 5, "--seeds", 1, "--steps", 3]
    config = tyro.cli(scaling.Config, args=[*map(str, flags), "--data", str(file), "--out", str(tmp_path / "run")])
    scaling.run(config)
    assert "left out: 9,999 lines; the train set has 1" in capsys.readouterr().out
    assert drawn[0].axes[0].get_xlabel() == "train lines"


def test_a_text_of_unknown_words_is_warned_of_and_a_default_prefix_is_no_fault(tmp_path, names, capsys):
    path = tmp_path / "mostly.txt"
    path.write_text("\n".join(f"{name} said" if number % 3 == 0 else name for number, name in enumerate(names[:300])))
    config = words.Config(data=path, out=tmp_path / "run")
    config, corpus, _ = words.load(config)
    assert words.find_prefix(None, corpus) == ""
    with pytest.raises(InputError, match="`prefix` 'In the beginning': "):
        words.find_prefix("In the beginning", corpus)
    with pytest.warns(UserWarning, match="most test words are unknown"):
        words.introduce(config, corpus)
    _, verses, _ = words.load(words.Config(data=ROOT / "data/verses.txt", quick=True))
    assert words.find_prefix(None, verses) == "In the beginning"


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("scaling", "--widths", 2**40),
        ("scaling", "--lines", 2**63),
        ("scaling", "--predict", 10**13),
        ("compare", "--samples", 10**9),
        ("compare", "--seeds", 10**9),
    ],
)
def test_a_number_beyond_every_machine_is_refused_before_anything_is_read(command, tmp_path, name, flag, value):
    status, _, err = command(name, "--data", tmp_path / "none.txt", flag, value)
    assert status == 2
    assert f"{flag} " in err
    assert "from 1 to" in err


def test_diverged_runs_are_marked(command, file, tmp_path, monkeypatch):
    entry = MODELS["bigram"]
    monkeypatch.setitem(MODELS, "bigram", entry._replace(recipe=replace(entry.recipe, learning_rate=1e30)))
    status, out, _ = command("compare", "--data", file, "--out", tmp_path / "run", *SMALL_COMPARE)
    assert status == 0
    assert "2 of 2 runs diverged" in out
    assert json.loads((tmp_path / "run/summary.json").read_text())["rows"]["bigram"]["diverged"] == 2
