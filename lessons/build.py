"""Build the notebooks with their outputs from the scripts: NN_name.py -> NN_name.ipynb.

python lessons/build.py            all of them
python lessons/build.py 02 04      those whose names start so

A second run gives the same bytes: cell ids are numbers, and no times, versions or addresses are kept.
"""

import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat

LESSONS = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
MAX_BYTES = 1_000_000  # GitHub shows a notebook of this size; of a much larger one it shows nothing


def cells(script: Path) -> nbformat.NotebookNode:
    """The notebook of a script in jupytext's percent format, without outputs."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    return notebook


def build(script: Path) -> Path:
    """Run a script as a notebook, and write that with its outputs beside the script.

    Raises:
      CellExecutionError: a cell raises.
      ValueError: an output that another run would not repeat, a warning, or a notebook that is too large.
    """
    from nbclient import NotebookClient

    notebook = cells(script)
    where = {"metadata": {"path": str(LESSONS)}}  # as JupyterLab does: in the notebook's own folder
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources=where,
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    text = nbformat.writes(notebook)
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"{script.name}, cell {number} writes to stderr: {output.text}")
            shown = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            if re.search(r"\bat 0x[0-9a-f]+", shown):
                raise ValueError(f"{script.name}, cell {number} shows an address: {shown}")
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"{script.name}: the notebook takes {len(text.encode()):,} bytes; draw smaller pictures")
    path = script.with_suffix(".ipynb")
    path.write_text(text + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Build the lessons named on the command line, or all."""
    for variable in ("QUICK", "XLA_FLAGS"):
        os.environ.pop(variable, None)
    prefixes = tuple(sys.argv[1:]) or ("",)
    scripts = [path for path in sorted(LESSONS.glob("[0-9]*.py")) if path.name.startswith(prefixes)]
    if not scripts:
        sys.exit(f"no lesson starts with {' or '.join(prefixes)}")
    for script in scripts:
        began = time.perf_counter()
        path = build(script)
        print(f"{path.name}  {path.stat().st_size:>9,} bytes  {time.perf_counter() - began:5.0f} s", flush=True)


if __name__ == "__main__":
    main()
