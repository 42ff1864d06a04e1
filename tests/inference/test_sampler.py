import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import sampler
from makemore_jax.inference.evaluate import line_nll
from makemore_jax.inference.sampler import SamplingParams, filter_logits, inverse_cdf, sample_tokens
from makemore_jax.models import ngram
from makemore_jax.models.registry import build

V, T = 5, 17
CONFIG = ngram.Config(V, order=3)
MODEL = ngram.ngram(CONFIG)
PARAMS = {"log_prob": jax.nn.log_softmax(jax.random.normal(jax.random.key(7), CONFIG.shape).at[..., 0].add(-1))}
KEY = jax.random.key(0)
VOCAB = Vocab((".", "a", "b", "c", "d"))


def draw(prefixes, key=KEY, model=MODEL, params=PARAMS, **options):
    return sample_tokens(key, model, params, prefixes, T, SamplingParams(**options))


@pytest.fixture(scope="module")
def twenty():
    return draw([[]] * 20)


def text(samples):
    return [VOCAB.decode(row) for row in samples.token_BT]


def test_same_key_same_lines_other_key_other_lines(twenty):
    chex.assert_trees_all_equal(draw([[]] * 20), twenty)
    assert text(draw([[]] * 20, jax.random.key(1))) != text(twenty)
    assert len(set(text(twenty))) > 10  # rows have keys of their own


def test_row_does_not_depend_on_how_many_are_drawn(twenty):
    few = draw([[]] * 3)
    chex.assert_trees_all_equal(few.token_BT, twenty.token_BT[:3])
    chex.assert_trees_all_close(few.log_prob_B, twenty.log_prob_B[:3])


@pytest.mark.parametrize("slots", [1, 3, 8, 32])
def test_however_many_slots_the_lines_are_the_same(twenty, monkeypatch, slots):
    monkeypatch.setattr(sampler, "BUCKETS", ((32, slots),))
    chex.assert_trees_all_close(draw([[]] * 20), twenty)
    prefixes = [[1 + row % 4] for row in range(11)]
    assert draw(prefixes).token_BT[:, 0].tolist() == [prefix[0] for prefix in prefixes]


@pytest.mark.parametrize("count", [1, 2, 32, 33, 128, 129, 300])
def test_every_count_is_drawn_whole(count):
    drawn = draw([[]] * count)
    assert [len(leaf) for leaf in drawn] == [count] * 3
    assert (drawn.log_prob_B < 0).all()  # none was left out
    assert (drawn.ended_B == (drawn.token_BT == MARK).any(1)).all()


def test_nothing_follows_the_mark_and_unended_lines_say_so(twenty):
    for row, ended in zip(np.asarray(twenty.token_BT), twenty.ended_B, strict=True):
        marks = np.flatnonzero(row == MARK)
        assert ended == bool(len(marks))
        assert not len(marks) or not row[marks[0] :].any()
    short = sample_tokens(KEY, MODEL, PARAMS, [[]] * 20, 2)
    assert short.token_BT.shape == (20, 2)
    assert not short.ended_B.all()
    chex.assert_trees_all_equal(short.token_BT, twenty.token_BT[:, :2])


def test_log_prob_is_what_the_loss_says_of_the_line(twenty):
    ended = np.asarray(twenty.ended_B)
    assert ended.sum() > 5
    lines = [line for line, whole in zip(text(twenty), ended, strict=True) if whole]
    nats = line_nll(MODEL, PARAMS, tokenize(lines, VOCAB))
    np.testing.assert_allclose(-np.asarray(twenty.log_prob_B)[ended], nats, rtol=1e-5)
    prefixed = draw([[2, 3]] * 20, temperature=0.5, top_k=3)
    whole = np.asarray(prefixed.ended_B)
    nats = line_nll(MODEL, PARAMS, tokenize(np.array(text(prefixed))[whole].tolist(), VOCAB))
    np.testing.assert_allclose(
        -np.asarray(prefixed.log_prob_B)[whole], nats, rtol=1e-5
    )  # the model's own, not tempered


