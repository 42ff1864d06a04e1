"""Measure counting and reading: the bigram table, a training step on it, passes over a text."""

import importlib.util
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.chunks import read_chunks
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import read_lines
from makemore_jax.data.token_files import open_store, write_store
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require
from makemore_jax.files import embedded
from makemore_jax.learning.training import init_state, steps_on
from makemore_jax.models import ngram
from makemore_jax.models.registry import build

from ..shared import cli, lecture
from .timing import RATIO, RATIO_NOTE, Benchmark, Contest, ratio, seconds, take_turns

STEPS = {"on the pairs": 10, "on the table": 20_000}  # per call


@dataclass(frozen=True)
class Counts(Contest):
    """Measure how fast bigrams are counted: by the lecture's dict loop, numpy.bincount, and the jitted scatter-add."""

    repeat: int = 4
    """Repeat the data this many times, as one stream; four times the names are about a million pairs."""


@dataclass(frozen=True)
class Bigram(Contest):
    """Measure a full-batch step of the neural bigram: on all pairs, on their count table, and as in the lecture."""


@dataclass(frozen=True)
class Text(Benchmark):
    """Measure passes over a text file of any size: read, find the characters, encode, write token files, count."""

    data: Path = field(default_factory=partial(embedded, "verses.txt"))
    """Text file in UTF-8, one item per line."""


def benchmark_counts(config: Counts) -> dict:
    """Measure the time to count the whole stream, index arithmetic included."""
    lines = read_lines(config.data) * config.repeat
    vocab = Vocab.of(lines)
    x_N, y_N = tokenize(lines, vocab).pairs
    on_device, table = jax.device_put((x_N[None], y_N[None])), ngram.Config(vocab.size)
    calls = {
        "dict loop": lambda: lecture.count_dict(lines, vocab.symbols[0]),
        "numpy.bincount": lambda: np.bincount(x_N * vocab.size + y_N, minlength=vocab.size**2),
        "scatter-add": lambda: ngram.count(table, *on_device).block_until_ready(),
    }
    same = np.array_equal(calls["scatter-add"]().ravel(), calls["numpy.bincount"]())
    require(same, f"{config.data}: the contestants count differently")
    return {"pairs": len(x_N), **show(take_turns(calls, config.rounds), "scatter-add")}


def benchmark_bigram(config: Bigram) -> dict:
    """Measure the time per step; each step descends the lecture's loss over all pairs at the lecture's rate."""
    lines = read_lines(config.data)
    vocab = Vocab.of(lines)
    tokens, model = tokenize(lines, vocab), build("bigram", vocab=vocab.size)
    hyper = {"learning_rate": jnp.float32(50), "penalty": jnp.float32(0.01)}
    state = init_state(model.init(jax.random.key(0)), jax.random.key(1), hyper, lecture.descent)
    pair_loss = partial(lecture.pair_loss, model)
    on_pairs = steps_on(jax.device_put(tokens.pairs), pair_loss, lecture.descent)
    on_table = steps_on(lecture.count_table(vocab, tokens), lecture.table_loss, lecture.descent)
    calls = {
        "on the pairs": lambda: jax.block_until_ready(on_pairs(state, STEPS["on the pairs"])),
        "on the table": lambda: jax.block_until_ready(on_table(state, STEPS["on the table"])),
    }
    if importlib.util.find_spec("torch"):
        calls["the lecture in PyTorch"] = lecture_step(*tokens.pairs, vocab.size)
    turns = take_turns(calls, config.rounds)
    return show({name: values / STEPS.get(name, 1) for name, values in turns.items()}, "on the table")


def lecture_step(x_N: np.ndarray, y_N: np.ndarray, vocab: int) -> Callable[[], None]:
    """Make the lecture's full-batch step, written in PyTorch as in the lecture."""
    import torch  # pyright: ignore[reportMissingImports]  # measured where it is installed

    xs, ys = torch.from_numpy(x_N.astype(np.int64)), torch.from_numpy(y_N.astype(np.int64))
    W, rows = torch.randn((vocab, vocab), requires_grad=True), torch.arange(len(xs))

    def step() -> None:
        counts = (torch.nn.functional.one_hot(xs, num_classes=vocab).float() @ W).exp()
        probs = counts / counts.sum(1, keepdims=True)
        loss = -probs[rows, ys].log().mean() + 0.01 * (W**2).mean()
        loss.backward()
        W.data += -50 * W.grad
        W.grad = None

    return step


def show(turns: dict[str, np.ndarray], ours: str) -> dict:
    """Print the table of median times with their ratios to ours; return it."""
    print(f"microseconds: the median of the turns; {RATIO_NOTE}\n")
    table, rows = cli.Table(contestant="<24", microseconds=">16,.1f", **RATIO), {}
    for name, values in turns.items():
        rows[name] = {"microseconds": 1e6 * np.median(values)} | (ratio(values, turns[ours]) if name != ours else {})
        table.row(contestant=name, **rows[name])
    return {"contestants": rows}


def benchmark_text(config: Text) -> dict:
    """Measure MB per second of each pass, and the peak memory, which does not grow with the file."""
    path, rates, memory = config.data, {}, [peak_memory()]
    megabytes, vocab = path.stat().st_size / 1e6, Vocab.of(read_chunks(path))
    with tempfile.TemporaryDirectory() as folder:
        passes = {
            "read": lambda: sum(map(len, read_chunks(path))),
            "read, find the characters": lambda: Vocab.of(read_chunks(path)),
            "read, encode": lambda: sum(len(vocab.encode(text)) for text in read_chunks(path)),
            "read twice, write token files": lambda: write_store(Path(folder) / "tokens", path, Encoding()),
        }
        table = cli.Table(**{"pass": "<32", "MB/s": ">8,.0f"})
        for name, call in passes.items():
            rates[name] = megabytes / seconds(call)
            table.row(**{"pass": name, "MB/s": rates[name]})
        bigrams, stored = ngram.Config(vocab.size), open_store(Path(folder) / "tokens", path, Encoding())
        stream_M = stored.tokens.train.stream_M
        ngram.count_stream(bigrams, stream_M[:2])  # compiles
        counted = len(stream_M) / seconds(lambda: ngram.count_stream(bigrams, stream_M))
    memory.append(peak_memory())
    print(f"bigrams of the train lines counted: {counted / 1e6:,.0f} million per second")
    print(f"peak memory: {memory[0]:,.0f} MB before, {memory[1]:,.0f} MB after")
    return {"mb": megabytes, "mb_per_second": rates, "pairs_per_second": counted, "memory_mb": memory}


def peak_memory() -> float:
    """The most memory that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
