"""The part of the benchmark that is about models: training, sampling, and the time from a cold start.

Contestants take turns, ours and makemore.py's (`--peer FOLDER`, a clone of karpathy/makemore), on the same lines,
batch, block, widths and precision. Work is counted in lines a second: batch making and optimiser included, compilation
not.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli
from experiments.peer import MODELS, Peer
from makemore_jax import data, train
from makemore_jax.errors import require
from makemore_jax.model import Model
from makemore_jax.models import build
from makemore_jax.sample import sample

WIDTH = 64  # makemore.py's default for every width
TURN = 0.5  # seconds


@dataclass(frozen=True)
class Train:
    """Training steps of each model of makemore.py at its default sizes, in lines a second."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    peer: Path | None = None
    """The folder of a clone of karpathy/makemore, to take turns with."""
    models: tuple[Literal[MODELS], ...] = MODELS
    """Which models."""
    batch: int = 32
    """Lines a step."""
    bfloat16: bool = False
    """Ours computes in bfloat16."""
    rounds: int = 5
    """How many turns each contestant takes."""

    def __post_init__(self):
        require(self.batch > 0, f"--batch is {self.batch}; it must be at least 1")
        require(self.rounds > 0, f"--rounds is {self.rounds}; it must be at least 1")


@dataclass(frozen=True)
class Sample:
    """Names that the default transformer makes a second, after a short training."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    peer: Path | None = None
    """The folder of a clone of karpathy/makemore, to take turns with."""
    rows: tuple[int, ...] = (10, 1000)
    """How many names at once."""
    rounds: int = 5
    """How many turns each contestant takes."""

    def __post_init__(self):
        require(min(self.rows, default=0) > 0, "--rows must be at least 1")
        require(self.rounds > 0, f"--rounds is {self.rounds}; it must be at least 1")


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the first lecture to its first figure, with a cold and a warm compilation cache."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    rounds: int = 3
    """How many processes of each kind."""

    def __post_init__(self):
        require(self.rounds > 0, f"--rounds is {self.rounds}; it must be at least 1")


def sizes_of(name: str, vocab: int, block: int) -> dict:
    """makemore.py's default sizes, as ours."""
    own = {
        "bigram": {},
        "mlp": {"window": block, "embed": WIDTH, "hidden": WIDTH},
        "bow": {"block": block, "embed": WIDTH, "hidden": WIDTH},
        "rnn": {"embed": WIDTH, "hidden": WIDTH},
        "gru": {"embed": WIDTH, "hidden": WIDTH},
        "transformer": {"block": block, "layers": 4, "heads": 4, "embed": WIDTH},
    }
    return {"vocab": vocab, **own[name]}


def matrix_rate() -> float:
    """Float operations a second of a large matrix product, the most that this machine does."""
    side = 2048
    a = jnp.ones((side, side))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / float(np.median(seconds))


def useful(params: Any) -> int:
    """Float operations of a training step for each token: 6 for each weight of a matrix, looked-up rows left out.

    Two forward and four backward (Kaplan et al. 2020, arXiv:2001.08361); attention's own products are not counted.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    looked_up = ("embed", "position")
    return 6 * sum(leaf.size for path, leaf in leaves if train.is_matrix(path, leaf) and path[-1].key not in looked_up)


def prepare(name: str, config: Any, recipe: train.Recipe) -> tuple[Callable, Callable, Model, data.Tokens]:
    """Ours: seconds of so many steps, the parameters after them, the model, and the lines that it learns from."""
    lines = data.read_lines(config.data)
    vocab = data.Vocab.of(lines)
    tokens, plan = data.plan(data.tokenize(lines, vocab), recipe.rows)
    model = build(name, sizes_of(name, vocab.size, int(tokens.length_N.max())))
    optimizer, on_device = train.adamw(recipe), jax.device_put(tokens)
    loss = train.batch_loss(model, vocab.size, plan, recipe)
    held = {"state": train.start(jax.jit(model.init)(jax.random.key(0)), recipe.hyper, optimizer)}
    program = jax.jit(train.run, static_argnames=("loss", "optimizer", "count"), donate_argnames="state")

    def steps(count: int) -> float:
        began = time.perf_counter()
        held["state"], losses = program(
            jax.random.key(1), held["state"], on_device, recipe.hyper, loss=loss, optimizer=optimizer, count=count
        )
        losses.block_until_ready()
        return time.perf_counter() - began

    return steps, lambda: held["state"].params, model, tokens


def take_turns(ours: Callable[[], float], theirs: Callable[[], float] | None, rounds: int) -> dict:
    """Rates of ours and theirs turn by turn: medians, and the ratio's median, least and most."""
    pairs = np.array([(ours(), theirs() if theirs else np.nan) for _ in range(rounds)])
    found = {"ours": float(np.median(pairs[:, 0]))}
    if theirs:
        ratio = pairs[:, 0] / pairs[:, 1]
        found |= {"theirs": float(np.median(pairs[:, 1])), "ratio": float(np.median(ratio))}
        found |= {"least": float(ratio.min()), "most": float(ratio.max())}
    return found


