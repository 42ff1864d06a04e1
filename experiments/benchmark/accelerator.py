"""Everything that is to be measured on an accelerator, in one call; on a CPU it runs too, and says so.

Training in float32 and bfloat16 at two sizes, against makemore.py eager and with torch.compile; sampling; many seeds.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli
from experiments.benchmark.models import HEADING, PEER_HEADING, Learner, Size, race, race_sampling, read
from experiments.benchmark.peer import connect
from experiments.benchmark.turns import WithPeer, matrix_rate
from makemore_jax import data, train
from makemore_jax.errors import require

DEFAULT, GPT2_SMALL = Size(), Size(12, 12, 768)
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
    summary: dict = {"benchmark": "accelerator", "matrix_flops": {}, "train": {}, "seconds_a_step": {}}
    with tempfile.TemporaryDirectory() as folder:
        for size, path in ((config.small, config.data), (config.large, full_lines(config.text, folder))):
            with connect(config.peer, path, there) as peer:
                cli.title(f"transformer, {size.layers} layers, {size.heads} heads, width {size.width}")
                summary["train"] |= precisions(config, size, path, peer, summary["matrix_flops"])
                if size == config.small:
                    cli.title("sampling")
                    with jax.default_matmul_precision("float32"):
                        summary["sample"] = race_sampling(*read(path), config.rows, peer, config.rounds)
    cli.title("seeds at once")
    print(f"{'seeds':<8}{'ms a step':>10}{'times one':>12}")
    tokens, vocab = read(config.data)
    for seeds in config.seeds:
        learner = Learner("transformer", tokens, vocab, train.Recipe(batch=config.batch), config.small, seeds=seeds)
        learner.steps(50)
        seconds = float(np.median([learner.steps(50) / 50 for _ in range(config.rounds)]))
        summary["seconds_a_step"][seeds] = seconds
        times = seconds / summary["seconds_a_step"][config.seeds[0]]
        print(f"{seeds:<8}{1e3 * seconds:>10.2f}{times:>12.1f}", flush=True)
    return summary


def precisions(config: Accelerator, size: Size, path: Path, peer, rates: dict) -> dict:
    """A size in float32 and bfloat16, against eager and compiled PyTorch."""
    found, (tokens, vocab) = {}, read(path)
    print(f"{'':<24}{HEADING}{PEER_HEADING if peer else ''}")
    for dtype in (jnp.float32, jnp.bfloat16):
        name, half = jnp.dtype(dtype).name, dtype == jnp.bfloat16
        with jax.default_matmul_precision("default" if half else "float32"):  # no TF32: PyTorch has none by default
            rates[name] = matrix_rate(dtype, side=8192 if jax.devices()[0].platform != "cpu" else 2048)
            learner = Learner("transformer", tokens, vocab, train.Recipe(batch=config.batch, bfloat16=half), size)
            for compiled in (False, True) if peer else (False,):
                label = f"{name}, {'compiled' if compiled else 'eager'}" if peer else name
                print(f"{label:<24}", end="", flush=True)
                request = {"model": "transformer", "bfloat16": half, "compiled": compiled, **size._asdict()}
                found[f"{size.width} wide, {label}"] = race(learner, peer, config.rounds, rates[name], **request)
        print(f"  a large matrix product in {name}: {rates[name] / 1e12:.2f} TFLOP a second")
    return found
