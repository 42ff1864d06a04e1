"""Tokens in files are the tokens in memory: encoded in chunks, verified when opened, trained from."""

import json
import os
import stat
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from makemore_jax.data import chunks
from makemore_jax.data import token_files as store
from makemore_jax.data.corpus import Corpus, Encoding, encode
from makemore_jax.data.lines import digest, read_lines, split
from makemore_jax.data.token_files import FILES, open_store, write_store
from makemore_jax.data.tokenizers import TOKENIZERS
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.distributed import feed
from makemore_jax.errors import InputError
from makemore_jax.learning.training import training
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe
from tests.data.test_lines import MESSY


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text(MESSY, newline="")
    return path


@pytest.mark.parametrize("level", TOKENIZERS)
def test_a_store_holds_the_tokens_of_memory(file, tmp_path, monkeypatch, level):
    encoding, sizes = Encoding(tokens=level, lowercase=True), []
    monkeypatch.setattr(store, "read_chunks", partial(chunks.read_chunks, size=50))
    stored = write_store(tmp_path / "store", file, encoding, sizes.append)
    lines = read_lines(file, lowercase=True)
    assert lines != read_lines(file)
    assert len(sizes) > 10
    assert sum(sizes) == (1 if level == "byte" else 2) * sum(len(line.encode()) + 1 for line in lines)
    parts = split(lines)
    vocab = Vocab.of(parts.train if level in ("word", "bpe") else lines, level, lowercase=True)
    assert stored.vocab == vocab
    assert stored.digest == digest(lines)
    for name, part in parts.items():
        assert len(part) > 2
        tokens = getattr(stored.tokens, name)
        assert isinstance(tokens.stream_M, np.memmap)
        for mapped, in_memory in zip(tokens, tokenize(part, vocab), strict=True):
            assert np.array_equal(mapped, in_memory)
    smallest = np.uint16 if level == "bpe" else np.uint8  # that holds the vocabulary
    assert stored.tokens.train.stream_M.dtype == smallest
    opened = open_store(tmp_path / "store", file, encoding)
    assert np.array_equal(opened.tokens.dev.stream_M, stored.tokens.dev.stream_M)


