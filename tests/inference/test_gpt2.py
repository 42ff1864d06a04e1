"""GPT-2's layout: the published names, the logits of Hugging Face's own module, the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from makemore_jax.errors import InputError
from makemore_jax.inference import gpt2
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.finetune import shorten
from makemore_jax.models.transformer import transformer
from tests.cases import GPT2, gpt2_weights


def test_every_tensor_finds_its_place():
    """Each of ours against the published name that the paper's code gives it; symbols start with the end of text."""
    tensors = gpt2_weights()
    converted = gpt2.convert(GPT2, tensors)
    like = jax.eval_shape(transformer(converted.config).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, converted.params) == jax.tree.map(jnp.shape, like)
    params, block = converted.params, converted.params["blocks"][1]
    for ours, theirs in {
        "qkv.w": "attn.c_attn.weight",
        "qkv.b": "attn.c_attn.bias",
        "out.w": "attn.c_proj.weight",
        "up.w": "mlp.c_fc.weight",
        "down.b": "mlp.c_proj.bias",
        "norm1.g": "ln_1.weight",
        "norm2.b": "ln_2.bias",
    }.items():
        name, part = ours.split(".")
        assert np.array_equal(block[name][part], tensors[f"h.1.{theirs}"])
    assert np.array_equal(params["embed"][0], tensors["wte.weight"][22])
    assert np.array_equal(params["embed"][1:], tensors["wte.weight"][:22])
    assert np.array_equal(converted.token_V[converted.symbol_V], np.arange(23))
    assert converted.symbol_V[22] == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_word_embeddings": False},
        {"eos_token_id": 5, "n_layer": 1},
        {"n_head": 1, "n_embd": 7, "n_positions": 13},
    ],
    ids=str,
)
def test_logits_are_those_of_hugging_face(tmp_path, options):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    about = GPT2 | options
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=22, **about)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    loaded = gpt2.load(tmp_path)
    x_BT = np.random.default_rng(0).integers(1, 23, (3, about["n_positions"]))
    x_BT[:, 0] = 0  # a document, which GPT-2 begins with <|endoftext|>
    token_BT = loaded.token_V[x_BT]
    expected_BTV = theirs(torch.tensor(token_BT)).logits.detach().numpy()
    assert expected_BTV.std() > 0.1
    logits_BTV = jax.jit(transformer(loaded.config).apply)(loaded.params, x_BT)
    np.testing.assert_allclose(logits_BTV, expected_BTV[..., loaded.token_V], rtol=1e-4, atol=1e-5)
    short = shorten(Trained(transformer(loaded.config), loaded.params, None, about["n_positions"]), 5)
    cut_BTV = jax.jit(short.model.apply)(short.params, x_BT[:, :5])
    np.testing.assert_allclose(cut_BTV, logits_BTV[:, :5], rtol=1e-4, atol=1e-5)


def test_half_precision_files_become_float32(tmp_path):
    tensors = gpt2_weights()
    for name, kind in (("f16", np.float16), ("bf16", jnp.bfloat16)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(GPT2))
        save_file(
            {key: np.asarray(jnp.asarray(value, kind)) for key, value in tensors.items()}, folder / "w.safetensors"
        )
        params = gpt2.load(folder).params
        assert params["embed"].dtype == jnp.float32
        np.testing.assert_allclose(params["embed"][1:], tensors["wte.weight"][:22], rtol=0.01)


@pytest.mark.parametrize("names", [("wte.weight", "wte.weight"), ("wte.weight", "transformer.wte.weight")])
def test_a_tensor_in_two_files_is_named(tmp_path, names):
    (tmp_path / "config.json").write_text(json.dumps(GPT2))
    tensors = gpt2_weights()
    for number, name in enumerate(names):
        save_file({name: tensors.pop("wte.weight", np.zeros((23, 12), np.float32))}, tmp_path / f"{number}.safetensors")
    save_file(tensors, tmp_path / "2.safetensors")
    with pytest.raises(InputError, match=r"1\.safetensors: wte\.weight is in two files") as error:
        gpt2.load(tmp_path)
    assert "\n" not in str(error.value)


