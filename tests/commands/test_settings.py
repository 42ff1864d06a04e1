"""JAX's own settings: 64 bits, no jit, strict promotion, checks of keys and transfers; see `tests.settings`."""

import contextlib
import json

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.inference.baselines import count_table
from tests.settings import SIZES
from tests.tiny_run import RUN


@contextlib.contextmanager
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


SETTINGS = {
    "strict": strict,
    "64 bits": lambda: jax.enable_x64(True),
    "no jit": jax.disable_jit,
    "keys": lambda: jax.debug_key_reuse(True),
    "transfers": lambda: jax.transfer_guard("disallow"),
}
CASES = [("strict", model) for model in ("mlp", "wavenet", "bow", "gru", "hawk", "transformer", "backoff", "ngram")]
CASES += [("transfers", model) for model in ("transformer", "backoff", "ngram")]
CASES += [("64 bits", "mlp"), ("64 bits", "transformer"), ("keys", "mlp"), ("no jit", "bigram")]
SHORT = {"steps": 2, "warmup": 1, "batch": 5, "evaluate_every": 2, "progress": False}


@pytest.fixture(scope="module")
def corpus(names, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "few.txt"
    path.write_text("\n".join([name for name in names if len(name) <= 4][:40]))
    return mm.load(path)


def train(key, name, corpus):
    return mm.train(key, name, corpus, **SHORT, **SIZES[name])


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "model"), CASES)
def test_models_are_trained_and_sampled(corpus, setting, model):
    key = jax.random.key(7)
    with SETTINGS[setting]():
        counts = {"backoff": mm.count, "ngram": count_table}
        trained = counts[model](corpus, 3) if model in counts else train(key, model, corpus)
        filtered, plain = (mm.sample(key, trained, 3, top_k=top_k) for top_k in (2, None))
        assert len(filtered) == len(plain) == 3
        assert np.isfinite(mm.evaluate(trained, corpus.tokens.dev).nats)


@pytest.mark.parametrize("written", [False, True])
def test_weights_are_read_with_and_without_64_bits(corpus, tmp_path, written):
    with jax.enable_x64(written):
        trained = train(jax.random.key(7), "mlp", corpus)
        mm.save(trained, tmp_path / "w.safetensors")
    with jax.enable_x64(not written):
        read = mm.open(tmp_path / "w.safetensors")
        kinds = {leaf.dtype.name for leaf in jax.tree.leaves(read.params)}
        assert kinds == {"float32" if written else "float64"}
        np.testing.assert_allclose(read.params["embed"], trained.params["embed"], rtol=1e-6)
        assert mm.sample(jax.random.key(7), read)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("jax_enable_x64", True), ("jax_default_prng_impl", "rbg"), ("jax_threefry_partitionable", False)],
)
def test_a_run_is_not_resumed_with_other_random_numbers(command, tmp_path, corpus, setting, value, names):
    data, out, before = tmp_path / "few.txt", tmp_path / "run", getattr(jax.config, setting)
    data.write_text("\n".join([name for name in names if len(name) <= 4][:40]))
    flags = [*RUN, "--data", data, "--out", out, "--steps", 2, "--warmup", 1]
    assert command("train", *flags)[0] == 0
    assert not any(name.startswith("jax") for name in json.loads((out / "config.json").read_text()))
    jax.config.update(setting, value)
    try:
        status, _, err = command("train", *flags, "--resume")
    finally:
        jax.config.update(setting, before)
    assert (status, err.count("\n")) == (2, 1)
    assert f"another configuration ({setting} None there, {value!r} here)" in err
    assert command("train", *flags, "--resume")[0] == 0
