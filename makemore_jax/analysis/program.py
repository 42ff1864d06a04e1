"""A model as a program that can be read, and run without JAX: its jaxprs as JSON, with its arrays as bytes.

JAX traces a Python function into a jaxpr: a list of operations on typed arrays of known shapes. Two of them are a whole
model, `init_cache` and `step`. A program holds

    arrays      [type, shape] of each array, by number
    constants   [number, offset in the bytes] of the arrays that are given
    operations  [name, parameters, numbers of its inputs, numbers of its outputs], in order
    inputs, outputs   numbers of arrays

Functions that JAX only calls are inlined. The bodies of loops and branches are programs among the parameters.
"""

import enum
import math
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.models.interface import Model, Params

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "checkpoint", "remat2")
LOOPS = ("scan", "while", "cond")
TYPES = ("float32", "int32", "int8", "uint8", "bool")
ALIGNED = 4  # bytes


class Traced(NamedTuple):
    """A model that begins each line with the cache that `init_cache` returns: (cache, token) -> (logits, cache)."""

    init_cache: dict
    step: dict
    constants: bytes  # of both, little-endian


def trace(model: Model, params: Params, operations: Collection[str]) -> Traced:
    """Trace a model for one line; `operations` names those that can be run.

    Raises:
      InputError: `step` needs an operation that is not among them, or arrays of a type that is not in `TYPES`.
    """
    leaves, writer = list(map(np.asarray, jax.tree.leaves(params))), Writer(operations)
    cache, token = model.init_cache(params, 1), np.full(1, MARK, np.int32)
    init_cache = jax.make_jaxpr(lambda params: model.init_cache(params, 1))(params)
    step = jax.make_jaxpr(model.step)(params, cache, token)
    return Traced(writer.program(init_cache, leaves), writer.program(step, leaves), bytes(writer.constants))


class Writer:
    """Writes programs that share their constants."""

    def __init__(self, operations: Collection[str]):
        """Begin without constants."""
        self.operations, self.constants, self._offsets = operations, bytearray(), {}

    def program(self, closed: Any, known: Collection[np.ndarray] = ()) -> dict:
        """Return the program of a closed jaxpr, whose first inputs are `known` and become constants."""
        arrays, constants, operations = [], [], []

        def new(aval: Any) -> int:
            require(str(aval.dtype) in TYPES, f"the model uses arrays of {aval.dtype}, which cannot be run")
            arrays.append([str(aval.dtype), list(aval.shape)])
            return len(arrays) - 1

        def constant(value: Any) -> int:
            number = new(value)
            constants.append([number, self._store(value)])
            return number

        def inline(jaxpr: Any, consts: Collection, inputs: list[int]) -> list[int]:
            numbers = dict(zip(jaxpr.constvars, map(constant, map(np.asarray, consts)), strict=True))
            numbers |= zip(jaxpr.invars, inputs, strict=True)
            read = lambda v: constant(np.asarray(v.val, v.aval.dtype)) if isinstance(v, Literal) else numbers[v]
            for equation in jaxpr.eqns:
                name, ins = equation.primitive.name, list(map(read, equation.invars))
                if name in CALLS:
                    called = next(value for value in equation.params.values() if hasattr(value, "eqns"))
                    outs = inline(getattr(called, "jaxpr", called), getattr(called, "consts", ()), ins)
                else:
                    self._check(equation)
                    outs = [new(v.aval) for v in equation.outvars]
                    operations.append([name, self._parameters(equation), ins, outs])
                numbers |= zip(equation.outvars, outs, strict=True)
            return list(map(read, jaxpr.outvars))

        given = list(map(constant, known))
        inputs = [new(v.aval) for v in closed.jaxpr.invars[len(given) :]]
        outputs = inline(closed.jaxpr, closed.consts, given + inputs)
        lists = {"arrays": arrays, "constants": constants, "operations": operations}
        return {**lists, "inputs": inputs, "outputs": outputs}

    def _store(self, value: np.ndarray) -> int:
        """Store an array unless an equal one is stored already; return its offset."""
        content = value.tobytes()
        if content not in self._offsets:
            self._offsets[content] = len(self.constants)
            self.constants += content + bytes(-len(content) % ALIGNED)
        return self._offsets[content]

    def _check(self, equation: Any) -> None:
        """Raise `InputError` for an operation that cannot be run, or not with these parameters."""
        name, params = equation.primitive.name, equation.params
        unusual = {
            "pad": lambda: min(min(low, high) for low, high, _ in params["padding_config"]) < 0,
            "scatter": lambda: params["update_jaxpr"] is not None,  # any function of the old elements
            "gather": lambda: np.isinf(params["fill_value"] or 0),
        }
        ready = name in self.operations and not (name in unusual and unusual[name]())
        require(ready, f"the model uses the operation {name}, which cannot be run")

    def _parameters(self, equation: Any) -> dict:
        """Return the parameters of an operation as JSON; those that only matter to a compiler are left out."""
        loop = equation.primitive.name in LOOPS
        found = {key: self._plain(value, loop) for key, value in equation.params.items()}
        if "ft_in" in equation.params:  # a scan since JAX 0.11
            found |= zip(("num_consts", "num_carry"), map(len, equation.params["ft_in"].unpack()), strict=False)
        return {key: value for key, value in found.items() if value is not None}

    def _plain(self, value: Any, loop: bool) -> Any:
        if hasattr(value, "eqns"):
            return self.program(value) if loop else None
        if isinstance(value, tuple | list):
            return [self._plain(one, loop) for one in value]
        if isinstance(value, enum.Enum):
            return value.name
        number = value.item() if isinstance(value, np.generic) else value
        plain = isinstance(number, str | int) or (isinstance(number, float) and math.isfinite(number))
        return number if plain else None  # NaN is no JSON
