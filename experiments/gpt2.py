"""Continue a prompt with GPT-2: published weights in this project's transformer, sampled by its one sampler.

Fetch a folder once, say with:  hf download openai-community/gpt2 --local-dir gpt2
                                    --include config.json model.safetensors vocab.json merges.txt
Run it:   python -m experiments.gpt2 gpt2 --prompt "The meaning of life is" --tokens 40
Needs:    pip install '.[gpt2]'

The model reads <|endoftext|> before the prompt, as between two documents of what it was trained on.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from experiments import cli
from makemore_jax import gpt2
from makemore_jax.errors import InputError, require
from makemore_jax.models.transformer import transformer
from makemore_jax.sample import Sampling, sample


@dataclass(frozen=True)
class Config:
    """Continue a prompt with the weights of a GPT-2 folder: config.json, *.safetensors, vocab.json, merges.txt."""

    folder: tyro.conf.Positional[Path]
    """The folder."""
    prompt: str = ""
    """What every text starts with."""
    n: int = 1
    """How many texts to make."""
    tokens: int = 40
    """How many tokens to add at most; a text ends before at <|endoftext|>."""
    seed: int = 1
    """Seed of the samples."""
    greedy: bool = False
    """Always take the likeliest token: temperature 0."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        require(0 < self.n <= 1000, f"--n is {self.n}; it must be from 1 to 1,000")
        require(self.tokens > 0, f"--tokens is {self.tokens}; it must be at least 1")
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")


def tokenizer(folder: Path) -> Any:
    """GPT-2's byte-pair encoding.

    Raises:
      InputError: the package for it is not installed, or a file is missing or damaged.
    """
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ImportError:
        raise InputError("GPT-2's tokens need a package more: pip install '.[gpt2]'") from None
    for name in ("vocab.json", "merges.txt"):
        require((folder / name).is_file(), f"{folder / name}: no such file; fetch it with the weights")
    try:
        return ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # the package raises nothing narrower
        raise InputError(f"{folder}: vocab.json and merges.txt cannot be read ({error})") from None


def run(config: Config) -> dict:
    """Load, sample, print."""
    encoding = tokenizer(config.folder)
    whole = gpt2.load(config.folder)
    last = max(encoding.get_vocab().values())
    require(
        last < whole.config.vocab,
        f"{config.folder}: vocab.json has a token {last:,}, and the weights are for {whole.config.vocab:,} tokens",
    )
    prompt = whole.symbol_V[encoding.encode(config.prompt).ids] if config.prompt else np.zeros(0, np.int32)
    require(bool(np.all(prompt > 0)), "--prompt holds <|endoftext|>, which ends a text")
    model = gpt2.shorten(whole, len(prompt) + config.tokens)
    sampling = Sampling(temperature=0.0) if config.greedy else config.sampling
    drawn = sample(
        jax.random.key(config.seed),
        transformer(model.config),
        model.params,
        [prompt] * config.n,
        model.config.block,
        sampling,
    )
    rows = []
    for token_T, log_prob, ended in zip(*map(np.asarray, drawn), strict=True):
        text = encoding.decode(model.token_V[token_T[token_T > 0]].tolist())
        rows.append({"text": text, "log_prob": float(log_prob), "ended": bool(ended)})
        shown = "\n".join(map(cli.printable, text.split("\n")))
        print(f"{log_prob:>10.4f}   {shown}{'' if ended else '…'}")
    return {"samples": rows}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
