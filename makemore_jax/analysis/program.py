"""A model as a program that can be read, and run without JAX: its jaxprs as JSON, and the bytes of its arrays.

JAX traces a function into a jaxpr, a list of operations on arrays of known shapes. Here a jaxpr becomes

    arrays      the type and shape of each array; an array's number is its place in this list
    constants   [number, offset] for each array that is given by its bytes
    operations  [name, parameters, numbers of the inputs, numbers of the outputs], in order
    inputs      numbers of the arrays that the program is given
    outputs     numbers of the arrays that it computes

Calls of other functions are replaced by the operations of these; loops and branches have programs as parameters.
"""

import enum
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.models.interface import Model, Params

CALLS = ("jit", "custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "remat2")
LOOPS = ("scan", "while", "cond")
TYPES = ("float32", "int32", "int8", "uint8", "bool")
ALIGNMENT = 4  # bytes


class Traced(NamedTuple):
    """A model as two programs."""

    init_cache: dict  # () -> the arrays of the cache before a line
    step: dict  # (the arrays of the cache, token (1,)) -> (logits (1, V), the arrays of the cache)
    constants: bytes  # of both programs


def trace(model: Model, params: Params, operations: Collection[str]) -> Traced:
    """Trace a model with these parameters as it reads one line; `operations` are the names of those that can be run.

    Raises:
      InputError: the model has an operation that is not one of these, or arrays of a type that is not in `TYPES`.
    """
    leaves, writer = jax.tree.leaves(params), Writer(operations)
    init_cache = jax.make_jaxpr(lambda params: model.init_cache(params, 1))(params)
    step = jax.make_jaxpr(model.step)(params, model.init_cache(params, 1), np.full(1, MARK, np.int32))
    return Traced(writer.program(init_cache, leaves), writer.program(step, leaves), bytes(writer.constants))


class Writer:
    """Writes programs that share the bytes of their constants."""

    def __init__(self, operations: Collection[str]):
        """Begin without constants."""
        self.operations, self.constants, self._offsets = operations, bytearray(), {}

    def program(self, closed: Any, known: Sequence[Any] = ()) -> dict:
        """Return the program of a closed jaxpr; its first inputs have the values `known`, and become constants."""
        arrays, constants, operations = [], [], []

        def new(aval: Any) -> int:
            require(str(aval.dtype) in TYPES, f"the model has arrays of {aval.dtype}, which cannot be run")
            arrays.append([str(aval.dtype), list(aval.shape)])
            return len(arrays) - 1

        def constant(variable: Any, value: Any) -> int:
            number = new(variable.aval)
            constants.append([number, self._store(np.asarray(value, variable.aval.dtype).tobytes())])
            return number

        def inline(jaxpr: Any, consts: Sequence[Any], inputs: list[int]) -> list[int]:
            numbers = dict(zip(jaxpr.constvars, map(constant, jaxpr.constvars, consts), strict=True))
            numbers |= zip(jaxpr.invars, inputs, strict=True)
            read = lambda v: constant(v, v.val) if isinstance(v, Literal) else numbers[v]
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

        given, asked = closed.jaxpr.invars[: len(known)], closed.jaxpr.invars[len(known) :]
        inputs = [new(v.aval) for v in asked]
        outputs = inline(closed.jaxpr, closed.consts, [*map(constant, given, known), *inputs])
        lists = {"arrays": arrays, "constants": constants, "operations": operations}
        return {**lists, "inputs": inputs, "outputs": outputs}

    def _store(self, content: bytes) -> int:
        """Store these bytes unless they are stored already; return their offset."""
        if content not in self._offsets:
            self._offsets[content] = len(self.constants)
            self.constants += content + bytes(-len(content) % ALIGNMENT)
        return self._offsets[content]

    def _check(self, equation: Any) -> None:
        """Raise `InputError` for an operation that cannot be run, or cannot be run with these parameters."""
        name, params = equation.primitive.name, equation.params
        rare = {
            "pad": lambda: min(min(before, after) for before, after, _ in params["padding_config"]) < 0,
            "scatter": lambda: params["update_jaxpr"] is not None,  # at[...].apply of any function
            "gather": lambda: np.isinf(params["fill_value"] or 0),
        }
        runs = name in self.operations and not (name in rare and rare[name]())
        require(runs, f"the model has the operation {name}, which cannot be run")

    def _parameters(self, equation: Any) -> dict:
        """Return the parameters of an operation for JSON; those that only a compiler needs are left out."""
        loop, params = equation.primitive.name in LOOPS, equation.params
        found = {key: self._plain(value, loop) for key, value in params.items()}
        if "ft_in" in params:  # JAX 0.12 has trees in place of these two numbers
            found |= zip(("num_consts", "num_carry"), map(len, params["ft_in"].unpack()), strict=False)
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
        return number if plain else None  # the one number that is not finite is NaN, the fill value of a gather
