"""Making more of a list: what is chosen and when learning ends, which lines come out, and what is refused."""

import json
from itertools import islice, pairwise

import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.files import embedded
from makemore_jax.inference.baselines import shannon
from makemore_jax.inference.mixing import weights
from makemore_jax.learning import candidates
from makemore_jax.learning.candidates import Candidate, Deadline, blend, in_time, learn
from makemore_jax.making import first_handful, known_lines, likeliest, make_more, read
from makemore_jax.models.registry import build, sizes_for
from makemore_jax.recipe import Recipe
from makemore_jax.runs.folder import lines_of

TOWNS = ["Ashford", "Aston", "Ashton", "Burton", "Bolton", "Boston", "Luton"]
WORDS = [f"{a}{b}{c}" for a in "bcdfglmn" for b in "aeiou" for c in ("", "n", "ra", "to")] * 2


@pytest.fixture
def tiny(monkeypatch):
    """Networks of a few numbers and a few steps, and a clock that stands still."""

    def network(name, corpus, hidden):
        model = build("rnn", **sizes_for("rnn", corpus.sizes), embed=3, hidden=5)
        return model, Recipe(steps=6, batch=5, warmup=0, learning_rate=1e-2)

    monkeypatch.setattr(candidates, "network", network)
    monkeypatch.setattr(candidates, "clock", lambda: 0.0)
    monkeypatch.setattr(candidates, "ORDERS", (1, 3))
    monkeypatch.setattr(candidates, "EVERY", 2)


def scored(prob_M, order=1):
    """A candidate that gives the held-out tokens these probabilities."""
    return Candidate(f"n-gram {order}", mm.count(read(TOWNS), order), -np.log(np.float32(prob_M)))


@pytest.mark.parametrize("short", [True, False])
def test_what_is_learned_is_the_best_of_what_was_measured(tiny, monkeypatch, short):
    monkeypatch.setattr("makemore_jax.making.SHORT", 500 if short else 5)
    corpus = read(WORDS)
    assert bool(corpus.lines.dev) != short
    found = list(learn(corpus, Deadline(1)))
    assert [learned.step for learned in found] == [0, 2, 4, 6]
    assert set(found[-1].nats) == {found[0].best.name, "lstm", "mixture"}
    assert found[-1].best.nats == pytest.approx(min(found[-1].nats.values()))
    for before, after in pairwise(found):
        assert all(after.nats[name] <= nats for name, nats in before.nats.items())
    if not short:
        best = found[-1].best
        assert mm.evaluate(best.trained, corpus.tokens.dev).nats == pytest.approx(best.nats, rel=1e-5)


def test_learning_stops_when_it_gets_worse_and_where_no_time_is_left(tiny, monkeypatch):
    monkeypatch.setattr(candidates, "PATIENCE", 1)
    monkeypatch.setattr(candidates, "blend", lambda parts, fitted: scored([0.5 / parts[-1].step]))
    assert [learned.step for learned in learn(read(TOWNS), Deadline(1))] == [0, 2, 4]
    assert [learned.step for learned in learn(read(TOWNS), Deadline(0.1))] == [0]


def test_candidates_come_as_long_as_the_next_is_likely_to_be_there_in_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(candidates, "clock", lambda: now[0])

    def slow():
        for seconds in (50, 5, 20, 20, 20):
            now[0] += seconds
            yield seconds

    assert list(in_time(slow(), until=110)) == [50, 5, 20, 20]


def test_a_blend_is_the_mixture_that_it_scores():
    parts = [scored([0.5, 0.1, 0.2]), scored([0.1, 0.7, 0.2], order=2)]
    equal, fitted = blend(parts, fitted=False), blend(parts, fitted=True)
    np.testing.assert_allclose(np.exp(-equal.nll_M), [0.3, 0.4, 0.2], rtol=1e-5)
    np.testing.assert_allclose(weights(equal.trained), [0.5, 0.5], rtol=1e-6)
    share = weights(fitted.trained)[0]
    expected = [share * 0.5 + (1 - share) * 0.1, share * 0.1 + (1 - share) * 0.7, 0.2]
    np.testing.assert_allclose(np.exp(-fitted.nll_M), expected, rtol=1e-5)
    assert fitted.nats < equal.nats


