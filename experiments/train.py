"""Train any neural model on any text file, and compare its loss with those of counting models.

Run it:   python -m experiments.train --model transformer
Stop it:  Ctrl-C saves, and --resume continues as if it had never stopped; --out names the run, if it is not the default
Then:     python -m experiments.sample runs/transformer
          python -m experiments.inspect runs/transformer
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from tqdm import tqdm

import makemore_jax as mm
from makemore_jax.data import token_files
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.token_files import first_lines
from makemore_jax.distributed.mesh import Layout, lay_out, shards_to_fit
from makemore_jax.distributed.processes import agreed, alone, gather, in_turn, is_first, require_same
from makemore_jax.errors import require, require_float, require_positive
from makemore_jax.inference.evaluate import bits_per_byte, exact_loss
from makemore_jax.learning.training import first_state
from makemore_jax.models.interface import Model, num_params
from makemore_jax.models.registry import NEURAL, resolve
from makemore_jax.runs.saved_run import Evaluation, SavedRun

from .shared import cli
from .shared.figures import drawing, tensorboard
from .shared.flags import Output, Seed, Text, Trains, chosen_sizes, one_of, with_model
from .shared.signals import REQUEST, Stopped
from .shared.starting import continued, introduce_new_symbols, refuse_longer, starting_point
from .shared.usage import command_line

SHOWN = 6  # samples printed at each evaluation


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Trains, Text):
    """Train a neural model on the lines of a text file."""

    model: Annotated[str, one_of(NEURAL)] = "transformer"
    """Model to train. The flags below are for its sizes and recipe; see --model NAME --help for those of another."""
    holdout: float | None = None
    """Share of the lines to hold out for dev, and for test; by default a tenth. 0 trains on all lines, to the end."""
    stream: bool = False
    """For data larger than memory: encode the text into files beside the data, and read batches from these files."""
    evaluate_every: int = 500
    """Steps between evaluations on dev; each evaluation prints samples and saves a checkpoint."""
    save_every: float = 300.0
    """Also save a checkpoint when this many seconds have passed since the last one."""
    devices: int | None = None
    """Number of devices that share each batch (data parallelism); by default 1, or all devices of all processes."""
    shards: int | None = None
    """Split the training state among this many devices (FSDP); by default, the fewest with which it fits in memory."""
    coordinator: str | None = None
    """HOST:PORT of process 0, if several processes run this command; not needed on SLURM, Open MPI or a TPU pod."""
    processes: int | None = None
    """Number of processes."""
    process: int | None = None
    """Index of this process, from 0; process 0 prints and writes."""
    patience: int | None = None
    """Early stopping: stop after this many evaluations without a lower dev loss."""
    samples: int = 1000
    """Number of samples to draw at the end, to measure how many are new; 0 skips this."""
    init_from: Path | None = None
    """Fine-tune weights of the same sizes: a run, a file that sample --export wrote, or a folder of GPT-2. Symbols
    that only the data has are added to its vocabulary."""
    out: Path | None = None
    """Run folder; by default runs/MODEL."""
    resume: bool = False
    """Continue the run in that folder with its own settings; flags that affect the result must not change."""
    tensorboard: bool = False
    """Also write the losses as TensorBoard events."""

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "evaluate_every", "devices", "shards", "patience")
        require_float("save_every", self.save_every)
        require(0 <= self.samples <= 10**6, f"`samples` is {self.samples}; it must be from 0 to 1,000,000")

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("runs") / self.model

    @property
    def encoded(self) -> Encoding:
        """How these flags turn text into tokens."""
        return continued(super().encoded._replace(holdout=self.holdout), self, self.folder)


def run(config: Any) -> dict:
    """Train and report; if several processes run this, each does its share, and the first one prints."""
    with cli.join_processes(config):
        return train_and_report(config)


def train_and_report(config: Any) -> dict:
    """Train, and print the losses of the best weights."""
    out = config.folder
    layout = lay_out(config.devices, config.shards or 1)  # an impossible layout is refused before the data is read
    refuse_longer(config, out)
    with agreed():
        init, init_sha256 = starting_point(config, out)
    corpus = in_turn(partial(stream, config)) if config.stream else None  # the first process encodes for all
    with agreed():
        corpus = corpus or config.load()
        model, recipe = resolve(config.model, corpus.sizes, config.recipe, chosen_sizes(config))
        recipe = recipe.fitted(len(corpus.tokens.train.length_N))
    identity = {"files": ("loss.png",), "resume": config.resume, "init_sha256": init_sha256, "batch": recipe.batch}
    with cli.claim(config, out, corpus.digest, **identity) as folder:
        require_same(folder.identity)
        layout, key = fitting_layout(layout, model, recipe, config), jax.random.key(config.seed)
        training = SavedRun(key, model, corpus, recipe, folder, layout=layout, init=init)
        levels = mm.baselines(corpus)
        summary = {"experiment": "train", "model": config.model, "seed": config.seed, **cli.environment()}
        summary |= {"parameters": num_params(training.now.state.params), "baselines": levels}
        introduce(config, corpus, summary, layout)
        cli.tell_optimizer(recipe, model)
        if init:
            introduce_new_symbols(init.vocab, corpus.vocab)
        if config.resume:
            print(
                f"continuing from step {training.now.step:,}" if training.resumed else "nothing was saved yet: step 0"
            )
        began = time.perf_counter()
        trained = train(config, training, out)
        print(f"{training.now.step:,} steps in {time.perf_counter() - began:.0f} s; best on dev at step", end=" ")
        print(f"{training.now.best_step:,}:")
        summary |= {"steps": training.now.step, "best_step": training.now.best_step}
        summary |= losses(config, corpus, training)
        summary |= novelty(config, corpus, trained)
        print(f"saved in {cli.shown(out)}: {command_line('sample', out)}")
        folder.write_json("summary.json", summary)
        if not config.no_figures and is_first():
            with drawing(folder.file("loss.png")) as path:
                draw_losses(config, training, levels, path)
    return summary


def stream(config: Any) -> mm.Corpus:
    """Load a corpus that is larger than memory."""
    report = lambda message: print(cli.printable(message))
    return token_files.load(config.data, config.encoded, report=report)


def introduce(config: Any, corpus: mm.Corpus, summary: dict, layout: Layout) -> None:
    """Print the model, the data, the devices and the losses to beat."""
    lines = ", ".join(f"{name} {len(tokens.length_N):,}" for name, tokens in corpus.tokens.items())
    print(f"{config.model}: {summary['parameters']:,} parameters; {cli.shown(config.data)}:", end=" ")
    units = "windows" if config.context_length else "documents" if config.separator else "lines"
    print(f"{lines} {units}, {corpus.vocab.size:,} symbols")
    if (unknown := corpus.vocab.unknown) > 0:
        print(f"{np.mean(corpus.judged.stream_M == unknown):.2%} of the dev tokens are unknown {config.unit}s")
    if config.holdout == 0:
        print("nothing is held out: dev below means the train lines, so it cannot show whether the model only copies")
    if config.max_length:
        print(f"lines are cut to {config.max_length:,} characters")
    if layout.devices > 1:
        split = f", the state split into {layout.shards} shards" if layout.shards > 1 else ""
        owners = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        print(f"{layout.devices} devices{owners} share the batches{split}")
    print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in summary["baselines"].items()))


def train(config: Any, training: SavedRun, out: Path) -> mm.Trained:
    """Train to the end, and print the losses and some samples at each evaluation."""
    sample_key = jax.random.split(jax.random.key(config.seed), 3)[2]
    writer = tensorboard(out) if config.tensorboard and is_first() else None
    print(f"{'step':>8}{'batches':>9}{'dev':>9} {'tokens/s':>12}   samples (*: the lowest loss on dev so far)")

    def show(evaluation: Evaluation) -> None:
        if not is_first():
            return
        texts = "  ".join(cli.clip(text, 24) for text in mm.sample(sample_key, evaluation.trained, SHOWN))
        losses = f"{evaluation.train:>9.4f}{evaluation.dev:>9.4f}{'*' if evaluation.best else ' '}"
        tqdm.write(f"{evaluation.step:>8,}{losses}{evaluation.tokens_per_second:>12,.0f}   {texts}")
        sys.stdout.flush()
        if writer:
            for name in ("train", "dev"):
                writer.add_scalar(f"loss/{name}", getattr(evaluation, name), evaluation.step)
                writer.flush()

    at_once = lambda: training.evaluating and alone()  # with several processes, none may leave an evaluation
    with REQUEST.noted(unless=at_once, patient=lambda: training.begun):
        options = {name: getattr(config, name) for name in ("evaluate_every", "patience", "save_every")}
        options |= {"on_evaluation": show, "should_stop": lambda: bool(REQUEST.number)}
        trained = training.train(label=config.model, progress=is_first(), **options)
    if training.interrupted:
        go_on = command_line("train", "--out", out, "--resume") if alone() else "the same command with --resume"
        print(f"stopped at step {training.now.step:,} and saved; to continue: {go_on}", flush=True)
        raise Stopped(int(gather(REQUEST.number or 0).max()))  # the signal may have come to another process
    return trained


def fitting_layout(layout: Layout, model: Model, recipe: mm.Recipe, config: Any) -> Layout:
    """The layout that the flags ask for; without `shards`, the state is split until it fits in the devices' memory."""
    if config.shards or layout.devices == 1:
        return layout
    state = jax.eval_shape(partial(first_state, model, recipe), jax.random.key(0), recipe.hyper)
    return lay_out(config.devices, shards_to_fit(state, layout.devices))


