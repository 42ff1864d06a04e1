"""The bigram command, and its figures: on the embedded names, and on the lecture's where there is a copy."""

import contextlib
import io
import json
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

from experiments.bigram import __main__ as bigram
from experiments.bigram import figures as bigram_figures
from experiments.bigram import neural as bigram_neural
from experiments.shared.lecture import count_dict, count_table, descent, table_loss
from makemore_jax.analysis import plot
from makemore_jax.data.lines import read_lines
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.learning.training import init_state, steps_on
from makemore_jax.models import ngram
from makemore_jax.models.registry import build

LECTURE = os.environ.get("MAKEMORE_LECTURE_NAMES")
AWKWARD = (".", " ", "$", "\\", "_", "^", "\t", "\u0301", "東", "😀", "أ")


def nats_of_counts(lines, smoothing):
    vocab = Vocab.of(lines)
    tokens = tokenize(lines, vocab)
    params = ngram.fit(count_table(vocab, tokens), smoothing)
    return exact_loss(build("ngram", vocab=vocab.size), params, tokens).nats


def neural_loss(counts_VV, penalty, count):
    """The loss, penalty included, before each of `count` steps at the lecture's rate from a normal W."""
    hyper = {"learning_rate": jnp.float32(50), "penalty": jnp.float32(penalty)}
    params = build("bigram", vocab=len(counts_VV)).init(jax.random.key(0))
    state = init_state(params, jax.random.key(0), hyper, descent)
    state, losses_N = steps_on(counts_VV, table_loss, descent)(state, count)
    return state.params, losses_N


def test_golden_figures_of_the_embedded_names(names, vocab, tokens):
    """Read off data/names.txt with awk and bc; they change only with the data."""
    counts_VV = np.asarray(count_table(vocab, tokens))
    assert counts_VV.sum() == 229_201
    assert (counts_VV == 0).sum() == 102
    cell = {(a, b): counts_VV[i, j] for i, a in enumerate(vocab.symbols) for j, b in enumerate(vocab.symbols)}
    assert (cell[".", "a"], cell["n", "."], cell["a", "n"]) == (4431, 6791, 5461)
    assert {pair: count for pair, count in cell.items() if count} == count_dict(names, ".")
    for smoothing, nats in ((0, 2.454297), (0.1, 2.454343), (1, 2.454854), (5, 2.457932)):
        assert nats_of_counts(names, smoothing) == pytest.approx(nats, abs=2e-6)


@pytest.mark.skipif(not LECTURE, reason="MAKEMORE_LECTURE_NAMES does not name the lecture's names.txt")
def test_the_lectures_own_figures():
    lines = read_lines(LECTURE)
    vocab = Vocab.of(lines)
    assert (len(lines), len(set(lines)), vocab.size) == (32_033, 29_494, 27)
    counts_VV = np.asarray(count_table(vocab, tokenize(lines, vocab)))
    assert (counts_VV.sum(), (counts_VV == 0).sum()) == (228_146, 102)
    assert (counts_VV[0, 1], counts_VV[14, 0], counts_VV[1, 14]) == (4410, 6763, 5438)
    for smoothing, nats in ((0, 2.454014), (0.1, 2.454061), (1, 2.454577), (5, 2.457683)):
        assert nats_of_counts(lines, smoothing) == pytest.approx(nats, abs=2e-6)
    _, losses = neural_loss(jnp.asarray(counts_VV), 0.01, 1001)
    assert losses[100] == pytest.approx(2.49, abs=0.01)
    assert losses[1000] == pytest.approx(2.480, abs=0.001)


def test_gradient_descent_arrives_at_the_counts(vocab, tokens):
    counts_VV = count_table(vocab, tokens)
    params, losses = neural_loss(counts_VV, 0, 20_020)
    counted_VV = np.exp(ngram.fit(counts_VV)["log_prob"])
    assert losses[0] > 3.5
    assert losses[-1] == pytest.approx(2.454297, abs=1e-4)
    assert np.abs(jax.nn.softmax(params["W"]) - counted_VV).max() < 2e-3


