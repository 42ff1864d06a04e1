"""Progress bars for the lessons: a notebook shows them while a cell runs, and none is left in it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from makemore_jax.progress import progress_bar


def watch(items: Iterable[Any]) -> Iterator[Any]:
    """Go through the items under a bar."""
    items = list(items)
    with progress_bar(len(items), "runs") as bar:
        for item in items:
            yield item
            bar.update()


def in_parts(run: Callable[[Any, Any], tuple[Any, Any]], state: Any, inputs: Any, parts: int = 20) -> tuple[Any, Any]:
    """The result of `run(state, inputs)`, which is a `jax.lax.scan` over the inputs, in parts under a bar.

    Returns the last state and the outputs of all steps. Only the waiting differs, not the numbers.
    """
    steps, outputs = len(jax.tree.leaves(inputs)[0]), []
    size = -(-steps // parts)
    with progress_bar(steps, "steps") as bar:
        for first in range(0, steps, size):
            part = jax.tree.map(lambda leaf, first=first: leaf[first : first + size], inputs)
            state, output = jax.block_until_ready(run(state, part))
            outputs.append(output)
            bar.update(size)
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outputs)
