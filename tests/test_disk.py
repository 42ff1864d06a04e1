"""Tokens in files are the tokens in memory: encoded in chunks, counted in chunks, trained from."""

import json
import os
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore_jax import data, train
from makemore_jax.data import lines as lines_module
from makemore_jax.data.disk import Recipe
from makemore_jax.errors import InputError
from makemore_jax.models import build, ngram

MESSY = "\ufeffemma \r\n\r\n  olivia\rzoë\n\tava\nZoë\n" + "".join(f"name {i}\n" for i in range(97))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text(MESSY, newline="")
    return path


@pytest.mark.parametrize("size", [7, 64, 10**6])
def test_chunks_are_the_lines(file, monkeypatch, size):
    whole = data.read_lines(file)
    assert whole[:5] == ["emma", "olivia", "zoë", "ava", "Zoë"]
    chunks = list(data.read_chunks(file, size=size))
    assert (len(chunks) > 1) == (size < 100)
    assert [line for chunk in chunks for line in chunk.split("\n")] == whole


@given(st.text(st.sampled_from("ab \t\n\x1c\u3000é"), max_size=60), st.integers(1, 9))
def test_the_short_way_for_clean_text_is_the_long_way(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("clean") / "file.txt"
    path.write_text(text + "a", newline="")
    expected = [line.strip() for line in (text + "a").split("\n")]
    assert "\n".join(data.read_chunks(path, size=size)).split("\n") == [line for line in expected if line]


def test_errors_name_the_line_in_a_later_chunk(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"emma\r\nava\n" * 50 + b"ol\xffivia\n")
    with pytest.raises(InputError, match="line 101: not UTF-8"):
        list(data.read_chunks(path, size=16))
    path.write_bytes("\ufeff".encode() + b"ab\ncd\xff\n")
    with pytest.raises(InputError, match=r"line 2: not UTF-8 \(byte 0xff\)"):
        data.read_lines(path)
    path.write_bytes(b"emma\nava\n" * 50 + b"a" * 5000 + b"\n")
    with pytest.raises(InputError, match="line 101: 5,000 characters"):
        list(data.read_chunks(path, size=16))


@pytest.mark.parametrize("level", data.LEVELS)
def test_a_store_holds_the_tokens_of_memory(file, tmp_path, monkeypatch, level):
    recipe = Recipe(level=level, fold=True)
    monkeypatch.setattr("makemore_jax.data.disk.read_chunks", partial(lines_module.read_chunks, size=50))
    stored = data.write_store(tmp_path / "store", file, recipe)
    lines = data.read_lines(file, fold=True)
    assert lines != data.read_lines(file)
    sides = data.split(lines)
    vocab = data.Vocab.of(sides.train if level == "word" else lines, level, fold=True)
    assert stored.vocab == vocab
    assert stored.digest == data.digest(lines)
    for name, side in sides._asdict().items():
        assert len(side) > 2
        for mapped, held in zip(stored.tokens[name], data.tokenize(side, vocab), strict=True):
            assert isinstance(mapped, np.memmap)
            assert np.array_equal(mapped, held)
    assert stored.tokens["train"].stream_M.dtype == np.uint8  # the smallest that holds the vocabulary
    again = data.open_store(tmp_path / "store", file, recipe)
    assert np.array_equal(again.tokens["dev"].stream_M, stored.tokens["dev"].stream_M)


def test_a_store_of_something_else_is_refused(file, tmp_path):
    store = tmp_path / "store"
    with pytest.raises(InputError, match="no tokens that can be read"):
        data.open_store(store, file)
    data.write_store(store, file)
    data.open_store(store, file)
    with pytest.raises(InputError, match="tokens of another file, or of other settings"):
        data.open_store(store, file, Recipe(fold=True))
    os.truncate(store / "train.stream", (store / "train.stream").stat().st_size - 1)
    with pytest.raises(InputError, match=r"train.stream: cut short"):
        data.open_store(store, file)
    data.write_store(store, file)
    file.write_text(MESSY.replace("ava", "eva"), newline="")
    os.utime(file, ns=(1, 1))
    with pytest.raises(InputError, match="tokens of another file"):
        data.open_store(store, file)
    (store / "about.json").write_text("{")
    with pytest.raises(InputError, match="no tokens that can be read"):
        data.open_store(store, file)


def test_a_store_in_use_and_one_that_fails_are_left_alone(file, tmp_path):
    store = tmp_path / "store"
    in_use = data.write_store(store, file).tokens["train"].stream_M
    before = np.array(in_use)
    data.write_store(store, file, Recipe(level="byte"))
    assert np.array_equal(in_use, before)
    with pytest.raises(InputError, match="no word comes 999 times"):
        data.write_store(store, file, Recipe(level="word", min_count=999))
    assert data.open_store(store, file, Recipe(level="byte")).vocab.level == "byte"
    assert [path.name for path in tmp_path.glob("store*")] == ["store"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/vocab.json").write_text("precious")
    with pytest.raises(OSError, match="not empty"):
        data.write_store(tmp_path / "mine", file)
    assert (tmp_path / "mine/vocab.json").read_text() == "precious"


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("chunk", [5, 7, 1000])
def test_chunked_counts_are_whole_counts(order, chunk):
    stream = np.random.default_rng(0).integers(0, 5, 211).astype(np.uint8)
    config = ngram.Config(5, order)
    whole = np.asarray(ngram.count(config, stream[None, :-1], stream[None, 1:]))
    assert whole.sum() == 210
    assert np.array_equal(ngram.count_stream(config, stream, chunk), whole)


def test_training_from_files_is_training_from_memory_bit_for_bit(file, tmp_path):
    stored = data.write_store(tmp_path / "store", file)
    model = build("gru", {"vocab": stored.vocab.size, "embed": 5, "hidden": 7})
    recipe = train.Recipe(steps=30, batch=8, warmup=3)
    tokens, plan = data.plan(stored.tokens["train"], recipe.lines_at_once)
    held = jax.device_put(data.Tokens(*(np.asarray(part, np.int32) for part in tokens)))
    params = jax.jit(model.init)(jax.random.key(0))

    def run(tokens, gather):
        return train.fit(
            jax.random.key(1),
            train.start(params, recipe.hyper, train.adamw(recipe)),
            tokens,
            recipe.hyper,
            loss=train.batch_loss(model, stored.vocab.size, plan, recipe, gather),
            optimizer=train.adamw(recipe),
            count=30,
        ).params

    from_memory, from_files = run(held, data.batch), run((), data.from_host(tokens))
    for one, other, start in zip(*map(jax.tree.leaves, (from_memory, from_files, params)), strict=True):
        assert np.array_equal(one, other)
        assert not np.array_equal(one, start)


def test_the_command_streams_and_says_what_it_does(command, tmp_path, names):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(names[:300]))
    flags = ["--model", "bigram", "--batch", 8, "--steps", 20, "--warmup", 2, "--evaluate-every", 20, "--no-figures"]
    flags += ["--data", path]
    status, out, err = command("train", *flags, "--stream", "--out", tmp_path / "streamed")
    assert status == 0, err
    assert f"encoding {path} into {path}.tokens/character-1" in out
    assert command("train", *flags, "--out", tmp_path / "held")[0] == 0
    streamed, held = (json.loads((tmp_path / run / "summary.json").read_text()) for run in ("streamed", "held"))
    assert streamed["nats"] == held["nats"]
    assert streamed["samples"] == held["samples"]
    os.truncate(f"{path}.tokens/character-1/dev.length", 3)
    out = command("train", *flags, "--stream", "--out", tmp_path / "streamed", "--overwrite")[1]
    assert f"{path}.tokens/character-1/dev.length: cut short, or not whole; encoding {path} anew" in out
    assert command("sweep", "--stream", "--data", path)[2].startswith("error: --stream is for one run at a time")
    assert command("train", "--stream", "--data", tmp_path / "none.txt")[2].startswith(
        f"error: {tmp_path}/none.txt: no"
    )
