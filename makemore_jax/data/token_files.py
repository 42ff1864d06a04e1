"""Store tokens in files, for data larger than memory: encode the text in three passes, then map the files into memory.

A folder holds a token stream and line lengths for each of train, dev and test, the vocabulary, and about.json. That
file records the source of the tokens, with a checksum of each file and of itself. One process writes at a time, holding
a lock beside the folder. Readers need no lock: they find either a complete folder or none.
"""

import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from makemore_jax.data.chunks import find_frequent, read_chunks, read_documents
from makemore_jax.data.corpus import Corpus, Encoding, longest_line, too_few
from makemore_jax.data.formats import ENDING, PLAIN
from makemore_jax.data.lines import Split, file_status, named, split
from makemore_jax.data.one_writer import one_writer, writing
from makemore_jax.data.tokenizers import find_tokenizer
from makemore_jax.data.tokens import Tokens, distinct, tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.files import sync
from makemore_jax.progress import progress_bar

ARRAYS = tuple(f"{part}.{array}" for part in Split._fields for array in ("stream", "length"))
EVALUATED = 10_000  # lines kept of dev and of test
SAMPLED = 2**28  # bytes; a larger text is identified by samples
SAMPLE = 2**20  # bytes per sample
FILES = {"about.json", "vocab.json", *ARRAYS}


def load(
    path: str | Path,
    encoding: Encoding = Encoding(),
    *,
    progress: bool = True,
    report: Callable[[str], object] = lambda message: None,
) -> Corpus:
    """Load data larger than memory, as `corpus.load` does for smaller data.

    The tokens stay in files beside the text. These are written if they are missing, damaged or older than the text (see
    `_source`); `progress` shows a bar, and `report` is called with the reason. Lines are not kept. Only the first
    `EVALUATED` lines of dev and of test are used. Raise `InputError` as `corpus.load` does, or if writing fails.
    """
    encoding.require_consistent()
    plain = encoding.reading.source == PLAIN and not ENDING.search(str(path))
    advice = "convert the file, or leave out `stream`"
    require(plain, f"{str(path)!r}: only plain lines in UTF-8 can be streamed; {advice}")
    require(encoding.holdout is None, "streamed data holds a tenth out for dev and for test; leave out `holdout`")
    path = Path(path)
    require(path.is_file(), f"{str(path)!r}: no such file; name a text file")
    words = [encoding.tokens, "lowercase" if encoding.lowercase else "", encoding.min_count, encoding.max_length or ""]
    words += [f"context{encoding.context_length}" if encoding.context_length else ""]
    words += [f"by{hashlib.sha256(encoding.separator.encode()).hexdigest()[:8]}" if encoding.separator else ""]
    words += [f"size{encoding.vocab_size}" if encoding.vocab_size else "", encoding.vocab and encoding.vocab.digest[:8]]
    words += ["grown" if encoding.grow else ""]
    folder = Path(f"{path}.tokens") / "-".join(str(word) for word in words if word)
    try:
        stored = open_store(folder, path, encoding)
    except InputError:
        with one_writer(folder, report):
            stored = _open_or_write(folder, path, encoding, progress, report)
    lines = [len(part.length_N) for part in stored.tokens]
    if not all(lines):
        raise too_few(str(path), sum(lines), sum(map(len, stored.tokens.map(distinct))))
    tokens = Split(stored.tokens.train, first_lines(stored.tokens.dev), first_lines(stored.tokens.test))
    return Corpus(stored.vocab, None, tokens, stored.digest, longest_line(stored.tokens, encoding, str(path)))


def _open_or_write(folder: Path, path: Path, encoding: Encoding, progress: bool, report: Callable) -> "Stored":
    """Open the files if another process has written them meanwhile, otherwise write them; the lock must be held."""
    try:
        return open_store(folder, path, encoding)
    except InputError as error:
        report(f"{error}; encoding {path} again" if folder.exists() else f"encoding {path} into {folder}")
    with progress_bar(3 * path.stat().st_size, "encode", progress, unit="B", unit_scale=True) as bar:  # three passes
        return _replace(folder, path, encoding, bar.update)


def first_lines(tokens: Tokens) -> Tokens:
    """Return the first `EVALUATED` lines."""
    return Tokens(tokens.stream_M, tokens.start_N[:EVALUATED], tokens.length_N[:EVALUATED])


class Stored(NamedTuple):
    """The contents of a folder of tokens."""

    vocab: Vocab
    tokens: Split[Tokens]  # with memory-mapped streams
    digest: str  # SHA-256 of the lines


def open_store(folder: Path, path: Path, encoding: Encoding = Encoding()) -> Stored:
    """Map the tokens of the text file `path`, which `write_store` put into `folder`."""
    source = _source(path, encoding)
    require((folder / "about.json").is_file(), f"{str(folder)!r}: holds no encoded text")
    about = _read_about(folder / "about.json")
    require(about["source"] == source, f"{str(folder)!r}: encoded from another file, or with other settings")
    for name, checksum in about["checksums"].items():
        require(_checksum(folder / name) == checksum, f"{str(folder / name)!r}: damaged or missing")
    try:
        stored = _map(folder, encoding, about["digest"])
    except (OSError, ValueError) as error:
        raise InputError(f"{str(folder)!r}: replaced while it was read ({error})") from None
    require(_read_about(folder / "about.json") == about, f"{str(folder)!r}: replaced while it was read")
    return stored


