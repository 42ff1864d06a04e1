"""The second half of the bigram's story: the model of the counts, learned by gradient descent.

W holds a row of log-counts for each symbol. Its loss has two forms, from all pairs and from their counts.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bigram_corpus import Corpus
from experiments.cli import columns, printable, title
from makemore_jax import plot, train
from makemore_jax.errors import require
from makemore_jax.loss import evaluate, mean_nll, table_nll
from makemore_jax.model import Model, Params
from makemore_jax.models import bigram, ngram

TABLE_STEPS = 100_000  # on the count table, where a step is nearly free
MOST_WORK = 2**30  # steps x cells x penalties: for a large alphabet fewer steps
MOST_ONE_HOTS = 2**25  # pairs x symbols: with more, a step on the pairs takes too long, and the table serves
WIDEST_SWEEP = 512  # symbols: with more, one penalty is trained and not a sweep of them


def penalty(params: Params, hyper: dict) -> jax.Array:
    """The regulariser: it pulls W to 0, where every row is uniform, as endless smoothing would."""
    return hyper["penalty"] * jnp.mean(params["W"] ** 2)


def pair_loss(model: Model, params: Params, pairs: tuple[jax.Array, jax.Array], hyper: dict, key=None) -> jax.Array:
    """The loss as in the lecture, from all N pairs (x_N, y_N)."""
    x_N, y_N = pairs
    return mean_nll(model.apply(params, x_N[None]), y_N[None]) + penalty(params, hyper)


def table_loss(params: Params, counts_VV: jax.Array, hyper: dict, key=None) -> jax.Array:
    """The same loss from the count table: the one-hots of all symbols are the identity, so the logits are W itself."""
    return table_nll(params["W"], counts_VV) + penalty(params, hyper)


def descent(hyper: dict) -> optax.GradientTransformation:
    """Plain gradient descent."""
    return optax.sgd(hyper["learning_rate"])


class Sweep(NamedTuple):
    """The neural bigram trained on the table, once for each of S penalties; the first is 0, the second the run's."""

    penalty_S: np.ndarray
    params_S: list[Params]
    prob_SVV: np.ndarray
    nats_S: np.ndarray  # the loss on the data, without the penalty
    loss_SN: np.ndarray  # the loss before each of N steps, with it


def tell(
    init_key: jax.Array, run_key: jax.Array, corpus: Corpus, config: Any, draw: Callable, figures: Path | None
) -> dict:
    """7 to 9. Learn from the pairs, learn from the table, compare with the counts; returns the figures."""
    model = bigram.bigram(bigram.Config(corpus.vocab.size))
    start = model.init(init_key)
    hyper = {"learning_rate": jnp.float32(config.learning_rate), "penalty": jnp.float32(config.penalty)}
    learned, loss_N, on_pairs = tell_pairs(run_key, model, start, hyper, corpus, config.steps)
    tell_statistic(model, learned, hyper, corpus)
    title("9. Two roads, one model")
    sweep = descend_sweep(run_key, start, hyper, corpus.counts_VV)
    agreement = tell_agreement(model, sweep, corpus, config.learning_rate, draw)
    penalties = tell_penalty(sweep, corpus.counts_VV, figures) if agreement["met"] else []
    if figures:
        levels = {"counts": agreement["counted_nats"], "uniform": float(np.log(corpus.vocab.size))}
        label = f"loss + {config.penalty:g} mean(W²)"
        by_name = {f"on the pairs, {label}": loss_N, f"on the table, {label}": sweep.loss_SN[1]}
        by_name["on the table, loss alone"] = sweep.loss_SN[0]
        curves = {name: (np.arange(1, len(values) + 1), values) for name, values in by_name.items()}
        plot.losses(curves, levels, figures / "loss.png", log=True)
        counted_VV = np.exp(ngram.fit(corpus.counts_VV)["log_prob"])
        matrices = {
            "counted": counted_VV,
            f"learned in {len(sweep.loss_SN[0]):,} steps without a penalty": sweep.prob_SVV[0],
        }
        plot.matrices(matrices, corpus.counts_VV, corpus.vocab.symbols, figures / "matrices.png")
    return {"pairs": on_pairs, "table": agreement, "penalties": penalties}


