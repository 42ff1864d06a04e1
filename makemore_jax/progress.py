"""Progress bars, in a terminal and in a notebook."""

import sys
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without ipywidgets a notebook gets the bar as text, and need not be told
    from tqdm.auto import tqdm


def progress_bar(total: int, label: str | None, show: bool = True, **options: object) -> tqdm:
    """A bar that counts to `total`; hidden without `show` or a `label`, and where output is no terminal or notebook."""
    in_notebook = "ipykernel.zmqshell" in sys.modules
    hidden = True if not (show and label) else False if in_notebook else None
    return tqdm(total=total, desc=label, disable=hidden, leave=False, **options)
