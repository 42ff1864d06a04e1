"""Progress bars for terminals and notebooks."""

import sys
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm warns that the bar is plain text without ipywidgets
    from tqdm.auto import tqdm


def progress_bar(total: int, label: str | None, show: bool = True, **options: Any) -> tqdm:
    """Return a bar that counts to `total`, hidden without `show` or `label` and outside terminals and notebooks."""
    in_notebook = "ipykernel.zmqshell" in sys.modules
    hidden = True if not (show and label) else False if in_notebook else None
    return tqdm(total=total, desc=label, disable=hidden, leave=False, **options)
