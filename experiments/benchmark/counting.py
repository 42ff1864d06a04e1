"""The part of the benchmark that is about counting and reading: bigrams, a step on their table, passes over a text."""

import importlib.util
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import bigram_neural
from experiments.benchmark.turns import Turns, contestant, ratio, take_turns
from experiments.bigram_corpus import count, count_dict
from makemore_jax import data, train
from makemore_jax.errors import require
from makemore_jax.models import bigram, ngram


@dataclass(frozen=True)
class Counts(Turns):
    """Count the bigrams: the lecture's dict loop, numpy.bincount, and the jitted scatter-add."""

    repeat: int = 4
    """Count the data so many times over, as one stream; 4 times the names are about a million pairs."""

    def __post_init__(self):
        super().__post_init__()
        require(self.repeat > 0, f"--repeat is {self.repeat}; it must be at least 1")


@dataclass(frozen=True)
class Bigram(Turns):
    """A full-batch step of the neural bigram: on all pairs, on their count table, and the lecture's in PyTorch."""


@dataclass(frozen=True)
class Text:
    """Passes over a text file of any size: read it, find its characters, encode it, put it into token files, count."""

    data: Path = Path("data/verses.txt")
    """Text file in UTF-8, one thing a line."""


def benchmark_counts(config: Counts) -> dict:
    """Times of counting the whole stream, index arithmetic included."""
    lines = data.read_lines(config.data) * config.repeat
    vocab = data.Vocab.of(lines)
    x_N, y_N = data.tokenize(lines, vocab).pairs
    on_device = jax.device_put((x_N[None], y_N[None]))
    table = ngram.Config(vocab.size)

    def scatter_add() -> jax.Array:
        return ngram.count(table, *on_device).block_until_ready()

    def bincount() -> np.ndarray:
        return np.bincount(x_N * vocab.size + y_N, minlength=vocab.size**2)

    require(np.array_equal(scatter_add().ravel(), bincount()), "the contestants do not agree")
    calls = {
        "dict loop": lambda: count_dict(lines, vocab.symbols[0]),
        "numpy.bincount": bincount,
        "scatter-add": scatter_add,
    }
    turns = take_turns({name: contestant(call) for name, call in calls.items()}, config.rounds)
    return {"benchmark": "counts", "pairs": len(x_N), **against(turns, "scatter-add")}


def benchmark_bigram(config: Bigram) -> dict:
    """Times of one step, all pairs each."""
    lines = data.read_lines(config.data)
    vocab = data.Vocab.of(lines)
    tokens = data.tokenize(lines, vocab)
    model = bigram.bigram(bigram.Config(vocab.size))
    hyper = {"learning_rate": jnp.float32(50), "penalty": jnp.float32(0.01)}
    key = jax.random.key(0)
    state = train.start(model.init(key), hyper, bigram_neural.descent)

    def descend(loss: Callable, source, count: int) -> Callable:
        steps = partial(train.run, loss=loss, optimizer=bigram_neural.descent, count=count)
        program = jax.jit(steps)
        return contestant(lambda: jax.block_until_ready(program(key, state, source, hyper)), count)

    contestants = {
        "on the pairs": descend(partial(bigram_neural.pair_loss, model), jax.device_put(tokens.pairs), 10),
        "on the table": descend(bigram_neural.table_loss, count(vocab, tokens), 20_000),
    }
    if importlib.util.find_spec("torch"):
        contestants["the lecture in torch"] = contestant(torch_step(tokens, vocab.size))
    else:
        print("torch is not installed: the lecture's own step is left out")
    turns = take_turns(contestants, config.rounds)
    return {"benchmark": "bigram", "pairs": len(tokens.pairs[0]), **against(turns, "on the table")}


def torch_step(tokens: data.Tokens, vocab: int) -> Callable:
    """The full-batch step of the lecture, written in its way in PyTorch."""
    import torch

    x_N, y_N = (torch.from_numpy(side.astype(np.int64)) for side in tokens.pairs)
    W = torch.randn((vocab, vocab), requires_grad=True)
    every = torch.arange(len(x_N))

    def step() -> None:
        counts = (torch.nn.functional.one_hot(x_N, num_classes=vocab).float() @ W).exp()
        prob = counts / counts.sum(1, keepdims=True)
        loss = -prob[every, y_N].log().mean() + 0.01 * (W**2).mean()
        W.grad = None
        loss.backward()
        W.data += -50 * W.grad

    return step


def benchmark_text(config: Text) -> dict:
    """MB a second of each pass, in memory that does not grow with the file, and the most memory that was used."""
    size, before = config.data.stat().st_size / 1e6, peak_mb()
    rates = {}

    def timed(name: str, call: Callable) -> Any:
        began = time.perf_counter()
        value = call()
        rates[name] = size / (time.perf_counter() - began)
        print(f"{name:<28}{rates[name]:>8,.0f} MB of text a second", flush=True)
        return value

    timed("read", lambda: sum(map(len, data.read_chunks(config.data))))
    vocab = timed("read, find the characters", lambda: data.Vocab.of(data.read_chunks(config.data)))
    timed("read, encode", lambda: sum(len(vocab.encode(text)) for text in data.read_chunks(config.data)))
    with tempfile.TemporaryDirectory() as folder:
        stored = timed("the two passes of --stream", lambda: data.write_store(Path(folder) / "tokens", config.data))
        memory = {"before": before, "after": peak_mb()}
        table, stream_M = ngram.Config(vocab.size), stored.tokens["train"].stream_M
        ngram.count_stream(table, stream_M[: 2**22])  # compiles
        began = time.perf_counter()
        ngram.count_stream(table, stream_M)
        counted = len(stream_M) / (time.perf_counter() - began)
    print(f"{'count bigrams':<28}{counted / 1e6:>8,.0f} million a second")
    print(f"most memory: {memory['before']:,.0f} MB before, {memory['after']:,.0f} MB after")
    return {"benchmark": "text", "mb": size, "mb_a_second": rates, "pairs_a_second": counted, "memory_mb": memory}


def peak_mb() -> float:
    """The most memory that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def against(turns: dict[str, np.ndarray], ours: str) -> dict:
    """Print the table of times; returns the medians, and how many times longer than `ours` the others take."""
    seconds = {name: float(np.median(values)) for name, values in turns.items()}
    longer = {name: ratio(values, turns[ours]) for name, values in turns.items() if name != ours}
    for name, value in seconds.items():
        unit, size = ("s", 1) if value >= 1 else ("ms", 1e-3) if value >= 1e-3 else ("us", 1e-6)
        times = f"{longer[name].median:>12,.2f} x {ours}" if name in longer else ""
        print(f"{name:<20}{value / size:>12,.2f} {unit:<3}{times}")
    return {"seconds": seconds, "times_longer": {name: found._asdict() for name, found in longer.items()}}
