"""The second half of the first lecture: the bigram model, learned by gradient descent.

Row x of W holds the logits after symbol x. The loss has two forms: over all pairs, and over their counts.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.analysis import plot
from makemore_jax.errors import require
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.learning.fit import train_loop
from makemore_jax.learning.training import TrainState, init_state, steps_on, train_steps
from makemore_jax.models import ngram
from makemore_jax.models.interface import Model, Params
from makemore_jax.models.likelihood import table_nll
from makemore_jax.models.registry import build
from makemore_jax.runs.writer import RunFolder

from ..shared import cli
from ..shared.figures import drawing
from ..shared.lecture import Lecture, descent, pair_loss, table_loss
from ..shared.usage import called
from . import figures as bigram_figures
from .sections import section

TABLE_STEPS = 100_000  # on the count table, where a step costs next to nothing
MAX_WORK = 2**30  # steps x cells x penalties: fewer steps for a large alphabet
MAX_ONE_HOTS = 2**25  # pairs x symbols: beyond this, a step over the pairs is too slow, and the table is used instead
MAX_SWEEP = 512  # symbols: beyond this, one penalty is trained instead of a sweep


def tell(init_key: jax.Array, run_key: jax.Array, lecture: Lecture, config: Any, figures: RunFolder | None) -> dict:
    """7 to 9. Learn from the pairs, learn from the table, compare both with the counts; return the summary."""
    model = build("bigram", vocab=lecture.vocab.size)
    hyper = {"learning_rate": jnp.float32(config.learning_rate), "penalty": jnp.float32(config.penalty)}
    start = init_state(model.init(init_key), run_key, hyper, descent)
    with section(config, "7. The neural bigram"):
        learned, loss_N, on_pairs = tell_pairs(model, start, lecture, config.steps)
    with section(config, "8. The sufficient statistic"):
        tell_statistic(model, learned, hyper, lecture)
    if config.section in (7, 8):
        return {"pairs": on_pairs}
    with section(config, "9. Two roads, one model"):
        sweep = train_on_table(start, lecture.counts_VV)
        on_table = tell_agreement(model, sweep, lecture, config.learning_rate)
        penalties = tell_penalty(sweep, lecture.counts_VV, figures) if on_table["met"] else []
    if figures:
        name = f"loss + {config.penalty:g} mean(W²)"
        losses = {f"on the pairs, {name}": loss_N, f"on the table, {name}": sweep.loss_SN[1]}
        losses["on the table, loss alone"] = sweep.loss_SN[0]
        curves = {name: (np.arange(1, len(values) + 1), values) for name, values in losses.items()}
        levels = {"counts": on_table["counted_nats"], "uniform": float(np.log(lecture.vocab.size))}
        with drawing(figures.file("loss.png")) as path:
            figure = plot.losses(curves, levels, log=True)
            figure.suptitle("gradient descent arrives at the loss of the counts")
            plot.save(figure, path)
        name = f"learned in {on_table['steps']:,} steps without a penalty"
        matrices = {"counted": np.exp(ngram.fit(lecture.counts_VV)["log_prob"]), name: sweep.prob_SVV[0]}
        symbols = lecture.vocab.symbols
        with drawing(figures.file("matrices.png")) as path:
            bigram_figures.matrices(matrices, np.asarray(lecture.counts_VV), symbols, path)
    return {"pairs": on_pairs, "table": on_table, "penalties": penalties}


def tell_pairs(model: Model, state: TrainState, lecture: Lecture, steps: int) -> tuple[Params, np.ndarray, dict]:
    """7. Descend as the lecture does, each step over all pairs of the data."""
    pairs, side = lecture.tokens.pairs, lecture.vocab.size
    print(f"logits = one_hot(x) @ W, probabilities = softmax(logits)\nW starts as {side} x {side} normal noise")
    rate, penalty = state.hyper["learning_rate"], state.hyper["penalty"]
    print(f"gradient descent with learning rate {rate:g} on mean nll + {penalty:g} * mean(W**2)")
    if len(pairs[0]) * side > MAX_ONE_HOTS:
        print(f"(on the count table of section 8, since {len(pairs[0]):,} one-hots would be slow)")
        take_steps = steps_on(lecture.counts_VV, table_loss, descent)
    else:
        take_steps = steps_on(jax.device_put(pairs), partial(pair_loss, model), descent)
    began = time.perf_counter()
    state, loss_N = train_loop(take_steps, state, steps, label="gradient descent")
    learned, seconds = state.params, time.perf_counter() - began
    for step in sorted({1, 2, 10, 100, 1000, steps} & set(range(1, steps + 1))):
        print(f"    step {step:>6,}   loss with penalty {loss_N[step - 1]:.4f}")
    nats = exact_loss(model, learned, lecture.tokens).nats
    print(f"{steps:,} steps took {seconds:.1f} s with compilation; loss without the penalty: {nats:.4f}")
    return learned, loss_N, {"steps": steps, "last_loss": loss_N[-1], "nats": nats}


def tell_statistic(model: Model, params: Params, hyper: dict, lecture: Lecture) -> None:
    """8. Compare the loss and gradient from the pairs with those from the counts of the same pairs."""
    x_N, y_N = (side[: MAX_ONE_HOTS // lecture.vocab.size] for side in lecture.tokens.pairs)
    if len(x_N) < len(lecture.tokens.pairs[0]):
        print(f"on the first {len(x_N):,} pairs, since one-hots of all pairs would be slow:")
    counts_VV, gradients = ngram.count(lecture.model.config, x_N[None], y_N[None]), {}
    for name, loss, data in (("pairs", partial(pair_loss, model), (x_N, y_N)), ("table", table_loss, counts_VV)):
        value, gradient = jax.jit(jax.value_and_grad(loss))(params, data, hyper)
        gradients[name] = gradient["W"]
        print(f"from the {name}   loss {value:.6f}   norm of the gradient {jnp.linalg.norm(gradient['W']):.4e}")
    difference = jnp.abs(gradients["pairs"] - gradients["table"]).max()
    print(f"the gradients differ by at most {difference:.0e}: {counts_VV.size:,} counts say all that", end=" ")
    print(f"{len(x_N):,} pairs do\n(how much cheaper a step is: {called('benchmark')} bigram)")


class Sweep(NamedTuple):
    """The neural bigram, trained on the table with each of S penalties; the first is 0, the second is the run's."""

    penalty_S: np.ndarray
    W_SVV: jax.Array
    prob_SVV: np.ndarray
    nats_S: np.ndarray  # the loss on the data, without the penalty
    loss_SN: np.ndarray  # the loss before each of N steps, with the penalty


