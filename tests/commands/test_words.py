"""Words: the loss for a large vocabulary, what is copied, the command."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import makemore_jax as mm
from experiments import words
from makemore_jax.data.lines import Split, read_lines
from makemore_jax.data.words import UNKNOWN
from makemore_jax.errors import InputError
from makemore_jax.inference.sampler import sample_tokens
from makemore_jax.models import likelihood
from makemore_jax.models.likelihood import mean_nll
from makemore_jax.models.registry import build, configure
from makemore_jax.recipe import Recipe
from tests.conftest import ROOT


def test_a_large_vocabulary_has_the_same_loss_and_gradient_in_less_memory(monkeypatch):
    logits_BTV, y_BT = jax.random.normal(jax.random.key(0), (3, 5, 2003)), jnp.arange(15).reshape(3, 5) * 131
    forms = {}
    for limit in (2**10, 2**12):
        monkeypatch.setattr(likelihood, "MAX_ONE_HOT", limit)
        mean = lambda logits_BTV, limit=limit: mean_nll(logits_BTV, y_BT)
        program = jax.jit(jax.value_and_grad(mean))
        forms[limit] = program(logits_BTV), str(jax.make_jaxpr(mean)(logits_BTV))
    (gather, gather_code), (one_hot, one_hot_code) = forms.values()
    assert gather_code != one_hot_code
    assert "bool[3,5,2003]" in one_hot_code
    assert "bool[3,5,2003]" not in gather_code
    np.testing.assert_allclose(gather[0], one_hot[0], rtol=1e-6)
    np.testing.assert_allclose(gather[1], one_hot[1], atol=1e-8)


def test_the_longest_copied_run():
    stream = np.array([0, 1, 2, 3, 0, 4, 5, 6, 7, 0, 70_000, 0])
    assert words.longest_copy([9, 4, 5, 6, 9, 1, 2], stream) == 3
    assert words.longest_copy([70_000], stream) == 1
    assert words.longest_copy([8], stream) == words.longest_copy([], stream) == 0
    assert words.longest_copy([3, 4], stream) == 1  # a run ends where its line ends


def test_what_is_not_allowed_is_never_drawn():
    model = build("ngram", vocab=4, order=1)
    params = {"log_prob": jnp.log(jnp.array([0.05, 0.9, 0.03, 0.02]))}
    allowed = np.array([True, False, True, True])
    drawn = sample_tokens(jax.random.key(0), model, params, [[]] * 50, 9, allowed=allowed)
    assert not (drawn.token_BT == 1).any()
    assert {2, 3} < set(np.unique(drawn.token_BT).tolist())
    by_position = np.array([[False, True, False, False], [False, False, False, True], [True, False, False, False]])
    drawn = sample_tokens(jax.random.key(0), model, params, [[]] * 5, 3, allowed=by_position)
    assert drawn.token_BT.tolist() == [[1, 3, 0]] * 5
    assert drawn.ended_B.all()
    with pytest.raises(InputError, match="leaves no symbol"):
        sample_tokens(jax.random.key(0), model, params, [[]], 3, allowed=np.zeros(4, bool))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The whole command once, on few lines with small models: its configuration and its summary."""
    config = words.Config(
        data=ROOT / "data/verses.txt", quick=True, samples=2, out=tmp_path_factory.mktemp("words") / "run"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "NEURAL", {"bigram": ({}, Recipe(batch=7, learning_rate=0.1))})
        patch.setattr(words, "CHARACTER_ORDER", 2)
        patch.setattr(words, "WORD_ORDERS", (1, 2))
        patch.setattr(words, "QUICK_LINES", Split(400, 40, 30))
        return config, words.run(config)


def test_the_quick_command(told):
    config, summary = told
    models = summary["rows"]
    assert list(models) == ["characters, backoff 2", "words, backoff 1", "words, backoff 2", "words, bigram"]
    assert models["words, backoff 2"]["perplexity"] < models["words, backoff 1"]["perplexity"] < 200
    for model in list(models.values())[1:]:
        assert all(text.startswith("In the beginning") for text in model["samples"])
        assert not any("<unknown>" in text for text in model["samples"])
        assert all(copied >= 3 for copied in model["longest_copies"])  # the prefix is one
        assert model["bits_per_character"] < 4
    assert json.loads((config.out / "summary.json").read_text())["rows"] == models
    assert {path.name for path in config.out.glob("*.*")} == {"config.json", "summary.json"}


