"""Words: the loss at a large vocabulary, what is copied, the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.task import Text, load
from experiments.words import spelling
from makemore_jax import data, loss
from makemore_jax.errors import InputError
from makemore_jax.sample import longest_copy, sample
from tests.conftest import ROOT


def test_a_large_vocabulary_has_the_same_loss_and_gradient_in_less_memory(monkeypatch):
    logits_BTV, y_BT = jax.random.normal(jax.random.key(0), (3, 5, 2003)), jnp.arange(15).reshape(3, 5) * 131
    forms = {}
    for most in (2**10, 2**12):
        monkeypatch.setattr(loss, "MOST_ONE_HOT", most)
        mean = lambda logits_BTV, most=most: loss.mean_nll(logits_BTV, y_BT)
        program = jax.jit(jax.value_and_grad(mean))
        forms[most] = program(logits_BTV), str(jax.make_jaxpr(mean)(logits_BTV))
    (gather, gather_code), (one_hot, one_hot_code) = forms.values()
    assert gather_code != one_hot_code
    assert "bool[3,5,2003]" in one_hot_code
    assert "bool[3,5,2003]" not in gather_code
    np.testing.assert_allclose(gather[0], one_hot[0], rtol=1e-6)
    np.testing.assert_allclose(gather[1], one_hot[1], atol=1e-8)


def test_the_longest_copied_run():
    stream = np.array([0, 1, 2, 3, 0, 4, 5, 6, 7, 0, 70_000, 0])
    assert longest_copy([9, 4, 5, 6, 9, 1, 2], stream) == 3
    assert longest_copy([70_000], stream) == 1
    assert longest_copy([8], stream) == longest_copy([], stream) == 0
    assert longest_copy([3, 4], stream) == 1  # a run ends where its line ends


def test_what_is_not_allowed_is_never_drawn():
    from makemore_jax.models import ngram

    model = ngram.ngram(ngram.Config(4, 1))
    params = {"log_prob": jnp.log(jnp.array([0.05, 0.9, 0.03, 0.02]))}
    allowed = np.array([True, False, True, True])
    drawn = sample(jax.random.key(0), model, params, [[]] * 50, 9, allowed=allowed)
    assert not (drawn.token_BT == 1).any()
    assert {2, 3} < set(np.unique(drawn.token_BT).tolist())
    by_position = np.array([[False, True, False, False], [False, False, False, True], [True, False, False, False]])
    drawn = sample(jax.random.key(0), model, params, [[]] * 5, 3, allowed=by_position)
    assert drawn.token_BT.tolist() == [[1, 3, 0]] * 5
    assert drawn.ended_B.all()
    with pytest.raises(InputError, match="nothing is allowed"):
        sample(jax.random.key(0), model, params, [[]], 3, allowed=np.zeros(4, bool))


def test_the_quick_command(command, tmp_path):
    status, out, err = command("words", "--quick", "--out", tmp_path / "run", "--json", "--samples", 2)
    assert status == 0, err
    models = json.loads(out.splitlines()[-1])["models"]
    assert list(models) == ["characters, 8-gram", "words, 2-gram", "words, 4-gram", "words, mlp", "words, transformer"]
    assert models["words, 4-gram"]["perplexity"] < models["words, 2-gram"]["perplexity"] < 200
    for model in list(models.values())[1:]:
        assert all(text.startswith("In the beginning") for text in model["samples"])
        assert not any("<unknown>" in text for text in model["samples"])
        assert model["bits_a_character"] < 4
    status, _, err = command("words", "--quick", "--prefix", "In the metaverse", "--out", tmp_path / "run")
    assert (status, err) == (
        2,
        "error: --prefix 'In the metaverse': 'metaverse' is none of the 917 words it knows\n",
    )
    for flags, message in (
        (["--level", "character"], "this command is about words"),
        (["--samples", 0], "--samples is 0"),
        (["--min-count", 10**6], "no word comes 1000000 times or more"),
        (["--min-count", 0], "--min-count is 0"),
    ):
        status, _, err = command("words", *flags, "--out", tmp_path / "run")
        assert status == 2
        assert message in err


def test_words_travel_with_a_run(command, tmp_path):
    (tmp_path / "verses.txt").write_text("\n".join(data.read_lines(ROOT / "data/verses.txt")[:500]))
    flags = [
        "--model",
        "rnn",
        "--level",
        "word",
        "--min-count",
        3,
        "--data",
        tmp_path / "verses.txt",
        "--max-length",
        60,
    ]
    flags += ["--embed", 5, "--hidden", 7, "--batch", 8, "--steps", 10, "--warmup", 2, "--evaluate-every", 10]
    status, out, err = command("train", *flags, "--out", tmp_path / "run", "--no-figures")
    assert status == 0, err
    assert "of the tokens of dev are unknown words" in out
    out = command("sample", tmp_path / "run", "--prefix", "And God", "--n", 3)[1]
    assert out.count("And God") == 3
    assert "a word   And God said" in command("sample", tmp_path / "run", "--score", "And God said")[1]
    assert "'robots' is none of the" in command("sample", tmp_path / "run", "--score", "And robots said")[2]


def test_folded_lines_are_on_one_side_and_known_as_such(tmp_path, names):
    """A name in two spellings is one name: in the split, in the figures of novelty, in the cost of spelling."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(text for name in names[:400] for text in (name, name.title())))
    corpus = load(Text(path, fold=True))
    assert not set(corpus.sides.train) & set(corpus.sides.dev)
    seen = [corpus.vocab.decode(corpus.vocab.encode(line)) for line in corpus.sides.train]
    assert corpus.novelty(seen)["new"] == 0
    words = load(Text(path, fold=True, level="word", min_count=2))
    unknown = sum((words.vocab.encode(line) == data.UNKNOWN).sum() for line in words.sides.test)
    letters = sum(len(line) + 1 for line in words.sides.test if (words.vocab.encode(line) == data.UNKNOWN).any())
    alphabet = len(set("".join(words.sides.test))) + 1
    assert unknown > 10
    assert spelling(words, "test") == pytest.approx(letters * np.log(alphabet))


def test_spaces_of_words_do_not_make_them_new(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"said {a} ,and {b}" for a in "abcdefgh" for b in "ijklmnop"))
    corpus = load(Text(path, level="word"))
    seen = [corpus.vocab.decode(corpus.vocab.encode(line)) for line in corpus.sides.train]
    assert seen[0] not in corpus.sides.train
    assert corpus.novelty(seen)["in_train"] == len(seen)


def test_stories_of_words_read_a_line_they_know_and_draw_any_script(command, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"日本 の {a} が {b}" for a in "abcdefgh" for b in "ijklmnop"))
    flags = ["--data", path, "--level", "word", "--steps", 2, "--batch", 8, "--embed", 5, "--hidden", 7]
    status, out, err = command("rnn", "--model", "gru", *flags, "--min-count", 5, "--out", tmp_path / "run")
    assert status == 0, err
    assert "<unknown>" not in out.splitlines()[-1]