def test_prefixes_of_different_rows_may_differ(twenty):
    prefixes = [[], [1], [2, 3, 4], [4] * 11]
    mixed = draw(prefixes)
    for row, prefix in zip(np.asarray(mixed.token_BT), prefixes, strict=True):
        assert row[: len(prefix)].tolist() == prefix
    chex.assert_trees_all_equal(mixed.token_BT[0], twenty.token_BT[0])  # a row without one is as it was
    alone = draw([[], [], [2, 3, 4]])
    chex.assert_trees_all_equal(alone.token_BT[2], mixed.token_BT[2])


def test_greedy_is_the_argmax_and_top_k_one_and_a_small_top_p():
    greedy = draw([[], [1], [2]], temperature=0).token_BT
    rows = [[0, 0], [0, 1], [0, 2]]
    for row, (older, newer) in zip(np.asarray(greedy), rows, strict=True):
        start = 0 if newer == 0 else 1
        for token in row[start:]:
            assert token == np.argmax(PARAMS["log_prob"][older, newer])
            if token == MARK:
                break
            older, newer = newer, token
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-30}):
        chex.assert_trees_all_equal(draw([[], [1], [2]], key=jax.random.key(3), **options).token_BT, greedy)


def test_inverse_cdf_is_exact_at_the_steps():
    prob_V = jnp.array([0, 0.25, 0, 0.5, 0.25, 0])
    uniform_B = jnp.array([0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2**-24])
    assert inverse_cdf(uniform_B, jnp.tile(jnp.log(prob_V) + 7, (6, 1))).tolist() == [1, 1, 3, 3, 4, 4]
    thirds_V = jnp.append(jnp.zeros(30_000), -jnp.inf)  # their sum is not 1 to the last bit
    assert inverse_cdf(uniform_B[-1:], thirds_V[None]) == 29_999


@pytest.mark.slow
def test_inverse_cdf_never_takes_what_is_ruled_out():
    """As many symbols as GPT-2's, most of them ruled out, at random numbers that lie on a step of the sums."""
    random = np.random.default_rng(0)
    logits_V = np.where(random.random(50_257) < 0.7, -np.inf, random.normal(size=50_257)).astype(np.float32)
    prob_V, sum_V = jax.nn.softmax(logits_V), jnp.cumsum(jax.nn.softmax(logits_V))
    assert (np.diff(sum_V)[np.asarray(prob_V[1:]) == 0] != 0).any()  # sums in blocks are no running sum
    steps_B = (sum_V / sum_V.max())[:: len(sum_V) // 500]
    picked_B = jax.jit(inverse_cdf)(jnp.clip(steps_B, 0, 1 - 2**-24), jnp.tile(logits_V, (len(steps_B), 1)))
    assert (prob_V[picked_B] > 0).all()
    assert len(set(picked_B.tolist())) > 400


def test_frequencies_are_the_models_probabilities():
    """The first symbol of 4,000 lines, against its probability: chi-squared with 4 degrees of freedom under 18.5."""
    first = np.bincount(np.asarray(sample_tokens(KEY, MODEL, PARAMS, [[]] * 4000, 1).token_BT[:, 0]), minlength=V)
    for temperature, bound in ((1.0, (0, 18.5)), (2.0, (100, np.inf))):  # and not those of another temperature
        expected = 4000 * np.asarray(jax.nn.softmax(PARAMS["log_prob"][0, 0] / temperature))
        assert bound[0] < ((first - expected) ** 2 / expected).sum() < bound[1]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((1.0, 9, 1.0), [0.1, 0.4, 0.2, 0.3]),
        ((1.0, 2, 1.0), [0, 4 / 7, 0, 3 / 7]),
        ((1.0, 9, 0.4), [0, 1, 0, 0]),  # 0.4 is held by one
        ((1.0, 9, 0.41), [0, 4 / 7, 0, 3 / 7]),
        ((1.0, 9, 0.95), [0.1, 0.4, 0.2, 0.3]),
        ((1.0, 3, 0.75), [0, 4 / 7, 0, 3 / 7]),  # of what top-k left: 4/9 + 3/9 > 0.75
        ((0.5, 9, 1.0), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        ((0.0, 9, 1.0), [0, 1, 0, 0]),
        ((1.0, 9, 1e-40), [0, 1, 0, 0]),
    ],
)
def test_filter_logits(options, kept):
    logits_V = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3])) + 5
    chex.assert_trees_all_close(
        jax.nn.softmax(filter_logits(logits_V, *map(jnp.asarray, options))), jnp.array(kept), atol=1e-6
    )


