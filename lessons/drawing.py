"""Drawings that the lessons share."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from makemore_jax.analysis import plot

SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "/", "neg": "−"}


def graph(
    equations: Sequence[tuple[str, Sequence[str], str]], value: Mapping[str, float], grad: Mapping[str, float] = {}
) -> Figure:
    """A computation from left to right: a box for each number, a circle for each operation.

    Args:
      equations: (operation, names of its inputs, name of its output), in the order in which they are computed.
      value: what each name stands for.
      grad: the gradient of the last output with respect to each.
    """
    column, height = {}, {}
    for _, inputs, output in equations:
        column[output] = 1 + max((column[name] for name in inputs if name in column), default=0)
        for name in inputs:
            column.setdefault(name, column[output] - 1)  # an input stands just before its first use
    made = {output for _, _, output in equations}
    for row, name in enumerate(name for name in column if name not in made and column[name] == 0):
        height[name] = -row
    for _, inputs, output in equations:
        height[output] = sum(height[name] for name in inputs if name in height) / sum(n in height for n in inputs)
        below = min(height[name] for name in inputs if name in height)
        for name in inputs:
            height.setdefault(name, below - 1)
        height[output] = sum(height[name] for name in inputs) / len(inputs)
    span, columns = max(height.values()) - min(height.values()), max(column.values())
    figure = plot.figure(1.85 * columns + 1.4, 0.95 * span + 1.1)
    axes = figure.subplots()
    for operation, inputs, output in equations:
        x, y = 2.2 * column[output] - 1.1, height[output]
        for name in inputs:
            axes.plot([2.2 * column[name] + 0.6, x], [height[name], y], color="#999999", linewidth=1, zorder=0)
        axes.plot([x, 2.2 * column[output] - 0.6], [y, y], color="#999999", linewidth=1, zorder=0)
        axes.add_patch(Circle((x, y), 0.27, facecolor="#deebf7", edgecolor="#4292c6"))
        sign = SIGNS.get(operation, operation)
        axes.text(x, y, sign, ha="center", va="center", fontsize=13 if len(sign) == 1 else 7)
    for name, x in column.items():
        style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "white", "edgecolor": "#555555"}
        axes.add_patch(FancyBboxPatch((2.2 * x - 0.6, height[name] - 0.4), 1.2, 0.8, **style))
        lines = [f"$\\bf{{{name}}}$", f"value {value[name]:.4g}"]
        lines += [f"grad {grad[name]:.4g}"] if grad else []
        axes.text(2.2 * x, height[name], "\n".join(lines), ha="center", va="center", fontsize=9, linespacing=1.25)
    axes.set(xlim=(-0.7, 2.2 * columns + 0.7), ylim=(min(height.values()) - 0.5, max(height.values()) + 0.5))
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure
