"""How near lines are to the nearest of others."""

import pytest

from makemore_jax.analysis import nearness
from makemore_jax.analysis.nearness import median_distance, nearest


@pytest.mark.parametrize("at_once", [1, 7, 2**24])
def test_distances_are_the_fewest_changes_to_another_line(monkeypatch, at_once):
    monkeypatch.setattr(nearness, "AT_ONCE", at_once)
    others = ["emma", "olivia", "ava"]
    assert nearest(["ema", "livio", "", "eva"], others).tolist() == [1, 2, 3, 1]
    assert nearest(others, others).tolist() == [3, 4, 3]  # each to the nearest other
    assert median_distance(["ema", "livio", "x"], others) == 2


def test_nothing_to_compare():
    assert median_distance([], ["a"]) is None
    assert median_distance(["a"], []) is None


def test_of_long_texts_the_first(monkeypatch):
    monkeypatch.setattr(nearness, "MOST_PAIRS", 60)
    assert len(nearest(["abcde"] * 9, ["abcdef"])) == 2
