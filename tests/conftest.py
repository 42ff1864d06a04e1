"""What the tests share: the embedded names, commands run in this process, a count of compilations.

A compilation cache of the session's own spares commands, and processes that the tests start, what was compiled before.
Most of the time goes into compiling tiny programs, so the backend optimises none of them: half the time. There are two
simulated devices.
"""

import os
import runpy
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = tempfile.TemporaryDirectory(prefix="makemore_jax_tests_")
os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402 (reads the settings above)

from makemore_jax import data  # noqa: E402

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def names():
    return data.read_lines(ROOT / "data/names.txt")


@pytest.fixture(scope="session")
def vocab(names):
    return data.Vocab.of(names)


@pytest.fixture(scope="session")
def tokens(names, vocab):
    return data.tokenize(names, vocab)


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


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command as the shell would, in this process: (module, *flags) -> exit status, output, errors."""

    def run(module, *flags):
        package = ROOT / "experiments" / module
        path = f"experiments/{module}/__main__.py" if package.is_dir() else f"experiments/{module}.py"
        monkeypatch.setattr("sys.argv", [path, *map(str, flags)])
        monkeypatch.chdir(ROOT)
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return run
