"""Lines of text from a trained model: all that are drawn, or only those that a condition accepts."""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import jax
import numpy as np

from makemore_jax.errors import require, require_kinds, require_lists
from makemore_jax.inference.sampler import BUCKETS, Samples, SamplingParams, sample_tokens
from makemore_jax.inference.trained import Trained

MOST_DRAWS = 128  # for each line that is wanted, before `draw` gives up
BATCH = BUCKETS[-1][0]  # lines drawn at once


class Found(NamedTuple):
    """The lines that were accepted, of all that were drawn."""

    samples: Samples  # at most as many as were wanted
    accepted: int  # how many were accepted, wanted or not
    lines: list[str]  # all that were drawn


def draw(
    key: jax.Array,
    trained: Trained,
    n: int,
    prefix: str = "",
    sampling: SamplingParams = SamplingParams(),
    accept: Callable[[str], bool] | None = None,
    excluding: Collection[str] = (),
) -> Samples:
    """Draw `n` lines as tokens, with their log-probabilities; draw number i depends only on the key and i.

    Lines that `accept` refuses and lines in `excluding` are rejected, and others are drawn in their place. The
    log-probabilities remain those of the model.

    Raises:
      InputError: a prefix with a character that the model does not know, or one that leaves no room; or too many lines
        are rejected.
    """
    require_kinds(key=key, trained=trained, n=n, prefix=prefix)
    require_lists(excluding=excluding)
    require(n > 0, f"`n` is {n}; it must be at least 1")
    if accept is None and not excluding:
        return next(batches(key, trained, prefix, sampling, n))
    wanted = lambda line: line not in excluding and (accept is None or accept(line))
    found = find(key, trained, n, wanted, prefix, sampling, n * MOST_DRAWS)
    why = "not among the excluded lines" if accept is None else "as they should be"
    which = f"{found.accepted} of {len(found.lines)} samples are {why}, of {n} to be drawn"
    require(len(found.samples.token_BT) == n, f"{which}; raise `temperature`")
    return found.samples


def find(
    key: jax.Array,
    trained: Trained,
    n: int,
    accept: Callable[[str], bool],
    prefix: str = "",
    sampling: SamplingParams = SamplingParams(),
    most: int = 50_000,
    whole: bool = False,
    until: Callable[[], bool] = lambda: False,
) -> Found:
    """Draw lines until `accept` has taken `n` of them, `most` are drawn, or `until()` becomes true.

    `whole` refuses lines that were cut at the length of the longest line of the data. `accept` is called once for each
    line, in order, so that it may remember lines, as `once` does.
    """
    kept, lines, accepted = [], [], 0
    for drawn in batches(key, trained, prefix, sampling, min(BATCH, most)):
        texts = [trained.vocab.decode(row) for row in drawn.token_BT]
        lines += texts
        taken = [i for i, text in enumerate(texts) if (drawn.ended_B[i] or not whole) and accept(text)]
        accepted += len(taken)
        kept.append(Samples(*(leaf[np.array(taken, int)] for leaf in drawn)))
        if accepted >= n or len(lines) >= most or until():
            break
    return Found(Samples(*(np.concatenate(leaves)[:n] for leaves in zip(*kept, strict=True))), accepted, lines)


def batches(key: jax.Array, trained: Trained, prefix: str, sampling: SamplingParams, count: int) -> Iterator[Samples]:
    """Yield the lines that this key draws, `count` at a time, without end."""
    prefix_T, allowed = trained.vocab.encode_line(prefix), trained.vocab.sampleable_V
    first = 0
    while True:
        prefixes = [prefix_T] * count
        yield sample_tokens(key, trained.model, trained.params, prefixes, trained.context, sampling, allowed, first)
        first += count


def once() -> Callable[[str], bool]:
    """Return a condition that takes each line once."""
    seen: set[str] = set()
    return lambda line: line not in seen and not seen.add(line)


def sample(
    key: jax.Array,
    trained: Trained,
    n: int = 1,
    *,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    excluding: Collection[str] = (),
    accept: Callable[[str], bool] | None = None,
) -> list[str]:
    """Draw `n` lines that start with `prefix`; none is in `excluding`, such as `set(corpus.lines.train)`.

    `accept` decides whether to take a line, such as `lambda line: len(line) < 7`. Use `draw` to see which lines ended
    by themselves and which were cut.

    Raises:
      InputError: as for `draw` and `SamplingParams`.
    """
    drawn = draw(key, trained, n, prefix, SamplingParams(temperature, top_k, top_p), accept, excluding)
    return [trained.vocab.decode(row) for row in np.asarray(drawn.token_BT)]
