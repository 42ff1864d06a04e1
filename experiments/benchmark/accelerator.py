"""Everything that is to be measured on an accelerator, in one call; on a CPU it runs too, and says so.

Training in float32 and bfloat16 at two sizes, against makemore.py eager and with torch.compile; sampling; many seeds.
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments import cli
from experiments.benchmark.models import HEADING, PEER_HEADING, STEPS, Learner, Size, race, race_sampling, read
from experiments.benchmark.peer import Peer, connect
from experiments.benchmark.turns import WithPeer, matrix_rate
from makemore_jax import data, train
from makemore_jax.errors import require

DEFAULT, GPT2_SMALL = Size(), Size(12, 12, 768)
PRECISIONS = ("float32", "bfloat16")
BLOCK = 256  # tokens of a line of the text for it


@dataclass(frozen=True)
class Accelerator(WithPeer):
    """The transformer in two sizes and two precisions, sampling, and many seeds, on the accelerator that JAX finds."""

    text: Path = Path("data/verses.txt")
    """Text for the large size, cut into lines that fill its block."""
    batch: int = 32
    """Lines a step."""
    small: Size = DEFAULT
    """Layers, heads and width of the small size; makemore.py's."""
    large: Size = GPT2_SMALL
    """Layers, heads and width of the large size; GPT-2 small's."""
    rows: tuple[int, ...] = (10, 1000, 10_000)
    """How many names at once."""
    seeds: tuple[int, ...] = (1, 4, 16, 64, 256)
    """How many seeds at once, by vmap."""

    def __post_init__(self):
        super().__post_init__()
        require(self.batch > 0, f"--batch is {self.batch}; it must be at least 1")
        for name, values in (("rows", self.rows), ("seeds", self.seeds)):
            require(min(values, default=0) > 0, f"--{name} must be at least 1")


def full_lines(path: Path, folder: str) -> Path:
    """The text of a file as one, cut into lines of `BLOCK` tokens, in a new file."""
    text = " ".join(data.read_lines(path))
    width = BLOCK - 1  # and the end mark
    lines = [text[first : first + width].strip() for first in range(0, len(text) - width, width)]
    require(bool(lines), f"{path}: holds less than a line of {BLOCK} tokens; name a longer text")
    cut = Path(folder) / "lines.txt"
    cut.write_text("\n".join(lines), encoding="utf-8")
    return cut


def benchmark_accelerator(config: Accelerator) -> dict:
    """All tables, one after the other."""
    device = jax.devices()[0]
    there = {"cpu": "cpu", "gpu": "cuda"}.get(device.platform)
    require(there or not config.peer, f"--peer: PyTorch has no {device.platform}; leave it out")
    print(f"on {device.platform} {device.device_kind}" + ("; it is no accelerator" if there == "cpu" else ""))
    names, rates = read(config.data), {}
    for dtype in PRECISIONS:
        with multiplying_in(dtype):
            rates[dtype] = matrix_rate(dtype, side=2048 if there == "cpu" else 8192)
        print(f"a large matrix product in {dtype}: {rates[dtype] / 1e12:.2f} TFLOP a second")
    with tempfile.TemporaryDirectory() as folder:
        path = full_lines(config.text, folder)
        with connect(config.peer, config.data, there) as peer:
            raced = race_precisions(config, config.small, names, peer, rates)
            cli.title("sampling")
            with multiplying_in("float32"):
                sampled = race_sampling(*names, config.rows, peer, config.rounds)
        with connect(config.peer, path, there) as peer:
            raced |= race_precisions(config, config.large, read(path), peer, rates)
    cli.title("seeds at once")
    print(f"{'seeds':<8}{'ms a step':>10}{'times one':>12}")
    seconds: dict[int, float] = {}
    for seeds in config.seeds:
        learner = Learner("transformer", *names, train.Recipe(batch=config.batch), config.small, seeds=seeds)
        learner.steps(STEPS)
        seconds[seeds] = float(np.median([learner.steps(STEPS) / STEPS for _ in range(config.rounds)]))
        print(f"{seeds:<8}{1e3 * seconds[seeds]:>10.2f}{seconds[seeds] / seconds[config.seeds[0]]:>12.1f}", flush=True)
    summary = {"benchmark": "accelerator", "matrix_flops": rates, "train": raced, "sample": sampled}
    return summary | {"seconds_a_step": seconds}


def multiplying_in(dtype: str) -> contextlib.AbstractContextManager:
    """Inside, float32 is multiplied as such: on a GPU JAX would take TF32, and PyTorch does not."""
    return jax.default_matmul_precision("float32" if dtype == "float32" else "default")


def race_precisions(
    config: Accelerator, size: Size, lines: tuple[data.Tokens, int], peer: Peer | None, rates: dict
) -> dict:
    """A size in float32 and bfloat16, against eager and compiled PyTorch; `lines` is what `read` returns."""
    found = {}
    cli.title(f"transformer, {size.layers} layers, {size.heads} heads, width {size.width}")
    print(f"{'':<24}{HEADING}{PEER_HEADING if peer else ''}")
    for dtype in PRECISIONS:
        half = dtype == "bfloat16"
        with multiplying_in(dtype):
            learner = Learner("transformer", *lines, train.Recipe(batch=config.batch, bfloat16=half), size)
            for compiled in (False, True) if peer else (False,):
                label = f"{dtype}, {'compiled' if compiled else 'eager'}" if peer else dtype
                print(f"{label:<24}", end="", flush=True)
                request = {"model": "transformer", "bfloat16": half, "compiled": compiled, **size._asdict()}
                found[f"{size.width} wide, {label}"] = race(learner, peer, config.rounds, rates[dtype], **request)
    return found