BAD_CONFIGS = [
    ({"model_type": "llama"}, "model_type is 'llama'; it must be 'gpt2'"),
    ({"activation_function": "relu"}, "activation_function is 'relu'; it must be 'gelu_new' or 'gelu_pytorch_tanh'"),
    ({"activation_function": ["gelu_new"]}, "activation_function is \\['gelu_new'\\]"),
    ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06; it must be 1e-05"),
    ({"tie_word_embeddings": [True]}, "tie_word_embeddings is \\[True\\]; it must be True or False"),
    ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false'"),
    ({"n_inner": 13}, "n_inner is 13; only 4 n_embd = 48 is supported"),
    ({"n_inner": []}, "n_inner is \\[\\]"),
    ({"n_layer": None}, "n_layer is None; it must be a whole number"),
    ({"n_layer": True}, "n_layer is True"),
    ({"n_layer": 2.0}, "n_layer is 2.0"),
    ({"n_layer": 0}, "n_layer is 0"),
    ({"n_layer": 10**9}, "layers is 1,000,000,000; it must be at most 1,000"),
    ({"n_head": 5}, "embed is 12; with heads 5 it must be divisible by 5"),
    ({"vocab_size": 2**63}, "vocab_size is 9223372036854775808; it must be a whole number from 1 to"),
    ({"vocab_size": 2**31 - 1}, "the limit is"),
    ({"vocab_size": -23}, "vocab_size is -23"),
    ({"n_positions": 12}, r"wpe.weight has shape \(11, 12\); its config says \(12, 12\)"),
    ({"n_layer": 3}, "there is no tensor h.2.mlp.c_proj.bias"),
    ({"n_layer": 1}, "a model of 1 layers has no tensor 'h.1"),
    ({"eos_token_id": 99}, "eos_token_id is 99"),
    ({"eos_token_id": True}, "eos_token_id is True; it must be a token"),
    ({"eos_token_id": None}, "eos_token_id is None"),
]


@pytest.mark.parametrize(("about", "message"), BAD_CONFIGS, ids=lambda value: str(value)[:30])
def test_a_configuration_that_is_not_gpt2s_is_named(about, message):
    with pytest.raises(InputError, match=f"^some/folder: .*{message}") as error:
        gpt2.convert(GPT2 | about, gpt2_weights(), "some/folder")
    assert "\n" not in str(error.value)
    assert "`" not in str(error.value)  # these are no parameters of ours


def test_a_size_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"config\.json has no n_head; is it a GPT-2"):
        gpt2.convert({name: value for name, value in GPT2.items() if name != "n_head"}, gpt2_weights())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ln_f.bias", None, "there is no tensor ln_f.bias"),
        ("wte.weight", lambda w: w * np.nan, "wte.weight has a number that is not finite"),
        ("h.1.ln_2.bias", lambda w: w / np.zeros(1, np.float32), "h.1.ln_2.bias has a number that is not finite"),
        ("wte.weight", lambda w: np.float64(w) * 1e300, "wte.weight has a number that is not finite"),
        ("wte.weight", np.int8, "wte.weight is of type int8; it must be float64, float32, float16, bfloat16"),
        ("wte.weight", lambda w: w > 0, "wte.weight is of type bool"),
        ("wte.weight", lambda w: w[0], r"wte.weight has shape \(12,\)"),
        ("h.2.ln_1.bias", lambda w: w, "a model of 2 layers has no tensor 'h.2.ln_1.bias'; check n_layer"),
        ("h.0.crossattention.c_attn.bias", lambda w: w, "has no tensor 'h.0.crossattention"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_tensors_are_named(name, change, message):
    tensors = gpt2_weights()
    if change:
        tensors[name] = change(tensors.get(name, np.zeros(12, np.float32)))
    else:
        del tensors[name]
    with pytest.raises(InputError, match=message):
        gpt2.convert(GPT2, tensors)


def test_the_causal_mask_that_some_files_hold_is_no_parameter():
    mask = {"h.0.attn.bias": np.ones((1, 1, 11, 11), np.float32), "h.1.attn.masked_bias": np.float32(-1e4)}
    assert mask.keys().isdisjoint(gpt2_weights())
    expected, converted = (gpt2.convert(GPT2, tensors).params for tensors in (gpt2_weights(), gpt2_weights() | mask))
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(converted)))