def losses(config: Any, corpus: mm.Corpus, training: SavedRun) -> dict:
    """Print the losses on train, dev and test; for byte pairs also in bits per byte, to compare vocabularies."""
    layout, measured = training.layout, corpus.tokens
    if corpus.streamed:
        measured = measured._replace(train=first_lines(measured.train))
    measured = {name: part for name, part in measured.items() if len(part.length_N)}
    params = layout.copy(training.now.best)
    nats = {name: exact_loss(training.model, params, part, layout.score_batch).nats for name, part in measured.items()}
    print("  ".join(f"{name} {value:.4f}" for name, value in nats.items()), f" nats per {config.unit}")
    if config.tokens != "bpe":
        return {"nats": nats}
    bits = {name: bits_per_byte(nats[name], part, corpus.vocab) for name, part in measured.items()}
    print("  ".join(f"{name} {value:.4f}" for name, value in bits.items()), " bits per byte")
    return {"nats": nats, "bits_per_byte": bits}


def draw_losses(config: Any, training: SavedRun, levels: dict[str, float], path: Path) -> None:
    """Draw the loss curves of train and dev, with the losses to beat."""
    curves = {"train": [row[:2] for row in training.now.losses]}
    curves["dev"] = [(step, dev) for step, _, dev in training.now.losses if dev is not None]
    mm.plot.losses({name: tuple(np.array(curve).T) for name, curve in curves.items()}, levels, path, unit=config.unit)


def novelty(config: Any, corpus: mm.Corpus, trained: mm.Trained) -> dict:
    """Sample, and count the new lines if the data is in memory."""
    if not (config.samples and is_first()):
        return {"novelty": None, "samples": []}
    texts = mm.sample(jax.random.key(config.seed), trained, config.samples)
    if corpus.streamed:
        return {"novelty": None, "samples": texts[:20]}
    new = corpus.novelty(texts)
    print(f"of {config.samples:,} samples {new['new']:,} are new", end="; ")
    return {"novelty": new, "samples": texts[:20]}


if __name__ == "__main__":
    cli.main(lambda: with_model(Config, sys.argv[1:]), run)
