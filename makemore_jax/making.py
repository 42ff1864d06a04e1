"""Make more of any list, within a minute.

The model is chosen by measurement: n-grams are counted, networks are trained, and the one that predicts held-out lines
best, alone or in a mixture, is kept. A short list has no lines to hold out; it is measured by cross-validation, and the
model that is kept has learned all lines.
"""

import re
import warnings
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from makemore_jax.analysis.nearness import median_distance
from makemore_jax.data.corpus import Corpus, Encoding, encode, encode_whole, gather
from makemore_jax.data.lines import LONGEST_LINE, digest, split
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import InputError, require, require_float, require_kinds, require_positive
from makemore_jax.inference.baselines import shannon
from makemore_jax.inference.draw import Found, find, once
from makemore_jax.inference.sampler import Samples, SamplingParams
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.candidates import Deadline, Learned, learn

DRAWING = 5.0  # seconds after the deadline in which lines are drawn
SHORT = 500  # different lines; with fewer, none is held out
WINDOW = 256  # tokens; lines of more than `LONGEST_LINE` characters are cut into windows unless they were asked for


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted."""

    start: str = ""
    """Text that every line starts with."""
    end: str = ""
    """Text that every line ends with."""
    match: str | None = None
    """Regular expression that every line matches, somewhere: '^.{4}a' asks for an a in the fifth place."""
    min_length: int | None = None
    """Fewest characters of a line; by default, for a short list, as many as its shortest line has."""
    max_length: int | None = None
    """Most characters of a line; by default, for a short list, as many as its longest line has."""
    familiar: int | None = None
    """Every run of this many characters occurs in the data, also at the ends; 2 for a short list, otherwise 1."""
    known: bool = False
    """Also lines that are in the data."""
    repeats: bool = False
    """Also lines that were drawn before."""
    best_of: int | None = None
    """Draw this many lines for each, and keep the likeliest by symbol; by default 8 for a short list, otherwise 1."""
    temperature: float | None = None
    """Below 1 the lines are more conservative, above 1 more varied; by default 0.7 for a short list, otherwise 1."""

    def __post_init__(self):
        require_positive(self, "min_length", "max_length", "familiar", "best_of")
        require_float("temperature", 1.0 if self.temperature is None else self.temperature)
        ordered = (self.min_length or 0) <= (self.max_length or np.inf)
        require(ordered, f"`min_length` is {self.min_length}, above the `max_length` of {self.max_length}")
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise InputError(f"`match` is {self.match!r}, not a regular expression ({error})") from None

    def fitted(self, corpus: Corpus) -> "Wanted":
        """Return these wishes with defaults that fit the list.

        What a model makes of a few lines is mostly doubt, so of a short list only lines like its own are wanted.
        """
        if corpus.lines.dev or in_pieces(corpus):
            defaults = {"familiar": 1, "best_of": 1, "temperature": 1.0}
        else:
            lengths = [len(line) for line in known_lines(corpus)]
            defaults = {"familiar": 2, "best_of": 8, "temperature": 0.7}
            if self.min_length is None and self.max_length is None:
                defaults |= {"min_length": min(lengths), "max_length": max(lengths)}
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def accept(self, known: Collection[str]) -> Callable[[str], bool]:
        """The condition that a line must meet, beside lines that are known; it remembers the lines that it takes."""
        shortest, longest = self.min_length or 0, self.max_length or np.inf
        conditions = [
            lambda line: line and line == line.strip(),  # as all lines of the data are
            lambda line: shortest <= len(line) <= longest and line.startswith(self.start) and line.endswith(self.end),
            *([re.compile(self.match).search] if self.match else []),
            *([familiar(known, self.familiar)] if self.familiar and self.familiar > 1 else []),
            *([] if self.known else [lambda line: line not in known]),
            *([] if self.repeats else [once()]),  # the last, to remember only lines that meet the others
        ]
        return lambda line: all(condition(line) for condition in conditions)


class Made(NamedTuple):
    """New lines, and what made them."""

    lines: list[str]  # `n` of them, or fewer if too few draws were wanted
    trained: Trained
    learned: Learned | None  # the candidates and their losses; None if the model was trained earlier
    drawn: int  # the number of lines drawn
    accepted: int  # the number of these that were wanted
    new: float  # the share of these that are not in the data
    distance: float | None  # median distance of the new lines to the nearest line of the data, in characters
    usual: float | None  # the same for lines of the data: held-out ones to train, or each to the nearest other


def make(
    data: str | Path | Sequence[str] | None = None,
    n: int = 20,
    *,
    minutes: float = 1.0,
    seed: int = 0,
    wanted: Wanted = Wanted(),
    **settings: Any,
) -> Made:
    """Learn a list, and make `n` more lines of its kind. They are new and different unless `wanted` says otherwise.

    Args:
      data: a text file or another of `formats`, or a list of lines; without it, the embedded names.
      n: the number of lines to make; fewer are returned if too few draws are wanted.
      minutes: the time limit. Short lists take less.
      seed: determines which lines are drawn.
      wanted: which lines are wanted, and how they are drawn.
      **settings: how text becomes tokens, as for `load`.

    Raises:
      InputError: the data cannot be read, or its lines are all the same; or a number is out of range.
    """
    require_kinds(n=n)
    require(n > 0, f"`n` is {n}; it must be at least 1")
    deadline = Deadline(minutes)
    corpus = read(data, Encoding(**settings))
    corpus.vocab.encode_line(wanted.start)  # refuses an impossible start before learning
    learned = deque(learn(corpus, deadline), maxlen=1).pop()
    made = make_more(learned.best.trained, corpus, n, wanted, seed, lambda: deadline.left < -DRAWING)
    return made._replace(learned=learned)


def read(data: str | Path | Sequence[str] | None = None, encoding: Encoding = Encoding()) -> Corpus:
    """A list as a corpus. One with fewer than `SHORT` different lines holds none out.

    Lines that are too long are learned in windows, which is said in a warning.
    """
    encoding.require_consistent()
    lines, source = gather(data, encoding._replace(context_length=encoding.context_length or WINDOW))
    longest = max(map(len, lines))
    if longest > LONGEST_LINE and not encoding.context_length:
        windows = f"learned in windows of {WINDOW} tokens; `context_length` sets another number"
        warnings.warn(f"{source}: its longest line has {longest:,} characters and is {windows}", stacklevel=2)
        encoding = encoding._replace(context_length=WINDOW)
    different = len(set(lines))
    require(different > 1, f"{source}: all lines are the same; give at least two different ones")
    if different < SHORT:
        return encode_whole(lines, encoding, source)
    return encode(split(lines), digest(lines), encoding, source)


def first_handful(corpus: Corpus, n: int = 5, tries: int = 200) -> list[str]:
    """Up to `n` new lines from counting alone, at once: by three symbols, or by two where these only copy."""
    vocab, accept, train = corpus.vocab, Wanted().accept(known_lines(corpus)), corpus.tokens.train
    drawn = chain.from_iterable(islice(shannon(train, order), tries) for order in (3, 2))
    lines = (vocab.decode(ids) for ids in drawn if ids and vocab.sampleable_V[ids].all())
    return list(islice(filter(accept, lines), n))


def known_lines(corpus: Corpus) -> set[str]:
    """The lines of the data, as the vocabulary spells them."""
    return {corpus.vocab.canonical(line) for part in corpus.lines for line in part}


def make_more(
    trained: Trained,
    corpus: Corpus,
    n: int,
    wanted: Wanted = Wanted(),
    seed: int = 0,
    until: Callable[[], bool] = lambda: False,
) -> Made:
    """Make `n` lines that are wanted, or fewer if `until()` becomes true, and measure how near they are to the data."""
    known = known_lines(corpus)
    lines, found = find_lines(trained, corpus, known, n, wanted, seed, until)
    new = float(np.mean([line not in known for line in found.lines]))
    whole = not in_pieces(corpus)
    distance = median_distance([line for line in lines if line not in known], known) if whole else None
    usual = usual_distance(corpus) if whole else None
    return Made(lines, trained, None, len(found.lines), found.accepted, new, distance, usual)


def in_pieces(corpus: Corpus) -> bool:
    """Whether the lines are so long that what is learned, and made, are windows of them."""
    train = corpus.tokens.train
    return 2 * len(train.cuts) > len(train.length_N)


def familiar(lines: Collection[str], n: int) -> Callable[[str], bool]:
    """Return the condition that all runs of `n` characters of a line, with its ends, occur in these lines."""

    def runs(line: str) -> set[str]:
        padded = "\n" * (n - 1) + line + "\n" * (n - 1)
        return {padded[first : first + n] for first in range(len(padded) - n + 1)}

    occurring = set().union(*map(runs, lines))
    return lambda line: runs(line) <= occurring


def find_lines(
    trained: Trained,
    corpus: Corpus,
    known: Collection[str],
    n: int,
    wanted: Wanted = Wanted(),
    seed: int = 0,
    until: Callable[[], bool] = lambda: False,
) -> tuple[list[str], Found]:
    """Return up to `n` lines that are wanted, and all that were drawn; `known` are the lines of the data.

    Where too few lines are like those of a short list, only what was asked for counts.
    """
    fitted = wanted.fitted(corpus)
    whole = not in_pieces(corpus)
    for wishes in (fitted, replace(wanted, temperature=fitted.temperature, best_of=1)):
        key, sampling, best_of = jax.random.key(seed), SamplingParams(wishes.temperature or 1.0), wishes.best_of or 1
        found = find(key, trained, n * best_of, wishes.accept(known), wishes.start, sampling, whole=whole, until=until)
        if found.accepted >= n or until():
            break
    return [trained.vocab.decode(row) for row in likeliest(found.samples, n)], found


def likeliest(samples: Samples, n: int) -> np.ndarray:
    """(n, T) of each n-th part of the samples, in order, the line of the highest log-probability by token.

    What a model makes of a few lines is mostly doubt. Its own judgement tells words from noise.
    """
    mean_B = samples.log_prob_B / (1 + (samples.token_BT != MARK).sum(1))
    parts = np.array_split(np.arange(len(mean_B)), min(n, len(mean_B))) if len(mean_B) else []
    return samples.token_BT[np.array([part[mean_B[part].argmax()] for part in parts], int)]


def usual_distance(corpus: Corpus, most: int = 300) -> float | None:
    """The median distance of held-out lines to the nearest of train, or of each line to the nearest other."""
    train, _, test = corpus.lines
    if test:
        return median_distance(test[:most], train)
    lines = sorted(set(train))
    return median_distance(lines, lines)
