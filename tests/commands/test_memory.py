"""Compiling for machines that are not there: the shards that need no other compiler, on two simulated devices."""

import jax
import pytest

from experiments.memory import __main__ as fits
from experiments.memory import chips as targets
from makemore_jax.distributed import mesh as sharding
from makemore_jax.distributed.mesh import layout_over
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe

PROGRAM = """
  %all-reduce.3 = (f32[10,3]{1,0}, bf16[4]{0}) all-reduce(%a, %b), channel_id=1
  %ag = bf16[2,8]{1,0} all-gather-start(%c), dimensions={0}
  %agd = bf16[2,8]{1,0} all-gather-done(%ag)
  %sum = f32[10,3]{1,0} add(%all-reduce.3, %d)
"""


def test_collectives_are_counted_with_their_bytes():
    assert fits.collectives(PROGRAM) == {"all-reduce": (1, 128), "all-gather": (1, 32)}
    assert fits.collectives("") == {}


def test_a_step_is_measured_as_it_would_run():
    """A transformer on two devices: the state is known from shapes, and an all-reduce sums the gradients."""
    model, recipe = build("transformer", vocab=7, context=11, layers=1, heads=2, embed=14), Recipe(batch=4)
    fit = fits.measure(model, recipe, 11, layout_over(jax.devices(), 1))
    weights = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))
    assert fit.chips == 2
    assert 12 * weights < fit.state < 12 * weights + 100  # parameters and two moments in float32, and some counters
    assert fit.batch == 2 * (11 * (4 + 4 + 1) + 4)  # two rows of tokens and masks, with their numbers
    assert fit.temporary > 0
    assert fit.collectives["all-reduce"][1] >= 4 * weights
    looked_up = 14 * (7 + 11)
    assert fit.flops == 22 * (6 * (weights - looked_up) + 12 * 11 * 14)


def test_the_estimate_is_the_slowest_of_three():
    fit = fits.Fit(8, 10**9, 0, 10**9, 989e12, 3352e9, {"all-gather": (2, 450 * 10**9), "all-reduce": (1, 0)}, 1.0)
    assert fits.estimate(fit, "h100:8") == pytest.approx({"computing": 1, "memory": 1, "links": 1})
    assert fits.estimate(fit, "a100:8")["computing"] == pytest.approx(989 / 312)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "h200:8"], "--target 'h200:8': unknown chip; choose one of v4, v5e, v5p, v6e, a100, h100"),
        (["--target", "h100:9"], "--target 'h100:9': give h100:1 to h100:8"),
        (["--target", "v5e:3x3"], "--target 'v5e:3x3': unknown shape; for v5e, choose one of 1, 2x2, 2x4, 4x4"),
        (["--target"], ""),
        (["--vocab", "0"], "--vocab is 0"),
    ],
)
def test_bad_flags(command, flags, message):
    status, _, err = command("memory", *flags)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_without_the_compiler_it_says_which_package_is_missing(command, monkeypatch):
    from jax.experimental import topologies

    def missing(**_):
        raise RuntimeError("JAX TPU support not installed")

    monkeypatch.setattr(topologies, "get_topology_desc", missing)
    status, _, err = command("memory", "--target", "v5e:2x2", "--vocab", 27, "--context", 16)
    assert status == 2
    assert "needs another package, jax[tpu]: pip install '.[memory]' (JAX TPU support not installed)" in err


def test_a_program_that_does_not_fit_says_what_might(command, monkeypatch):
    monkeypatch.setattr(targets, "devices", lambda target: jax.devices())
    monkeypatch.setattr(sharding, "SMALL", 1)
    monkeypatch.setitem(targets.CHIPS, "h100", targets.CHIPS["h100"]._replace(memory=1e-6))
    flags = [
        "--vocab",
        7,
        "--context",
        11,
        "--layers",
        1,
        "--heads",
        2,
        "--embed",
        14,
        "--batch",
        4,
        "--target",
        "h100:2",
    ]
    status, out, err = command("memory", *flags)
    assert (status, err) == (0, "")
    assert "DOES NOT FIT" in out
    assert "try --shards 2 or --micro-batches 2 or a smaller --batch or more chips" in out
