"""Measure how fast models train and sample, beside makemore.py (`--peer`).

Both have the same lines, batch, context, widths and precision. Times include batches and the optimiser, but not
compilation.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.inference.draw import draw
from makemore_jax.models.registry import MODELS, build
from makemore_jax.recipe import is_matrix

from ..shared import cli
from ..shared.flags import one_of
from . import peer
from .timing import (
    RATIO,
    RATIO_NOTE,
    PeerContest,
    ask,
    matrix_rate,
    own_process,
    ratio,
    seconds,
    take_turns,
)

NAMES = ("bigram", "mlp", "bow", "rnn", "gru", "transformer")
PEER = "makemore.py"


@dataclass(frozen=True)
class Sizes(PeerContest):
    """Sizes that our models and makemore.py's share; the defaults are makemore.py's."""

    layers: int = 4
    """Number of layers of the transformer."""
    heads: int = 4
    """Number of attention heads of the transformer."""
    width: int = 64
    """Width of embeddings and hidden layers."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table that describe makemore.py."""
        return {PEER: ">13,.0f", **RATIO} if self.peer else {}

    def build(self, name: str, corpus: mm.Corpus) -> mm.Model:
        """Build our model with the sizes of makemore.py's."""
        sizes = {"vocab": corpus.vocab.size, "context": corpus.context, "window": corpus.context, "layers": self.layers}
        sizes |= {"heads": self.heads, "embed": self.width, "hidden": self.width}
        return build(name, **{size: sizes[size] for size in MODELS[name].config.__dataclass_fields__ if size in sizes})

    def contest(
        self,
        process: ProcessPoolExecutor,
        column: str,
        units: int,
        ours: Callable[[], None],
        theirs: Callable[..., None],
        **flags: Any,
    ) -> dict[str, float]:
        """Measure the columns that both benchmarks share: units per second by medians, and the ratio.

        `ours()` and `theirs(**flags)`, a function of `peer`, each do `units` of work.
        """
        device = "cuda" if jax.default_backend() == "gpu" else "cpu"
        flags |= {"layers": self.layers, "heads": self.heads, "width": self.width, "device": device}
        contender = partial(ask, process, theirs, folder=str(self.peer), data=str(self.data), **flags)
        turns = take_turns({column: ours} | ({PEER: contender} if self.peer else {}), self.rounds)
        rates = {name: units / float(np.median(values)) for name, values in turns.items()}
        return rates | (ratio(turns[PEER], turns[column]) if self.peer else {})


@dataclass(frozen=True)
class Train(Sizes):
    """Measure how fast the models of makemore.py train at its default sizes, in lines per second."""

    models: tuple[Annotated[str, one_of(NAMES)], ...] = NAMES
    """Models to measure."""
    batch: int = 32
    """Batch size, in lines."""
    steps: int = 50
    """Number of training steps per call; ours run as one program."""
    seeds: int = 1
    """Train this many seeds at once by vmap, and count a line for each; makemore.py trains them one by one."""
    bfloat16: bool = False
    """Compute in bfloat16."""
    compiled: bool = False
    """Compile makemore.py's models with torch.compile."""


@dataclass(frozen=True)
class Sample(Sizes):
    """Measure how many names per second the transformer samples, after a short training."""

    rows: tuple[int, ...] = (10, 1000)
    """Numbers of names to sample at once."""
    steps: int = 500
    """Number of steps that our model trains before sampling, so that its lines are as long as names."""


def model_flops(params: dict) -> int:
    """FLOP per token of a training step: 6 for each weight of a matrix product, two forward and four backward.

    As in Kaplan et al. 2020 (arXiv:2001.08361), embeddings do not count, nor do attention's own products.
    """
    leaves, looked_up = jax.tree_util.tree_leaves_with_path(params), ("embed", "position")
    return 6 * sum(leaf.size for path, leaf in leaves if is_matrix(path, leaf) and path[-1].key not in looked_up)


