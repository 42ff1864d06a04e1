"""makemore.py as the other contestant: its own modules, data loader and `generate`, in a process of its own.

The process reads one request a line, does that much work, and answers with the seconds it took.
Used by experiments.benchmark --peer FOLDER, where FOLDER is a clone of github.com/karpathy/makemore.
"""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

from makemore_jax.errors import InputError, require

MODELS = ("bigram", "mlp", "bow", "rnn", "gru", "transformer")


class Peer:
    """The parent's end of the process."""

    def __init__(self, folder: Path, data: Path):
        """Start it on the lines of `data`; raises `InputError` where there is no makemore.py or no PyTorch."""
        require((folder / "makemore.py").is_file(), f"{folder}: no makemore.py in it; clone karpathy/makemore")
        command = [sys.executable, "-m", "experiments.peer", str(folder), str(data)]
        quiet = os.environ | {"PYTHONWARNINGS": "ignore"}  # of its data loader, on machines smaller than its author's
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=quiet)
        self.answer()

    def answer(self) -> Any:
        """The next answer."""
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise InputError("makemore.py's process ended; is torch installed? pip install torch==2.13.0")

    def ask(self, **request: Any) -> Any:
        """Seconds that the request took."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def serve(folder: str, data: str) -> None:
    """The child's end: makemore.py's training loop and sampler, as they are written there."""
    import torch

    writer = types.ModuleType("torch.utils.tensorboard")  # not used here, and not always installed
    writer.SummaryWriter = None
    sys.modules["torch.utils.tensorboard"] = writer
    sys.path.insert(0, folder)
    import makemore

    torch.manual_seed(3407)
    train, test = makemore.create_datasets(data)
    sizes = {"vocab_size": train.get_vocab_size(), "block_size": train.get_output_length()}
    config = makemore.ModelConfig(**sizes, n_layer=4, n_head=4, n_embd=64, n_embd2=64)
    make = {
        "bigram": makemore.Bigram,
        "mlp": makemore.MLP,
        "bow": makemore.BoW,
        "rnn": lambda config: makemore.RNN(config, cell_type="rnn"),
        "gru": lambda config: makemore.RNN(config, cell_type="gru"),
        "transformer": makemore.Transformer,
    }
    models: dict[tuple, tuple] = {}

    def ready(name: str, batch: int) -> tuple:
        if (name, batch) not in models:
            model = make[name](config)
            optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
            loader = makemore.InfiniteDataLoader(train, batch_size=batch, pin_memory=True, num_workers=4)
            models[name, batch] = model, optimizer, loader
        return models[name, batch]

    def steps(model: str, batch: int, count: int) -> float:
        module, optimizer, loader = ready(model, batch)
        began = time.perf_counter()
        for _ in range(count):
            x, y = loader.next()
            _, loss = module(x, y)
            module.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began

    def names(model: str, rows: int) -> float:
        module, *_ = ready(model, 32)
        start, length = torch.zeros(rows, 1, dtype=torch.long), train.get_output_length() - 1
        began = time.perf_counter()
        makemore.generate(module, start, length, top_k=None, do_sample=True)
        return time.perf_counter() - began

    def best(model: str, count: int) -> dict:
        """The default run: the best loss on its test lines, evaluated each 500 steps, and the seconds up to it."""
        module, *_ = ready(model, 32)
        makemore.args = types.SimpleNamespace(device="cpu")
        began, reached = time.perf_counter(), {"nats": float("inf")}
        for step in range(500, count + 1, 500):
            steps(model, 32, 500)
            nats = makemore.evaluate(module, test, batch_size=100, max_batches=10)
            if nats < reached["nats"]:
                reached = {"nats": nats, "step": step, "seconds": time.perf_counter() - began}
        return reached

    print("answer 0", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(
            "answer",
            json.dumps({"steps": steps, "names": names, "best": best}[request.pop("do")](**request)),
            flush=True,
        )


if __name__ == "__main__":
    serve(*sys.argv[1:])