def test_bad_folders(tmp_path):
    for text, message in (
        (None, "no such file"),
        ("{", "not JSON"),
        ("[" * 10**5, "not JSON"),
        ("[]", "not a model's"),
        ("{}", "no .safetensors"),
    ):
        if text is not None:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            gpt2.load(tmp_path)
    header = json.dumps({"wte.weight": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}).encode()
    for content, message in (
        (b"short", "not a safetensors file that can be read"),
        (len(header).to_bytes(8, "little") + header + bytes(4), "its type of numbers is not supported; it must be"),
    ):
        (tmp_path / "w.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=message):
            gpt2.load(tmp_path)


def test_the_command_continues_a_prompt(command, gpt2_folder):
    status, out, err = command("gpt2", gpt2_folder, "--prompt", "mary ann", "--length", 4, "--n", 3, "--json")
    assert status == 0, err
    rows = json.loads(out.splitlines()[-1])["samples"]
    assert len({row["text"] for row in rows}) == 3
    assert all(row["text"].startswith("mary ann") and row["log_prob"] < 0 for row in rows)
    assert command("gpt2", gpt2_folder, "--prompt", "mary ann", "--length", 4, "--n", 3, "--json")[1] == out
    greedy = command("gpt2", gpt2_folder, "--greedy", "--length", 9, "--n", 2)[1].splitlines()
    assert greedy[0] == greedy[1]


def test_the_default_length_is_what_the_model_can_hold(command, gpt2_folder):
    """Eleven positions instead of forty tokens."""
    status, out, err = command("gpt2", gpt2_folder, "--prompt", "mary", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["samples"][0]["text"].startswith("mary")


def test_the_greedy_command_takes_the_likeliest_of_the_whole_forward_pass(command, gpt2_folder):
    """The cached sampler against `apply` on the text so far, token by token."""
    import tokenizers

    out = command("gpt2", gpt2_folder, "--prompt", "mar", "--greedy", "--length", 5, "--json")[1]
    encoding = tokenizers.ByteLevelBPETokenizer(str(gpt2_folder / "vocab.json"), str(gpt2_folder / "merges.txt"))
    loaded = gpt2.load(gpt2_folder)
    symbols = [0, *loaded.symbol_V[encoding.encode("mar").ids]]
    apply = jax.jit(transformer(loaded.config).apply)
    for _ in range(5):
        padded = np.pad(symbols, (0, loaded.config.context - len(symbols)))  # what follows changes nothing before
        symbols.append(int(apply(loaded.params, padded[None])[0, len(symbols) - 1].argmax()))
        if symbols[-1] == 0:
            break
    text = encoding.decode([int(loaded.token_V[symbol]) for symbol in symbols[1:] if symbol])
    assert json.loads(out.splitlines()[-1])["samples"][0]["text"] == text


def test_the_command_says_what_is_wrong(command, gpt2_folder, tmp_path):
    for flags, message in (
        ([tmp_path / "none"], "none': no tokenizer; it must hold vocab.json and merges.txt"),
        ([gpt2_folder, "--length", 12], "the model has 11 positions, so ask for fewer"),
        ([gpt2_folder, "--length", 0], "--length is 0"),
        ([gpt2_folder, "--n", 0], "--n is 0"),
    ):
        status, _, err = command("gpt2", *flags)
        assert status == 2
        assert message in err
        assert err.count("\n") == 1
