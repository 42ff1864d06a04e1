"""A text file as a corpus: its lines split into train, dev and test, and encoded."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from makemore_jax.data.lines import LONGEST_LINE, Split, digest, normalize, read_lines, split
from makemore_jax.data.tokenizers import find_tokenizer
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require


class Encoding(NamedTuple):
    """What the tokens of a text depend on."""

    tokens: str = "character"
    lowercase: bool = False
    min_count: int = 1
    max_length: int | None = None
    vocab_size: int | None = None
    vocab: Vocab | None = None  # one that exists already
    separator: str | None = None  # between documents
    context_length: int | None = None

    def find_vocab(self, texts: Iterable[str]) -> Vocab:
        """The vocabulary of these texts, or the one that exists already."""
        settings = self.tokens, self.lowercase, self.min_count, self.vocab_size
        return self.vocab or Vocab.of(texts, *settings, multiline=self.separator is not None)

    def require_consistent(self) -> None:
        """Raise `InputError` if the settings contradict the vocabulary that is given."""
        if not self.vocab:
            return
        require(self.vocab_size is None, "`vocab_size` is for a vocabulary to be learned, and one is given")
        for name in ("tokens", "lowercase"):
            asked, own = getattr(self, name), getattr(self.vocab, name)
            require(asked == own, f"`{name}` is {asked}; the vocabulary that is given has {own}")
        fits = self.separator is None or self.vocab.multiline
        require(fits, "the vocabulary that is given is one of lines, without a symbol for the line ends of documents")

    @property
    def about(self) -> dict[str, Any]:
        """The settings, ready for JSON; those that came later only where they are used."""
        settings = self._asdict() | {"vocab": self.vocab and self.vocab.digest}
        return {name: value for name, value in settings.items() if value is not None or name == "max_length"}


class Corpus(NamedTuple):
    """The data of a run."""

    vocab: Vocab
    lines: Split | None  # train, dev, test: lists of lines; None where the text is larger than memory
    tokens: Split  # train, dev, test: `Tokens`
    digest: str  # SHA-256 of the lines
    context: int  # the longest line, in tokens with its end mark

    @property
    def streamed(self) -> bool:
        """Whether the tokens stay in files and batches are gathered on the host."""
        return self.lines is None

    def novelty(self, texts: list[str]) -> dict:
        """How many of these texts are new: `novelty`, with the lines spelled as the vocabulary decodes them."""
        train, dev, test = (map(self.vocab.canonical, lines) for lines in self.lines)
        return novelty(texts, train, itertools.chain(dev, test))


def names_path() -> Path:
    """The file of the embedded names."""
    return Path(__file__).parents[2] / "data/names.txt"


def gather(data: str | Path | Sequence[str] | None, encoding: Encoding) -> tuple[list[str], str]:
    """The lines of a file, of a list, or by default the embedded names; and what to call them in a message."""
    data = names_path() if data is None else data
    if isinstance(data, str | Path):
        return read_lines(data, encoding.max_length, encoding.lowercase, encoding.separator), str(data)
    for number, line in enumerate(data, 1):
        require(
            isinstance(line, str), f"item {number} of the list is of type {type(line).__name__}; give lines of text"
        )
    lines = [normalize(line.strip(), encoding.lowercase)[: encoding.max_length].rstrip() for line in data]
    lines = [line for line in lines if line]
    require(bool(lines), "the list holds no lines; give some")
    return lines, "the list"


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
) -> Corpus:
    """Read a text file, one thing per line, and hold out a tenth of the lines for dev and a tenth for test.

    A list of lines may take the place of a file. With a `separator`, documents take the place of lines, and line ends
    are symbols.

    Args:
      path: a UTF-8 text file, or a list of lines; without it, the embedded names.
      max_length: cut lines to this many characters.
      tokens: what a token is: "character", "word", "byte" or "bpe", byte pairs as in GPT-2.
      lowercase: lowercase all text.
      min_count: with words as tokens, rarer words of the train lines are unknown.
      vocab_size: with byte pairs as tokens, the number of symbols to learn from the train lines; by default 2,000.
      vocab: a vocabulary to use instead of one made from the text, such as `Vocab.read(folder)` or that of a trained
        model; `tokens` and `lowercase` must be its own.
      separator: the text between two documents, such as a blank line, "\\n\\n".
      context_length: cut lines and documents into windows of this many tokens; see `tokenize`.

    Raises:
      InputError: the file cannot be read, is not text, or has too few lines to hold some out; or the text does not fit
        the vocabulary.
    """
    encoding = Encoding(tokens, lowercase, min_count, max_length, vocab_size, vocab, separator, context_length)
    encoding.require_consistent()
    lines, source = gather(path, encoding)
    return encode(split(lines), digest(lines), encoding, source)


def encode(lines: Split, digest: str, encoding: Encoding = Encoding(), source: str = "the data") -> Corpus:
    """A corpus of lines that are split already. Characters are those of all lines, words and byte pairs those of the
    train lines.
    """
    require_lines(source, [len(part) for part in lines])
    return _encode(lines, digest, encoding, source)


def encode_whole(lines: list[str], encoding: Encoding = Encoding(), source: str = "the data") -> Corpus:
    """A corpus that holds nothing out: all lines are train lines, and dev and test are empty."""
    return _encode(Split(lines, [], []), digest(lines), encoding, source)


def _encode(lines: Split, digest: str, encoding: Encoding, source: str) -> Corpus:
    vocab = encoding.find_vocab(lines.train if find_tokenizer(encoding.tokens).learned else itertools.chain(*lines))
    tokens = lines.map(lambda part: tokenize(part, vocab, encoding.context_length))
    return Corpus(vocab, lines, tokens, digest, longest_line(tokens, encoding, source))


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


def longest_line(tokens: Split, encoding: Encoding, source: str) -> int:
    """The longest line, in tokens with its end mark; raises `InputError` for a document that has to be cut."""
    longest = max(int(np.max(part.length_N, initial=0)) for part in tokens)
    fits = encoding.separator is None or encoding.context_length is not None or longest <= LONGEST_LINE
    limit = f"over the limit of {LONGEST_LINE:,}; cut documents into windows with `context_length`"
    require(fits, f"{source}: a document of {longest:,} tokens, {limit}")
    return longest


def require_lines(source: str, lines: list[int]) -> None:
    """Raise `InputError` if a split of so many lines is empty."""
    require(all(lines), f"{source}: {sum(lines)} lines are too few to hold some out for dev and test; add more")