def test_lines_are_new_and_each_once_unless_asked_otherwise(tiny):
    made = mm.make(TOWNS, 30, wanted=mm.Wanted(best_of=1, temperature=1.0))
    assert len(made.lines) == len(set(made.lines)) == 30
    assert not set(made.lines) & set(TOWNS)
    assert made.learned.best.trained is made.trained
    corpus, counted = read(TOWNS), mm.count(read(TOWNS), 4)
    anything = make_more(counted, corpus, 300, mm.Wanted(known=True, repeats=True, best_of=1, temperature=0.3))
    assert set(anything.lines) & set(TOWNS)
    assert len(set(anything.lines)) < 300 == len(anything.lines)
    assert anything.new == pytest.approx(np.mean([line not in TOWNS for line in anything.lines]), abs=0.1)


def test_lines_are_as_they_are_wanted():
    corpus, counted = read(TOWNS), mm.count(read(TOWNS), 2)
    wanted = mm.Wanted(start="B", end="d", match="^.o", min_length=4, max_length=9)
    made = make_more(counted, corpus, 3, wanted)
    assert len(made.lines) == 3
    for line in made.lines:
        assert line[:2] == "Bo"
        assert line[-1] == "d"
        assert 4 <= len(line) <= 9
    none = make_more(counted, corpus, 3, mm.Wanted(match="zz"), until=lambda: True)
    assert (none.lines, none.accepted, none.distance) == ([], 0, None)


def test_lines_of_a_short_list_are_like_its_own():
    corpus = read(TOWNS)
    pairs = {pair for town in TOWNS for pair in zip(f".{town}", f"{town}.", strict=True)}
    like = lambda line: {*zip(f".{line}", f"{line}.", strict=True)} <= pairs
    made = make_more(mm.count(corpus, 2), corpus, 3)
    assert len(made.lines) == 3
    assert all(like(line) and 5 <= len(line) <= 7 for line in made.lines)
    free = make_more(mm.count(corpus, 1), corpus, 30, mm.Wanted(familiar=1, min_length=3)).lines
    assert not all(map(like, free))
    assert min(map(len, free)) == 3


def test_where_too_few_lines_are_like_the_list_only_what_was_asked_counts():
    corpus = read(["heads", "tails"])
    made = make_more(mm.count(corpus, 2), corpus, 4)
    assert len(made.lines) == 4
    assert make_more(mm.count(corpus, 2), corpus, 4, mm.Wanted(familiar=5)).lines == []


def test_blank_lines_and_spaces_around_a_line_are_not_wanted():
    accept = mm.Wanted(known=True, repeats=True).accept(())
    assert [line for line in ("", " ", "a b", " a", "a ") if accept(line)] == ["a b"]


def test_the_likeliest_of_each_part_is_kept():
    samples = mm.making.Samples(np.array([[1, 0], [2, 2], [3, 0], [4, 0]]), np.array([-4.0, -5.0, -6.0, -2.0]), None)
    assert likeliest(samples, 2).tolist() == [[2, 2], [4, 0]]  # -5 over three tokens, against -4 over two
    assert likeliest(samples, 9).tolist() == samples.token_BT.tolist()


def test_a_frequent_line_is_learned_as_frequent(tiny, monkeypatch):
    monkeypatch.setattr(candidates, "ORDERS", (3,))
    monkeypatch.setattr(candidates, "COMPILING", 99)
    made = mm.make(["lucas"] * 60 + TOWNS * 4)
    as_it_is = mm.Wanted(known=True, repeats=True, familiar=1, best_of=1, temperature=1.0)
    sure = make_more(made.trained, read(TOWNS), 200, as_it_is)
    assert sure.lines.count("lucas") > 20
    assert sure.lines.count("lucas") > 4 * sure.lines.count("Aston")


def test_two_different_lines_are_enough(tiny):
    made = mm.make(["heads", "tails"] * 20, 5)
    assert made.lines
    assert not {"heads", "tails"} & set(made.lines)