def test_unseen_probability_by_hand():
    counts_VV = jnp.array([[0, 3], [1, 0]])
    prob_VV = jnp.array([[0.2, 0.8], [0.6, 0.4]])
    assert bigram_neural.unseen_probability(prob_VV, counts_VV) == pytest.approx(0.75 * 0.2 + 0.25 * 0.4)


def test_smoothing_curve_goes_from_the_counts_to_uniform(vocab, tokens):
    _, nats, unseen = bigram_neural.smoothing_curve(count_table(vocab, tokens))
    assert (np.diff(nats[20:]) > 0).all()
    assert (np.diff(unseen) > 0).all()
    assert (nats[0], nats[-1]) == pytest.approx((2.4543, np.log(27)), abs=1e-4)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The whole command once, in short: its flags, its summary, and what it prints."""
    config = bigram.Config(
        data=Path("data/names.txt"), steps=3, out=tmp_path_factory.mktemp("told") / "run", score=("emma", "andrejq")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigram_neural, "TABLE_STEPS", 10_000)
        patch.setattr(bigram_neural, "MAX_WORK", 2**40)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            summary = bigram.story(config)
        return config, summary, out.getvalue()


def test_the_story_says_what_the_lecture_says(told):
    config, summary, _ = told
    assert summary["counts"] == {"dict_equals_table": True, "seen_cells": 627, "zero_cells": 102}
    of_data = summary["quality"]["data"]
    assert of_data["counts + 0"]["nats"] == pytest.approx(2.454297, abs=2e-6)
    assert of_data["uniform"]["nats"] == pytest.approx(np.log(27), abs=1e-6)
    scores = summary["quality"]["scores"]
    assert np.isinf(scores["counts + 0"][1])  # jq was never seen
    assert np.isfinite(scores["counts + 1"][1])
    assert sum(summary["quality"]["split"].values()) == 32_178
    table = summary["neural"]["table"]
    assert table["met"]
    assert table["nats"] == pytest.approx(table["counted_nats"], abs=2e-4)
    assert table["samples"]["counts"] == table["samples"]["gradient descent"] == summary["samples"]["table"]
    assert summary["samples"]["uniform"] != summary["samples"]["table"]
    assert len(summary["neural"]["penalties"]) == 7
    for row in summary["neural"]["penalties"]:
        assert row["unseen"] == pytest.approx(row["smoothed_unseen"], rel=0.08)
    written = json.loads((config.out / "summary.json").read_text())
    assert written["quality"]["scores"]["counts + 0"][1] == "inf"
    assert written["samples"] == summary["samples"]


def test_what_is_printed_fits_into_a_terminal(told):
    config, _, printed = told
    assert not [line for line in printed.splitlines() if len(line) > 80 and str(config.out) not in line]
    assert re.findall(r"^(\d)\. .*\n-+$", printed, re.MULTILINE) == list("123456789")
    assert "(empty)" in printed


def test_the_run_folder(told):
    config, *_ = told
    assert {path.name for path in config.out.glob("*.*")} == {
        "config.json",
        "summary.json",
        "table.html",
        *bigram.FIGURES,
    }
    assert all(imread(config.out / name).std() > 0.01 for name in bigram.FIGURES)
    assert json.loads((config.out / "config.json").read_text())["score"] == ["emma", "andrejq"]


@pytest.mark.parametrize("symbols", [(".", "a"), AWKWARD, tuple(map(chr, range(0x100, 0x100 + 97)))], ids=len)
def test_heat_maps_of_any_alphabet(tmp_path, monkeypatch, symbols):
    """No warning (they are errors here), no mathtext, and no more cells than fit."""
    monkeypatch.setattr(plot, "SHOWN", 13)
    counts_VV = np.arange(len(symbols) ** 2).reshape(len(symbols), -1)
    figure = bigram_figures.counts(counts_VV, symbols, tmp_path / "counts.png")
    assert len(figure.axes[0].get_xticks()) == min(len(symbols), 13)
    height, width, _ = imread(tmp_path / "counts.png").shape
    assert height == width <= plot.DPI * (0.58 * 13 + 1) + 1
    figure = bigram_figures.matrices({"one": counts_VV / 3, "$two$": counts_VV / 2}, counts_VV, symbols)
    figure.canvas.draw()
    assert ["most frequent" in axes.get_title() for axes in figure.axes[:2]] == [len(symbols) > 13] * 2


def test_two_runs_are_equal_and_json_is_the_last_line(command, tmp_path, monkeypatch):
    monkeypatch.setattr(bigram_neural, "TABLE_STEPS", 300)
    flags = ["--steps", 3, "--no-figures", "--json", "--prefix", "ma", "--top-p", 0.9, "--data", tmp_path / "few.txt"]
    (tmp_path / "few.txt").write_text("\n".join(["emma", "maria", "mary", "mark", "ava", "mia"] * 5))
    status, out, _ = command("bigram", *flags, "--out", tmp_path / "one")
    assert status == 0
    assert command("bigram", *flags, "--out", tmp_path / "two")[0] == 0
    assert (tmp_path / "one/summary.json").read_bytes() == (tmp_path / "two/summary.json").read_bytes()
    summary = json.loads(out.splitlines()[-1])
    assert summary == json.loads((tmp_path / "one/summary.json").read_text())
    assert all(text.startswith("ma") for text in summary["samples"]["table"])
    assert command("bigram", *flags, "--out", tmp_path / "three", "--seed", 1)[0] == 0
    assert json.loads((tmp_path / "three/summary.json").read_text())["samples"] != summary["samples"]


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A few lines, and few steps on their table."""
    monkeypatch.setattr(bigram_neural, "TABLE_STEPS", 300)
    (tmp_path / "few.txt").write_text("\n".join(["emma", "maria", "mary", "mark", "ava", "mia"] * 5))
    return tmp_path / "few.txt"


