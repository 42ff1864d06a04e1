"""Each core a process: results in order, what was printed with them, and errors as the function raises them."""

import os

import pytest

from experiments.shared.cores import on_every_core
from makemore_jax.errors import InputError


def work(item):
    """What a process of its own does."""
    print(f"began {item}")
    if item == "bad":
        raise InputError("`item` is bad")
    return item.upper(), os.environ["NPROC"], os.getpid()


def test_each_item_has_a_process(capsys, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    found = on_every_core(work, ["good", "bad"])
    name, threads, process = next(found)
    assert (name, threads) == ("GOOD", "1")
    assert process != os.getpid()
    assert capsys.readouterr().out == "began good\n"
    with pytest.raises(InputError, match="`item` is bad"):
        next(found)
