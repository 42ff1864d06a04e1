"""Load GPT-2's published weights into our transformer (Radford et al. 2019; the format of Hugging Face).

A folder holds `config.json` and `*.safetensors` and, for text, `vocab.json` and `merges.txt`. Our tensors match theirs
one to one, and matrices are (inputs, outputs) in both. Only the order of symbols differs: ours start with the mark,
which is GPT-2's `<|endoftext|>`, the token between two documents. GPT-2 can look past that token into the previous
document; our transformer cannot, by the law of the mark.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError

from makemore_jax.checkpoint import flatten, read_tensors, unflatten
from makemore_jax.data import bpe
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.files import read_bytes
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Params, shapes_of
from makemore_jax.models.registry import configure
from makemore_jax.models.transformer import Config, transformer

SIZES = {"vocab": "vocab_size", "context": "n_positions", "layers": "n_layer", "heads": "n_head", "embed": "n_embd"}
SUPPORTED = {  # settings that are fixed in our transformer, with the values that it implements, the default first
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True, False),
}
NAMES = {  # our name for each part of a tensor's name, and theirs
    "embed": "wte.weight",
    "position": "wpe.weight",
    "head": "lm_head.weight",
    "norm": "ln_f",
    "blocks": "h",
    "norm1": "ln_1",
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "norm2": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
    "w": "weight",
    "g": "weight",
    "b": "bias",
}
BUFFERS = (".attn.bias", ".attn.masked_bias")  # the causal mask, which some files hold although it is not a parameter
FLOATS = ("float64", "float32", "float16", "bfloat16")


class GPT2(NamedTuple):
    """The weights and sizes of a GPT-2, and the order of its tokens among our symbols."""

    config: Config
    params: Params
    token_V: np.ndarray  # (V,) GPT-2's token for each symbol; the first is <|endoftext|>

    @property
    def symbol_V(self) -> np.ndarray:
        """(V,) our symbol for each of GPT-2's tokens."""
        return np.argsort(self.token_V)


def load(folder: str | Path) -> GPT2:
    """Read a GPT-2 folder."""
    path = Path(folder) / "config.json"
    try:
        about = json.loads(read_bytes(path))
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON; fetch it again") from None
    require(isinstance(about, dict), f"{path}: not a model's configuration")
    return convert(about, tensors(Path(folder)), str(folder))


def open(folder: str | Path) -> Trained:
    """Read GPT-2 with its vocabulary, as a trained model.

    Raise `InputError` as `load` and `Vocab.read` do, or if the weights are for other tokens.
    """
    folder = Path(folder)
    (symbols, _), vocab, gpt2 = bpe.read(folder), Vocab.read(folder), load(folder)
    count, end = len(symbols), gpt2.token_V[0]
    require(
        count == len(gpt2.token_V),
        f"{folder}: {count:,} tokens, but weights for {len(gpt2.token_V):,}; fetch both again",
    )
    require(symbols[end] == bpe.END_OF_TEXT, f"{folder}: eos_token_id is {end}, which is not {bpe.END_OF_TEXT}")
    return Trained(transformer(gpt2.config), gpt2.params, vocab, gpt2.config.context)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """Read all tensors of the folder's safetensors files, by name, without the prefix for the whole model."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            read = read_tensors(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a safetensors file that can be read ({error})") from None
        except (AttributeError, TypeError):  # NumPy has no such type
            raise InputError(f"{path}: its type of numbers is not supported; it must be {', '.join(FLOATS)}") from None
        for name, tensor in read.items():
            name = name.removeprefix("transformer.")
            require(name not in found, f"{path}: {name} is in two files, or twice; keep the files of one model")
            found[name] = tensor
    require(bool(found), f"{folder}: no .safetensors file; convert pytorch_model.bin if there is only that")
    return found


def configuration(about: dict[str, Any], source: str) -> Config:
    """Return our transformer's sizes from the contents of `config.json`; raise `InputError` as `convert` does."""
    for name, values in SUPPORTED.items():
        value, supported = about.get(name, values[0]), " or ".join(map(repr, values))
        require(value in values, f"{source}: {name} is {value!r:.60}; it must be {supported}")
    for name in SIZES.values():
        require(name in about, f"{source}: config.json has no {name}; is it a GPT-2 model?")
        valid = type(about[name]) is int and 0 < about[name] < 2**31
        require(valid, f"{source}: {name} is {about[name]!r:.60}; it must be a whole number from 1 to 2**31 - 1")
    sizes = {ours: about[theirs] for ours, theirs in SIZES.items()}
    try:
        config = configure("transformer", **sizes, tied=bool(about.get("tie_word_embeddings", True)))
    except InputError as error:  # its message uses our names of the sizes
        raise InputError(f"{source}: {error}".replace("`", "")) from None
    width = about.get("n_inner")
    fits = width is None or width == config.hidden
    require(fits, f"{source}: n_inner is {width!r:.60}; only 4 n_embd = {config.hidden} is supported")
    return config


def convert(about: dict[str, Any], weights: dict[str, np.ndarray], source: str = "GPT-2") -> GPT2:
    """Return our float32 parameters from a configuration and its tensors, such as `h.0.attn.c_attn.weight`."""
    config = configuration(about, source)
    end = about.get("eos_token_id", config.vocab - 1)
    require(type(end) is int and 0 <= end < config.vocab, f"{source}: eos_token_id is {end!r:.60}; it must be a token")
    like = shapes_of(transformer(config).init)
    leaves, known = {}, set()
    for name, leaf in flatten(like).items():
        theirs = ".".join(NAMES.get(part, part) for part in name.split("."))
        shape = leaf.shape[::-1] if name == "head" else leaf.shape
        leaves[name] = tensor(weights, theirs, shape, source)
        known.add(theirs)
    for name in weights:
        expected = name in known or not name.startswith("h.") or name.endswith(BUFFERS)
        require(expected, f"{source}: a model of {config.layers} layers has no tensor {name!r:.60}; check n_layer")
    token_V = np.concatenate([[end], np.delete(np.arange(config.vocab), end)])
    leaves["embed"] = leaves["embed"][token_V]
    if not config.tied:
        leaves["head"] = leaves["head"][token_V].T
    return GPT2(config, unflatten(leaves, like), token_V)


def tensor(weights: dict[str, np.ndarray], name: str, shape: tuple[int, ...], source: str) -> np.ndarray:
    """Return one tensor in float32; raise `InputError` as `convert` does."""
    require(name in weights, f"{source}: there is no tensor {name}; is it a GPT-2 model?")
    value = weights[name]
    require(value.shape == shape, f"{source}: {name} has shape {value.shape}; its config says {shape}")
    require(value.dtype.name in FLOATS, f"{source}: {name} is of type {value.dtype}; it must be {', '.join(FLOATS)}")
    with np.errstate(over="ignore"):  # a float64 number too large for float32 becomes infinite
        value = value.astype(np.float32, copy=False)
    require(bool(np.isfinite(value).all()), f"{source}: {name} has a number that is not finite; fetch it again")
    return value
