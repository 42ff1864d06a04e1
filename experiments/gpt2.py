"""Continue a prompt with GPT-2: the published weights in this project's transformer and sampler.

Fetch once:  hf download openai-community/gpt2 --local-dir gpt2
                 --include config.json model.safetensors vocab.json merges.txt
Run it:      python -m experiments.gpt2 gpt2 --prompt "The meaning of life is" --length 40
Expect:      each text after its log-probability in nats; … shows that a text was cut
Needs:       pip install '.[bpe]'

The model reads <|endoftext|> before the prompt; in its training data this token separates documents.
"""

from dataclasses import dataclass, field
from pathlib import Path

import jax
import tyro

from makemore_jax.errors import require, require_positive
from makemore_jax.inference import gpt2
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.learning.finetune import shorten

from .shared import cli
from .shared.flags import Seed, Typed

LENGTH = 40  # tokens to add, or as many as the model has positions for


@dataclass(frozen=True, kw_only=True)
class Config(Seed):
    """Continue a prompt with GPT-2's published weights."""

    folder: tyro.conf.Positional[Path]
    """Folder with GPT-2's config.json, *.safetensors, vocab.json and merges.txt."""
    prompt: Typed = ""
    """Text to continue; without a prompt, each text starts a new document."""
    n: int = 1
    """Number of texts to sample."""
    length: int | None = None
    """Number of tokens to add at most, by default 40; a text ends earlier if the model draws <|endoftext|>."""
    seed: int = 1
    """Random seed; the same seed gives the same texts."""
    greedy: bool = False
    """Always take the most likely token; the same as --temperature 0."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingParams] = field(default_factory=SamplingParams)
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.n <= 1000, f"`n` is {self.n}; it must be from 1 to 1,000")
        require_positive(self, "length")


def run(config: Config) -> dict:
    """Load the weights, sample, and print the texts."""
    whole = gpt2.open(config.folder)
    given = len(whole.vocab.encode(config.prompt))
    context = given + (config.length or min(LENGTH, max(1, whole.context - given)))
    fits = f"prompt and `length` make {context} tokens; the model has {whole.context} positions, so ask for fewer"
    require(context <= whole.context, fits)
    sampling = SamplingParams(temperature=0.0) if config.greedy else config.sampling
    trained, rows = shorten(whole, context), []
    drawn = draw(jax.random.key(config.seed), trained, config.n, config.prompt, sampling)
    for token_T, log_prob, ended in zip(*drawn, strict=True):
        text = trained.vocab.decode(token_T)
        rows.append({"text": text, "log_prob": float(log_prob), "ended": bool(ended)})
        shown = "\n".join(map(cli.printable, text.split("\n")))
        print(f"{log_prob:>10.4f}   {shown}{'' if ended else '…'}")
    return {"samples": rows}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