def tell_pairs(
    key: jax.Array, model: Model, start: Params, hyper: dict, corpus: Corpus, steps: int
) -> tuple[Params, np.ndarray, dict]:
    """7. The lecture's gradient descent, each step over every pair of the data."""
    title("7. The neural bigram")
    print(f"logits = one_hot(x) @ W; probabilities = softmax(logits); W {start['W'].shape} starts normal")
    print(f"gradient descent at rate {hyper['learning_rate']:g} on mean nll + {hyper['penalty']:g} * mean(W**2)")
    loss, source = partial(pair_loss, model), jax.device_put(corpus.tokens.pairs)
    if len(source[0]) * corpus.vocab.size > MOST_ONE_HOTS:
        print(f"{len(source[0]):,} one-hots would take long; the steps go over their count table, see section 8")
        loss, source = table_loss, corpus.counts_VV
    began = time.perf_counter()
    chunks = []
    state = train.fit(
        key,
        train.start(start, hyper, descent),
        source,
        hyper,
        loss=loss,
        optimizer=descent,
        count=steps,
        label="gradient descent",
        on_chunk=lambda state, losses: chunks.append(losses),
    )
    learned, loss_N, seconds = state.params, np.concatenate(chunks), time.perf_counter() - began
    for step in sorted({1, 2, 10, 100, 1000, steps} & set(range(1, steps + 1))):
        print(f"    step {step:>6,}   loss + penalty {loss_N[step - 1]:.4f}")
    nats = evaluate(model, learned, corpus.tokens).nats
    print(f"{steps:,} steps in {seconds:.1f} s with compilation; the loss alone is then {nats:.4f}")
    return learned, loss_N, {"steps": steps, "last_loss": loss_N[-1], "nats": nats}


