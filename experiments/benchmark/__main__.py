"""Measure speeds as ratios: contestants take turns, and their medians are compared.

Run it:   python -m experiments.benchmark counts
          python -m experiments.benchmark bigram
          python -m experiments.benchmark text --data FILE
          python -m experiments.benchmark train --peer CLONE        CLONE is a clone of karpathy/makemore
          python -m experiments.benchmark sample --peer CLONE
          python -m experiments.benchmark reach --peer CLONE --data names.txt
          python -m experiments.benchmark scale
          python -m experiments.benchmark length
          python -m experiments.benchmark steps --devices 2
Expect:   the tables of docs/speed.md
Takes:    from 10 seconds to 10 minutes each on 2 CPU cores
"""

from typing import Any, Union

from ..shared import cli
from . import counting, length, models, scale, steps, time_to_loss
from .timing import processor

RUN = {
    counting.Counts: counting.benchmark_counts,
    counting.Bigram: counting.benchmark_bigram,
    counting.Text: counting.benchmark_text,
    models.Train: models.benchmark_train,
    models.Sample: models.benchmark_sample,
    time_to_loss.Reach: time_to_loss.benchmark_reach,
    scale.Scale: scale.benchmark_scale,
    length.Length: length.benchmark_length,
    steps.Steps: steps.benchmark_steps,
}


def run(config: Any) -> dict:
    """Run the benchmark that the flags ask for."""
    print(f"on {processor()}")
    name = type(config).__name__.lower()
    return {"benchmark": name, "processor": processor(), **RUN[type(config)](config), **cli.environment()}


if __name__ == "__main__":
    cli.main(lambda: Union[tuple(RUN)], run)  # noqa: UP007 (built from the table)
