"""What a training run does between chunks of steps: evaluate, print, save, and see whether to stop."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import CheckpointManager
from tqdm import tqdm

from experiments import cli
from makemore_jax import checkpoint
from makemore_jax.errors import InputError
from makemore_jax.loss import evaluate
from makemore_jax.model import Model
from makemore_jax.sample import sample
from makemore_jax.train import TrainState

SHOWN = 6  # samples at each evaluation


class Logbook:
    """The host's side of a run. What a resumed run must know stands in `progress`, saved beside the state.

    Inside `with`, the first Ctrl-C asks the run to stop at the end of its chunk, the second stops it at once.
    """

    def __init__(
        self,
        config: Any,
        corpus: Any,
        model: Model,
        key: jax.Array,
        out: Path,
        last: CheckpointManager,
        best: CheckpointManager,
    ):
        """Start an empty book for a run into the folder `out`; `key` draws the samples."""
        self.config, self.corpus, self.model, self.key = config, corpus, model, key
        self.out, self.last, self.best = out, last, best
        self.interrupted, self.step, self.metrics = False, 0, []
        self.progress = {"best_loss": np.array(np.inf), "best_step": np.array(0), "loss_sum": np.array(0.0)}
        self.mark = (0, time.perf_counter())  # step and time of the last evaluation
        self.writer = tensorboard(out) if config.tensorboard else None
        print(f"{'step':>8}{'train':>9}{'dev':>9} {'tokens/s':>12}   samples")

    def __enter__(self) -> "Logbook":
        def ask(*_):
            self.interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        self.handler = signal.signal(signal.SIGINT, ask)
        return self

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGINT, self.handler)

    @property
    def best_step(self) -> int:
        """The step of the best checkpoint; 0 before the first evaluation."""
        return int(self.progress["best_step"])

    def resume(self, state: TrainState) -> TrainState:
        """The newest saved state, or `state` if the run was ended before it could save one.

        Later metrics are struck out: the run will write them again.
        """
        if not self.last.all_steps():
            print("nothing was saved yet: going on from step 0")
            return state
        saved = checkpoint.restore(self.last, {"state": state, "progress": self.progress})
        self.progress, self.step = saved["progress"], int(saved["state"].step)
        for later in self.last.all_steps():
            if later > self.step:  # it could not be read, and nothing would be saved before it
                self.last.delete(later)
        path = self.out / "metrics.jsonl"
        rows = [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []
        self.metrics = [row for row in rows if row["step"] <= self.step]
        self.write_metrics()
        self.mark = (self.step, time.perf_counter())
        print(f"going on from step {self.step:,}")
        return saved["state"]

    def __call__(self, state: TrainState, losses: np.ndarray) -> bool:
        """After each chunk of steps; whether to stop."""
        self.step = int(state.step)
        self.progress["loss_sum"] = self.progress["loss_sum"] + losses.sum(dtype=np.float64)
        due = self.step % self.config.evaluate_every == 0 or self.step == self.config.recipe.steps
        if due:
            self.evaluate(state)
        if due or self.interrupted:
            self.save(self.last, {"state": state, "progress": jax.tree.map(np.asarray, self.progress)})
        patience = (self.config.patience or np.inf) * self.config.evaluate_every
        return self.interrupted or self.step - self.best_step >= patience

    def tokens_a_second(self) -> float:
        """Tokens predicted since the last evaluation, by the time since then."""
        seconds, steps = time.perf_counter() - self.mark[1], self.step - self.mark[0]
        return steps * self.config.recipe.batch * self.corpus.tokens["train"].length_N.mean() / seconds

    def note(self) -> dict[str, str]:
        """What the progress bar says beside the loss."""
        dev = {"dev": f"{self.metrics[-1]['dev']:.4f}"} if self.metrics else {}
        return dev | {"tokens/s": f"{self.tokens_a_second():,.0f}"}

    def evaluate(self, state: TrainState) -> None:
        """A row of metrics, a line of print with samples, and a checkpoint if it is the best so far."""
        per_second = self.tokens_a_second()
        dev = evaluate(self.model, state.params, self.corpus.tokens["dev"]).nats
        since = self.step - (self.metrics[-1]["step"] if self.metrics else 0)
        self.metrics.append({"step": self.step, "train": float(self.progress["loss_sum"]) / since, "dev": dev})
        self.write_metrics()
        better = dev < self.progress["best_loss"]
        if better:
            self.save(self.best, state.params)
            self.progress |= {"best_loss": np.array(dev), "best_step": np.array(self.step)}
        self.progress["loss_sum"] = np.array(0.0)
        drawn = sample(
            self.key, self.model, state.params, [[]] * SHOWN, self.corpus.block, allowed=self.corpus.vocab.drawable_V
        )
        texts = "  ".join(cli.clip(self.corpus.vocab.decode(row), 24) for row in drawn.token_BT)
        losses = f"{self.metrics[-1]['train']:>9.4f}{dev:>9.4f}{'*' if better else ' '}"
        tqdm.write(f"{self.step:>8,}{losses}{per_second:>12,.0f}   {texts}")  # above the progress bar
        sys.stdout.flush()
        self.mark = (self.step, time.perf_counter())

    def save(self, checkpoints: CheckpointManager, tree: Any) -> None:
        """Save under this step.

        Raises:
          InputError: the disk is full or read-only; what was saved before is kept.
        """
        try:
            checkpoint.save(checkpoints, self.step, tree)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{checkpoints.directory}: cannot save ({reason}); earlier checkpoints are kept") from None

    def write_metrics(self) -> None:
        """Replace metrics.jsonl, one object an evaluation; no times in it, so that equal runs have equal files."""
        part = self.out / "metrics.jsonl.part"
        part.write_text("".join(cli.to_json(row) + "\n" for row in self.metrics))
        part.replace(self.out / "metrics.jsonl")
        if self.writer and self.metrics:
            for name in ("train", "dev"):
                self.writer.add_scalar(f"loss/{name}", self.metrics[-1][name], self.metrics[-1]["step"])
            self.writer.flush()


def tensorboard(out: Path) -> Any:
    """A writer of TensorBoard event files.

    Raises:
      InputError: the package for it is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs a package more: pip install '.[tensorboard]'") from None
    return SummaryWriter(str(out))