def test_many_symbols_and_an_empty_part(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    stored = write_store(tmp_path / "store", path)
    assert stored.tokens.train.stream_M.dtype == np.uint16
    assert sorted(len(part.length_N) for part in stored.tokens) == [0, 0, 1]
    assert sorted(len(part.stream_M) for part in stored.tokens) == [1, 1, 302]


def test_a_store_of_something_else_is_refused(file, tmp_path):
    folder = tmp_path / "store"
    with pytest.raises(InputError, match="holds no encoded text"):
        open_store(folder, file)
    write_store(folder, file)
    open_store(folder, file)
    for encoding in (Encoding(lowercase=True), Encoding(tokens="byte"), Encoding(min_count=2), Encoding(max_length=99)):
        with pytest.raises(InputError, match="encoded from another file, or with other settings"):
            open_store(folder, file, encoding)
    file.write_text(MESSY.replace("ava", "eva"), newline="")
    os.utime(file, ns=(1, 1))
    with pytest.raises(InputError, match="encoded from another file"):
        open_store(folder, file)
    file.unlink()
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((file, "no such file"), (tmp_path / "pipe", "not a regular file"), (tmp_path, "is a dir")):
        for action in (open_store, write_store):
            with pytest.raises(InputError, match=message):
                action(folder, path)
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.fixture
def saved(tmp_path):
    """A folder with a text file and its store."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "lines.txt").write_text("emma\nolivia\nava\namelia\nabigail\nemily\nzoë", newline="")
    stored = write_store(folder / "store", folder / "lines.txt")
    assert all(len(part.length_N) for part in stored.tokens)
    return folder


DAMAGE = {
    "cut by a byte": lambda raw: raw[:-1],
    "cut in half": lambda raw: raw[: len(raw) // 2],
    "cut to nothing": lambda raw: b"",
    "longer": lambda raw: raw + b"\0",
    "of zeros": lambda raw: bytes(len(raw)),
    "JSON of another kind": lambda raw: b"[1, 2]",
    "deep": lambda raw: b"[" * 100_000,
    "not UTF-8": lambda raw: b"\xff" + raw,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", sorted(FILES))
def test_damage_is_named(saved, name, damage):
    path = saved / "store" / name
    raw = path.read_bytes()
    assert DAMAGE[damage](raw) != raw
    path.write_bytes(DAMAGE[damage](raw))
    with pytest.raises(InputError, match=f"{name}': damaged"):
        open_store(saved / "store", saved / "lines.txt")
    path.write_bytes(raw)
    open_store(saved / "store", saved / "lines.txt")


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_bit_is_found(saved, name):
    path = saved / "store" / name
    raw = path.read_bytes()
    bits = range(len(raw) * 8) if len(raw) < 50 else np.random.default_rng(0).choice(len(raw) * 8, 400, replace=False)
    for bit in bits:
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=f"{name}': damaged"):
            open_store(saved / "store", saved / "lines.txt")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_missing_or_no_file_is_named(saved, name):
    path = saved / "store" / name
    raw = path.read_bytes()
    message = "holds no encoded text" if name == "about.json" else f"{name}': damaged or missing"
    for replace, undo in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir), (lambda path: None, lambda path: None)):
        path.unlink()
        replace(path)
        with pytest.raises(InputError, match=message):
            open_store(saved / "store", saved / "lines.txt")
        undo(path)
        path.write_bytes(raw)
    open_store(saved / "store", saved / "lines.txt")


def test_edits_and_swaps_are_found(saved, tmp_path):
    folder, path = saved / "store", saved / "lines.txt"
    about = (folder / "about.json").read_bytes()
    checksums = json.loads(about)["checksums"]
    edits = [{"digest": "0" * 64}, {"checksums": checksums | {"train.stream": "0" * 64}}, {"more": 1}]
    other = write_store(tmp_path / "store", path, Encoding(lowercase=True, max_length=3)).vocab
    assert other.size != open_store(folder, path).vocab.size
    for changes in edits:
        (folder / "about.json").write_text(json.dumps(json.loads(about) | changes, indent=2) + "\n")
        with pytest.raises(InputError, match=r"about.json': damaged"):
            open_store(folder, path)
    (folder / "about.json").write_bytes(about)
    for name in FILES - {"about.json"}:
        raw, swapped = (folder / name).read_bytes(), (tmp_path / "store" / name).read_bytes()
        assert raw != swapped
        (folder / name).write_bytes(swapped)
        with pytest.raises(InputError, match=f"{name}': damaged"):
            open_store(folder, path)
        (folder / name).write_bytes(raw)
    open_store(folder, path)


def test_a_store_in_use_and_one_that_fails_are_left_alone(file, tmp_path, monkeypatch):
    folder = tmp_path / "store"
    in_use = write_store(folder, file).tokens.train.stream_M
    before = np.array(in_use)
    write_store(folder, file, Encoding(tokens="byte"))
    assert np.array_equal(in_use, before)
    with pytest.raises(InputError, match="no word occurs 999 times"):
        write_store(folder, file, Encoding(tokens="word", min_count=999))

    def full(path, *target):
        if path.name.endswith("part") or not target:
            raise OSError(28, "No space left on device")
        return os.rename(path, *target)

    for owner, name in ((store, "sync"), (Path, "rename")):  # before, and after the old store is moved out of the way
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(InputError, match=r"store': cannot be written \(no space left on device\)"):
                write_store(folder, file)
    assert open_store(folder, file, Encoding(tokens="byte")).vocab.tokens == "byte"
    assert [path.name for path in tmp_path.glob("store*")] == ["store"]


def test_two_machines_may_give_their_processes_one_number(file, tmp_path, monkeypatch):
    """Two writers at once, the second of which begins while the first is half-way."""
    expected, begun = digest(read_lines(file)), []
    monkeypatch.setattr(os, "getpid", lambda: 7)

    def progress(size):
        if not begun:
            begun.append(size)
            write_store(tmp_path / "store", file)

    assert write_store(tmp_path / "store", file, progress=progress).digest == expected
    assert len(list(tmp_path.glob("store*"))) == 1


def test_foreign_files_are_kept(file, tmp_path):
    mine, names = tmp_path / "mine", ("about.json", "notes.txt")
    mine.mkdir()
    for name in names:
        (mine / name).write_text("precious")
    with pytest.raises(InputError, match="mine': holds files that are not encoded text; choose another folder"):
        write_store(mine, file)
    assert {(path.name, path.read_text()) for path in mine.iterdir()} == {(name, "precious") for name in names}
    with pytest.raises(InputError, match=r"cannot be written \(not a directory\)"):
        write_store(file / "store", file)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_the_umask(file, tmp_path, mask):
    before = os.umask(mask)
    try:
        write_store(tmp_path / "store", file)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store", *(tmp_path / "store").iterdir())]
    assert modes == [0o777 & ~mask] + [0o666 & ~mask] * len(FILES)


def test_hostile_names_are_escaped(tmp_path):
    path = tmp_path / "a\x1b[31m\n\udcff.txt"
    folder = tmp_path / "b\x1b[31m\n\udcff"
    for message in ("no such file", "dev.length': damaged"):
        with pytest.raises(InputError, match=message) as error:
            open_store(folder, path)
        assert str(error.value).isprintable()
        path.write_text("emma\nava")
        write_store(folder, path)
        (folder / "dev.length").write_text("x")


def test_training_from_files_is_training_from_memory_bit_for_bit(file, tmp_path):
    stored = write_store(tmp_path / "store", file)
    in_memory = encode(split(read_lines(file)), stored.digest)
    from_files = Corpus(stored.vocab, None, stored.tokens, stored.digest, in_memory.context)
    assert from_files.streamed
    model = build("bigram", vocab=stored.vocab.size)

    def run(corpus):
        train = feed.training if corpus.streamed else training
        init, steps = train(model, corpus, Recipe(steps=30, batch=8, warmup=3))
        begin = init(jax.random.key(1))
        return begin.params, steps(begin, 30)

    (begin, (memory, memory_N)), (_, (files, files_N)) = run(in_memory), run(from_files)
    assert np.array_equal(memory_N, files_N)
    for one, other, start in zip(*map(jax.tree.leaves, (memory.params, files.params, begin)), strict=True):
        assert np.array_equal(one, other)
        assert not np.array_equal(one, start)
