"""Tokens in files are the tokens in memory: encoded in chunks, verified when opened, trained from."""

import json
import os
import stat
import threading
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
from tests.cases import MESSY


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
    assert sum(sizes) == (2 if level == "byte" else 3) * sum(len(line.encode()) + 1 for line in lines)
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


def test_a_frequent_line_stays_in_train(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "read_chunks", partial(chunks.read_chunks, size=50))
    path, names = tmp_path / "lines.txt", ["ann", "bo", "cy", "di", "ed", "flo", "gus", "hal"]
    (frequent,) = set(names) - set(split(names).train)
    path.write_text("\n".join(names * 2 + [frequent] * 40))
    stored, parts = write_store(tmp_path / "store", path), split(read_lines(path))
    assert len(parts.train) == 56
    assert [len(part.length_N) for part in stored.tokens] == list(map(len, parts))


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

    def full(*args):
        raise OSError(28, "No space left on device")

    for owner, name, left in ((store, "sync", ["store"]), (Path, "rename", [])):  # before the old is removed, and after
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(InputError, match=r"store': cannot be written \(no space left on device\)"):
                write_store(folder, file)
        assert [path.name for path in tmp_path.glob("store*")] == left
        if left:
            assert open_store(folder, file, Encoding(tokens="byte")).vocab.tokens == "byte"


def test_one_process_encodes_and_the_others_wait_for_it(file):
    """The second begins while the first is half-way. Neither leaves anything but the tokens."""
    folder, told, waits = Path(f"{file}.tokens"), [], threading.Event()
    expected, found = digest(read_lines(file)), []

    def report(message):
        told.append(message)
        if "waiting" in message:
            waits.set()

    second = threading.Thread(target=lambda: found.append(store.load(file, progress=False, report=report)))

    def progress(size):
        if second.ident is None:
            second.start()
            assert waits.wait(60)

    assert write_store(folder / "character-1", file, progress=progress).digest == expected
    second.join()
    assert found[0].digest == expected
    assert [message.partition(": ")[2] for message in told] == ["another process is encoding; waiting for it"]
    assert [path.name for path in folder.iterdir()] == ["character-1"]


def test_what_a_killed_process_had_begun_is_removed_and_nothing_else(file, tmp_path):
    for name in ("store.0123abcd.part", "store.mine.part", "other.0123abcd.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.stream").write_bytes(b"half")
    (tmp_path / "store.lock").write_bytes(b"")
    write_store(tmp_path / "store", file)
    left = {path.name for path in tmp_path.iterdir()} - {file.name}
    assert left == {"store", "store.mine.part", "other.0123abcd.part"}
    (tmp_path / "store.lock").write_text("a file of mine")
    write_store(tmp_path / "store", file)
    assert (tmp_path / "store.lock").read_text() == "a file of mine"


def test_a_store_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new(saved, tmp_path, monkeypatch):
    folder, text = saved / "store", saved / "lines.txt"
    mapped = store._map

    def replaced(*args):
        text.write_text("eva\nnoah\nliam\nava\nmia\nben\ntom\nian\nzoë\nida")
        monkeypatch.undo()
        write_store(folder, text)
        return mapped(*args)

    monkeypatch.setattr(store, "_map", replaced)
    with pytest.raises(InputError, match="replaced while it was read"):
        open_store(folder, text)
    monkeypatch.setattr(store, "_map", lambda *args: (tmp_path / "none").read_bytes())
    with pytest.raises(InputError, match="replaced while it was read"):
        open_store(folder, text)


@pytest.mark.parametrize("sampled", [2**28, 64])
def test_another_text_of_the_same_size_and_time_is_encoded_again(file, monkeypatch, sampled):
    """Beyond `SAMPLED` bytes, what changes at the beginning or at the end is seen, and a new time as well."""
    monkeypatch.setattr(store, "SAMPLED", sampled)
    monkeypatch.setattr(store, "SAMPLE", 16)
    text = "\n".join(f"{a}{b}" for a in "abcdefgh" for b in "opqrstuv").encode()
    assert len(text) > 2 * 64
    file.write_bytes(text)
    status = file.stat()
    load, told = lambda: store.load(file, progress=False, report=told.append), []
    assert load().digest == digest(read_lines(file))
    assert load().digest == digest(read_lines(file))
    assert len(told) == 1
    for changed in (b"vh" + text[2:], text[:-2] + b"ao", text):
        file.write_bytes(changed)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert file.stat().st_size == status.st_size
        assert load().digest == digest(read_lines(file))
    assert len(told) == 4
    os.utime(file, ns=(1, 1))
    load()
    assert len(told) == (5 if sampled == 64 else 4)


def test_foreign_files_are_kept(file, tmp_path):
    mine, names = tmp_path / "mine", ("about.json", "notes.txt")
    mine.mkdir()
    for name in names:
        (mine / name).write_text("precious")
    with pytest.raises(InputError, match="mine': holds files that are not encoded text; choose another folder"):
        write_store(mine, file)
    assert {(path.name, path.read_text()) for path in mine.iterdir()} == {(name, "precious") for name in names}
    with pytest.raises(InputError, match=r"cannot be written \(file exists\)"):
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
