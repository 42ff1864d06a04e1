"""makemore.py as the other contestant: its own modules, data loader and `generate`, in a process of its own.

The process reads one request a line, does that much work, and answers with the seconds it took. For --peer FOLDER of
experiments.benchmark, where FOLDER is a clone of github.com/karpathy/makemore.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from makemore_jax.errors import InputError

ENDED = "makemore.py's process ended; is torch installed? pip install torch==2.13.0"
MODELS = ("bigram", "mlp", "bow", "rnn", "gru", "transformer")


class Peer:
    """The parent's end of the process."""

    def __init__(self, folder: Path, data: Path, device: str = "cpu"):
        """Start it on the lines of `data`; raises `InputError` where there is no PyTorch."""
        command = [sys.executable, "-m", "experiments.benchmark.peer", str(folder), str(data), device]
        quiet = os.environ | {"PYTHONWARNINGS": "ignore"}  # of its data loader, on machines smaller than its author's
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=quiet)
        self.answer()

    def answer(self) -> Any:
        """The next answer."""
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise InputError(ENDED)

    def ask(self, **request: Any) -> Any:
        """What it answers: seconds, mostly."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self.answer()


@contextlib.contextmanager
def connect(folder: Path | None, data: Path, device: str = "cpu") -> Iterator[Peer | None]:
    """The process while it is needed; none without a folder."""
    if not folder:
        yield None
        return
    peer = Peer(folder, data, device)
    try:
        yield peer
    finally:
        with contextlib.suppress(BrokenPipeError):
            peer.process.stdin.close()
        peer.process.wait()


def without_tensorboard() -> None:
    """makemore.py imports it; here its curves are not wanted, and it is not always installed."""
    writer = types.ModuleType("torch.utils.tensorboard")
    writer.SummaryWriter = lambda **_: types.SimpleNamespace(add_scalar=lambda *_: None, flush=lambda: None)
    sys.modules["torch.utils.tensorboard"] = writer


def serve(folder: str, data: str, device: str) -> None:
    """The child's end: makemore.py's training loop and sampler, as they are written there."""
    import torch

    without_tensorboard()
    sys.path.insert(0, folder)
    import makemore

    torch.manual_seed(3407)
    train, _ = makemore.create_datasets(data)
    make = {
        "bigram": makemore.Bigram,
        "mlp": makemore.MLP,
        "bow": makemore.BoW,
        "rnn": lambda config: makemore.RNN(config, cell_type="rnn"),
        "gru": lambda config: makemore.RNN(config, cell_type="gru"),
        "transformer": makemore.Transformer,
    }
    held: dict[tuple, tuple] = {}
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def ready(model: str, batch: int = 32, layers: int = 4, heads: int = 4, width: int = 64, compiled: bool = False):
        """A model of these sizes, its optimiser and its batches; makemore.py's defaults."""
        which = model, batch, layers, heads, width, compiled
        if which not in held:
            sizes = {"vocab_size": train.get_vocab_size(), "block_size": train.get_output_length()}
            config = makemore.ModelConfig(**sizes, n_layer=layers, n_head=heads, n_embd=width, n_embd2=width)
            module = make[model](config).to(device)
            optimizer = torch.optim.AdamW(module.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
            loader = makemore.InfiniteDataLoader(train, batch_size=batch, pin_memory=True, num_workers=4)
            held[which] = torch.compile(module) if compiled else module, optimizer, loader
        return held[which]

    def steps(count: int, bfloat16: bool = False, **which: Any) -> float:
        module, optimizer, loader = ready(**which)
        began = time.perf_counter()
        for _ in range(count):
            x, y = (part.to(device) for part in loader.next())
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                _, loss = module(x, y)
            module.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        wait()
        return time.perf_counter() - began

    def names(rows: int, **which: Any) -> float:
        module, *_ = ready(**which)
        start, length = torch.zeros(rows, 1, dtype=torch.long, device=device), train.get_output_length() - 1
        began = time.perf_counter()
        makemore.generate(module, start, length, top_k=None, do_sample=True)
        wait()
        return time.perf_counter() - began

    print("answer 0", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"steps": steps, "names": names}[request.pop("do")](**request)
        print("answer", json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