def tell_statistic(model: Model, params: Params, hyper: dict, corpus: Corpus) -> None:
    """8. Loss and gradient from the pairs and from the counts of the same pairs, side by side."""
    title("8. The sufficient statistic")
    pairs = tuple(side[: MOST_ONE_HOTS // corpus.vocab.size] for side in corpus.tokens.pairs)
    whole = len(pairs[0]) == len(corpus.tokens.pairs[0])
    print("" if whole else f"on the first {len(pairs[0]):,} pairs, for one-hots of all would take long:\n", end="")
    counts_VV = ngram.count(ngram.Config(corpus.vocab.size), *(side[None] for side in pairs))
    gradients = {}
    for name, loss, source in (("pairs", partial(pair_loss, model), pairs), ("table", table_loss, counts_VV)):
        value, gradient = jax.jit(jax.value_and_grad(loss))(params, source, hyper)
        gradients[name] = gradient["W"]
        print(f"from the {name}   loss {value:.6f}   length of the gradient {jnp.linalg.norm(gradient['W']):.4e}")
    difference = jnp.abs(gradients["pairs"] - gradients["table"]).max()
    print(f"the gradients differ by {difference:.0e} at most: {counts_VV.size:,} counts say all that", end=" ")
    print(f"{len(pairs[0]):,} pairs do\n(how much cheaper a step is: python -m experiments.benchmark bigram)")


def descend_sweep(key: jax.Array, start: Params, hyper: dict, counts_VV: jax.Array) -> Sweep:
    """Train on the table with many penalties at once, as one program."""
    cells = counts_VV.size
    # Gradient descent at rate r follows a penalty p on the mean of so many squares while 2 p r / cells < 2.
    shares = np.array([1e-4, 3e-3, 1e-2, 3e-2, 0.1, 0.3] if len(counts_VV) <= WIDEST_SWEEP else [])
    round_numbers = [float(f"{penalty:.0e}") for penalty in shares * cells / hyper["learning_rate"]]
    penalty_S = np.array([0, hyper["penalty"], *round_numbers], np.float32)
    count = max(1, min(TABLE_STEPS, MOST_WORK // (cells * len(penalty_S))))

    @jax.jit
    @partial(jax.vmap, in_axes=({"learning_rate": None, "penalty": 0},))
    def descend(hyper: dict) -> tuple[train.TrainState, jax.Array]:
        state = train.start(start, hyper, descent)
        return train.run(key, state, counts_VV, hyper, loss=table_loss, optimizer=descent, count=count)

    began = time.perf_counter()
    state_S, loss_SN = jax.block_until_ready(descend(hyper | {"penalty": penalty_S}))
    print(f"{count:,} steps on the table, without a penalty and with {len(penalty_S) - 1}, as one program", end="")
    print(f": {time.perf_counter() - began:.1f} s")
    params_S = [jax.tree.map(lambda leaf, s=s: leaf[s], state_S.params) for s in range(len(penalty_S))]
    nats_S = np.array([table_nll(params["W"], counts_VV) for params in params_S])
    require(np.isfinite(nats_S[1]), f"the run with penalty {penalty_S[1]:g} diverged; lower it or the learning rate")
    return Sweep(penalty_S, params_S, np.asarray(jax.nn.softmax(state_S.params["W"])), nats_S, np.asarray(loss_SN))


def tell_agreement(model: Model, sweep: Sweep, corpus: Corpus, rate: float, draw: Callable) -> dict:
    """9. Without a penalty, gradient descent arrives at the counts: loss, probabilities, samples."""
    symbols, counted = list(map(printable, corpus.vocab.symbols)), ngram.fit(corpus.counts_VV)
    counted_nats = float(table_nll(counted["log_prob"], corpus.counts_VV))
    difference_VV = np.abs(sweep.prob_SVV[0] - np.exp(counted["log_prob"]))
    first, second = np.unravel_index(difference_VV.argmax(), difference_VV.shape)
    print(f"loss of the counts {counted_nats:.5f}, of gradient descent with no penalty {sweep.nats_S[0]:.5f}")
    print(f"largest difference of the two probability matrices {difference_VV.max():.1e},", end=" ")
    print(f"at {symbols[first]}{symbols[second]} ({corpus.counts_VV[first].sum():,} pairs start with {symbols[first]})")
    met = sweep.nats_S[0] < counted_nats + 0.01
    if not met:
        share = float((corpus.counts_VV.sum(1) / len(corpus.tokens.pairs[0])).max())
        # A row's curvature is at most half its share of the pairs, and a step overshoots when rate * curvature > 2.
        advice = f"try a --learning-rate under {4 / share:.1f}" if rate * share > 4 else "they need more steps"
        print(f"they have not met: {advice}")
    drawn = {"counts": draw(corpus.model, counted), "gradient descent": draw(model, sweep.params_S[0])}
    strongest = int(sweep.penalty_S.argmax())
    drawn[f"with penalty {sweep.penalty_S[strongest]:g}"] = draw(model, sweep.params_S[strongest])
    equal = sum(a == b for a, b in zip(drawn["counts"], drawn["gradient descent"], strict=True))
    print(f"samples with the same key; without a penalty {equal} of {len(drawn['counts'])} are those of the counts\n")
    columns(drawn)
    nats = {"counted_nats": counted_nats, "nats": sweep.nats_S[0], "nats_with_penalty": sweep.nats_S[1]}
    return {
        "steps": len(sweep.loss_SN[0]),
        **nats,
        "met": met,
        "largest_difference": difference_VV.max(),
        "samples": drawn,
    }


def tell_penalty(sweep: Sweep, counts_VV: jax.Array, figures: Path | None) -> list[dict]:
    """9. A penalty does what smoothing does: at the same loss, both give as much to pairs that were never seen."""
    smoothing_G, smoothed_nats_G, smoothed_unseen_G = smoothing_curve(counts_VV)
    order_S = np.argsort(sweep.penalty_S[1:]) + 1
    penalty_S, nats_S = sweep.penalty_S[order_S], sweep.nats_S[order_S]
    unseen_S = np.array([unseen_probability(prob_VV, counts_VV) for prob_VV in sweep.prob_SVV[order_S]])
    smoothing_S = np.exp(np.interp(nats_S, smoothed_nats_G, np.log(smoothing_G)))
    smoothed_unseen_S = np.interp(nats_S, smoothed_nats_G, smoothed_unseen_G)

    print("\nA penalty does what smoothing does: it gives probability to pairs that were never seen.")
    print(f"{'penalty':>12}{'loss':>10}{'P(unseen)':>12}{'smoothing of the same loss':>32}{'P(unseen)':>12}")
    names = ("penalty", "nats", "unseen", "smoothing", "smoothed_unseen")
    rows = list(zip(penalty_S, nats_S, unseen_S, smoothing_S, smoothed_unseen_S, strict=True))
    for row in rows:
        print("{:>12.4g}{:>10.4f}{:>12.6f}{:>32.4g}{:>12.6f}".format(*row))
    if figures:
        inside_G = smoothed_nats_G < nats_S.max() * 1.01
        line = tuple(curve[inside_G] for curve in (smoothing_G, smoothed_nats_G, smoothed_unseen_G))
        curves = {"smoothing": line, "weight penalty (its strength beside it)": (penalty_S, nats_S, unseen_S)}
        plot.regularisers(curves, float(smoothed_nats_G[0]), figures / "penalty.png")
    return [dict(zip(names, row, strict=True)) for row in rows]


def unseen_probability(prob_VV: jax.Array, counts_VV: jax.Array) -> jax.Array:
    """How much probability goes to pairs that the counts lack, after a symbol as frequent as it is in the data."""
    after_V = prob_VV.sum(-1, where=counts_VV == 0)
    total_V = counts_VV.astype(jnp.float32).sum(-1)  # the sum of all may be past int32
    return (after_V * total_V).sum() / total_V.sum()


def smoothing_curve(counts_VV: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(G,) smoothings from next to none to next to uniform, their losses on the data, their unseen probabilities."""

    def point(smoothing: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_prob_VV = ngram.fit(counts_VV, smoothing)["log_prob"]
        return table_nll(log_prob_VV, counts_VV), unseen_probability(jnp.exp(log_prob_VV), counts_VV)

    smoothing_G = np.geomspace(1e-5, 1e5, 201) * float(jnp.mean(counts_VV))
    nats_G, unseen_G = jax.lax.map(point, jnp.asarray(smoothing_G, jnp.float32))
    return smoothing_G, np.asarray(nats_G), np.asarray(unseen_G)
