"""Speeds as ratios, measured side by side: contestants take turns, and medians are compared.

Run it:   python -m experiments.benchmark counts
          python -m experiments.benchmark bigram
          python -m experiments.benchmark text --data FILE
          python -m experiments.benchmark start
          python -m experiments.benchmark train --peer CLONE        CLONE is one of karpathy/makemore; so in these:
          python -m experiments.benchmark sample --peer CLONE
          python -m experiments.benchmark reach --peer CLONE --data names.txt
          python -m experiments.benchmark accelerator --peer CLONE
          python -m experiments.benchmark scale
          python -m experiments.benchmark profile
Expect:   the tables of BENCHMARKS.md; the last line is JSON
Takes:    from 10 seconds to 10 minutes each on 2 CPU cores
"""

from typing import Any, Union

from experiments import cli
from experiments.benchmark import accelerator, counting, models, profile, reach, scale

RUN = {
    counting.Counts: counting.benchmark_counts,
    counting.Bigram: counting.benchmark_bigram,
    counting.Text: counting.benchmark_text,
    models.Start: models.benchmark_start,
    models.Train: models.benchmark_train,
    models.Sample: models.benchmark_sample,
    reach.Reach: reach.benchmark_reach,
    profile.Profile: profile.benchmark_profile,
    accelerator.Accelerator: accelerator.benchmark_accelerator,
    scale.Scale: scale.benchmark_scale,
}


def run(config: Any) -> dict:
    """Run the benchmark that was asked for."""
    return RUN[type(config)](config) | cli.environment()


if __name__ == "__main__":
    cli.main(lambda: Union[tuple(RUN)], run)  # noqa: UP007 (built from the table)
