"""A tokenizer.json is read whole or refused: either the encodings are the package's own, or the field is named."""

import json

import pytest

from makemore_jax.data import bpe
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from tests.data.test_bpe import LINES, folder  # noqa: F401 (a fixture)

tokenizers = pytest.importorskip("tokenizers")
TEXTS = (*LINES[:4], "then the other", " the  cat\n", "Zoë's 3", "😀", "unknown words")
SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": bpe.END_OF_TEXT, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {bpe.END_OF_TEXT: {"id": bpe.END_OF_TEXT, "ids": [7], "tokens": [bpe.END_OF_TEXT]}},
}
REFUSED = [
    ("model", {"ignore_merges": True, "vocab": {"Ġother": 300}}),
    ("model", {"continuing_subword_prefix": "t"}),
    ("model", {"end_of_word_suffix": "e"}),
    ("model", {"dropout": 0.9}),
    ("pre_tokenizer", {"add_prefix_space": True}),
    ("pre_tokenizer", {"use_regex": False}),
    ("pre_tokenizer", {"type": "Whitespace"}),
    ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}),
    ("normalizer", {"type": "Lowercase"}),
    ("normalizer", {"type": "NFD"}),
    ("truncation", {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
    ("added_tokens", [{"id": 300, "content": "the", **SPECIAL, "special": False}]),
    ("added_tokens", [{"id": 300, "content": "<|mask|>", **SPECIAL}]),
]
READ = [  # what changes no encoding, or only puts the mark before a text, as we do ourselves
    ("post_processor", TEMPLATE),
    ("model", {"dropout": 0.0}),
    ("model", {"byte_fallback": True}),
    ("model", {"unk_token": "a"}),
    ("model", {"unk_token": "a", "fuse_unk": True}),
    ("pre_tokenizer", {"trim_offsets": False}),
    ("post_processor", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}),
    ("added_tokens", [{"id": 7, "content": bpe.END_OF_TEXT, **SPECIAL}]),
]


@pytest.mark.parametrize(("part", "changes"), REFUSED + READ, ids=lambda value: str(value)[:40])
def test_a_tokenizer_is_read_whole_or_refused(folder, tmp_path, part, changes):  # noqa: F811
    about = json.loads((folder / "whole/tokenizer.json").read_text())
    if isinstance(changes, dict):
        vocab = changes.get("vocab", {})
        about[part] = {**(about[part] or {}), **changes}
        if vocab:
            known = json.loads((folder / "whole/tokenizer.json").read_text())["model"]["vocab"]
            about[part]["vocab"] = known | dict.fromkeys(vocab, len(known))
    else:
        about[part] = changes
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    name = part if isinstance(changes, list) or "type" in changes else f"{part}.{next(iter(changes))}"
    if (part, changes) in REFUSED:
        with pytest.raises(InputError, match=rf"tokenizer.json.*{name}.*, as in GPT-2"):
            Vocab.read(tmp_path)
        return
    ours = Vocab.read(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert [ours.symbols[i] for i in ours.encode(text)] == theirs.encode(text, add_special_tokens=False).tokens, (
            text
        )


def test_a_tokenizer_beside_vocabulary_and_merges_is_looked_at(folder, tmp_path):  # noqa: F811
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    about = json.loads((folder / "whole/tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    assert Vocab.read(tmp_path) == Vocab.read(folder)
    about["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"tokenizer\.json has normalizer"):
        Vocab.read(tmp_path)