def training_call(model: mm.Model, corpus: mm.Corpus, config: Train) -> Callable[[], None]:
    """Make a call that takes `config.steps` training steps of every seed."""
    recipe = mm.Recipe(batch=config.batch, learning_rate=5e-4, bfloat16=config.bfloat16)
    init, steps = mm.training(model, corpus, recipe, in_place=True)
    advance, key = partial(steps, count=config.steps), jax.random.key(1)
    if config.seeds > 1:
        init, advance, key = jax.vmap(init), jax.vmap(advance), jax.random.split(key, config.seeds)
    state = init(key)

    def call() -> None:
        nonlocal state
        state, losses = advance(state)
        losses.block_until_ready()

    return call


def benchmark_train(config: Train) -> dict:
    """Measure lines per second of each model, and its MFU: its FLOP per second relative to a large matrix product's."""
    jax.config.update("jax_enable_compilation_cache", False)  # so that compiling can be timed
    jax.config.update("jax_default_matmul_precision", None if config.bfloat16 else "float32")  # as PyTorch: no TF32
    corpus, rows, lines = mm.load(config.data), {}, config.batch * config.steps * config.seeds
    peak = matrix_rate(jnp.bfloat16 if config.bfloat16 else jnp.float32)
    print(f"a large matrix product: {peak / 1e9:,.0f} GFLOP per second, which is 100% MFU")
    print("every step is one of AdamW, makemore.py's optimiser")
    print(f"speeds are medians of the turns{f'; {RATIO_NOTE}' if config.peer else ''}\n")
    formats = {"compile s": ">11.1f", "ms/step": ">10.3f", "MFU": ">8.1%", "lines/s": ">12,.0f"}
    table = cli.Table(model="<12", **formats, **config.columns)
    with own_process() as process:
        for name in config.models:
            model = config.build(name, corpus)
            ours = training_call(model, corpus, config)
            compiling = seconds(ours) - seconds(ours)
            flags = {"batch": config.batch, "bfloat16": config.bfloat16, "compiled": config.compiled}
            flags |= {"model": name, "count": config.steps * config.seeds}
            row = config.contest(process, "lines/s", lines, ours, peer.steps, **flags)
            token_flops = model_flops(jax.eval_shape(model.init, jax.random.key(0)))
            flops = token_flops * float(corpus.tokens.train.length_N.mean()) * row["lines/s"]
            per_step = lines / config.steps / row["lines/s"]
            rows[name] = {"compile s": compiling, "ms/step": 1e3 * per_step, "MFU": flops / peak, **row}
            table.row(model=name, **rows[name])
    summary = {"batch": config.batch, "matrix_flops": peak, "models": rows}
    if config.peer:
        summary["geometric_mean"] = float(np.exp(np.mean([np.log(row["ratio"]) for row in rows.values()])))
        print(f"geometric mean of the ratios: {summary['geometric_mean']:.1f}")
    return summary


def benchmark_sample(config: Sample) -> dict:
    """Measure names per second for each number of names at once."""
    jax.config.update("jax_default_matmul_precision", "float32")
    corpus, rows, seeds = mm.load(config.data), {}, itertools.count()
    model = config.build("transformer", corpus)
    init, steps = mm.training(model, corpus, mm.Recipe(batch=32, learning_rate=1e-3))
    state, _ = steps(init(jax.random.key(0)), config.steps)
    trained = mm.Trained(model, state.params, corpus.vocab, corpus.context)
    print(f"speeds are medians of the turns{f'; {RATIO_NOTE}' if config.peer else ''}\n")
    table = cli.Table(**{"names at once": "<16,", "names/s": ">12,.0f"}, **config.columns)
    with own_process() as process:
        for count in config.rows:
            ours = lambda n=count: jax.block_until_ready(draw(jax.random.key(next(seeds)), trained, n).token_BT)
            rows[count] = config.contest(process, "names/s", count, ours, peer.names, model="transformer", count=count)
            table.row(**{"names at once": count}, **rows[count])
    return {"rows": rows}
