"""A transformer in GPT-2's layout: others compute its logits and encode its text, and it comes back the same."""

import json

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import Encoding, encode
from makemore_jax.data.lines import Split
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import gpt2
from makemore_jax.inference.gpt2_export import export
from makemore_jax.models.registry import build

LINES = [
    "in the beginning",
    "the Light was good",
    "It's 3,000 dogs; (one) twenty-two",
    "naïve zoë ½ kilo\u0301s",
    "the the",
]
TEXTS = [*LINES, "", "the good  kilós in 3,000.5 dogs_", "Itʼs the ① Light"]


def transformer(vocab, context=40, **sizes):
    model = build("transformer", vocab=vocab.size, context=context, layers=2, heads=2, embed=8, **sizes)
    random, like = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(0.3 * random.normal(size=leaf.shape)), like)
    return mm.Trained(model, params, vocab, context)


def vocab_of(tokens, **settings):
    return encode(Split(LINES, LINES[:1], LINES[1:2]), "", Encoding(tokens, **settings)).vocab


VOCABS = {
    "character": vocab_of("character"),
    "rare characters": vocab_of("character", min_count=2),
    "lowercase": vocab_of("character", lowercase=True),
    "word": vocab_of("word"),
    "lowercase word": vocab_of("word", lowercase=True),
    "byte": vocab_of("byte"),
    "documents": Vocab.of([*LINES, "a\nb"], multiline=True),
}


@pytest.mark.parametrize("name", [*VOCABS, "bpe"])
def test_the_package_encodes_as_the_vocabulary_does(name, tmp_path):
    """The mark, then the same numbers; where the vocabulary refuses a text, the package does."""
    tokenizers = pytest.importorskip("tokenizers")
    vocab = VOCABS.get(name) or vocab_of("bpe", vocab_size=270)
    export(transformer(vocab), tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = 0
    for text in (*TEXTS, "a\nb the") if name in ("documents", "bpe") else TEXTS:
        try:
            expected = [0, *vocab.encode(text).tolist()]
        except InputError:
            with pytest.raises(Exception, match="Missing"):
                tokenizer.encode(text)
            continue
        encoded += 1
        assert tokenizer.encode(text).ids == expected, text
        if vocab.tokens != "word":
            assert tokenizer.decode(expected) == vocab.decode(expected[1:])
    assert encoded > 2


def test_what_was_fetched_and_trained_comes_back_the_same(gpt2_folder, tmp_path):
    fetched = gpt2.open(gpt2_folder)
    trained = fetched._replace(params=jax.tree.map(lambda leaf: leaf * 1.1, fetched.params))
    for _ in range(2):  # also where it was exported before
        export(trained, tmp_path / "out")
    back = gpt2.open(tmp_path / "out")
    assert back.model is trained.model
    assert (back.vocab, back.context, back.digest) == (trained.vocab, trained.context, trained.digest)


@pytest.mark.parametrize("sizes", [{}, {"tied": True}], ids=str)
def test_hugging_face_computes_the_same_logits(sizes, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    trained = transformer(VOCABS["character"], **sizes)
    export(trained, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    x_T = np.append(0, trained.vocab.encode(LINES[0]))
    with torch.no_grad():
        expected_TV = theirs(torch.tensor(x_T[None])).logits[0].numpy()
    logits_TV = trained.model.apply(trained.params, x_T[None])[0]
    assert expected_TV.std() > 0.1
    np.testing.assert_allclose(logits_TV, expected_TV, rtol=1e-5, atol=1e-5)


def test_the_tensors_have_their_published_shapes(tmp_path):
    trained = transformer(VOCABS["word"])
    export(trained, tmp_path)
    found, about = gpt2.tensors(tmp_path), json.loads((tmp_path / "config.json").read_text())
    assert gpt2.configuration(about, "") == trained.model.config
    assert found["h.1.attn.c_attn.weight"].shape == (8, 24)
    assert np.array_equal(found["lm_head.weight"], trained.params["head"].T)


def test_what_has_no_place_there_is_refused(tmp_path):
    vocab, (folder, file) = VOCABS["word"], (tmp_path / "mine", tmp_path / "file")
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")
    file.write_text("")
    gru = build("gru", vocab=vocab.size, embed=3, hidden=5)
    other = mm.Trained(gru, gru.init(jax.random.key(0)), vocab, 9)
    for trained, where, message in (
        (other, tmp_path / "out", "GPT-2's layout has no place for a gru"),
        (transformer(vocab, modern=True), tmp_path / "out", "no place for rotary positions, RMS norm and SwiGLU"),
        (transformer(vocab), folder, "mine': holds other files, such as diary.txt"),
        (transformer(vocab), file, "file': cannot be written"),
        (transformer(vocab).model, tmp_path / "out", "trained is of type Model"),
    ):
        with pytest.raises(InputError, match=message):
            export(trained, where)
    assert [path.name for path in folder.iterdir()] == ["diary.txt"]
    assert not (tmp_path / "out").exists()


def test_the_command(command, gpt2_folder, tmp_path):
    """An exported folder is continued, and exported over; a model of other tokens leaves no vocabulary of the first."""
    mm.save(gpt2.open(gpt2_folder), tmp_path / "w.safetensors")
    mm.save(transformer(VOCABS["character"]), tmp_path / "other.safetensors")
    flags = ["--export", tmp_path / "out", "--format", "gpt2", "--n", 1]
    status, out, err = command("sample", tmp_path / "w.safetensors", *flags)
    assert (status, err) == (0, "")
    assert f"wrote {tmp_path / 'out'}" in out
    lines = [command("gpt2", folder, "--prompt", "mary")[1] for folder in (gpt2_folder, tmp_path / "out")]
    assert lines[0] == lines[1]
    assert "--format is for --export" in command("sample", tmp_path / "w.safetensors", *flags[2:])[2]
    assert (tmp_path / "out/vocab.json").exists()
    assert command("sample", tmp_path / "other.safetensors", *flags)[0] == 0
    assert not (tmp_path / "out/vocab.json").exists()