def test_shannon_copies_what_follows_in_the_data():
    corpus = read(TOWNS)
    drawn = shannon(corpus.tokens.train, order=3)
    seen = {line[i : i + 3] for town in TOWNS for line in [f"..{town}."] for i in range(len(line) - 2)}
    for _ in range(50):
        line = f"..{corpus.vocab.decode(next(drawn))}."
        assert {line[i : i + 3] for i in range(len(line) - 2)} <= seen
    handful = first_handful(corpus)
    assert len(handful) == len(set(handful)) == 5
    assert not set(handful) & known_lines(corpus)


def test_shannon_ends_where_no_window_leads_to_the_end_of_a_line():
    cut = tokenize(["abcabcab"], Vocab.of(["abc"]), 4)
    assert cut.length_N.tolist() == [4, 4, 1]  # the last one is the end mark and nothing else
    assert {len(line) for line in islice(shannon(cut, order=2), 20)} == {1, 4}


def test_a_list_of_lines_is_data_and_the_names_are_embedded(tmp_path):
    lines = [f"  {word} " for word in WORDS]
    path = tmp_path / "words.txt"
    path.write_text("\n".join(lines))
    assert mm.load([*lines, " "])[:2] == mm.load(path)[:2]
    assert mm.load(lines).digest == mm.load(path).digest
    assert len(read().lines.train) > 20_000
    assert embedded("names.txt").exists()


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda: mm.make([]), "the list holds no lines; give some"),
        (lambda: mm.make(["a", " a"]), "the list: all lines are the same; give at least two"),
        (lambda: mm.make(["a", 3]), "item 2 of the list is of type int; give lines of text"),
        (lambda: mm.make(TOWNS, 0), "`n` is 0; it must be at least 1"),
        (lambda: mm.make(TOWNS, minutes=0), "`minutes` is 0; it must be from"),
        (lambda: mm.make(TOWNS, wanted=mm.Wanted(start="?")), "is not in the vocabulary"),
        (lambda: mm.Wanted(match="(a"), r"`match` is '\(a', not a regular expression \(missing"),
        (lambda: mm.Wanted(min_length=5, max_length=4), "`min_length` is 5, above the `max_length` of 4"),
        (lambda: mm.Wanted(temperature=-1.0), "`temperature` is -1.0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(problem, message):
    with pytest.raises(InputError, match=message) as error:
        problem()
    assert "\n" not in str(error.value)


def test_the_command_makes_lines_keeps_the_model_and_answers_at_once(tiny, command, tmp_path, monkeypatch):
    file, out = tmp_path / "towns.txt", tmp_path / "out"
    file.write_text("\n".join(TOWNS))
    flags = file, "--out", out, "--n", 7, "--start", "B"
    status, printed, said = command("make", *flags)
    assert status == 0, said
    lines = printed.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("B") for line in lines)
    assert "7 lines, 7 different" in said
    assert "left out in turn" in said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["lines"] == lines
    assert summary["nats"][summary["chosen"]] == min(summary["nats"].values())
    monkeypatch.setattr(candidates, "learn", None)
    again = command("make", *flags)
    assert again[:2] == (0, printed)
    assert "has learned it already" in again[2]
    status, printed, _ = command("make", *flags, "--seed", 1, "--json")
    assert json.loads(printed.splitlines()[-1])["lines"] == printed.splitlines()[:-1] != lines
    status, printed, said = command("make", *flags, "--match", "zz")
    assert (status, printed) == (1, "")
    assert "only 0 lines of the 7 could be found" in said
    status, _, said = command("make", file, "--out", out, "--minutes", 2)
    assert status == 2
    assert "minutes" in said
    assert lines_of(out, mm.open(out).vocab) == (TOWNS, [], [])
    assert command("sample", out, "--n", 3, "--unseen")[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--n", 0), "--n is 0"),
        (("--minutes", 0), "--minutes is 0"),
        (("--match", "["), "--match is"),
        (("--min-length", 5, "--max-length", 3), "--min-length is 5, above the --max-length of 3"),
    ],
)
def test_flags_that_cannot_be(command, flags, message):
    status, printed, said = command("make", *flags)
    assert (status, printed, said.count("\n")) == (2, "", 1)
    assert message in said
