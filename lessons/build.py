"""Build the notebooks with their outputs from the scripts: NN_name.py -> NN_name.ipynb.

python lessons/build.py            all of them
python lessons/build.py 02 04      those whose names start so

A second run gives the same bytes, but for ratios of times in lesson 11: cell ids are numbers, and no versions or
addresses are kept.
"""

import importlib.util
import os
import re
import sys
import time
import tomllib
from pathlib import Path

import jupytext
import nbformat

LESSONS = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
MAX_BYTES = 1_000_000  # GitHub shows a notebook of this size; of a much larger one it shows nothing
ALT = re.compile(r"# alt: (.+)\n")  # the first line of a cell that draws: what its picture shows
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({})"
SETUP = """\
# Colab opens a notebook by itself; the package holds all that it needs.
import importlib.util

if not importlib.util.find_spec("makemore_jax"):
    %pip install -q git+{}"""


def repository() -> str | None:
    """Where the project is published, `Repository` in pyproject.toml, or None while it is not."""
    settings = tomllib.loads((LESSONS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"]["urls"].get("Repository")


def cells(script: Path) -> nbformat.NotebookNode:
    """The notebook of a script in jupytext's percent format, without outputs.

    A comment `# alt: ...` becomes the alternative text of the cell's picture, in the form that myst-nb reads. If the
    project has an address, the notebook has a badge that opens it in Colab, and a cell that installs the package there.
    """
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    if address := repository():
        colab = address.replace("github.com", "colab.research.google.com/github")
        title, rest = notebook.cells[0].source.split("\n", 1)
        badge = BADGE.format(f"{colab}/blob/main/lessons/{script.stem}.ipynb")
        notebook.cells[0].source = f"{title}\n\n{badge}\n{rest}"
        notebook.cells.insert(1, nbformat.v4.new_code_cell(SETUP.format(address)))
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        if cell.cell_type == "code" and (alt := ALT.match(cell.source)):
            cell.source = cell.source[alt.end() :]
            cell.metadata = nbformat.from_dict({"mystnb": {"image": {"alt": alt[1]}}})
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
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"{script.name}, cell {number} writes to stderr: {output.text}")
            shown = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            if re.search(r"\bat 0x[0-9a-f]+", shown):
                raise ValueError(f"{script.name}, cell {number} shows an address: {shown}")
    text = nbformat.writes(notebook)
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"{script.name}: the notebook takes {len(text.encode()):,} bytes; draw smaller pictures")
    path = script.with_suffix(".ipynb")
    path.write_text(text + "\n", encoding="utf-8")
    return path


def is_bar(output: nbformat.NotebookNode) -> bool:
    """Whether an output is nothing but a progress bar: a widget, or text that overwrites itself."""
    if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
        return True
    drawn = re.split(r"[\r\n]", output.text) if output.get("name") == "stderr" else ["text"]
    return all("%|" in text or not text.strip() for text in drawn)


def main() -> None:
    """Build the lessons named on the command line, or all."""
    for variable in ("QUICK", "XLA_FLAGS"):
        os.environ.pop(variable, None)
    prefixes = tuple(sys.argv[1:]) or ("",)
    scripts = [path for path in sorted(LESSONS.glob("[0-9]*.py")) if path.name.startswith(prefixes)]
    if not scripts:
        sys.exit(f"no lesson starts with {' or '.join(prefixes)}")
    installed = importlib.util.find_spec("makemore_jax.lessons")
    if not (installed and installed.origin and Path(installed.origin).parent.samefile(LESSONS)):
        sys.exit("this clone is not the installed package; in its folder, run: pip install -e '.[lessons]'")
    for script in scripts:
        began = time.perf_counter()
        path = build(script)
        print(f"{path.name}  {path.stat().st_size:>9,} bytes  {time.perf_counter() - began:5.0f} s", flush=True)


if __name__ == "__main__":
    main()