def versus(found: dict) -> str:
    """The columns about the peer."""
    if "theirs" not in found:
        return ""
    return f"{found['theirs']:>12,.0f}{found['ratio']:>9.1f} x  ({found['least']:.1f} to {found['most']:.1f})"


def benchmark_train(config: Train) -> dict:
    """Lines a second of every model, and the share of the machine's matrix rate that the useful arithmetic reaches."""
    peer, rate, rows = Peer(config.peer, config.data) if config.peer else None, matrix_rate(), {}
    print(f"a large matrix product: {rate / 1e9:,.0f} GFLOP a second")
    heading = f"{'makemore.py':>12}{'ratio':>11}  (least to most)" if peer else ""
    print(f"{'model':<12}{'compile, s':>11}{'ms a step':>11}{'useful':>8}{'lines/s':>12}{heading}")
    for name in config.models:
        recipe = train.Recipe(batch=config.batch, learning_rate=5e-4, bfloat16=config.bfloat16)
        steps, params, _, tokens = prepare(name, config, recipe)
        first, again = steps(50), steps(50)
        count = max(50, round(50 * TURN / again / 50) * 50)
        compile_s = first - again
        steps(count)
        theirs = None
        if peer:
            turn = max(5, round(20 * TURN / peer.ask(do="steps", model=name, batch=config.batch, count=20)))
            theirs = lambda name=name, turn=turn: (
                turn * config.batch / peer.ask(do="steps", model=name, batch=config.batch, count=turn)
            )
        ours = lambda steps=steps, count=count: count * config.batch / steps(count)
        found = take_turns(ours, theirs, config.rounds)
        share = found["ours"] * float(tokens.length_N.mean()) * useful(params()) / rate
        rows[name] = {**found, "compile_seconds": compile_s, "share_of_matrix_rate": share}
        step_ms = 1e3 * config.batch / found["ours"]
        print(
            f"{name:<12}{compile_s:>11.1f}{step_ms:>11.3f}{share:>8.1%}{found['ours']:>12,.0f}{versus(found)}",
            flush=True,
        )
    summary = {"benchmark": "train", "batch": config.batch, "matrix_flops": rate, "models": rows, **cli.environment()}
    if peer:
        peer.close()
        summary["geometric_mean"] = float(np.exp(np.mean([np.log(row["ratio"]) for row in rows.values()])))
        print(f"geometric mean of the ratios: {summary['geometric_mean']:.1f} x")
    return summary


def benchmark_sample(config: Sample) -> dict:
    """Names a second of the default transformer."""
    peer, rows = Peer(config.peer, config.data) if config.peer else None, {}
    steps, params, model, tokens = prepare("transformer", config, train.Recipe(batch=32, learning_rate=1e-3))
    steps(500)  # so that lines end as names do
    block = int(tokens.length_N.max())
    heading = f"{'makemore.py':>12}{'ratio':>11}  (least to most)" if peer else ""
    print(f"{'names at once':<16}{'names/s':>12}{heading}")
    for count in config.rows:

        def ours(count=count, seeds=itertools.count()) -> float:
            began, made = time.perf_counter(), 0
            while time.perf_counter() - began < TURN:
                sample(jax.random.key(next(seeds)), model, params(), [[]] * count, block).token_BT.block_until_ready()
                made += count
            return made / (time.perf_counter() - began)

        def theirs(count=count) -> float:
            seconds, made = 0.0, 0
            while seconds < TURN:
                seconds += peer.ask(do="names", model="transformer", rows=count)
                made += count
            return made / seconds

        ours()
        rows[count] = take_turns(ours, theirs if peer else None, config.rounds)
        print(f"{count:<16,}{rows[count]['ours']:>12,.0f}{versus(rows[count])}", flush=True)
    if peer:
        peer.close()
    return {"benchmark": "sample", "rows": rows, **cli.environment()}


def benchmark_start(config: Start) -> dict:
    """From the start of a process to the first figure in its folder, in seconds."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(config.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for kind in seconds:
                flags = ["--steps", "0", "--data", str(config.data), "--out", f"{folder}/{kind}"]
                place = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
                place["XDG_CACHE_HOME"] = f"{folder}/cache"
                began = time.perf_counter()
                process = [sys.executable, "-m", "experiments.bigram", *flags]
                child = subprocess.Popen(process, env=place, stdout=subprocess.DEVNULL)
                while child.poll() is None and not list(Path(folder).glob(f"{kind}/*.png")):
                    time.sleep(0.01)
                seconds[kind].append(time.perf_counter() - began)
                require(child.wait() == 0, "experiments.bigram failed")
    for kind, values in seconds.items():
        print(f"experiments.bigram to its first figure, {kind} compilation cache: {np.median(values):.1f} s")
    return {"benchmark": "start", "seconds": seconds, **cli.environment()}