@pytest.mark.parametrize("number", [2, 8])
def test_one_section_alone_is_told_and_nothing_written(command, few, tmp_path, number):
    status, out, _ = command("bigram", "--data", few, "--section", number, "--steps", 2, "--out", tmp_path / "run")
    assert status == 0
    assert re.findall(r"^(\d)\. ", out, re.MULTILINE) == [str(number)]
    assert not (tmp_path / "run").exists()


def test_a_pause_waits_between_sections(command, few, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr("builtins.input", waited.append)
    flags = ["--data", few, "--steps", 2, "--no-figures", "--out", tmp_path / "run"]
    assert command("bigram", *flags, "--pause")[0] == 0
    assert len(waited) == 8
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert not {"pause", "section"} & config.keys()


@pytest.mark.parametrize(("flags", "said"), [(["--section", 10], "from 1 to 9"), (["--section", 7, "--steps", 0], "7")])
def test_a_section_that_is_not_told_is_refused(command, flags, said):
    status, out, err = command("bigram", *flags)
    assert (status, out) == (2, "")
    assert said in err


def test_a_word_with_a_line_end_is_refused_before_anything_is_written(command, tmp_path):
    status, out, err = command("bigram", "--score", "em\nma", "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert "line end" in err
    assert not (tmp_path / "run").exists()


def test_help_explains_every_flag(command):
    status, out, _ = command("bigram", "--help")
    assert status == 0
    flags = (
        "data smoothing steps learning-rate penalty seed samples score prefix temperature top-k top-p out json section"
    )
    for flag in [*flags.split(), "no-figures", "overwrite", "max-length", "pause"]:
        assert f"--{flag} " in out