def test_filter_logits_takes_the_lower_of_equals_and_stands_infinities():
    flat = jnp.zeros(4)
    np.testing.assert_array_equal(jnp.isfinite(filter_logits(flat, 1.0, 2, 1.0)), [True, True, False, False])
    ruled_out = filter_logits(jnp.array([-jnp.inf, 1.0, -jnp.inf]), 0.7, 3, 0.9)
    np.testing.assert_array_equal(jax.nn.softmax(ruled_out), [0, 1, 0])


def test_other_settings_prefixes_and_small_counts_compile_nothing(compilations):
    draw([[]] * 20)
    with compilations() as events:
        draw([[]] * 20, temperature=0.3, top_k=2, top_p=0.5)
        draw([[]] * 20, temperature=0)
        draw([[]] * 2)
        draw([[2] * 9] * 31, jax.random.key(5))
    assert not events
    draw([[]] * 33)
    with compilations() as events:
        draw([[1, 2]] * 127)
    assert not events
    with compilations() as events:
        sample_tokens(KEY, MODEL, PARAMS, [[]] * 20, T + 1)
    assert events  # otherwise nothing was counted


@pytest.mark.parametrize("at_each_position", [False, True])
def test_only_what_is_allowed_is_drawn(twenty, at_each_position):
    allowed_V = np.array([True, False, True, True, False])
    allowed_TV = np.tile(allowed_V, (T, 1))
    allowed_TV[1] = [False, False, False, True, False]
    allowed = allowed_TV if at_each_position else allowed_V
    drawn = sample_tokens(KEY, MODEL, PARAMS, [[]] * 20, T, allowed=allowed)
    seen = set(drawn.token_BT.ravel().tolist())
    assert seen == {0, 2, 3} < set(twenty.token_BT.ravel().tolist())
    started = drawn.token_BT[:, 0] != MARK
    second = set(drawn.token_BT[started, 1].tolist())
    assert second == {3} if at_each_position else len(second) > 1
    with pytest.raises(InputError, match="leaves no symbol"):
        sample_tokens(KEY, MODEL, PARAMS, [[]], T, allowed=np.zeros(V, bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "`temperature` is -1; it must be 0 or from"),
        ({"temperature": float("nan")}, "`temperature` is nan"),
        ({"temperature": float("inf")}, "`temperature` is inf"),
        ({"top_k": 0}, "`top_k` is 0"),
        ({"top_p": 0}, "`top_p` is 0"),
        ({"top_p": 1.5}, "`top_p` is 1.5"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        SamplingParams(**options)


def test_bad_prefixes():
    with pytest.raises(InputError, match="at least 1"):
        draw([])
    with pytest.raises(InputError, match="holds the mark"):
        draw([[1, 0, 2]])
    with pytest.raises(InputError, match="17 symbols leaves no room"):
        draw([[1] * T])


def test_lines_longer_than_the_block_are_refused():
    model = build("transformer", vocab=V, context=4, layers=1, heads=1, embed=3)
    params = model.init(KEY)
    assert sample_tokens(KEY, model, params, [[]], 4).token_BT.shape == (1, 4)
    with pytest.raises(InputError, match="lines of 5 tokens, the end mark included, exceed the model's context of 4"):
        sample_tokens(KEY, model, params, [[]], 5)
