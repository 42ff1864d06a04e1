"""The part of the benchmark that is about models: training, sampling, and the time from a cold start.

Ours and makemore.py (`--peer`) have the same lines, batch, block, widths and precision. Work is counted in lines a
second: batch making and optimiser included, compilation not.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments.benchmark.peer import MODELS, Peer, connect
from experiments.benchmark.turns import Turns, WithPeer, matrix_rate, ratio, take_turns, without_cache
from makemore_jax import data, sharding, train
from makemore_jax.errors import require
from makemore_jax.models import build
from makemore_jax.sample import sample

TURN = 0.5  # seconds
TAUGHT = 500  # steps before names are drawn, so that lines end as names do
STEPS = 50  # of ours in one program
HEADING = f"{'compile, s':>11}{'ms a step':>10}{'useful':>8}{'lines/s':>12}"
PEER_HEADING = f"{'makemore.py':>13}{'ratio':>10}  (least to most)"


@dataclass(frozen=True)
class Train(WithPeer):
    """Training steps of each model of makemore.py at its default sizes, in lines a second."""

    models: tuple[Literal[MODELS], ...] = MODELS
    """Which models."""
    batch: int = 32
    """Lines a step."""

    def __post_init__(self):
        super().__post_init__()
        require(len(self.models) > 0, "--models names none; give at least one")
        require(self.batch > 0, f"--batch is {self.batch}; it must be at least 1")


@dataclass(frozen=True)
class Sample(WithPeer):
    """Names that the default transformer makes a second, after a short training."""

    rows: tuple[int, ...] = (10, 1000)
    """How many names at once."""

    def __post_init__(self):
        super().__post_init__()
        require(min(self.rows, default=0) > 0, "--rows must be at least 1")


@dataclass(frozen=True)
class Start(Turns):
    """Seconds from the start of the first lecture to its first figure, with a cold and a warm compilation cache."""

    rounds: int = 3
    """How many processes of each kind."""


class Size(NamedTuple):
    """Sizes that ours share with makemore.py's; its defaults."""

    layers: int = 4
    heads: int = 4
    width: int = 64


def sizes_of(name: str, vocab: int, block: int, size: Size = Size()) -> dict:
    """The same, as a model of ours names them."""
    width = size.width
    own = {
        "bigram": {},
        "mlp": {"window": block, "embed": width, "hidden": width},
        "bow": {"block": block, "embed": width, "hidden": width},
        "rnn": {"embed": width, "hidden": width},
        "gru": {"embed": width, "hidden": width},
        "transformer": {"block": block, "layers": size.layers, "heads": size.heads, "embed": width},
    }
    return {"vocab": vocab, **own[name]}


