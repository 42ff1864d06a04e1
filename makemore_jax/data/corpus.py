"""A text file as a corpus: its lines split into train, dev and test, and encoded."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from makemore_jax.data.formats import Source
from makemore_jax.data.lines import LONGEST_LINE, Reading, Split, digest, normalize, read_lines, split
from makemore_jax.data.tokenizers import find_tokenizer
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded


class Encoding(NamedTuple):
    """The settings that determine the tokens of a text."""

    tokens: str = "character"
    lowercase: bool = False
    min_count: int = 1
    max_length: int | None = None
    vocab_size: int | None = None
    vocab: Vocab | None = None  # a given vocabulary, instead of one made from the text
    separator: str | None = None  # between documents
    context_length: int | None = None
    grow: bool = False  # add the symbols of the text to the given vocabulary
    holdout: float | None = None  # the share of dev, and that of test; by default a tenth
    column: str | int | None = None  # this and the next three: of a file, see `Source`
    weights: str | int | None = None
    encoding: str | None = None
    errors: str | None = None

    @property
    def source(self) -> Source:
        """The settings that say how the items are found in a file."""
        return Source(self.column, self.weights, self.encoding, self.errors)

    @property
    def reading(self) -> Reading:
        """The settings that determine the lines of a file."""
        return Reading(self.max_length, self.lowercase, self.separator, self.context_length or 0, self.source)

    def find_vocab(self, texts: Iterable[str]) -> Vocab:
        """Return the given vocabulary, or make one from these texts, or both in one."""
        if self.vocab and not self.grow:
            return self.vocab
        settings = self.tokens, self.lowercase, self.min_count, self.vocab_size
        found = Vocab.of(texts, *settings, multiline=self.separator is not None)
        return self.vocab.grown(found) if self.vocab else found

    def require_consistent(self) -> None:
        """Raise `InputError` if the settings contradict the given vocabulary."""
        if not self.vocab:
            return
        require(self.vocab_size is None, "`vocab_size` is for learning a vocabulary; leave it out, since one is given")
        require(self.min_count == 1, "`min_count` is for making a vocabulary; leave it out, since one is given")
        for name in ("tokens", "lowercase"):
            asked, own = getattr(self, name), getattr(self.vocab, name)
            require(asked == own, f"`{name}` is {asked}; it must be {own}, as in the given vocabulary")
        fits = self.separator is None or self.vocab.multiline or self.grow
        require(
            fits,
            "the given vocabulary has no symbol for line ends, so it cannot encode documents; leave out `separator`",
        )

    @property
    def about(self) -> dict[str, Any]:
        """The settings, ready for JSON, without those that are unused."""
        settings = self._asdict() | {"vocab": self.vocab and self.vocab.digest}
        return {name: value for name, value in settings.items() if value is not None or name == "max_length"}


class Corpus(NamedTuple):
    """The data of a run: its vocabulary, lines and tokens."""

    vocab: Vocab
    in_memory: Split[list[str]] | None  # the lines; None if the text is larger than memory
    tokens: Split[Tokens]  # train, dev, test
    digest: str  # SHA-256 of the lines
    context: int  # the longest line, in tokens with its end mark

    @property
    def streamed(self) -> bool:
        """Whether the tokens stay in files and batches are gathered on the host."""
        return self.in_memory is None

    @property
    def lines(self) -> Split[list[str]]:
        """The lines of train, dev and test; raises `InputError` for streamed data."""
        if self.in_memory is None:
            raise InputError("the lines of streamed data are not in memory; read its tokens, or load it into memory")
        return self.in_memory

    @property
    def judged(self) -> Tokens:
        """The lines by which training is judged: dev, or train if nothing is held out."""
        return self.tokens.dev if len(self.tokens.dev.length_N) else self.tokens.train

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of a model that follow from the data."""
        return {"vocab": self.vocab.size, "context": self.context}

    def novelty(self, texts: list[str]) -> dict:
        """Count how many of these texts are new, comparing them with the lines as the vocabulary decodes them."""
        train, dev, test = (map(self.vocab.canonical, lines) for lines in self.lines)
        return novelty(texts, train, itertools.chain(dev, test))


def gather(data: str | Path | Sequence[str] | None, encoding: Encoding) -> tuple[list[str], str]:
    """The lines of a file, of a list, or by default the embedded names; and what to call them in a message."""
    data = embedded("names.txt") if data is None else data
    if isinstance(data, str | Path):
        return read_lines(data, *encoding.reading), str(data)
    require(isinstance(data, Iterable), f"the data is {data!r:.60}; give a path, or a list of lines")
    return gather_list(data, encoding), "the list"


def gather_list(data: Sequence[str], encoding: Encoding) -> list[str]:
    """The lines of a list."""
    for number, line in enumerate(data, 1):
        require(
            isinstance(line, str), f"item {number} of the list is of type {type(line).__name__}; give lines of text"
        )
    lines = [normalize(line.strip(), encoding.lowercase)[: encoding.max_length].rstrip() for line in data]
    lines = [line for line in lines if line]
    require(bool(lines), "the list holds no lines; give some")
    require(
        encoding.source == Source(), "`column`, `weights`, `encoding` and `errors` are for files, and this is a list"
    )
    return lines


