"""A text file as a corpus: its lines split into train, dev and test, and encoded."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from makemore_jax.data.levels import find_level
from makemore_jax.data.lines import LONGEST_LINE, Split, digest, read_lines, split
from makemore_jax.data.store import Encoding, open_store, write_store
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.progress import progress_bar

STREAMED_LINES = 10_000  # of streamed data, only this many lines of dev and of test are evaluated


class Corpus(NamedTuple):
    """The data of a run."""

    vocab: Vocab
    lines: Split | None  # train, dev, test: lists of lines; None where the text is larger than memory
    tokens: Split  # train, dev, test: `Tokens`
    digest: str  # SHA-256 of the lines
    block: int  # the longest line, in tokens with its end mark

    @property
    def streamed(self) -> bool:
        """Whether the tokens stay in files and batches are gathered on the host."""
        return self.lines is None

    @property
    def measured(self) -> Split:
        """The tokens to report losses on: all, or the first lines of each split of streamed data."""
        return self.tokens.map(_first_lines) if self.streamed else self.tokens

    def novelty(self, texts: list[str]) -> dict:
        """How many of these texts are new: `novelty`, with the lines spelled as the vocabulary decodes them."""
        train, dev, test = (map(self.vocab.canonical, lines) for lines in self.lines)
        return novelty(texts, train, itertools.chain(dev, test))


def load(
    path: str | Path,
    *,
    max_length: int | None = None,
    level: str = "character",
    lowercase: bool = False,
    min_count: int = 1,
    vocab_size: int | None = None,
    vocab: Vocab | None = None,
    separator: str | None = None,
    context_length: int | None = None,
    stream: bool = False,
    progress: bool = True,
    report: Callable[[str], object] = lambda message: None,
) -> Corpus:
    """Read a text file, one thing per line, and hold out a tenth of the lines for dev and a tenth for test.

    With a `separator`, documents take the place of lines, and line ends are symbols.

    Args:
      path: a UTF-8 text file.
      max_length: cut lines to this many characters.
      level: what a token is: "character", "word", "byte" or "bpe", byte pairs as in GPT-2.
      lowercase: lowercase all text.
      min_count: at word level, words rarer than this in the train lines are unknown.
      vocab_size: at level bpe, how many symbols to learn from the train lines; 2,000 if it is not given.
      vocab: a vocabulary to use instead of one made from the text, such as `Vocab.read(folder)` or that of a trained
        model; `level` and `lowercase` must be its own.
      separator: the text between two documents, such as a blank line, "\\n\\n".
      context_length: cut lines and documents into windows of this many tokens; see `tokenize`.
      stream: keep the tokens in files beside the text, for data larger than memory. They are written by the first
        call: `progress` shows a bar, and `report` is called with the reason.

    Raises:
      InputError: the file cannot be read, is not text, or has too few lines to hold some out; or the text does not fit
        the vocabulary.
    """
    encoding = Encoding(level, lowercase, min_count, max_length, vocab_size, vocab, separator, context_length)
    if vocab:
        require(vocab_size is None, "`vocab_size` is for a vocabulary to be learned, and one is given")
        for name in ("level", "lowercase"):
            asked, own = getattr(encoding, name), getattr(vocab, name)
            require(asked == own, f"`{name}` is {asked}; the vocabulary that is given has {own}")
        fits = separator is None or vocab.multiline
        require(fits, "the vocabulary that is given is one of lines, without a symbol for the line ends of documents")
    if stream:
        return _load_streamed(Path(path), encoding, progress, report)
    lines = read_lines(path, max_length, lowercase, separator)
    return encode(split(lines), digest(lines), encoding, str(path))


def encode(lines: Split, digest: str, encoding: Encoding = Encoding(), source: str = "the data") -> Corpus:
    """A corpus of lines that are split already. Characters are those of all lines, words and byte pairs those of the
    train lines.

    Raises:
      InputError: a split has no line; `source` is named.
    """
    _require_lines(source, [len(part) for part in lines])
    vocab = encoding.find_vocab(lines.train if find_level(encoding.level).learned else itertools.chain(*lines))
    tokens = lines.map(lambda part: tokenize(part, vocab, encoding.context_length))
    return Corpus(vocab, lines, tokens, digest, _longest(tokens, encoding, source))


def _load_streamed(path: Path, encoding: Encoding, progress: bool, report: Callable[[str], object]) -> Corpus:
    """The same from token files beside the text, written if they are missing, damaged or out of date."""
    require(path.is_file(), f"{str(path)!r}: no such file; name a text file")
    words = [encoding.level, "lowercase" if encoding.lowercase else "", encoding.min_count, encoding.max_length or ""]
    words += [f"context{encoding.context_length}" if encoding.context_length else ""]
    words += [f"by{hashlib.sha256(encoding.separator.encode()).hexdigest()[:8]}" if encoding.separator else ""]
    words += [f"size{encoding.vocab_size}" if encoding.vocab_size else "", encoding.vocab and encoding.vocab.digest[:8]]
    folder = Path(f"{path}.tokens") / "-".join(str(word) for word in words if word)
    try:
        stored = open_store(folder, path, encoding)
    except InputError as error:
        report(f"{error}; encoding {path} again" if folder.exists() else f"encoding {path} into {folder}")
        with progress_bar(2 * path.stat().st_size, "encode", progress, unit="B", unit_scale=True) as bar:  # two passes
            stored = write_store(folder, path, encoding, bar.update)
    _require_lines(str(path), [len(part.length_N) for part in stored.tokens])
    tokens = Split(stored.tokens.train, _first_lines(stored.tokens.dev), _first_lines(stored.tokens.test))
    return Corpus(stored.vocab, None, tokens, stored.digest, _longest(stored.tokens, encoding, str(path)))


def makemore_split(path: str | Path, max_length: int | None = None, lowercase: bool = False) -> tuple[Split, str]:
    """The lines of a file split as makemore.py does it, and their digest: up to 1,000 random lines are held out.

    They are those that makemore.py holds out with its default seed. Lines repeat, so some of them are in train as well,
    and dev and test are the same lines: losses come out too low, and are for comparison with published figures only.
    """
    lines = read_lines(path, max_length, lowercase)
    require(len(lines) >= 10, f"{str(path)!r}: {len(lines)} lines are too few to hold a tenth out; add more")
    shuffled, held_out = [lines[i] for i in _torch_permutation(3407, len(lines))], min(1000, len(lines) // 10)
    train, test = shuffled[:-held_out], shuffled[-held_out:]
    return Split(train, test, test), digest(lines)


def _torch_permutation(seed: int, count: int) -> list[int]:
    """`torch.manual_seed(seed)`, then `torch.randperm(count)`: a shuffle by the Mersenne Twister, on the CPU."""
    order, bits = list(range(count)), np.random.MT19937()
    bits._legacy_seeding(seed)
    for i, raw in enumerate(bits.random_raw(count - 1).tolist()):
        j = i + raw % (count - i)
        order[i], order[j] = order[j], order[i]
    return order


def novelty(samples: Sequence[str], train: Iterable[str], held_out: Iterable[str]) -> dict:
    """How many samples are in train, in held-out data (dev and test), new, and repeated among themselves.

    The baseline: a model that copies nothing hits held-out lines as often as train lines. `expected_in_train` is the
    number of hits on held-out lines, scaled by how many more distinct lines train has; hits on train far above it are
    copies.
    """
    train, held_out = set(train), set(held_out)
    held_out -= train
    in_held_out = sum(text in held_out for text in samples)
    in_train = sum(text in train for text in samples)
    return {
        "samples": len(samples),
        "in_train": in_train,
        "in_held_out": in_held_out,
        "new": len(samples) - in_train - in_held_out,
        "repeated": len(samples) - len(set(samples)),
        "expected_in_train": round(in_held_out * len(train) / len(held_out), 1) if held_out else None,
    }


def _longest(tokens: Split, encoding: Encoding, source: str) -> int:
    longest = max(int(np.max(part.length_N)) for part in tokens)
    fits = encoding.separator is None or encoding.context_length is not None or longest <= LONGEST_LINE
    limit = f"over the limit of {LONGEST_LINE:,}; cut documents into windows with `context_length`"
    require(fits, f"{source}: a document of {longest:,} tokens, {limit}")
    return longest


def _first_lines(tokens: Tokens) -> Tokens:
    return Tokens(tokens.stream_M, tokens.start_N[:STREAMED_LINES], tokens.length_N[:STREAMED_LINES])


def _require_lines(source: str, lines: list[int]) -> None:
    require(all(lines), f"{source}: {sum(lines)} lines are too few to hold some out for dev and test; add more")
