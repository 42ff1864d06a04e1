"""Make the pictures of the first lecture, counts.png and output.png: python docs/pictures.py."""

import subprocess
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DOCS = Path(__file__).parent


def main() -> None:
    """Run the bigram command, copy its heat map, and draw what it printed."""
    command = [sys.executable, "-m", "experiments.bigram"]
    out = subprocess.run(command, cwd=DOCS.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    counts = Image.open(DOCS.parent / "runs/bigram/counts.png").convert("RGB")
    counts.resize((1400, 1400)).quantize(64).save(DOCS / "counts.png", optimize=True)
    draw_terminal("$ python -m experiments.bigram\n" + out, DOCS / "output.png")


def draw_terminal(text: str, path: Path) -> None:
    """Two columns of white on black, as in a terminal; the second starts at section 7."""
    lines = text.splitlines()
    middle = next(i for i, line in enumerate(lines) if line.startswith("7. "))
    figure = Figure(figsize=(12.4, 0.149 * max(middle, len(lines) - middle) + 0.3), facecolor="#1b1b1b")
    FigureCanvasAgg(figure)
    for x, column in ((0.01, lines[:middle]), (0.505, lines[middle:])):
        style = {"family": "monospace", "fontsize": 8.6, "color": "#e8e8e8", "va": "top", "parse_math": False}
        figure.text(x, 0.985, "\n".join(column), linespacing=1.25, **style)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