def useful(params: Any) -> int:
    """Float operations of a training step for each token: 6 for each weight of a matrix, looked-up rows left out.

    Two forward and four backward (Kaplan et al. 2020, arXiv:2001.08361); attention's own products are not counted.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    looked_up = ("embed", "position")
    return 6 * sum(leaf.size for path, leaf in leaves if train.is_matrix(path, leaf) and path[-1].key not in looked_up)


class Learner:
    """One model of ours in training, or several seeds of it as one program."""

    def __init__(
        self,
        name: str,
        tokens: data.Tokens,
        vocab: int,
        recipe: train.Recipe,
        size: Size = Size(),
        seeds: int = 1,
        devices: int = 1,
        padded: bool = False,
    ):
        """Initialise it, with `tokens` on the device, or on several that share each batch.

        `padded` batches, for comparison, have a row for each line, all as wide as the longest.
        """
        tokens, self.plan = data.plan(tokens, recipe.lines_at_once, rows=devices)
        if padded:
            self.plan = self.plan._replace(widths=self.plan.widths[-1:] * recipe.lines_at_once)
        gather, place = sharding.spread(devices)
        self.block, self.recipe, self.seeds = int(np.max(tokens.length_N)), recipe, seeds
        self.model, self.tokens = build(name, sizes_of(name, vocab, self.block, size)), place(tokens)
        self.line_flops = useful(jax.eval_shape(self.model.init, jax.random.key(0))) * self.plan.line_tokens
        loss, optimizer = train.batch_loss(self.model, vocab, self.plan, recipe, gather), train.adamw(recipe)

        def begin(key: jax.Array) -> train.TrainState:
            return train.start(self.model.init(key), recipe.hyper, optimizer)

        def go_on(state: train.TrainState, key: jax.Array, tokens: data.Tokens, count: int):
            return train.run(key, state, tokens, recipe.hyper, loss=loss, optimizer=optimizer, count=count)

        self.key, self.go_on = jax.random.key(1), go_on
        if seeds > 1:
            self.key, begin = jax.random.split(self.key, seeds), jax.vmap(begin)
            self.go_on = lambda state, key, tokens, count: jax.vmap(lambda s, k: go_on(s, k, tokens, count))(state, key)
        self.go_on = jax.jit(self.go_on, static_argnames="count", donate_argnames="state")
        self.state = place(jax.jit(begin)(self.key))
        self.compile_seconds = None

    def steps(self, count: int) -> float:
        """Seconds of so many steps."""
        began = time.perf_counter()
        self.state, losses = self.go_on(self.state, self.key, self.tokens, count=count)
        losses.block_until_ready()
        return time.perf_counter() - began


def read(path: Path) -> tuple[data.Tokens, int]:
    """The lines of a file, and the size of their vocabulary."""
    lines = data.read_lines(path)
    vocab = data.Vocab.of(lines)
    return data.tokenize(lines, vocab), vocab.size


def race(learner: Learner, peer: Peer | None, rounds: int, rate: float, **request: Any) -> dict:
    """Ours, and makemore.py at the same work, turn by turn; prints the row of the table that begins with its name.

    `rate` is what the machine does at most; `request` names the peer's model and what it differs in from its default.
    """
    if learner.compile_seconds is None:
        with without_cache():
            first = learner.steps(STEPS)
        learner.compile_seconds = first - learner.steps(STEPS)
    calls, lines = max(1, round(TURN / learner.steps(STEPS))), learner.recipe.batch * learner.seeds
    contestants = {"ours": lambda: sum(learner.steps(STEPS) for _ in range(calls)) / (calls * STEPS * lines)}
    if peer:
        batch = learner.recipe.batch
        peer.ask(do="steps", batch=batch, count=5, **request)  # compiles, where it does, and starts its loader
        turn = max(5, round(20 * TURN / peer.ask(do="steps", batch=batch, count=20, **request)))
        contestants["theirs"] = lambda: peer.ask(do="steps", batch=batch, count=turn, **request) / (turn * batch)
    turns = take_turns(contestants, rounds)
    seconds = {name: float(np.median(values)) for name, values in turns.items()}
    found = {"compile_seconds": learner.compile_seconds, "lines_a_second": 1 / seconds["ours"]}
    found["share_of_matrix_rate"] = learner.line_flops / seconds["ours"] / rate
    print(f"{learner.compile_seconds:>11.1f}{1e3 * lines * seconds['ours']:>10.3f}", end="")
    print(f"{found['share_of_matrix_rate']:>8.1%}{found['lines_a_second']:>12,.0f}", end="")
    if peer:
        found["peer_lines_a_second"] = 1 / seconds["theirs"]
        found["ratio"] = ratio(turns["theirs"], turns["ours"])
        print(f"{found['peer_lines_a_second']:>13,.0f}{found['ratio']}", end="")
    print(flush=True)
    return found


def benchmark_train(config: Train) -> dict:
    """Lines a second of every model, and the share of the machine's matrix rate that the useful arithmetic reaches."""
    (tokens, vocab), rate, rows = read(config.data), matrix_rate(), {}
    print(f"a large matrix product: {rate / 1e9:,.0f} GFLOP a second")
    print(f"{'model':<12}{HEADING}{PEER_HEADING if config.peer else ''}")
    with connect(config.peer, config.data) as peer:
        for name in config.models:
            recipe = train.Recipe(batch=config.batch, learning_rate=5e-4)
            print(f"{name:<12}", end="")
            rows[name] = race(Learner(name, tokens, vocab, recipe), peer, config.rounds, rate, model=name)
    summary = {"benchmark": "train", "batch": config.batch, "matrix_flops": rate, "models": rows}
    if config.peer:
        summary["geometric_mean"] = float(np.exp(np.mean([np.log(row["ratio"].median) for row in rows.values()])))
        print(f"geometric mean of the ratios: {summary['geometric_mean']:.1f} x")
    return summary


def benchmark_sample(config: Sample) -> dict:
    """Names a second of the default transformer."""
    tokens, vocab = read(config.data)
    with connect(config.peer, config.data) as peer:
        return {"benchmark": "sample", "rows": race_sampling(tokens, vocab, config.rows, peer, config.rounds)}


def race_sampling(tokens: data.Tokens, vocab: int, rows: tuple[int, ...], peer: Peer | None, rounds: int) -> dict:
    """The default transformer and `generate` of makemore.py turn by turn, for each number of names at once."""
    found, seeds = {}, itertools.count()
    learner = Learner("transformer", tokens, vocab, train.Recipe(batch=32, learning_rate=1e-3))
    learner.steps(TAUGHT)
    print(f"{'names at once':<16}{'names/s':>10}{PEER_HEADING if peer else ''}")

    def ours(count: int) -> float:
        prefixes = [[]] * count
        began = time.perf_counter()
        drawn = sample(jax.random.key(next(seeds)), learner.model, learner.state.params, prefixes, learner.block)
        drawn.token_BT.block_until_ready()
        return time.perf_counter() - began

    def theirs(count: int) -> float:
        return peer.ask(do="names", model="transformer", rows=count)

    def turn(call: Callable, count: int) -> float:
        """Seconds a name, over as many calls as fill a turn."""
        seconds = [call(count)]
        while sum(seconds) < TURN:
            seconds.append(call(count))
        return sum(seconds) / (len(seconds) * count)

    for count in rows:
        ours(count)  # compiles
        calls = {"ours": ours, "theirs": theirs} if peer else {"ours": ours}
        turns = take_turns({name: partial(turn, call, count) for name, call in calls.items()}, rounds)
        found[count] = {name: 1 / float(np.median(values)) for name, values in turns.items()}
        print(f"{count:<16,}{found[count]['ours']:>10,.0f}", end="")
        if peer:
            found[count]["ratio"] = ratio(turns["theirs"], turns["ours"])
            print(f"{found[count]['theirs']:>13,.0f}{found[count]['ratio']}", end="")
        print(flush=True)
    return found


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
    return {"benchmark": "start", "seconds": seconds}
