"""GPT-2's published weights as parameters of our transformer (Radford et al. 2019; the layout of Hugging Face).

A folder holds `config.json` and `*.safetensors`, and for text `vocab.json` and `merges.txt`. The blocks are ours, name
by name; matrices stand as (inputs, outputs) in both. What differs is the order of symbols: ours start with the mark,
which is GPT-2's <|endoftext|>, the token between two documents. (GPT-2 can look past it into the one before; by the law
of the mark, ours does not.)
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError

from makemore_jax.checkpoint import read
from makemore_jax.errors import InputError, require
from makemore_jax.model import Params
from makemore_jax.models.transformer import Config

LINEAR = {"qkv": "attn.c_attn", "out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
NORM = {"norm1": "ln_1", "norm2": "ln_2"}
FIXED = {  # what our transformer does, and a config may ask otherwise: the values that agree
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


class GPT2(NamedTuple):
    """Weights, sizes, and which of GPT-2's tokens each of our symbols is."""

    config: Config
    params: Params
    token_V: np.ndarray  # (V,) GPT-2's token of each symbol; the first is <|endoftext|>

    @property
    def symbol_V(self) -> np.ndarray:
        """(V,) our symbol of each of GPT-2's tokens."""
        return np.argsort(self.token_V)


def load(folder: str | Path) -> GPT2:
    """Read a folder of GPT-2's.

    Raises:
      InputError: a file is missing or damaged, or asks for what our transformer does not do.
    """
    try:
        about = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        require(isinstance(about, dict), f"{folder}/config.json: not a model's configuration")
    except OSError as error:
        raise InputError(f"{folder}/config.json: {(error.strerror or 'cannot be read').lower()}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{folder}/config.json: not JSON; fetch it again") from None
    return convert(about, tensors(Path(folder)), str(folder))


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of the folder's safetensors files, by name, without the prefix of the whole model."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found |= read(path)[0]
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a safetensors file that can be read ({error})") from None
    require(bool(found), f"{folder}: no .safetensors file; of a folder with pytorch_model.bin only, save it as one")
    return {name.removeprefix("transformer."): tensor for name, tensor in found.items()}


def convert(about: dict[str, Any], weights: dict[str, np.ndarray], source: str = "GPT-2") -> GPT2:
    """Our parameters from a configuration and its tensors, such as `wte.weight` and `h.0.attn.c_attn.weight`.

    Raises:
      InputError: a tensor or a size is missing or of another shape, or the configuration is of another model.
    """
    for name, values in FIXED.items():
        asked = about.get(name, values[0])
        require(asked in values, f"{source}: {name} is {asked!r}; GPT-2's own is {values[0]!r}, and all that is built")
    sizes = {"vocab": "vocab_size", "block": "n_positions", "layers": "n_layer", "heads": "n_head", "embed": "n_embd"}
    missing = [name for name in sizes.values() if not isinstance(about.get(name), int)]
    require(not missing, f"{source}: its config has no {', '.join(missing)}; is it a GPT-2?")
    tied = about.get("tie_word_embeddings", True)
    config = Config(**{ours: about[theirs] for ours, theirs in sizes.items()}, tied=tied)
    width = about.get("n_inner") or config.hidden
    require(width == config.hidden, f"{source}: n_inner is {width}; only 4 n_embd = {config.hidden} is built")

    def take(name: str, *shape: int) -> jax.Array:
        require(name in weights, f"{source}: there is no tensor {name}; is it a GPT-2?")
        found = weights[name].shape
        require(found == shape, f"{source}: {name} has shape {found}; its config says {shape}")
        return jnp.asarray(weights[name], jnp.float32)

    def linear(name: str, inputs: int, outputs: int) -> dict:
        return {"w": take(f"{name}.weight", inputs, outputs), "b": take(f"{name}.bias", outputs)}

    def norm(name: str) -> dict:
        return {"g": take(f"{name}.weight", config.embed), "b": take(f"{name}.bias", config.embed)}

    embed, hidden = config.embed, config.hidden
    shapes = {"qkv": (embed, 3 * embed), "out": (embed, embed), "up": (embed, hidden), "down": (hidden, embed)}
    blocks = [
        {ours: linear(f"h.{number}.{theirs}", *shapes[ours]) for ours, theirs in LINEAR.items()}
        | {ours: norm(f"h.{number}.{theirs}") for ours, theirs in NORM.items()}
        for number in range(config.layers)
    ]
    end = about.get("eos_token_id", config.vocab - 1)
    require(isinstance(end, int) and 0 <= end < config.vocab, f"{source}: eos_token_id is {end!r}; it must be a token")
    token_V = np.concatenate([[end], np.delete(np.arange(config.vocab), end)])
    params = {
        "embed": take("wte.weight", config.vocab, embed)[token_V],
        "position": take("wpe.weight", config.block, embed),
        "blocks": blocks,
        "norm": norm("ln_f"),
    }
    if not tied:
        params["head"] = take("lm_head.weight", config.vocab, embed)[token_V].T
    return GPT2(config, params, token_V)


def shorten(gpt2: GPT2, block: int) -> GPT2:
    """The same model for lines of at most `block` tokens: fewer positions, and a smaller cache to sample with."""
    require(
        0 < block <= gpt2.config.block,
        f"{block} tokens with the start and the end; the model has positions for {gpt2.config.block}: ask for fewer",
    )
    params = gpt2.params | {"position": gpt2.params["position"][:block]}
    return GPT2(dataclasses.replace(gpt2.config, block=block), params, gpt2.token_V)