def train_on_table(start: TrainState, counts_VV: jax.Array) -> Sweep:
    """Train with many penalties at once, as one program."""
    cells = counts_VV.size
    # With the penalty p * mean(W**2), gradient descent at rate r is stable while 2 * p * r / cells < 2.
    shares = np.array([1e-4, 3e-3, 1e-2, 3e-2, 0.1, 0.3] if len(counts_VV) <= MAX_SWEEP else [])
    round_numbers = [float(f"{penalty:.0e}") for penalty in shares * cells / start.hyper["learning_rate"]]
    penalty_S = np.array([0, start.hyper["penalty"], *round_numbers], np.float32)
    count = max(1, min(TABLE_STEPS, MAX_WORK // (cells * len(penalty_S))))

    @jax.jit
    @jax.vmap
    def train(penalty: jax.Array) -> tuple[TrainState, jax.Array]:
        state = start._replace(hyper=start.hyper | {"penalty": penalty})
        return train_steps(state, counts_VV, loss=table_loss, optimizer=descent, count=count)

    began = time.perf_counter()
    state_S, loss_SN = jax.block_until_ready(train(penalty_S))
    print(f"{count:,} steps on the table with each of {len(penalty_S)} penalties, 0 included,")
    print(f"as one program: {time.perf_counter() - began:.1f} s")
    W_SVV = state_S.params["W"]
    nats_S = np.array([table_nll(W_VV, counts_VV) for W_VV in W_SVV])
    require(np.isfinite(nats_S[1]), f"the run with penalty {penalty_S[1]:g} diverged; lower it or the learning rate")
    return Sweep(penalty_S, W_SVV, np.asarray(jax.nn.softmax(W_SVV)), nats_S, np.asarray(loss_SN))


def tell_agreement(model: Model, sweep: Sweep, lecture: Lecture, rate: float) -> dict:
    """9. Show that gradient descent without a penalty reaches the loss, probabilities and samples of the counts."""
    counts_VV, counted = np.asarray(lecture.counts_VV), ngram.fit(lecture.counts_VV)
    nats = {"counted_nats": float(table_nll(counted["log_prob"], lecture.counts_VV))}
    nats |= {"nats": sweep.nats_S[0], "nats_with_penalty": sweep.nats_S[1]}
    difference_VV = np.abs(sweep.prob_SVV[0] - np.exp(counted["log_prob"]))
    row, column = np.unravel_index(difference_VV.argmax(), difference_VV.shape)
    first, second = lecture.symbols[row], lecture.symbols[column]
    print("loss from counting {counted_nats:.5f}, from gradient descent without a penalty {nats:.5f}".format(**nats))
    print(f"the probabilities differ by at most {difference_VV.max():.1e},", end=" ")
    print(f"for {first}{second} ({counts_VV[row].sum():,} pairs start with {first})")
    met = nats["nats"] < nats["counted_nats"] + 0.01
    if not met:
        share = float((counts_VV.sum(1) / counts_VV.sum()).max())
        # A row's curvature is at most half its share of the pairs, and a step overshoots when rate * curvature > 2.
        advice = f"try a --learning-rate under {4 / share:.1f}" if rate * share > 4 else "it needs more steps"
        print(f"gradient descent has not reached the counts yet: {advice}")
    strongest = int(sweep.penalty_S.argmax())
    by_penalty = {"gradient descent": 0, f"with penalty {sweep.penalty_S[strongest]:g}": strongest}
    drawn = {"counts": lecture.sample(lecture.model, counted)}
    drawn |= {name: lecture.sample(model, {"W": sweep.W_SVV[s]}) for name, s in by_penalty.items()}
    equal = sum(a == b for a, b in zip(drawn["counts"], drawn["gradient descent"], strict=True))
    print(f"with the same random key, {equal} of {len(drawn['counts'])} samples are the same for both\n")
    cli.columns(drawn)
    found = {"met": met, "largest_difference": difference_VV.max(), "samples": drawn}
    return {"steps": sweep.loss_SN.shape[1], **nats, **found}


def tell_penalty(sweep: Sweep, counts_VV: jax.Array, figures: RunFolder | None) -> list[dict]:
    """9. Show that a penalty acts as smoothing does: at equal loss, unseen pairs get about the same probability."""
    smoothing_G, smoothed_nats_G, smoothed_unseen_G = smoothing_curve(counts_VV)
    order_S = np.argsort(sweep.penalty_S[1:]) + 1
    penalty_S, nats_S = sweep.penalty_S[order_S], sweep.nats_S[order_S]
    unseen_S = np.array([unseen_probability(prob_VV, counts_VV) for prob_VV in sweep.prob_SVV[order_S]])
    smoothing_S = np.exp(np.interp(nats_S, smoothed_nats_G, np.log(smoothing_G)))
    smoothed_unseen_S = np.interp(nats_S, smoothed_nats_G, smoothed_unseen_G)

    print("\na penalty acts as smoothing does: pairs that were never seen get probability")
    columns = {"penalty": ">12.4g", "loss": ">10.4f", "P(unseen)": ">12.6f"}
    table = cli.Table(**columns, **{"smoothing of equal loss": ">28.4g", "its P(unseen)": ">16.6f"})
    names = ("penalty", "nats", "unseen", "smoothing", "smoothed_unseen")
    rows = list(zip(penalty_S, nats_S, unseen_S, smoothing_S, smoothed_unseen_S, strict=True))
    for row in rows:
        table.row(**dict(zip(table.formats, row, strict=True)))
    if figures:
        inside_G = smoothed_nats_G < nats_S.max() * 1.01
        line = tuple(curve[inside_G] for curve in (smoothing_G, smoothed_nats_G, smoothed_unseen_G))
        points = (penalty_S, nats_S, unseen_S)
        with drawing(figures.file("penalty.png")) as path:
            bigram_figures.regularisers(line, points, float(smoothed_nats_G[0]), path)
    return [dict(zip(names, row, strict=True)) for row in rows]


def unseen_probability(prob_VV: jax.Array, counts_VV: jax.Array) -> jax.Array:
    """The probability of drawing a pair that the data lacks, if first symbols are as frequent as in the data."""
    after_V = prob_VV.sum(-1, where=counts_VV == 0)
    total_V = counts_VV.astype(jnp.float32).sum(-1)  # the total may not fit into int32
    return (after_V * total_V).sum() / total_V.sum()


def smoothing_curve(counts_VV: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smoothings from almost none to almost uniform, (G,), with their losses and probabilities of unseen pairs."""

    def point(smoothing: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_prob_VV = ngram.fit(counts_VV, smoothing)["log_prob"]
        return table_nll(log_prob_VV, counts_VV), unseen_probability(jnp.exp(log_prob_VV), counts_VV)

    smoothing_G = np.geomspace(1e-5, 1e5, 201) * float(jnp.mean(counts_VV))
    nats_G, unseen_G = jax.lax.map(point, jnp.asarray(smoothing_G, jnp.float32))
    return smoothing_G, np.asarray(nats_G), np.asarray(unseen_G)
