"""Mixtures: the weighted mean of the predictions of several models is a model (Jelinek and Mercer 1980).

    P(y | c) = sum over k of w_k P_k(y | c)

Its loss is never higher than the weighted mean of the components' losses, since -log is convex, and it is lower where
they disagree. `mixture` combines different models, with their log-weights as parameters. `ensemble` combines several
sets of parameters of one model with equal weights, stacked in one tree and computed by `vmap`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from makemore_jax.errors import require, require_positive
from makemore_jax.models.interface import Model, require_unrollable
from makemore_jax.models.layers import upcast

MAX_DEPTH = 8  # levels of mixtures inside mixtures: each is computed inside the one above


class Nested:
    """The config of a model whose `components` are configs of models."""

    components: tuple[Any, ...]

    @property
    def depth(self) -> int:
        """The number of levels of mixtures and ensembles."""
        return 1 + max(getattr(component, "depth", 0) for component in self.components)

    @property
    def networks(self) -> int:
        """The number of models computed for one prediction, with which memory grows."""
        return getattr(self, "members", 1) * sum(getattr(component, "networks", 1) for component in self.components)

    @property
    def context(self) -> int | None:
        """The longest line that all components can read."""
        return min(
            (context for component in self.components if (context := getattr(component, "context", None))), default=None
        )

    def require_shallow(self) -> None:
        """Raise `InputError` if mixtures are nested more than `MAX_DEPTH` deep."""
        require(self.depth <= MAX_DEPTH, f"mixtures inside mixtures, {self.depth} deep; the limit is {MAX_DEPTH}")


@dataclass(frozen=True)
class Config(Nested):
    """The components of a mixture."""

    vocab: int
    """V: number of symbols, the same for all components."""
    components: tuple[Any, ...]
    """The configurations of K models."""

    def __post_init__(self):
        require(len(self.components) > 0, "a mixture has no components; give at least one")
        for component in self.components:
            wrong = f"a component of {component.vocab} symbols in a mixture over {self.vocab}; all need one vocabulary"
            require(component.vocab == self.vocab, wrong)
        self.require_shallow()


@dataclass(frozen=True)
class EnsembleConfig(Nested):
    """The members of an ensemble."""

    vocab: int
    """V: number of symbols."""
    components: tuple[Any]
    """The configuration that all members share."""
    members: int = 4
    """S: number of members, each with its own parameters."""

    def __post_init__(self):
        require_positive(self, "members")
        require_unrollable(self, "members")
        require(
            len(self.components) == 1 and self.components[0].vocab == self.vocab,
            "an ensemble has one component, of its `vocab`",
        )
        self.require_shallow()


def log_probs(logits: jax.Array) -> jax.Array:
    """Convert logits to log-probabilities, in float32 or wider."""
    return jax.nn.log_softmax(upcast(logits))


@cache
def mixture(models: tuple[Model, ...]) -> Model:
    """Build the mixture of these models; `init` gives equal weights.

    The parameters are `components`, those of each model, and `log_weight` (K,), which is normalised at each use.
    """
    config = Config(models[0].vocab if models else 0, tuple(model.config for model in models))

    def init(key: jax.Array) -> dict:
        components = [model.init(key) for model, key in zip(models, jax.random.split(key, len(models)), strict=True)]
        return {"components": components, "log_weight": jnp.zeros(len(models))}

    def mix(params: dict, logits: list[jax.Array]) -> jax.Array:
        log_weight_K = jax.nn.log_softmax(params["log_weight"])
        weighted = [
            log_weight + log_probs(component) for log_weight, component in zip(log_weight_K, logits, strict=True)
        ]
        return jax.nn.logsumexp(jnp.stack(weighted), axis=0)

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        return mix(
            params,
            [model.apply(component, x_BT) for model, component in zip(models, params["components"], strict=True)],
        ), {}

    def init_cache(params: dict, batch: int) -> list:
        return [
            model.init_cache(component, batch) for model, component in zip(models, params["components"], strict=True)
        ]

    def step(params: dict, cache: list, x_B: jax.Array) -> tuple[jax.Array, list]:
        stepped = [
            model.step(component, old, x_B)
            for model, component, old in zip(models, params["components"], cache, strict=True)
        ]
        return mix(params, [logits_BV for logits_BV, _ in stepped]), [new for _, new in stepped]

    return Model(config, init, forward, init_cache, step)


@cache
def ensemble(model: Model, members: int) -> Model:
    """Build the ensemble of `members` sets of parameters of a model, stacked along a leading axis S."""
    config = EnsembleConfig(model.vocab, (model.config,), members)

    def init(key: jax.Array) -> dict:
        return jax.vmap(model.init)(jax.random.split(key, members))

    def mean(logits_S: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(log_probs(logits_S), axis=0) - jnp.log(members)

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        return mean(jax.vmap(model.apply, (0, None))(params, x_BT)), {}

    def init_cache(params: dict, batch: int) -> Any:
        return jax.vmap(lambda member: model.init_cache(member, batch), out_axes=1)(
            params
        )  # the batch axis stays first

    def step(params: dict, cache: Any, x_B: jax.Array) -> tuple[jax.Array, Any]:
        logits_SBV, cache = jax.vmap(model.step, (0, 1, None), (0, 1))(params, cache, x_B)
        return mean(logits_SBV), cache

    return Model(config, init, forward, init_cache, step)


@jax.jit
def fit_weights(log_prob_KM: jax.Array, rounds: int = 300) -> jax.Array:
    """Find (K,) the log-weights that make M observed tokens most likely; row k holds log P_k of each token.

    This is expectation maximisation: the next weight of a component is the share of each token that it explains,
    averaged over tokens. The problem is convex, so equal initial weights lead to the optimum (Jelinek and Mercer 1980).
    """
    components, tokens = log_prob_KM.shape

    def update(_: int, log_weight_K: jax.Array) -> jax.Array:
        log_share_KM = jax.nn.log_softmax(log_weight_K[:, None] + log_prob_KM, axis=0)
        return jax.nn.logsumexp(log_share_KM, axis=1) - jnp.log(tokens)

    return jax.lax.fori_loop(0, rounds, update, jnp.full(components, -jnp.log(components)))
