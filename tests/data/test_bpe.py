"""Byte pairs: learned or read, there and back, in files, streams and commands."""

import json
import math
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import makemore_jax as mm
from experiments import mix
from makemore_jax.data import bpe, token_files
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import normalize
from makemore_jax.data.tokens import count_bytes, tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import baselines as counting
from makemore_jax.inference.evaluate import bits_per_byte
from makemore_jax.inference.gpt2 import convert
from makemore_jax.models.registry import build
from tests.cases import GPT2, gpt2_weights

tokenizers = pytest.importorskip("tokenizers")
LINES = ["the cat and the dog", "the other cat, and Zoë's", "a cat or 3 cats; the bird", "another dog than that"] * 3
VOCAB = Vocab.of(LINES, "bpe", vocab_size=271)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer by the package alone, in both of its layouts, with the end of text in the midst of the tokens."""
    path = tmp_path_factory.mktemp("tokenizer")
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator(LINES, vocab_size=275, min_frequency=2, show_progress=False)
    theirs.save_model(str(path))
    known = json.loads((path / "vocab.json").read_text())
    known = {symbol: number + (number >= 7) for symbol, number in known.items()} | {bpe.END_OF_TEXT: 7}
    (path / "vocab.json").write_text(json.dumps(known))
    encoder = tokenizers.ByteLevelBPETokenizer(str(path / "vocab.json"), str(path / "merges.txt"))
    (path / "whole").mkdir()
    encoder.save(str(path / "whole/tokenizer.json"))
    return path


def test_bytes_are_spelled_as_gpt2_spells_them():
    assert set(bpe.SPELLING) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert len(bpe.SPELLING) == 256
    assert (bpe.SPELLING[ord(" ")], bpe.SPELLING[ord("\n")]) == ("Ġ", bpe.LINE_END)
    pieces = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in ("".join(map(chr, range(128))), "é\u07ff", "東\uffff", "😀\U0010ffff"):
        spelled = "".join(piece for piece, _ in pieces.pre_tokenize_str(text))
        assert bytes(bpe.BYTE_OF[character] for character in spelled) == text.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.sampled_from("the cat\n\r\t 3'Ġ⏎<|>")))
def test_any_text_comes_back(text):
    ids = VOCAB.encode(text)
    assert ids.dtype == np.int32
    assert MARK not in ids  # a line end has a symbol of its own
    assert VOCAB.decode(ids) == VOCAB.canonical(text) == normalize(text)
    assert VOCAB.decode([*ids, MARK, *ids]) == VOCAB.decode(ids)


def test_frequent_pairs_are_learned_and_the_same_each_time():
    assert VOCAB.size == 271
    assert Vocab.of(LINES, "bpe", vocab_size=271) == VOCAB
    assert len(VOCAB.merges) == 271 - 257
    shown = [VOCAB.symbols[i] for i in VOCAB.encode("the cat")]
    assert shown == ["the", "Ġcat"]
    assert VOCAB.symbols[0] == "⏎"
    assert Vocab.of(["abc"], "bpe").size == 257  # no pair repeats
    assert VOCAB.decode(VOCAB.encode("é")[:1]) == "\N{REPLACEMENT CHARACTER}"
    assert (VOCAB.unit, VOCAB.multiline, Vocab.of(["a"]).unit, Vocab.of(["a"]).multiline) == (
        "token",
        True,
        "character",
        False,
    )


def test_a_tokenizer_in_gpt2s_layout_encodes_as_the_package_does(folder):
    vocab = Vocab.read(folder)
    assert vocab == Vocab.read(folder / "whole")
    assert vocab.symbols[0] == bpe.END_OF_TEXT
    about = GPT2 | {"vocab_size": vocab.size, "eos_token_id": 7}
    symbol_V = convert(about, gpt2_weights(about)).symbol_V
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in (*LINES, "\n <|endoftext|>\n\n", "naïve  東京"):
        ids = vocab.encode(text)
        assert ids.tolist() == symbol_V[theirs.encode(text).ids].tolist()
        assert vocab.decode(ids) == text
    assert max(map(len, map(vocab.encode, LINES))) < min(map(len, LINES))
    lower = Vocab.read(folder, lowercase=True)
    assert lower.decode(lower.encode("The CAT")) == "the cat"


def test_a_folder_without_an_end_of_text_gets_a_mark(tmp_path):
    symbols = {symbol: number for number, symbol in enumerate(VOCAB.symbols[1:])}
    (tmp_path / "vocab.json").write_text(json.dumps(symbols))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(VOCAB.merges) + "\n")
    assert Vocab.read(tmp_path) == VOCAB


def test_a_vocabulary_comes_back_from_json():
    value = json.loads(json.dumps(VOCAB.to_dict()))
    assert Vocab.from_dict(value, "") == VOCAB
    symbols, merges = value["symbols"], value["merges"]
    for change in (
        {"merges": [*merges, "q z"]},  # whose result has no symbol
        {"merges": [*merges, "t"]},
        {"merges": [*merges, 3]},
        {"merges": "t h"},
        {"symbols": symbols[:9] + symbols[10:]},  # a byte less
        {"symbols": [*symbols, "☃"]},  # which spells no byte
        {"tokens": "character", "symbols": [".", "t", "h"]},  # with merges
    ):
        with pytest.raises(InputError, match=r"^x.json: not a vocabulary$"):
            Vocab.from_dict(value | change, "x.json")


def test_lines_are_encoded_one_by_one_and_their_bytes_counted():
    lines = [*LINES, "zoë", ""]
    tokens = tokenize(lines, VOCAB)
    assert tokens.length_N.tolist() == [len(VOCAB.encode(line)) + 1 for line in lines]
    assert tokens.stream_M.dtype == np.int32
    ids = np.split(tokens.stream_M[1:], np.cumsum(tokens.length_N)[:-1])
    assert list(map(VOCAB.decode, ids)) == lines
    expected = [len(line.encode()) + 1 for line in lines]
    gpt2s = replace(VOCAB, symbols=(bpe.END_OF_TEXT, *VOCAB.symbols[1:]))  # the mark is one byte, however it is spelled
    assert count_bytes(tokens, VOCAB) == count_bytes(tokens, gpt2s) == sum(expected)
    middle = tokens._replace(start_N=tokens.start_N[5:7], length_N=tokens.length_N[5:7])
    assert count_bytes(middle, VOCAB) == sum(expected[5:7])
    assert len(tokens.stream_M) - 1 != sum(expected)
    uniform = bits_per_byte(math.log(VOCAB.size), tokens, VOCAB)
    assert uniform == pytest.approx(math.log2(VOCAB.size) * (len(tokens.stream_M) - 1) / sum(expected))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"{line} {number}" for number, line in enumerate(LINES * 5)))
    return path


def test_files_hold_what_memory_holds(text):
    for settings in ({"vocab_size": 270}, {"vocab": VOCAB}):
        whole = mm.load(text, tokens="bpe", **settings)
        stream = token_files.load(text, Encoding("bpe", **settings), progress=False)
        assert stream.streamed
        assert whole.vocab == stream.vocab
        assert (whole.vocab == VOCAB) == ("vocab" in settings)
        assert (whole.digest, whole.context) == (stream.digest, stream.context)
        for one, other in zip(whole.tokens, stream.tokens, strict=True):
            assert all(map(np.array_equal, one, other))
    assert len(list(text.parent.glob("lines.txt.tokens/*"))) == 2
    learned = mm.load(text, tokens="bpe", vocab_size=270)
    assert learned.vocab == Vocab.of(learned.lines.train, "bpe", vocab_size=270)


def test_a_trained_model_is_saved_and_sampled(text, tmp_path):
    corpus = mm.load(text, tokens="bpe", vocab_size=270)
    model = build("bigram", vocab=corpus.vocab.size)
    trained = mm.Trained(model, model.init(jax.random.key(0)), corpus.vocab, corpus.context)
    mm.save(trained, tmp_path / "model.safetensors")
    opened = mm.open(tmp_path / "model.safetensors")
    assert opened.vocab == corpus.vocab
    drawn = mm.sample(jax.random.key(1), opened, 3, prefix="the cat")
    assert all(sample.startswith("the cat") for sample in drawn)
    (score,) = mm.score(opened, ["the cat"])
    assert score.tokens == 3
    (score,) = mm.score(opened, ["the \ud800"])
    assert score.problem == r"this model does not know the symbol '\ud800'"


@pytest.mark.slow
def test_the_commands(command, text, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(counting, "baselines", lambda corpus: {})  # which take long to compile
    run = tmp_path / "run"
    quick = ["--model", "bigram", "--data", text, "--tokens", "bpe", "--steps", 2, "--batch", 4, "--samples", 0]
    quick += ["--no-figures", "--out", run]
    status, out, err = command("train", *quick, "--tokenizer", folder)
    assert status == 0, err
    assert "nats per token" in out
    summary = json.loads((run / "summary.json").read_text())
    assert f"dev {summary['bits_per_byte']['dev']:.4f}" in out
    assert summary["bits_per_byte"]["dev"] < summary["nats"]["dev"] / math.log(2)  # a token has several bytes
    assert "nats_per_token" in command("sample", run, "--score", "the cat", "--json")[1]
    assert "continuing from step 2" in command("train", *quick, "--tokenizer", run, "--resume")[1]
    status, _, err = command("train", *quick, "--vocab-size", 275, "--resume")
    assert status == 2
    assert "--vocab-size is for learning a vocabulary; leave it out, since one is given" in err  # the run's own
    corpus, *_ = mix.load(mix.Config(runs=(run, run)))
    assert corpus.vocab == Vocab.read(folder)


def test_what_is_missing_is_named(command, text, tmp_path, monkeypatch):
    quick = ["--model", "bigram", "--data", text, "--out", tmp_path / "run"]
    for flags, message in (
        (
            ["--tokens", "bpe", "--vocab-size", 257],
            "--vocab-size is 257; it must be from 258 (the mark, 256 bytes and",
        ),
        (["--vocab-size", 300], "--vocab-size is 300; it needs --tokens bpe, and these are character"),
        (
            ["--tokens", "bpe", "--tokenizer", tmp_path],
            "no tokenizer; it must hold vocab.json and merges.txt, or token",
        ),
        (["--tokens", "bpe", "--tokenizer", tmp_path / "none"], "none': no tokenizer"),
    ):
        status, out, err = command("train", *quick, *flags)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert message in err
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    status, _, err = command("train", *quick, "--tokens", "bpe")
    assert (status, err) == (2, "error: byte-pair encoding needs another package: pip install '.[bpe]'\n")


def test_a_vocabulary_must_be_of_the_level_that_is_asked_for(text):
    with pytest.raises(InputError, match="`tokens` is character; it must be bpe, as in the given vocabulary"):
        mm.load(text, vocab=VOCAB)
    with pytest.raises(InputError, match="`lowercase` is True; it must be False, as in the given vocabulary"):
        mm.load(text, vocab=VOCAB, tokens="bpe", lowercase=True)
    with pytest.raises(InputError, match="`vocab_size` is for learning a vocabulary; leave it out"):
        mm.load(text, vocab=VOCAB, tokens="bpe", vocab_size=300)
    names = Vocab.of(["abcdefghijklmnopqrstuvwxyz"])
    with pytest.raises(InputError, match=r"' ' \(U\+0020\) is not in the vocabulary"):
        mm.load(text, vocab=names)


def test_damaged_tokenizers_are_named(folder, tmp_path):
    whole, known = json.loads((folder / "whole/tokenizer.json").read_text()), (folder / "vocab.json").read_text()
    merges = (folder / "merges.txt").read_text()

    def changed(part, **changes):
        return {"tokenizer.json": json.dumps(whole | {part: whole[part] | changes})}

    for files, message in (
        ({"vocab.json": "{", "merges.txt": merges}, "vocab.json and merges.txt cannot be read; fetch"),
        ({"vocab.json": "[]", "merges.txt": merges}, "cannot be read"),
        ({"vocab.json": '{"a": 1}', "merges.txt": merges}, "cannot be read"),
        ({"vocab.json": '{"a": "b"}', "merges.txt": merges}, "cannot be read"),
        ({"vocab.json": '{"a": 0}', "merges.txt": merges}, "its vocabulary lacks 255 of the 256 bytes"),
        ({"vocab.json": known, "merges.txt": merges + "q z\n"}, "its merges and its vocabulary do not fit together"),
        ({"tokenizer.json": "[" * 10**5}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": "{}"}, "tokenizer.json has model.type None; it must be 'BPE', as in GPT-2"),
        ({"tokenizer.json": '{"model": []}'}, "has model.type None"),
        ({"tokenizer.json": '{"model": [1]}'}, "tokenizer.json cannot be read"),
        (changed("model", type="WordPiece"), "has model.type 'WordPiece'"),
    ):
        for path in tmp_path.iterdir():
            path.unlink()
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message) as error:
            Vocab.read(tmp_path)
        assert str(error.value).startswith(repr(str(tmp_path)))
