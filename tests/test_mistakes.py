"""A mistaken argument of a public function is one line that says what to give instead, before anything is computed."""

import jax
import numpy as np
import pytest

import makemore_jax as mm
from tests.tiny_run import CORPUS, MODEL

KEY = jax.random.key(0)
TRAINED = mm.Trained(MODEL, MODEL.init(KEY), CORPUS.vocab, CORPUS.context)
TEST = CORPUS.tokens.test


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mm.sample(1, TRAINED), "key is of type int; give a random key, such as jax.random.key(0)"),
        (lambda: mm.sample(TRAINED, KEY), "key is of type Trained"),
        (lambda: mm.sample(KEY, MODEL), "trained is of type Model; give a trained model, as train and open return it"),
        (lambda: mm.sample(KEY, TRAINED, "3"), "n is of type str; give a whole number"),
        (lambda: mm.sample(KEY, TRAINED, prefix=3), "prefix is of type int"),
        (lambda: mm.sample(KEY, TRAINED, excluding="emma"), "excluding is 'emma'; give a list, such as ['emma']"),
        (lambda: mm.load(123), "the data is 123; give a path, or a list of lines"),
        (lambda: mm.open(123), "path is of type int"),
        (lambda: mm.train(0, "gru", CORPUS), "key is of type int"),
        (lambda: mm.train(KEY, "gruu", CORPUS), "there is no model 'gruu'; there are ngram, "),
        (lambda: mm.train(KEY, 3, CORPUS), "model is of type int"),
        (lambda: mm.train(KEY, "gru", "names.txt"), "corpus is of type str; give a corpus, as load returns it"),
        (lambda: mm.train(KEY, "gru", CORPUS, {"steps": 3}), "recipe is of type dict"),
        (lambda: mm.training(TRAINED, CORPUS), "model is of type Trained; give a model, such as trained.model"),
        (lambda: mm.evaluate(TRAINED, ["emma"]), "tokens is of type list; give tokens, such as corpus.tokens.test"),
        (lambda: mm.evaluate(TRAINED, CORPUS.tokens), "tokens is of type Split"),
        (lambda: mm.evaluate(TRAINED, TEST, excluding=["emma"]), "tokens is of type list"),
        (lambda: mm.mass("runs/gru", TEST), "trained is of type str"),
        (lambda: mm.score(TRAINED, "emma"), "lines is 'emma'; give a list, such as ['emma']"),
        (lambda: mm.score(TRAINED, [1]), "line is of type int; give text"),
        (lambda: mm.predict(TRAINED, ["emma"]), "prefix is of type list; give text"),
        (lambda: mm.activations(MODEL, "emma"), "trained is of type Model"),
        (lambda: mm.save(MODEL, "weights.safetensors"), "trained is of type Model"),
        (lambda: mm.mix("runs/gru"), "models is 'runs/gru'; give a list"),
        (lambda: mm.mix(TRAINED), "models is Trained(model=Model("),
        (lambda: mm.mix(["runs/gru", "runs/lstm"]), "trained is of type str"),
        (lambda: mm.ensemble(TRAINED), "models is Trained(model=Model("),
        (lambda: mm.sweep(TRAINED, CORPUS), "model is of type Trained"),
        (lambda: mm.sweep("bigram", CORPUS, seeds="01"), "seeds is '01'; give a list"),
        (lambda: mm.sweep("bigram", CORPUS, seeds=3), "seeds is 3; give a list, such as [3]"),
        (lambda: mm.sweep("bigram", CORPUS, rates=0.1), "rates is 0.1; give a list, such as [0.1]"),
        (lambda: mm.count("names.txt"), "corpus is of type str"),
        (lambda: mm.baselines(["emma"]), "corpus is of type list"),
        (lambda: mm.make(["emma", "ava"], "3"), "n is of type str"),
    ],
)
def test_a_mistaken_argument_is_named(call, message):
    with pytest.raises(mm.InputError) as error:
        call()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_what_can_stand_in_for_them_is_taken():
    """An old key, NumPy's numbers, arrays and sets as lists."""
    assert len(mm.sample(jax.random.PRNGKey(0), TRAINED, np.int64(2), excluding={"emma"})) == 2
    assert len(mm.score(TRAINED, np.array(["emma", "ava"]))) == 2
    assert len(mm.score(TRAINED, (line for line in ("emma", "ava")))) == 2
