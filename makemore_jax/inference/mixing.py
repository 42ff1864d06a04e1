"""Combine trained models: an ensemble of equal members, or a mixture with weights fitted on held-out lines."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.tokens import Tokens
from makemore_jax.errors import require, require_kinds, require_lists
from makemore_jax.inference.evaluate import stream_nll
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Params
from makemore_jax.models.mixture import EnsembleConfig, fit_weights, mixture
from makemore_jax.models.mixture import ensemble as build_ensemble
from makemore_jax.models.registry import build_config, name_of


def ensemble(members: Sequence[Trained]) -> Trained:
    """Average the predictions of several training runs of one model, such as `sweep(...).best`.

    A single member is returned unchanged.

    Raises:
      InputError: there are no members, or their sizes or vocabularies differ.
    """
    _require_one_vocabulary(members)
    first = members[0]
    same = all(_kind(member) == _kind(first) for member in members)
    require(same, "the members of an ensemble have different sizes; mix them instead")
    if len(members) == 1:
        return first
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(member.params for member in members))
    model = build_ensemble(first.model, len(members))
    return Trained(model, params, first.vocab, min(member.context for member in members))


def mix(components: Sequence[Trained], dev: Tokens | None = None, weights: Sequence[float] | None = None) -> Trained:
    """Average the predictions of several trained models, with a weight for each.

    Models of the same sizes are first combined into an ensemble, which counts as one component. `weights` has one
    number for each component. By default, expectation maximisation finds the weights that make the `dev` tokens most
    likely; without `dev`, the weights are equal.

    Raises:
      InputError: there are no components, their vocabularies differ, or `weights` has the wrong length or does not sum
        to 1.
    """
    _require_one_vocabulary(components)
    groups: dict = {}
    for component in components:
        groups.setdefault(_kind(component), []).append(component)
    components = [ensemble(group) for group in groups.values()]
    params: Params = {"components": [component.params for component in components]}
    if weights is not None:
        params["log_weight"] = _check_weights(weights, len(components))
    elif dev is not None:
        log_prob_KM = -np.stack([stream_nll(component.model, component.params, dev) for component in components])
        params["log_weight"] = fit_weights(jax.device_put(log_prob_KM))
    else:
        params["log_weight"] = jax.device_put(np.zeros(len(components), np.float32))
    model = mixture(tuple(component.model for component in components))
    return Trained(model, params, components[0].vocab, min(component.context for component in components))


def weights(mixed: Trained) -> np.ndarray:
    """Return (K,) the weights of the components of a mixture, which sum to 1."""
    return jax.device_get(jax.nn.softmax(mixed.params["log_weight"]))


def components(mixed: Trained) -> dict[str, Trained]:
    """Return the components of a mixture by name, such as "3 x lstm"; components with the same name are numbered."""
    found: dict[str, Trained] = {}
    for config, params in zip(mixed.model.config.components, mixed.params["components"], strict=True):
        members = f"{config.members} x " if isinstance(config, EnsembleConfig) else ""
        name = members + name_of(config.components[0] if members else config)
        same = sum(other == name or other.startswith(f"{name} (") for other in found)
        name += f" ({same + 1})" if same else ""
        found[name] = Trained(build_config(config), params, mixed.vocab, mixed.context)
    return found


def _kind(component: Trained) -> tuple:
    """Return what members of an ensemble must share: the config, and the shapes, which may depend on the data."""
    return component.model.config, tuple(leaf.shape for leaf in jax.tree.leaves(component.params))


def _check_weights(weights: Sequence[float], components: int) -> jax.Array:
    """Return log-weights; raise `InputError` if the weights are not valid."""
    weight_K = np.asarray(weights, np.float64)
    require(
        weight_K.shape == (components,),
        f"`weights` has {len(weights)} numbers for {components} components; give one for each",
    )
    require(bool(np.all(weight_K >= 0)), f"`weights` holds {weight_K.min():g}; each must be 0 or more")
    require(abs(weight_K.sum() - 1) < 1e-6, f"`weights` sum to {weight_K.sum():.9g}; they must sum to 1")
    with np.errstate(divide="ignore"):
        return jax.device_put(np.float32(np.log(weight_K)))


def _require_one_vocabulary(components: Sequence[Trained]) -> None:
    require_lists(models=components)
    require(len(components) > 0, "there are no models to mix; give at least one")
    for number, component in enumerate(components, 1):
        require_kinds(trained=component)
        same = component.vocab == components[0].vocab
        require(same, f"the vocabulary of model {number} differs from that of model 1; mix models of the same data")
