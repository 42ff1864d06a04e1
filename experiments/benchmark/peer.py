"""Run makemore.py as a contestant, with its own modules, data loader and `generate`, in a separate process.

`folder` is a clone of github.com/karpathy/makemore. Only that process imports PyTorch.
"""

import contextlib
import functools
import io
import runpy
import sys
import types
import warnings
from typing import Any


def without_tensorboard() -> None:
    """Replace the TensorBoard writer, which is not always installed, with one that writes nothing."""
    writer = types.ModuleType("torch.utils.tensorboard")
    writer.SummaryWriter = lambda **_: types.SimpleNamespace(add_scalar=lambda *_: None, flush=lambda: None)
    sys.modules["torch.utils.tensorboard"] = writer


@functools.cache
def load(folder: str, data: str) -> tuple[types.ModuleType, Any]:
    """Load the module makemore.py and its training set."""
    import torch

    without_tensorboard()
    warnings.simplefilter("ignore")  # its data loader warns on machines smaller than its author's
    sys.path.insert(0, folder)
    import makemore

    torch.manual_seed(3407)
    with contextlib.redirect_stdout(io.StringIO()):
        return makemore, makemore.create_datasets(data)[0]


@functools.cache
def prepare(
    folder: str, data: str, device: str, model: str, layers: int, heads: int, width: int, batch: int, compiled: bool
) -> tuple[Any, Any, Any]:
    """Make a model of these sizes, its optimiser and its batches, with makemore.py's defaults otherwise."""
    import torch

    makemore, train = load(folder, data)
    shape = {"vocab_size": train.get_vocab_size(), "block_size": train.get_output_length()}
    config = makemore.ModelConfig(**shape, n_layer=layers, n_head=heads, n_embd=width, n_embd2=width)
    classes = {"bigram": "Bigram", "mlp": "MLP", "bow": "BoW", "rnn": "RNN", "gru": "RNN", "transformer": "Transformer"}
    cell = {"cell_type": model} if model in ("rnn", "gru") else {}
    with contextlib.redirect_stdout(io.StringIO()):
        module = getattr(makemore, classes[model])(config, **cell).to(device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    workers = {"num_workers": 4, "multiprocessing_context": "fork"}  # its command forks; this process is spawned
    loader = makemore.InfiniteDataLoader(train, batch_size=batch, pin_memory=True, **workers)
    return torch.compile(module) if compiled else module, optimizer, loader


def steps(count: int, bfloat16: bool, device: str, **which: Any) -> None:
    """Take `count` training steps as makemore.py's training loop does."""
    import torch

    module, optimizer, loader = prepare(device=device, **which)
    for _ in range(count):
        x, y = (part.to(device) for part in loader.next())
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            _, loss = module(x, y)
        module.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    loss.item()  # waits for an accelerator


def names(count: int, folder: str, data: str, device: str, **which: Any) -> None:
    """Sample `count` names at once."""
    import torch

    makemore, train = load(folder, data)
    module, *_ = prepare(folder, data, device, batch=32, compiled=False, **which)
    start = torch.zeros(count, 1, dtype=torch.long, device=device)
    makemore.generate(module, start, train.get_output_length() - 1, top_k=None, do_sample=True).cpu()


if __name__ == "__main__":  # run makemore.py's own command: its path, then its flags
    without_tensorboard()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
