"""Runs that start from trained weights: ours, or GPT-2's."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data import token_files
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import baselines as counting
from makemore_jax.inference import gpt2
from makemore_jax.learning.finetune import grow, initial_params, shorten
from makemore_jax.learning.fit import follow
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import NEURAL, build
from makemore_jax.recipe import Recipe
from tests.cases import CASES, T, V, label, shared_case


def equal(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"mary {number}" for number in range(60)))
    return path


@pytest.fixture
def bigram(text):
    """A corpus, and a bigram model on it with random weights."""
    corpus = mm.load(text)
    model = build("bigram", vocab=corpus.vocab.size)
    return corpus, mm.Trained(model, model.init(jax.random.key(5)), corpus.vocab, corpus.context)


def test_a_run_starts_from_the_weights_that_are_given(bigram):
    corpus, trained = bigram
    recipe = Recipe(steps=3, batch=4, learning_rate=1e-30, weight_decay=0.0)  # too low to move anything
    runs = [follow(jax.random.key(0), model, corpus, recipe) for model in (trained.model, trained)]
    states = [next(run.values).state for run in runs]
    assert not equal(states[0].params, trained.params)
    assert equal(states[1].params, trained.params)
    assert equal(*(jax.random.key_data(state.key) for state in states))  # the same batches
    tuned = mm.train(jax.random.key(0), trained, corpus, recipe, progress=False)
    assert equal(tuned.params, trained.params)
    assert not equal(mm.train(jax.random.key(0), trained.model, corpus, recipe, progress=False).params, trained.params)
    moved = mm.train(jax.random.key(0), trained, corpus, steps=3, batch=4, progress=False)
    assert not equal(moved.params, trained.params)
    assert equal(trained.params, trained.model.init(jax.random.key(5)))  # what was given is not overwritten


def test_a_shorter_block_keeps_the_first_positions(bigram):
    model = build("transformer", vocab=5, context=11, layers=1, heads=1, embed=6)
    whole = mm.Trained(model, jax.tree.map(lambda leaf: 9 * leaf, jax.jit(model.init)(jax.random.key(0))), None, 11)
    short = shorten(whole, 7)
    assert (short.context, short.model.context, short.params["position"].shape) == (7, 7, (7, 6))
    x_BT = jnp.array([[0, 3, 1, 4, 2, 2, 1]])
    logits_BTV = jax.jit(model.apply)(whole.params, x_BT)
    np.testing.assert_allclose(jax.jit(short.model.apply)(short.params, x_BT), logits_BTV, rtol=1e-5)
    assert jnp.abs(jnp.diff(logits_BTV[0, 4:6], axis=0)).max() > 0.1  # the positions matter
    assert shorten(whole, 11) == whole
    with pytest.raises(InputError, match="lines of 12 tokens, the end mark included, exceed the model's context of 11"):
        shorten(whole, 12)
    assert shorten(bigram[1], 3) == bigram[1]._replace(context=3)


def test_what_does_not_fit_is_named(bigram, text):
    corpus, trained = bigram
    size = corpus.vocab.size
    with pytest.raises(InputError, match="a bigram was trained; the `model` is mlp"):
        initial_params(trained, build("mlp", vocab=size), corpus)
    gru = build("gru", vocab=size, hidden=3, embed=4)
    trained_gru = trained._replace(model=gru, params=None)
    with pytest.raises(InputError, match=r"has other sizes; set `embed` 4, `hidden` 3$"):
        initial_params(trained_gru, build("gru", vocab=size, hidden=5, embed=7), corpus)
    transformer = build("transformer", vocab=size, context=30, tied=True)
    with pytest.raises(InputError, match=r"has other sizes; set `tied`$"):
        initial_params(trained._replace(model=transformer), build("transformer", vocab=size, context=9), corpus)
    short = trained._replace(model=build("transformer", vocab=size, context=corpus.context - 1))
    with pytest.raises(InputError, match=r"has 8 tokens, longer than the 7 that .* read; lower `context_length`"):
        initial_params(short, build("transformer", vocab=size, context=corpus.context), corpus)
    text.write_text(text.read_text().replace("y", "z"))
    other = mm.load(text)
    assert other.vocab.size == size
    with pytest.raises(InputError, match=rf"has {size} symbols, and the data has others, {size}; .* grow=True"):
        mm.train(jax.random.key(0), trained, other)
    counted = mm.count(corpus)
    assert grow(counted, corpus.vocab) is counted
    with pytest.raises(InputError, match="a counted or a mixed model cannot take new symbols"):
        grow(counted, corpus.vocab.grown(other.vocab))


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in NEURAL], ids=label)
def test_new_symbols_leave_the_logits_of_the_others(case):
    """The law of growing, over the table of models: old logits stay, and those of new symbols are their mean."""
    case, old = shared_case(case), Vocab(tuple("abcdefghijklmnop"[:V]))
    grown = grow(mm.Trained(case.model, case.params, old, T), old.grown(Vocab.of(["bXY"])))
    assert grown.vocab.symbols[V:] == ("X", "Y")
    logits_BTV, _ = jax.jit(grown.model.forward)(grown.params, case.x_BT)
    np.testing.assert_allclose(logits_BTV[..., :V], case.logits_BTV, rtol=1e-5, atol=1e-5)
    mean_BT1 = case.logits_BTV.mean(-1, keepdims=True)
    np.testing.assert_allclose(logits_BTV[..., V:], np.repeat(mean_BT1, 2, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_new_letters_are_learned(bigram, tmp_path):
    """A corpus that grows the vocabulary of the model, in memory and from files."""
    path, trained = tmp_path / "capitals.txt", bigram[1]
    path.write_text("\n".join(f"Mary {number}" for number in range(60)))
    corpus = mm.load(path, vocab=trained.vocab, grow=True)
    assert corpus.vocab.symbols == (*trained.vocab.symbols, "M")
    assert token_files.load(path, Encoding(vocab=trained.vocab, grow=True), progress=False).vocab == corpus.vocab
    tuned = mm.train(jax.random.key(0), trained, corpus, steps=30, batch=4, learning_rate=0.3, progress=False)
    assert (
        mm.evaluate(tuned, corpus.tokens.test).nats < mm.evaluate(grow(trained, corpus.vocab), corpus.tokens.test).nats
    )
    assert mm.sample(jax.random.key(0), tuned, 1, prefix="M")[0][0] == "M"


def test_gpt2_is_opened_with_its_vocabulary(gpt2_folder, text, tmp_path):
    trained = gpt2.open(gpt2_folder)
    assert trained.vocab.size == trained.model.vocab == 290
    corpus = mm.load(text, tokens="bpe", vocab=trained.vocab, context_length=4)
    model = shorten(trained, 4).model
    begun = initial_params(trained, model, corpus)
    assert np.array_equal(begun["embed"], trained.params["embed"])
    assert np.array_equal(begun["position"], trained.params["position"][:4])
    copy = shutil.copytree(gpt2_folder, tmp_path / "copy")
    about = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(about | {"eos_token_id": 3}))
    with pytest.raises(InputError, match="eos_token_id is 3, which is not"):
        gpt2.open(copy)
    known = json.loads((copy / "vocab.json").read_text())
    (copy / "vocab.json").write_text(json.dumps(known | {"zzz": len(known)}))
    with pytest.raises(InputError, match="291 tokens, but weights for 290"):
        gpt2.open(copy)


def test_gpt2_small_can_be_built():
    """Its published size, from shapes alone."""
    model = build("transformer", vocab=50_257, context=1024, layers=12, heads=12, embed=768, tied=True)
    assert num_params(jax.eval_shape(model.init, jax.random.key(0))) == 124_439_808


@pytest.mark.slow
def test_the_command(command, bigram, tmp_path, monkeypatch, gpt2_folder):
    monkeypatch.setattr(counting, "baselines", lambda corpus: {})  # which take long to compile
    first, second = tmp_path / "first.safetensors", tmp_path / "second"
    mm.save(bigram[1], first)
    quick = ["--model", "bigram", "--steps", 2, "--batch", 4, "--samples", 0, "--no-figures"]
    part = tmp_path / "part.txt"
    part.write_text("\n".join(f"ram {number}" for number in range(40)))
    tune = [*quick, "--data", part, "--tokenizer", first, "--init-from", first, "--out", second]
    status, out, err = command("train", *tune)
    assert status == 0, err
    config = json.loads((second / "config.json").read_text())
    assert config["init_sha256"] == mm.open(first).digest
    assert mm.open(second).vocab == bigram[0].vocab
    assert mm.open(second).digest != config["init_sha256"]
    first.rename(tmp_path / "kept")
    moved = [tmp_path / "kept" if flag == first else flag for flag in tune[:-4]]  # the vocabulary is still needed
    status, out, err = command("train", *moved, "--init-from", first, "--out", second, "--resume")
    assert status == 0, err
    assert "continuing from step 2" in out
    assert "continuing from step 2" in command("train", "--out", second, "--resume")[1]  # it knows its flags
    for flags, message in (
        (["--init-from", second, "--out", second, "--resume"], "another configuration (init_sha256"),
        (
            ["--init-from", first, "--out", tmp_path / "third"],
            "first.safetensors': no such run folder",
        ),
        (["--init-from", gpt2_folder, "--out", tmp_path / "third"], "a transformer was trained; the --model is bigram"),
    ):
        status, out, err = command("train", *moved, *flags)
        assert (status, err.count("\n")) == (2, 1), err
        assert message in err


@pytest.mark.slow
def test_the_command_adds_new_symbols_and_goes_on(command, bigram, tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "baselines", lambda corpus: {})  # which take long to compile
    first, part = tmp_path / "first.safetensors", tmp_path / "part.txt"
    mm.save(bigram[1], first)
    part.write_text("\n".join(f"Ra {number}" for number in range(40)))
    quick = ["--model", "bigram", "--steps", 2, "--batch", 4, "--samples", 0, "--no-figures", "--data", part]
    tune = [*quick, "--init-from", first, "--out", tmp_path / "second"]
    status, out, err = command("train", *tune)
    assert status == 0, err
    assert "new symbols, 1, each of which begins as the mean of the others: R\n" in out
    first.rename(tmp_path / "kept")
    status, out, err = command("train", *tune, "--resume")
    assert status == 0, err
    assert "continuing from step 2" in out
    assert mm.open(tmp_path / "second").vocab.symbols == (*bigram[0].vocab.symbols, "R")
    assert "first.safetensors': no such run folder" in command("train", *tune, "--overwrite")[2]