def _map(folder: Path, encoding: Encoding, digest: str) -> Stored:
    vocab = Vocab.from_dict(json.loads((folder / "vocab.json").read_text()), repr(str(folder / "vocab.json")))
    dtype = np.min_scalar_type(vocab.size - 1)

    def tokens(part: str) -> Tokens:
        step_N = np.fromfile(folder / f"{part}.length", np.int32)  # from mark to mark
        start_N = np.cumsum(step_N, dtype=np.int64) - step_N
        length_N = np.minimum(step_N, encoding.context_length or np.iinfo(np.int32).max)
        return Tokens(np.memmap(folder / f"{part}.stream", dtype, "r"), start_N, length_N)

    return Stored(vocab, Split(*map(tokens, Split._fields)), digest)


def write_store(
    folder: Path, path: Path, encoding: Encoding = Encoding(), progress: Callable[[int], object] = lambda size: None
) -> Stored:
    """Encode the text file `path` into `folder`, in memory that does not grow with the file, and map the result.

    One pass over the text finds the frequent lines, which stay in train (if there may be some, another counts them),
    one finds the vocabulary, and one encodes the text; `progress` is called with the number of bytes of each chunk of
    each pass. The old contents of `folder` are replaced only when everything is written. If another process is writing
    there, this one waits for it.
    """
    with one_writer(folder):
        return _replace(folder, path, encoding, progress)


def _replace(folder: Path, path: Path, encoding: Encoding, progress: Callable[[int], object]) -> Stored:
    """Write a new folder beside this one, and put it in its place; the lock must be held."""
    part = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.part")
    with writing(folder):
        try:
            _require_ours(folder)
            part.mkdir()
            _encode(part, path, encoding, progress)
            _require_ours(folder)
            if folder.exists():
                shutil.rmtree(folder)  # a run that has mapped these files keeps them
            part.rename(folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return open_store(folder, path, encoding)


def _require_ours(folder: Path) -> None:
    ours = not folder.exists() or {file.name for file in folder.iterdir()} <= FILES
    require(ours, f"{str(folder)!r}: holds files that are not encoded text; choose another folder")


def _encode(folder: Path, path: Path, encoding: Encoding, progress: Callable[[int], object]) -> None:
    """Write the files of a store, and wait until they are on the disk."""
    separator, limits = encoding.separator, (encoding.max_length, encoding.lowercase)

    def chunks() -> Iterator[list[str]]:
        """Yield lists of documents, or of a single text of many lines, which is split only if necessary."""
        if separator is None:
            many = ([text] for text in read_chunks(path, *limits, encoding.context_length or 0))
        else:
            many = read_documents(path, separator, *limits)
        for texts in many:
            yield texts
            progress(sum(len(text.encode()) + 1 for text in texts))

    def chunks_of_lines() -> Iterator[list[str]]:
        return (texts[0].split("\n") if separator is None else texts for texts in chunks())

    source, digest, kept = _source(path, encoding), hashlib.sha256(), find_frequent(chunks_of_lines)
    learned = find_tokenizer(encoding.tokens).learned  # from the train lines
    texts = (split(lines, kept=kept).train for lines in chunks_of_lines()) if learned else chunks()
    vocab = encoding.find_vocab(itertools.chain.from_iterable(texts))
    dtype = np.min_scalar_type(vocab.size - 1)  # the smallest that holds the tokens
    (folder / "vocab.json").write_text(json.dumps(vocab.to_dict()))
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in ARRAYS}
        for part in Split._fields:
            files[f"{part}.stream"].write(np.array([MARK], dtype).data)
        for lines in chunks_of_lines():
            digest.update("".join(f"{line}\n" for line in lines).encode())
            for part, some in split(lines, kept=kept).items():
                tokens = tokenize(some, vocab, encoding.context_length)
                files[f"{part}.stream"].write(tokens.stream_M[1:].astype(dtype).data)  # the file has the first mark
                marks = np.append(tokens.start_N, len(tokens.stream_M) - 1)
                files[f"{part}.length"].write(np.diff(marks).astype(np.int32).data)
    checksums = {name: _checksum(folder / name) for name in ("vocab.json", *ARRAYS)}
    about = _sealed({"source": source, "digest": digest.hexdigest(), "checksums": checksums})
    (folder / "about.json").write_text(about)
    for file in (*folder.iterdir(), folder):
        sync(file)


def _source(path: Path, encoding: Encoding) -> dict[str, Any]:
    """Return a description that identifies the current text and its encoding.

    A text of up to `SAMPLED` bytes is identified by its SHA-256, a larger one by its size, its time of change and the
    SHA-256 of 256 samples, including the beginning and the end. Texts that agree in all of these are not distinguished.
    """
    status = file_status(path)
    about = {"file": path.name, "bytes": status.st_size, **encoding.about, "frequent_lines_in": "train"}
    with named(path), open(path, "rb") as file:
        if status.st_size <= SAMPLED:
            return about | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        samples = hashlib.sha256()
        for start in np.linspace(0, status.st_size - SAMPLE, SAMPLED // SAMPLE, dtype=np.int64):
            file.seek(start)
            samples.update(file.read(SAMPLE))
    return about | {"changed": status.st_mtime_ns, "samples_sha256": samples.hexdigest()}


def _checksum(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None if it cannot be read."""
    if not (path.is_file() and os.access(path, os.R_OK)):
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(about: dict[str, Any]) -> str:
    """Return `about` as JSON, with the SHA-256 of its own JSON added."""
    return json.dumps(about | {"sha256": hashlib.sha256(json.dumps(about).encode()).hexdigest()}, indent=2) + "\n"


def _read_about(path: Path) -> dict[str, Any]:
    """Read back the output of `_sealed`; raise `InputError` if any byte has changed."""
    try:
        text = path.read_bytes()
        about = json.loads(text)
        del about["sha256"]
        whole = text == _sealed(about).encode()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        whole = False
    require(whole, f"{str(path)!r}: damaged")
    return about
