"""What test files share: text, weights in GPT-2's layout, and one table of tiny models with their compiled forms.

The laws, the equations in NumPy, the gradients and the lowering all ask for the same cases, so that each program is
traced and compiled once. The sizes are distinct primes where a model allows it: a transposed axis cannot pass.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split, normalize
from makemore_jax.models import backoff
from makemore_jax.models.interface import Model, scan_step
from makemore_jax.models.registry import MODELS, NEURAL, build

# Any text that can be one line of a file: no line ends, no surrogates, in NFC.
LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(normalize)
LINES = st.lists(LINE, min_size=1, max_size=20)
# Of every kind of line end, with blanks, a byte-order mark and a name in two cases.
MESSY = "\ufeffemma \r\n\r\n  olivia\rzoë\n\tava\nZoë\n" + "".join(f"name {i}\n" for i in range(97))

V, B, T = 7, 3, 11
CORPUS = encode(Split(["abcdef", "fed", "cafe", "decade", "bad", "fad", "aced"], ["cafe"], ["bad"]), digest="")  # of V
GPT = {"layers": 2, "heads": 3, "embed": 18}
VARIANTS = {  # the variants of each model; one that is not listed is tested at its default sizes
    "ngram": [{"order": order} for order in (1, 2, 3, 4)],
    "backoff": [{"order": 4}],
    "mlp": [{"window": window, "embed": 5, "hidden": 17} for window in (3, T + 2)],
    "wavenet": [{"layers": 3, "cycle": 2, "channels": 5, "skip": 13}],
    "bow": [{"embed": 5, "hidden": 13}],
    "rnn": [{"embed": 5, "hidden": 13}],
    "gru": [{"embed": 5, "hidden": 13}],
    "lstm": [{"embed": 5, "hidden": 13}],
    "hawk": [{"layers": 2, "embed": 5, "hidden": 13, "conv": 3}],
    "transformer": [GPT, GPT | {"layers": 1, "tied": True}, GPT | {"modern": True}],
    "mixture": [{"components": ("lstm", "transformer")}],
    "ensemble": [{"components": ("lstm",), "members": 2}],
}
CASES = [(name, number) for name in MODELS for number in range(len(VARIANTS.get(name, [{}])))]
NEURAL_CASES = [(name, number) for name, number in CASES if name in NEURAL]


def variant(case):
    """The sizes that stand in the table for a case, (name, number)."""
    name, number = case
    return VARIANTS.get(name, [{}])[number]


def label(case):
    """What a test of a case is called."""
    return "-".join([case[0], *(str(size) for size in variant(case).values())])


def sizes_of(name, sizes):
    """All sizes of a model; one with a context reads rows of T; components have their first variant's sizes."""
    decided = {"vocab": V} | ({"context": T} if "context" in inspect.signature(MODELS[name].config).parameters else {})
    sizes = decided | sizes
    if "components" in sizes:
        sizes["components"] = [
            {"model": component, "sizes": sizes_of(component, VARIANTS[component][0] | {"vocab": sizes["vocab"]})}
            for component in sizes["components"]
        ]
    return sizes


class Case(NamedTuple):
    """A model with random parameters, tokens, its logits and activations, and its two forms, compiled once."""

    name: str
    sizes: dict
    model: Model
    params: Any
    x_BT: np.ndarray
    logits_BTV: np.ndarray
    activations: dict
    forward: Callable
    stepped: Callable

    @property
    def indexes(self) -> bool:
        """Whether the parameters hold indices, which other numbers cannot replace."""
        return any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(self.params))


def on_host(function):
    """A function, compiled, that returns NumPy arrays: slices of others are programs of their own."""
    compiled = jax.jit(function)
    return lambda *args: jax.device_get(compiled(*args))


def make_case(name, sizes):
    """The case of a model; rows are lines end to end."""
    model = build(name, **sizes_of(name, sizes))
    random = np.random.default_rng(0)
    if name == "backoff":  # its parameters are a trie: counts of random data are its random weights
        stream = random.integers(0, V, 300)
        params = backoff.fit(model.config, stream[:-1], stream[1:])
    else:  # `init` itself runs where models are trained
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        params = jax.tree.map(lambda leaf: np.float32(0.5 * random.normal(size=leaf.shape)), shapes)
    x_BT = np.int32(random.integers(1, V, (B, T)))
    x_BT[[0, 1, 2, 0, 0, 2], [0, 0, 0, 4, 7, 9]] = 0
    forward, stepped = on_host(model.forward), on_host(scan_step(model.init_cache, model.step))
    return Case(name, sizes, model, params, x_BT, *forward(params, x_BT), forward, stepped)


@cache
def shared_case(case):
    """The case, made once for all test files."""
    return make_case(case[0], variant(case))


GPT2 = {"vocab_size": 23, "n_positions": 11, "n_layer": 2, "n_head": 3, "n_embd": 12, "eos_token_id": 22}


def gpt2_weights(about=GPT2, seed=0):
    """Random tensors in the layout that OpenAI published."""
    random = np.random.default_rng(seed)
    width, vocab = about["n_embd"], about["vocab_size"]
    shapes = {"wte.weight": (vocab, width), "wpe.weight": (about["n_positions"], width)}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    for number in range(about["n_layer"]):
        h = f"h.{number}."
        for name, inputs, outputs in (
            ("attn.c_attn", 1, 3),
            ("attn.c_proj", 1, 1),
            ("mlp.c_fc", 1, 4),
            ("mlp.c_proj", 4, 1),
        ):
            shapes |= {f"{h}{name}.weight": (inputs * width, outputs * width), f"{h}{name}.bias": (outputs * width,)}
        shapes |= {f"{h}ln_{i}.{part}": (width,) for i in (1, 2) for part in ("weight", "bias")}
    return {name: np.float32(0.3 * random.normal(size=shape)) for name, shape in shapes.items()}
