"""Train any neural model on any file, with the counting models' losses beside it.

Run it:   python -m experiments.train --model transformer
Stop it:  Ctrl-C saves; the same command with --resume goes on, as if it had never stopped
Then:     python -m experiments.sample runs/transformer
"""

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments import cli
from experiments.logbook import Logbook
from experiments.task import Corpus, Text, baselines, config_type, load, model_flag, plan_batches, sizes_of
from makemore_jax import checkpoint, data, plot, sharding, train
from makemore_jax.errors import InputError, require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params, size
from makemore_jax.models import NEURAL, build
from makemore_jax.sample import sample

CHUNK = 50  # steps between looks at the keyboard and moves of the progress bar
NOVELTY_SAMPLES = 1000


@dataclass(frozen=True)
class Config(Text):
    """Train a neural model on the lines of a text file."""

    model: Literal[NEURAL] = "transformer"
    """Which model; its own sizes are flags below."""
    seed: int = 0
    """Seed of the initial weights, the batches and the samples."""
    evaluate_every: int = 500
    """Steps between evaluations on dev; each also prints samples and saves a checkpoint."""
    devices: int = 1
    """Share the lines of each batch among so many devices."""
    patience: int | None = None
    """Stop early after so many evaluations without a better dev loss."""
    out: Path | None = None
    """Run folder; without it, runs/MODEL."""
    resume: bool = False
    """Go on with the run in that folder; the other flags must be as they were."""
    overwrite: bool = False
    """Replace what the folder holds."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""
    tensorboard: bool = False
    """Write the curves for TensorBoard, too."""

    def __post_init__(self):
        require(self.evaluate_every > 0, f"--evaluate-every is {self.evaluate_every}; it must be at least 1")
        require(self.patience is None or self.patience > 0, f"--patience is {self.patience}; it must be at least 1")
        require(self.devices > 0, f"--devices is {self.devices}; it must be at least 1")
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")


def learn(config: Any, corpus: Corpus, model: Model, out: Path) -> tuple[Params, Logbook]:
    """Train, saving as it goes; returns the best parameters and the logbook.

    Raises:
      InputError: the loss is no longer finite; the checkpoints before are kept.
    """
    init_key, run_key, sample_key = jax.random.split(jax.random.key(config.seed), 3)
    recipe, every = config.recipe, config.evaluate_every
    state = train.start(jax.jit(model.init)(init_key), recipe.hyper, train.adamw(recipe))
    tokens, plan = plan_batches(recipe, corpus, config.devices)
    gather, place = sharding.spread(config.devices, data.from_host(tokens) if corpus.on_host else data.batch)
    with (
        checkpoint.manager(out / "checkpoints/last") as last,
        checkpoint.manager(out / "checkpoints/best", keep=1) as best,
        Logbook(config, corpus, model, sample_key, out, last, best) as log,
    ):
        if config.resume:
            state = log.resume(state)
        try:
            state = train.fit(
                run_key,
                place(state),
                () if corpus.on_host else place(tokens),
                recipe.hyper,
                loss=train.batch_loss(model, corpus.vocab.size, plan, recipe, gather),
                optimizer=train.adamw(recipe),
                count=recipe.steps,
                chunk=every if every <= CHUNK else math.gcd(every, CHUNK),
                label=config.model,
                on_chunk=log,
                note=log.note,
            )
        except InputError as error:
            kept = f"step {last.latest_step()} is saved" if last.all_steps() else "nothing was saved yet"
            raise InputError(f"{error}; {kept}") from None
        return (checkpoint.restore(best, state.params) if best.all_steps() else state.params), log


def folder(config: Any) -> Path:
    """The run folder of a configuration."""
    return config.out or Path("runs") / config.model


def run(config: Any) -> dict:
    """Train, and report how good the best checkpoint is."""
    out = folder(config)
    sharding.spread(config.devices)  # fails here, and not after the data is read, where there are fewer
    corpus = load(config)
    sizes = sizes_of(config.model, dataclasses.asdict(config.sizes), corpus)
    model = build(config.model, sizes)
    cli.open_run(config, out, corpus.digest, config.resume)
    cli.write_json(out / "model.json", {"model": config.model, "sizes": sizes, "block": corpus.block})
    if not (config.resume and (out / "vocab.json").exists()):
        corpus.vocab.save(out / "vocab.json")
    require(
        data.Vocab.load(out / "vocab.json") == corpus.vocab, f"{out}/vocab.json: not the vocabulary of {config.data}"
    )
    parameters = size(jax.eval_shape(model.init, jax.random.key(0)))
    levels = baselines(corpus)
    lines = ", ".join(f"{name} {len(tokens.length_N):,}" for name, tokens in corpus.tokens.items())
    print(f"{config.model}: {parameters:,} parameters; {config.data}: {lines} lines, {corpus.vocab.size:,} symbols")
    if config.level == "word":
        dev_M = corpus.tokens["dev"].stream_M
        print(f"{np.mean(dev_M == data.UNKNOWN):.2%} of the tokens of dev are unknown words")
    if config.max_length:
        print(f"lines are cut to {config.max_length:,} characters")
    print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in levels.items()))

    began = time.perf_counter()
    params, log = learn(config, corpus, model, out)
    if log.interrupted:
        print(f"stopped at step {log.step:,}, saved in {out}; to go on, run the same command with --resume")
        sys.exit(130)
    losses = {name: evaluate(model, params, tokens).nats for name, tokens in corpus.measured.items()}
    print(f"{log.step:,} steps in {time.perf_counter() - began:.0f} s; best on dev at step {log.best_step:,}:")
    print("  ".join(f"{name} {nats:.4f}" for name, nats in losses.items()) + f"  nats a {config.level}")
    allowed, key = corpus.vocab.drawable_V, jax.random.key(config.seed)
    drawn = sample(key, model, params, [[]] * NOVELTY_SAMPLES, corpus.block, allowed=allowed)
    texts, new = [corpus.vocab.decode(row) for row in drawn.token_BT], None
    if corpus.sides:
        new = corpus.novelty(texts)
        print(f"of {NOVELTY_SAMPLES:,} samples {new['new']:,} are new", end="; ")
    print(f"saved in {out}: python -m experiments.sample {out}")
    if not config.no_figures:
        steps = np.array([row["step"] for row in log.metrics])
        curves = {name: (steps, np.array([row[name] for row in log.metrics])) for name in ("train", "dev")}
        plot.losses(curves, levels, out / "loss.png", unit=config.level)
    summary = {"experiment": "train", "model": config.model, "seed": config.seed, **cli.environment()}
    summary |= {"parameters": parameters, "steps": log.step, "best_step": log.best_step, "nats": losses}
    summary |= {"dev_nats_to_beat": levels, "novelty": new, "samples": texts[:20]}
    cli.write_json(out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, model_flag(sys.argv[1:], Config.model)), run)
