"""What the tests share: the embedded names, commands run in this process, a count of compilations.

Most of the time goes into compiling tiny programs. So the backend neither optimises nor fuses, which takes a quarter of
the time, and all workers and the processes that they start share a compilation cache. It is kept, and the next run
takes a fifth less time; `pytest --cache-clear` empties it. There are two simulated devices.
"""

import gc
import json
import os
import platform
import runpy
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit what the first process sets
    # Of this machine, since another one may lack the processor's instructions.
    cache = Path(__file__).parent.parent / ".pytest_cache/d/xla" / platform.node()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1 --xla_force_host_platform_device_count=2"
    if version("jaxlib").startswith("0.10."):  # later versions do not know the flag
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"  # faster than that, storing takes longer
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis
import jax
from safetensors.numpy import save_file

from makemore_jax.data.lines import read_lines
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from tests.browser import browser  # noqa: F401 (a fixture)
from tests.cases import GPT2, gpt2_weights

ROOT = Path(__file__).parent.parent
gc.set_threshold(50_000, 20, 50)  # tracing makes many objects and few cycles: this saves a twentieth of the time
hypothesis.settings.register_profile("untimed", deadline=None)  # no test depends on how busy the machine is
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def names():
    return read_lines(ROOT / "data/names.txt")


@pytest.fixture(scope="session")
def vocab(names):
    return Vocab.of(names)


@pytest.fixture(scope="session")
def tokens(names, vocab):
    return tokenize(names, vocab)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory, names):
    """A whole GPT-2 folder, with byte pairs learned from the names."""
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path_factory.mktemp("gpt2")
    encoding = tokenizers.ByteLevelBPETokenizer()
    encoding.train_from_iterator(names[:500], vocab_size=290, special_tokens=["<|endoftext|>"], show_progress=False)
    encoding.save_model(str(path))
    about = GPT2 | {"vocab_size": 290, "eos_token_id": 0}
    (path / "config.json").write_text(json.dumps(about))
    save_file(gpt2_weights(about), path / "model.safetensors")
    return path


@pytest.fixture(scope="session")
def compilations():
    """`with compilations() as events`: the list grows with every program that XLA compiles inside."""
    seen = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: seen.append(name))

    @contextmanager
    def record():
        seen.clear()
        events = []
        yield events
        events += [name for name in seen if name.endswith("backend_compile_duration")]

    return record


def pytest_collection_modifyitems(items):
    """The tests of commands run them whole, so they are slow."""
    for item in items:
        if "commands" in item.path.parts:
            item.add_marker(pytest.mark.slow)


def run_command(module, *flags):
    """Run a command as the shell would, in this process; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [module, *map(str, flags)])
        patch.chdir(ROOT)
        try:
            runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            return stop.code or 0
    return 0


@pytest.fixture
def command(capsys):
    """`run_command` with what it prints: (module, *flags) -> exit status, output, errors."""
    return lambda *args: (run_command(*args), *capsys.readouterr())
