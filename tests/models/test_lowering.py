"""Every model's training steps and sampler can be lowered for the accelerators that JAX knows, without having one."""

import jax
import numpy as np
import pytest

from makemore_jax.data.batches import plan_batches
from makemore_jax.inference import sampler
from makemore_jax.inference.sampler import Request, SamplingParams
from makemore_jax.learning.training import first_state, jitted_steps, loss_of
from makemore_jax.models.registry import NEURAL
from makemore_jax.recipe import Recipe, optimizer_of
from tests.cases import CORPUS, shared_case

PLATFORMS = ("cuda", "tpu", "rocm")


@pytest.mark.parametrize("name", NEURAL)
def test_training_and_sampling_lower_for_accelerators(name):
    model = shared_case((name, 0)).model
    assert model.vocab == CORPUS.vocab.size
    tokens, plan = plan_batches(CORPUS.tokens.train, 4, micro_batches=2)
    recipe = Recipe(batch=4, micro_batches=2, average=0.9, bfloat16=True)
    key, options = jax.random.key(0), {"loss": loss_of(model, recipe, plan), "optimizer": optimizer_of(recipe)}
    state = jax.eval_shape(lambda key: first_state(model, recipe, key, recipe.hyper), key)
    counts = np.int32(2), np.int32(0)
    request = Request(np.zeros((2, 11), np.int32), *counts, np.ones((1, 7), bool), *SamplingParams().arrays)
    for program in (
        jitted_steps().trace(state, tokens, count=3, **options),
        sampler._sample.trace(key, model, state.params, request, 4),
    ):
        assert "stablehlo.while" in program.lower(lowering_platforms=PLATFORMS).as_text()
