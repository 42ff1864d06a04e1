"""Training a model on a corpus by a recipe, as two pure functions: `Training(init, steps)`.

The batch at step i is a function of the run's key and i alone, so a run continues from its state as if it had never
stopped.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import BatchPlan, Tokens, batch, plan_batches
from makemore_jax.data.vocab import MARK
from makemore_jax.descent import TrainState, init_state, jitted_steps, steps_on
from makemore_jax.errors import require
from makemore_jax.feed import Feed, draw_lines
from makemore_jax.loss import batch_nll
from makemore_jax.model import Model, Params, has_blocks, has_dropout, require_block
from makemore_jax.nn import recompute, sample_network
from makemore_jax.recipe import Recipe, adamw
from makemore_jax.sharding import Layout


@cache
def batch_loss(model: Model, plan: BatchPlan, recipe: Recipe, layout: Layout = Layout(), fed: bool = False) -> Callable:
    """The loss of a recipe, (params, data, hyper, key) -> mean nats per token, estimated from a random batch.

    `data` are the tokens and `plan`, the plan of a micro-batch, from `plan_batches`: the batch is gathered inside the
    program. If the batches are `fed`, `data` is the batch itself: x, y and mask, (K, B, T) for K micro-batches.
    """
    require(recipe.dropout == 0 or has_dropout(model), "this model has no dropout; set `dropout` to 0")
    require(not recipe.remat or has_blocks(model), "this model has no blocks to compute again; set `remat` to False")
    packing, cast = plan.packing, lambda leaf: leaf.astype(jnp.bfloat16) if recipe.bfloat16 else leaf

    def sum_nll(params: Params, tokens: Tokens | None, part: Any, key: jax.Array) -> jax.Array:
        """The sum over the lines of one micro-batch."""
        params = layout.lend(jax.tree.map(cast, params))
        if recipe.remat:
            params = recompute(params)
        x_BT, y_BT, mask_BT = part if fed else batch(tokens, part[packing.segment_BT], packing.position_BT)
        if recipe.token_dropout:  # replace some symbols with random ones, but never a mark
            drop_key, symbol_key = jax.random.split(key)
            drop_BT = jax.random.bernoulli(drop_key, recipe.token_dropout, x_BT.shape) & (x_BT != MARK)
            x_BT = jnp.where(drop_BT, jax.random.randint(symbol_key, x_BT.shape, 1, model.vocab), x_BT)
        rows = x_BT, y_BT, mask_BT, jnp.arange(len(x_BT))
        return layout.by_rows(masked_nll, (params, jax.random.fold_in(key, 1)), *rows).sum()

    def masked_nll(given: tuple, x_BT: jax.Array, y_BT: jax.Array, mask_BT: jax.Array, row_B: jax.Array) -> jax.Array:
        """(B, T) nats, 0 where the mask is false; `row_B` are the rows' numbers in the micro-batch."""
        params, key = given
        if recipe.dropout:
            params = sample_network(params, key, jnp.float32(recipe.dropout), row_B)
        return jnp.where(mask_BT, batch_nll(model, params, x_BT, y_BT), 0)

    def loss(params: Params, data: Any, hyper: dict, key: jax.Array) -> jax.Array:
        tokens = None if fed else data
        parts_K = data if fed else draw_lines(key, plan.lines, recipe.batch, recipe.micro_batches)
        drop_key = jax.random.split(key)[1]
        if recipe.micro_batches == 1:
            total = sum_nll(params, tokens, jax.tree.map(lambda leaf: leaf[0], parts_K), drop_key)
        else:  # forward and backward for one part at a time
            parts = parts_K, jax.random.split(drop_key, recipe.micro_batches)
            total = jax.lax.map(lambda part: jax.checkpoint(sum_nll)(params, tokens, *part), parts).sum()
        return total / (recipe.batch * plan.line_tokens)

    return loss


class Training(NamedTuple):
    """A training run as a pair of pure functions, like `Model` for a network and optax's GradientTransformation.

    Both are compiled. `vmap` them, `init` over its arguments and `steps` over `state`, to train many runs at once.
    """

    init: Callable  # (key, hyper=recipe.hyper, params=None) -> TrainState; without `params`, random ones
    steps: Callable  # (state, count)            -> TrainState, losses_N: the loss before each step


def start(
    key: jax.Array, hyper: Any = None, params: Params | None = None, *, model: Model, recipe: Recipe
) -> TrainState:
    """The state of a run before its first step; `hyper` and `params` replace the recipe's and random ones."""
    hyper = recipe.hyper if hyper is None else hyper
    init_key, run_key, _ = jax.random.split(key, 3)  # the third is for samples
    params = _random(init_key, model) if params is None else params
    return _first_state(params, run_key, hyper, recipe)


@partial(jax.jit, static_argnames="model")
def _random(key: jax.Array, model: Model) -> Params:
    """A program of its own: random parameters take long to compile, and other recipes draw the same."""
    return model.init(key)


@partial(jax.jit, static_argnames="recipe")
def _first_state(params: Params, key: jax.Array, hyper: Any, recipe: Recipe) -> TrainState:
    return init_state(params, key, hyper, adamw(recipe))


def training(
    model: Model,
    corpus: Corpus,
    recipe: Recipe = Recipe(),
    *,
    layout: Layout = Layout(),
    in_place: bool = False,
) -> Training:
    """Train a model on the train lines of a corpus.

    `layout` says which devices share the work, from `sharding.lay_out`; for `in_place` see `steps_on`. For streamed
    data `steps` is no pure function: batches are gathered on the host and fed to the program.

    Raises:
      InputError: a batch holds more lines than there are, a line is longer than the model's block, the vocabularies
        differ, or the model has no dropout and the recipe asks for it.
    """
    lines = len(corpus.tokens.train.length_N)
    found = corpus.vocab.size
    require(model.vocab == found, f"the model is for {model.vocab} symbols; the data has {found}")
    require(
        recipe.batch <= lines,
        f"a batch holds {recipe.batch} lines, and there are {lines} to train on; add lines, or lower `batch`",
    )
    require_block(model, corpus.block)
    tokens, plan = plan_batches(corpus.tokens.train, recipe.batch // recipe.micro_batches, rows=layout.devices)
    loss, optimizer = batch_loss(model, plan, recipe, layout, fed=corpus.streamed), adamw(recipe)

    def init(key: jax.Array, hyper: Any = recipe.hyper, params: Params | None = None) -> TrainState:
        return layout.make(partial(start, model=model, recipe=recipe), key, hyper, params)

    if not corpus.streamed:
        return Training(init, steps_on(layout.copy(tokens), loss, optimizer, in_place))
    feed, compiled = Feed(tokens, plan, recipe, layout), jitted_steps(in_place)

    def steps(state: TrainState, count: int) -> tuple[TrainState, jax.Array]:
        batches = feed(state.key, int(state.step), count)
        return compiled(state, batches, loss=loss, optimizer=optimizer, count=count, each=True)

    return Training(init, steps)
