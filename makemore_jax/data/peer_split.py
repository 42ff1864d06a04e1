"""The split of makemore.py, for comparison with published figures."""

from pathlib import Path

import numpy as np

from makemore_jax.data.lines import Reading, Split, digest, read_lines
from makemore_jax.errors import require


def makemore_split(path: str | Path, reading: Reading = Reading()) -> tuple[Split[list[str]], str]:
    """Split the lines of a file as makemore.py does, and return them with their digest.

    The held-out lines, at most 1,000, are the ones that makemore.py draws with its default seed. Some of them are in
    train as well, because lines repeat, and dev and test are the same lines. Losses are therefore too low: compare them
    only with published figures.
    """
    lines = read_lines(path, *reading)
    require(len(lines) >= 10, f"{str(path)!r}: {len(lines)} lines are too few to hold a tenth out; add more")
    shuffled, held_out = [lines[i] for i in _torch_permutation(3407, len(lines))], min(1000, len(lines) // 10)
    train, test = shuffled[:-held_out], shuffled[-held_out:]
    return Split(train, test, test), digest(lines)


def _torch_permutation(seed: int, count: int) -> list[int]:
    """Return `torch.randperm(count)` after `torch.manual_seed(seed)`: a shuffle by the Mersenne Twister, on the CPU."""
    order, bits = list(range(count)), np.random.MT19937()
    bits._legacy_seeding(seed)
    for i, raw in enumerate(bits.random_raw(count - 1).tolist()):
        j = i + raw % (count - i)
        order[i], order[j] = order[j], order[i]
    return order