def load(
    path: str | Path | Sequence[str] | None = None,
    *,
    max_length: int | None = None,
    tokens: str = "character",
    lowercase: bool = False,
    min_count: int = 1,
    vocab_size: int | None = None,
    vocab: Vocab | None = None,
    separator: str | None = None,
    context_length: int | None = None,
    grow: bool = False,
    holdout: float | None = None,
    **source: Any,
) -> Corpus:
    """Read a text file with one item per line, and hold out a tenth of the lines for dev and a tenth for test.

    A list of lines may replace the file. With a `separator`, the items are documents, and line ends are symbols.

    Args:
      path: a text file or another of `formats`, or a list of lines; without it, the embedded names.
      max_length: cut lines to this many characters.
      tokens: the kind of token: "character", "word", "byte" or "bpe" (byte pairs, as in GPT-2).
      lowercase: convert all text to lowercase.
      min_count: a character that occurs fewer times, or a word fewer times in the train lines, is unknown.
      vocab_size: for byte pairs: the number of symbols to learn from the train lines; by default 2,000.
      vocab: a vocabulary to use instead of one made from the text, such as `Vocab.read(folder)` or that of a trained
        model; `tokens` and `lowercase` must agree with it.
      separator: the text between two documents, such as a blank line, "\\n\\n".
      context_length: cut lines and documents into windows of this many tokens; see `tokenize`.
      grow: add the symbols that `vocab` lacks, so that a model with that vocabulary can be trained on this data.
      holdout: the share of the lines in dev, and in test; 0 holds nothing out, and dev and test are empty.
      **source: the `column` and the `weights` of a table, the `encoding` of a file, or its `errors`; see `Source`.

    Raises:
      InputError: the file cannot be read, is not text, or has too few lines to hold some out; or the text does not fit
        the vocabulary.
    """
    made = tokens, lowercase, min_count, max_length, vocab_size, vocab, separator, context_length, grow, holdout
    encoding = Encoding(*made, **source)
    encoding.require_consistent()
    lines, name = gather(path, encoding)
    if holdout == 0:
        return encode_whole(lines, encoding, name)
    share = 0.1 if holdout is None else holdout
    require(0 < share < 0.5, f"`holdout` is {share:g}; it must be at least 0 and below 0.5")
    return encode(split(lines, holdout=share), digest(lines), encoding, name)


def encode(lines: Split[list[str]], digest: str, encoding: Encoding = Encoding(), source: str = "the data") -> Corpus:
    """Make a corpus from lines that are already split.

    Characters are found in all lines, words and byte pairs in the train lines only.
    """
    if not all(lines):
        raise too_few(source, sum(map(len, lines)), len({*lines.train, *lines.dev, *lines.test}))
    return _encode(lines, digest, encoding, source)


def encode_whole(lines: list[str], encoding: Encoding = Encoding(), source: str = "the data") -> Corpus:
    """Make a corpus that holds nothing out: all lines are train lines, and dev and test are empty."""
    return _encode(Split(lines, [], []), digest(lines), encoding, source)


def _encode(lines: Split[list[str]], digest: str, encoding: Encoding, source: str) -> Corpus:
    learned = find_tokenizer(encoding.tokens).learned
    everything = itertools.chain(lines.train, lines.dev, lines.test)
    vocab = encoding.find_vocab(lines.train if learned else everything)
    tokens = lines.map(lambda part: tokenize(part, vocab, encoding.context_length))
    return Corpus(vocab, lines, tokens, digest, longest_line(tokens, encoding, source))


def novelty(samples: Sequence[str], train: Iterable[str], held_out: Iterable[str]) -> dict:
    """Count the samples that occur in train, in held-out data (dev and test), in neither, and more than once.

    A model that copies nothing hits a held-out line as often as a train line. `expected_in_train` is therefore the
    number of hits on held-out lines, scaled up to the number of distinct train lines. If `in_train` is far higher, the
    model copies.
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


def longest_line(tokens: Split[Tokens], encoding: Encoding, source: str) -> int:
    """Return the longest line, in tokens with its end mark; raise `InputError` if a document is too long."""
    longest = max(int(np.max(part.length_N, initial=0)) for part in tokens)
    fits = encoding.separator is None or encoding.context_length is not None or longest <= LONGEST_LINE
    limit = f"over the limit of {LONGEST_LINE:,}; cut documents into windows with `context_length`"
    require(fits, f"{source}: a document of {longest:,} tokens, {limit}")
    return longest


def too_few(source: str, lines: int, different: int) -> InputError:
    """The error for data of which no line falls to dev, test or train."""
    what = f"only {different:,} of {lines:,} lines are different," if different < lines else f"{lines:,} lines are"
    way_out = "add other lines, or use makemore_jax.make, which holds none out"
    return InputError(f"{source}: {what} too few to hold some out for dev and test; {way_out}")
