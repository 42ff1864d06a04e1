"""Mixtures: the equations in NumPy, weights by expectation maximisation, saving, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.checkpoint import write
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.errors import InputError
from makemore_jax.inference import evaluate as loss
from makemore_jax.inference.evaluate import line_nll, stream_nll
from makemore_jax.inference.mixing import weights
from makemore_jax.models.mixture import fit_weights
from makemore_jax.models.registry import build

LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
CORPUS = encode(Split(LINES, ["ava", "mia"], ["amia"]), digest="")
DEV = CORPUS.tokens.dev


def trained(name, seed=0, corpus=CORPUS, **sizes):
    """A model with random parameters far from 0, so that each predicts otherwise."""
    model = build(name, vocab=corpus.vocab.size, **sizes)
    params = jax.tree.map(lambda leaf: 3 * leaf, model.init(jax.random.key(seed)))
    return mm.Trained(model, params, corpus.vocab, corpus.context)


RNNS = [trained("rnn", seed, embed=5, hidden=7) for seed in range(3)]
MLP = trained("mlp", 3, window=3, embed=5, hidden=11)
PROB_KM = np.exp(
    -np.stack([stream_nll(component.model, component.params, DEV) for component in (*RNNS, MLP)]).astype(np.float64)
)


def test_the_parts_differ():
    assert len({round(mm.evaluate(component, DEV).nats, 3) for component in (*RNNS, MLP)}) == 4


def test_an_ensemble_is_the_mean_of_the_predictions():
    together = mm.ensemble(RNNS)
    assert together.params["embed"].shape == (3, CORPUS.vocab.size, 5)  # one stacked tree
    expected = -np.log(PROB_KM[:3].mean(0)).mean()
    assert mm.evaluate(together, DEV).nats == pytest.approx(expected, rel=1e-5)
    assert mm.ensemble(RNNS[:1]) is RNNS[0]


def test_a_mixture_is_the_weighted_mean_and_equal_parts_are_an_ensemble():
    mixed = mm.mix([*RNNS, MLP], weights=[0.3, 0.7])
    expected = -np.log(0.3 * PROB_KM[:3].mean(0) + 0.7 * PROB_KM[3]).mean()
    assert mm.evaluate(mixed, DEV).nats == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(weights(mixed), [0.3, 0.7], rtol=1e-6)
    np.testing.assert_allclose(weights(mm.mix([*RNNS, MLP])), [0.5, 0.5])
    alone = mm.mix([*RNNS, MLP], weights=[0, 1])
    assert mm.evaluate(alone, DEV).nats == pytest.approx(mm.evaluate(MLP, DEV).nats, rel=1e-5)


def test_a_mixture_of_many_networks_is_scored_in_smaller_batches(monkeypatch):
    """Four networks at once take the memory of four: a batch has a quarter of the tokens."""
    mixed, sizes, batch_nll = mm.mix([*RNNS, MLP]), [], loss._batch_nll
    assert mixed.model.config.networks == 4
    monkeypatch.setattr(loss, "BATCH_TOKENS", 48)
    monkeypatch.setattr(loss, "_batch_nll", lambda *args: sizes.append(args[2].size) or batch_nll(*args))
    for component in (MLP, mixed):
        mm.evaluate(component, CORPUS.tokens.train)
    assert 12 < max(sizes[:-3]) <= 48
    assert max(sizes[-3:]) <= 12


def test_expectation_maximisation_finds_the_best_weights():
    """Against a fine grid over two components, one of which is better and neither of which is useless."""
    random = np.random.default_rng(0)
    log_prob_KM = np.log(random.uniform(0.05, [[0.9], [0.6]], (2, 500)))
    w = np.exp(fit_weights(jnp.float32(log_prob_KM)))
    assert w.sum() == pytest.approx(1, abs=1e-5)
    grid = np.linspace(0, 1, 1001)[1:-1, None]
    losses = -np.log(grid * np.exp(log_prob_KM[0]) + (1 - grid) * np.exp(log_prob_KM[1])).mean(1)
    assert 0.02 < grid[losses.argmin(), 0] < 0.98
    assert w[0] == pytest.approx(grid[losses.argmin(), 0], abs=0.005)


def test_weights_chosen_on_dev_are_no_worse_than_any_others():
    mixed = mm.mix([*RNNS, MLP, mm.count(CORPUS, 2)], DEV)
    best = mm.evaluate(mixed, DEV).nats
    for others in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.2, 0.6]):
        assert best <= mm.evaluate(mm.mix([*RNNS, MLP, mm.count(CORPUS, 2)], weights=others), DEV).nats + 1e-6


def test_a_mixture_is_saved_and_opened(tmp_path):
    mixed = mm.mix([*RNNS, mm.count(CORPUS, 3)], DEV)
    mm.save(mixed, tmp_path / "mixture.safetensors")
    opened = mm.open(tmp_path / "mixture.safetensors")
    assert opened.model is mixed.model
    nll_N = line_nll(opened.model, opened.params, CORPUS.tokens.train)
    assert np.array_equal(nll_N, line_nll(mixed.model, mixed.params, CORPUS.tokens.train))
    key = jax.random.key(5)
    assert mm.sample(key, opened, 5, prefix="m") == mm.sample(key, mixed, 5, prefix="m")


COMPONENT = {"model": "mlp", "sizes": {"window": 3, "embed": 5, "hidden": 11}}


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ("mlp", "components must be a list of models"),
        (5, "components must be a list of models"),
        ([], "a mixture has no components"),
        ([None], "does not say which model it is"),
        ([{"model": "mlp"}], "does not say which model it is"),
        ([{"model": "lstn", "sizes": {}}], "there is no model 'lstn'"),
        ([{"model": "mlp", "sizes": {"vocab": 3}}], "a component of 3 symbols in a mixture over"),
        (8, "mixtures inside mixtures, 9 deep; the limit is 8"),
        (200, ""),
    ],
    ids=str,
)
def test_parts_in_a_file_that_cannot_be_are_refused(tmp_path, components, message):
    """A description edited by hand, with a checksum that fits; a number is how deep mixtures stand in mixtures."""
    mixed = mm.mix([RNNS[0], MLP])
    about, vocab = mixed.about, CORPUS.vocab.size
    if isinstance(components, int) and components > 5:
        component = COMPONENT | {"sizes": COMPONENT["sizes"] | {"vocab": vocab}}
        for _ in range(components):
            component = {"model": "mixture", "sizes": {"vocab": vocab, "components": [component]}}
        components = [component]
    about["sizes"] = about["sizes"] | {"components": components}
    write(tmp_path / "edited.safetensors", mixed.params, about)
    with pytest.raises(InputError, match=rf"edited.safetensors'?: .*{message}"):
        mm.open(tmp_path / "edited.safetensors")


@pytest.mark.parametrize("name", ["log_weight", "embed"])
def test_weights_that_are_no_numbers_are_refused(tmp_path, name):
    mixed = mm.mix([MLP])
    spoil = lambda path, leaf: leaf * jnp.nan if name in jax.tree_util.keystr(path) else leaf
    params = jax.tree_util.tree_map_with_path(spoil, mixed.params)
    write(tmp_path / "edited.safetensors", params, mixed.about)
    with pytest.raises(InputError, match=f"edited.safetensors: .*{name}"):
        mm.open(tmp_path / "edited.safetensors")


def test_counts_are_saved_and_opened_wherever_they_stand(tmp_path):
    """Their shapes come from the data: alone, in a mixture of mixtures, and twice, as an ensemble."""
    counted = mm.count(CORPUS, 3)
    nested = mm.mix([mm.mix([counted, MLP]), RNNS[0]])
    for number, made in enumerate((counted, nested, mm.mix([counted, counted, MLP]))):
        mm.save(made, tmp_path / f"{number}.safetensors")
        opened = mm.open(tmp_path / f"{number}.safetensors")
        assert opened.model is made.model
        jax.tree.map(np.testing.assert_array_equal, opened.params, made.params)


def test_counts_of_other_data_are_parts_and_no_ensemble():
    lines = Split([*LINES, "azeinmrov"], ["ava"], ["mia"])
    other = encode(lines, digest="")
    assert other.vocab == CORPUS.vocab
    components = [mm.count(corpus, 3) for corpus in (CORPUS, other)]
    assert list(mm.mix(components).params["log_weight"]) == [0, 0]
    with pytest.raises(InputError, match="have different sizes; mix them instead"):
        mm.ensemble(components)


def test_parts_and_weights_that_do_not_fit():
    other = encode(Split(["xyz"], ["x"], ["y"]), digest="")
    for message, make in (
        ("the vocabulary of model 2 differs from that of model 1", lambda: mm.mix([MLP, trained("mlp", corpus=other)])),
        ("there are no models to mix", lambda: mm.mix([])),
        ("the members of an ensemble have different sizes", lambda: mm.ensemble([MLP, RNNS[0]])),
        ("`weights` has 3 numbers for 2 components", lambda: mm.mix([*RNNS, MLP], weights=[0.2, 0.2, 0.6])),
        ("`weights` sum to 1.1; they must sum to 1", lambda: mm.mix([*RNNS, MLP], weights=[0.4, 0.7])),
        ("`weights` sum to 1.00001; they must sum to 1", lambda: mm.mix([*RNNS, MLP], weights=[0.50001, 0.5])),
        ("`weights` holds -1; each must be 0 or more", lambda: mm.mix([*RNNS, MLP], weights=[-1, 2])),
        ("`weights` holds nan", lambda: mm.mix([*RNNS, MLP], weights=[float("nan"), 1])),
    ):
        with pytest.raises(InputError, match=message):
            make()
