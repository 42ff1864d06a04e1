"""A text file as a corpus, in memory and from token files beside the text."""

import os
import re
from functools import partial

import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data import token_files
from makemore_jax.data.corpus import load
from makemore_jax.errors import InputError


def test_a_streamed_corpus_is_the_corpus_in_memory_and_says_what_it_does(tmp_path, names):
    path, told = tmp_path / "few.txt", []
    path.write_text("\n".join(names[:300]))
    in_memory = load(path)
    for message in ("encoding .*few.txt into .*few.txt.tokens/character-1", None, "dev.length': damaged.*; encoding"):
        told.clear()
        streamed = token_files.load(path, progress=False, report=told.append)
        assert len(told) == (message is not None)
        assert message is None or re.search(message, told[0])
        assert streamed.streamed
        assert not in_memory.streamed
        assert (streamed.vocab, streamed.digest, streamed.context) == in_memory[:1] + in_memory[3:]
        for one, other in zip(streamed.tokens, in_memory.tokens, strict=True):
            assert all(map(np.array_equal, one, other))
        if not message:
            os.truncate(f"{path}.tokens/character-1/dev.length", 3)
    with pytest.raises(InputError, match="no such file"):
        token_files.load(tmp_path / "none.txt")


def test_too_few_lines_to_hold_some_out_are_counted_and_so_are_the_different_ones(tmp_path):
    path = tmp_path / "lines.txt"
    for lines, message in ((["a", "b"], "2 lines are too few"), (["a", "b"] * 99, "only 2 of 198 lines are different")):
        path.write_text("\n".join(lines))
        for reader in (load, partial(token_files.load, progress=False)):
            with pytest.raises(InputError, match=f"lines.txt: {message}.* to hold some out .*; add other lines"):
                reader(path)


def test_the_share_that_is_held_out_is_a_setting():
    lines = [f"line {number}" for number in range(200)]
    tenth, fifth = mm.load(lines), mm.load(lines, holdout=0.2)
    assert [len(part) for part in fifth.lines] != [len(part) for part in tenth.lines]
    assert 25 < len(fifth.lines.dev) < 55
    whole = mm.load(lines, holdout=0)
    assert [len(part) for part in whole.lines] == [200, 0, 0]
    assert whole.judged is whole.tokens.train
    assert tenth.judged is tenth.tokens.dev
    for share in (-0.1, 0.5, float("nan")):
        with pytest.raises(InputError, match="`holdout` is"):
            mm.load(lines, holdout=share)
