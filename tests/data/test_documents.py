"""Text that is no list of lines: documents between separators, and windows of them."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import makemore_jax as mm
from experiments import sample
from makemore_jax.data import token_files
from makemore_jax.data.batches import gather, pack
from makemore_jax.data.chunks import read_documents
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import digest, read_lines
from makemore_jax.data.tokenizers import TOKENIZERS
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import baselines as counting
from makemore_jax.inference.baselines import count_table
from makemore_jax.inference.evaluate import exact_loss, stream_nll
from makemore_jax.models.ngram import Config, count_stream
from makemore_jax.models.registry import build
from makemore_jax.runs.folder import lines_of
from tests.cases import LINES

NOVEL = "\ufeffChapter I\r\n\r\n\r\n  It was\rnight. \n It “rained”.\n\n \n\nZoe\u0308 said: 3,5\n\n" + "".join(
    f"Page {i}\nof many.\n\n" for i in range(60)
)


@pytest.fixture
def novel(tmp_path):
    path = tmp_path / "novel.txt"
    path.write_text(NOVEL, newline="", encoding="utf-8")
    return path


@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_documents_keep_their_line_ends(novel, size):
    chunks = list(read_documents(novel, "\n\n", size=size))
    documents = [document for some in chunks for document in some]
    assert documents[:4] == ["Chapter I", "It was\nnight. \n It “rained”.", "Zoë said: 3,5", "Page 0\nof many."]
    assert all(chunks)
    assert (len(chunks) > 2) == (size < 100)
    assert len(documents) == 63
    assert read_lines(novel, separator="\r\n\r\n") == documents
    assert read_lines(novel, separator="PAGE", lowercase=True)[1] == "0\nof many."
    assert read_lines(novel, 6, separator="\n\n")[:3] == ["Chapte", "It was", "Zoë sa"]


@pytest.mark.parametrize("level", TOKENIZERS)
def test_documents_come_back_from_each_level(novel, level):
    corpus = mm.load(novel, tokens=level, separator="\n\n")
    assert corpus.vocab.multiline
    assert any("\n" in document for document in corpus.lines.train)
    for document, ids in zip(corpus.lines.train, np.split(*split_at(corpus.tokens.train)), strict=True):
        assert MARK not in ids[:-1]
        assert corpus.vocab.decode(ids) == corpus.vocab.canonical(document)
    assert corpus.vocab.decode(corpus.vocab.encode("Page of\nmany.")) == "Page of\nmany."
    assert corpus.vocab.encode_line("Page 1\nof many.").tolist() == corpus.vocab.encode("Page 1\nof many.").tolist()
    value = json.loads(json.dumps(corpus.vocab.to_dict()))
    assert Vocab.from_dict(value, "") == corpus.vocab
    lines = Vocab.of(["Page 1"], level)
    assert lines.multiline == (level == "bpe")
    assert corpus.digest == digest(read_lines(novel, separator="\n\n"))


def split_at(tokens):
    """The arguments of `np.split` that give each line with its end mark."""
    return tokens.stream_M[1:], np.cumsum(tokens.length_N)[:-1]


@given(LINES, st.integers(2, 9))
def test_every_token_is_in_one_window_and_no_mark_is_added_to_the_targets(lines, window):
    vocab = Vocab.of(lines)
    whole, cut = tokenize(lines, vocab), tokenize(lines, vocab, window)
    assert cut.length_N.max() <= window
    assert (cut.stream_M[cut.start_N] == MARK).all()
    _, y_BT, mask_BT = gather(cut, *pack(cut.length_N, window))
    x_NT, y_NT, mask_NT = gather(cut, np.arange(len(cut.length_N))[:, None], np.arange(window))
    assert y_NT[mask_NT].tolist() == whole.stream_M[1:].tolist()  # in order, each once
    assert (x_NT[:, 0] == MARK).all()
    assert np.array_equal(x_NT[:, 1:][mask_NT[:, 1:]], y_NT[:, :-1][mask_NT[:, 1:]])  # what comes before, in the window
    assert sorted(y_BT[mask_BT]) == sorted(y_NT[mask_NT])
    full = np.split(*split_at(whole))
    assert cut.length_N.tolist() == [n for line in full for n in pieces(len(line), window)]
    x_M, y_M = cut.pairs
    assert y_M.tolist() == whole.stream_M[1:].tolist()
    assert x_M.tolist() == x_NT[mask_NT].tolist()
    assert len(cut.cuts) == len(cut.length_N) - len(lines)
    assert len(tokenize(lines, vocab, 10**6).cuts) == 0


def pieces(length, window):
    return [window] * (length // window) + [length % window] * (length % window > 0)


def test_counts_of_windows_are_those_of_their_pairs():
    lines, vocab = ["abcabcaab", "ab", "cabbabca"], Vocab.of(["abc"])
    cut = tokenize(lines, vocab, 3)
    x_M, y_M = cut.pairs
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (x_M, y_M), 1)
    for chunk in (2, 5, 100):
        counts = count_stream(Config(4, 2), cut.stream_M, chunk, cut.cuts)
        assert np.array_equal(counts, expected)
    assert not np.array_equal(count_stream(Config(4, 2), cut.stream_M), expected)


@pytest.mark.parametrize("level", ["character", "bpe"])
def test_files_hold_the_windows_of_memory(novel, level):
    settings = {"tokens": level, "separator": "\n\n", "context_length": 7}
    load = lambda **changes: token_files.load(novel, Encoding(**settings | changes), progress=False)
    whole, stream = mm.load(novel, **settings), load()
    assert (stream.streamed, whole.context) == (True, 7)
    assert (whole.vocab, whole.digest, whole.context) == (stream.vocab, stream.digest, stream.context)
    assert len(whole.tokens.train.cuts) > 10
    for one, other in zip(whole.tokens, stream.tokens, strict=True):
        assert all(map(np.array_equal, one, other))
    for order in (1, 2):
        if whole.vocab.size < 100:
            table = count_table(stream, order).params["log_prob"]
            assert np.array_equal(table, count_table(whole, order).params["log_prob"])
    kept = {path.name for path in novel.parent.glob("novel.txt.tokens/*")}
    load(separator="Page")
    load(context_length=5)
    assert len({path.name for path in novel.parent.glob("novel.txt.tokens/*")} - kept) == 2


def test_the_loss_of_windows_is_that_of_each_window_by_itself(novel):
    corpus = mm.load(novel, separator="\n\n", context_length=5)
    model = build("mlp", vocab=corpus.vocab.size, window=3, embed=2, hidden=7)
    params = model.init(jax.random.key(0))
    tokens = corpus.tokens.dev
    x_NT, y_NT, mask_NT = gather(tokens, np.arange(len(tokens.length_N))[:, None], np.arange(5))
    log_prob_NTV = jax.nn.log_softmax(jax.jit(model.apply)(params, x_NT))
    expected = -np.take_along_axis(np.asarray(log_prob_NTV), y_NT[..., None], 2)[..., 0][mask_NT]
    np.testing.assert_allclose(stream_nll(model, params, tokens), expected, rtol=1e-4)
    assert exact_loss(model, params, tokens).tokens == sum(len(document) + 1 for document in corpus.lines.dev)
    short = build("transformer", vocab=corpus.vocab.size, context=4, layers=1, heads=1, embed=4)
    with pytest.raises(InputError, match="lines of 5 tokens, the end mark included, exceed the model's context of 4"):
        mm.train(jax.random.key(0), short, corpus, steps=1, batch=2)


@pytest.mark.slow
def test_the_command(command, novel, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(counting, "baselines", lambda corpus: {})  # which take long to compile
    quick = ["--model", "bigram", "--data", novel, "--steps", 2, "--batch", 4, "--samples", 0, "--no-figures"]
    quick += ["--separator", r"\n\n", "--context-length", 8, "--out", tmp_path / "run"]
    status, out, err = command("train", *quick)
    assert status == 0, err
    assert "windows, " in out
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["separator"], config["context_length"]) == ("\n\n", 8)
    texts = ["Page 1\nof many.", "Page"]
    lines = lines_of(tmp_path / "run", mm.open(tmp_path / "run").vocab)
    assert sample.novelty(lines, texts, print)["novelty"]["new"] == 1
    capsys.readouterr()
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(f"ab {number}" for number in range(40)))
    for flags, message in (
        (["--separator", "***"], "the --separator '***' does not occur in it"),
        (["--separator", ""], "--separator is empty"),
        (["--context-length", 1], "--context-length is 1; it must be at least 2"),
        (["--context-length", 0], "--context-length is 0; it must be at least 2"),
    ):
        status, out, err = command("train", "--data", plain, *flags, "--out", tmp_path / "none")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_what_cannot_be_documents_is_refused(novel, tmp_path):
    with pytest.raises(InputError, match="has no symbol for line ends, so it cannot encode documents"):
        mm.load(novel, separator="\n\n", vocab=Vocab.of([NOVEL]))
    path = tmp_path / "long.txt"
    path.write_text(("a" * 5000 + "\n\n") + "".join(f"{number}\n\n" for number in range(99)))
    for load in (
        mm.load,
        lambda path, separator: token_files.load(path, Encoding(separator=separator), progress=False),
    ):
        with pytest.raises(InputError, match=r"a document of 5,001 tokens, over .* 4,096; cut .* `context_length`"):
            load(path, separator="\n\n")
    assert mm.load(path, separator="\n\n", context_length=100).context == 100
    path.write_text(" \n\n\n\n \n")
    with pytest.raises(InputError, match="only blank documents"):
        read_lines(path, separator="\n\n")
    with pytest.raises(InputError, match="no such file"):
        read_lines(tmp_path / "none.txt", separator="\n\n")