def test_the_models_of_the_command_have_sizes_that_fit():
    assert set(words.NEURAL) == {"mlp", "transformer"}
    for name, (sizes, _) in words.NEURAL.items():
        configure(name, vocab=13_000, **sizes, **({"context": 101} if name == "transformer" else {}))


def test_a_prefix_that_cannot_be_read_is_named(told):
    config, _ = told
    for prefix, message in (
        ("In the metaverse", r"`prefix` 'In the metaverse': 'metaverse' is not one of the \d+ words"),
        ("the " * 200, "`prefix` has 200 words; the longest line of the data has"),
    ):
        with pytest.raises(InputError, match=message):
            words.run(dataclasses.replace(config, prefix=prefix, out=config.out / "other"))
    assert not (config.out / "other").exists()


def test_what_nobody_gave_is_fitted(told, tmp_path, names):
    """No word of these lines occurs three times or stands in the default prefix."""
    config, _ = told
    (tmp_path / "own.txt").write_text("\n".join(f"{name} {name}son" for name in sorted({*names})[:300]))
    chosen, corpus, _ = words.load(dataclasses.replace(config, data=tmp_path / "own.txt", min_count=None))
    assert (chosen.min_count, words.find_prefix(None, corpus)) == (1, "")
    with pytest.raises(InputError, match="no word occurs 3 times"):
        words.load(dataclasses.replace(config, data=tmp_path / "own.txt", min_count=3))


def test_bad_flags(command, tmp_path):
    (tmp_path / "few.txt").write_text("\n".join(f"said {a} and {b}" for a in "abcdefgh" for b in "ijklmnop"))
    for flags, message in (
        (["--tokens", "character"], "Unrecognized options: --tokens"),
        (["--samples", 0], "--samples is 0"),
        (["--temperature", -1], "--temperature is -1"),
        (["--min-count", 10**6], "no word occurs 1000000 times or more"),
        (["--min-count", 0], "--min-count is 0"),
    ):
        status, _, err = command("words", "--data", tmp_path / "few.txt", *flags, "--out", tmp_path / "run")
        assert status == 2
        assert message in err
    assert not (tmp_path / "run").exists()


def test_words_travel_with_the_model(tmp_path):
    (tmp_path / "verses.txt").write_text("\n".join(read_lines(ROOT / "data/verses.txt")[:500]))
    corpus = mm.load(tmp_path / "verses.txt", tokens="word", min_count=3, max_length=60)
    mm.save(mm.count(corpus, 1), tmp_path / "words.safetensors")
    opened = mm.open(tmp_path / "words.safetensors")
    assert opened.vocab == corpus.vocab
    assert all(text.startswith("And God") for text in mm.sample(jax.random.key(0), opened, prefix="And God"))
    (quality,) = mm.score(opened, ["And God said"])
    assert quality.tokens == 4
    (quality,) = mm.score(opened, ["And robots said"])
    assert (quality.symbols, quality.problem) == (["And", "robots"], "this model does not know the word 'robots'")


def test_lowercased_lines_are_in_one_part_and_known_as_such(tmp_path, names):
    """A name in two spellings is one name: in the split, in the counts of novelty, in the cost of spelling."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(text for name in names[:400] for text in (name, name.title())))
    assert len(set(mm.load(path).lines.train)) > len(set(mm.load(path, lowercase=True).lines.train))
    corpus = mm.load(path, lowercase=True)
    assert not set(corpus.lines.train) & set(corpus.lines.dev)
    seen = [corpus.vocab.decode(corpus.vocab.encode(line)) for line in corpus.lines.train]
    assert corpus.novelty(seen)["new"] == 0
    by_word = mm.load(path, lowercase=True, tokens="word", min_count=2)
    test = by_word.lines.test
    unknown = [line for line in test if (by_word.vocab.encode(line) == UNKNOWN).any()]
    assert len(unknown) > 10
    letters, alphabet = sum(len(line) + 1 for line in unknown), len(set("".join(test))) + 1
    assert words.spelling(by_word.vocab, test) == pytest.approx(letters * np.log(alphabet))


def test_spaces_of_words_do_not_make_them_new(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"said {a} ,and {b}" for a in "abcdefgh" for b in "ijklmnop"))
    corpus = mm.load(path, tokens="word")
    seen = [corpus.vocab.decode(corpus.vocab.encode(line)) for line in corpus.lines.train]
    assert seen[0] not in corpus.lines.train
    assert corpus.novelty(seen)["in_train"] == len(seen)
