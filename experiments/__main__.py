"""Make more of the lines of a file, or call any command by its name.

Run it:   makemore towns.txt            where the package is installed
          makemore train --model gru
          python -m experiments towns.txt   in a clone
"""

import ast
import contextlib
import pkgutil
import re
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
COMMANDS = sorted({module.name for module in pkgutil.iter_modules([str(FOLDER)])} - {"__main__", "shared"})


def main() -> None:
    """Run the command that the first argument names; without a name, `make`."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first == "--version":
        print(f"makemore_jax {version('makemore_jax')}")
        return
    if re.fullmatch(r"\w+", first) and first not in COMMANDS and not Path(first).exists():
        print(f"error: {first}: neither a file nor a command; the commands: {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    name = sys.argv.pop(1) if first in COMMANDS else "make"
    try:
        runpy.run_module(f"{__package__}.{name}", run_name="__main__", alter_sys=True)
    finally:
        if first in ("-h", "--help"):
            with contextlib.suppress(BrokenPipeError):
                print_commands()


def print_commands() -> None:
    """Print the name of every command, with the first line of its documentation."""
    print("Other commands; `NAME --help` says more:\n")
    for name in COMMANDS:
        file = FOLDER / f"{name}.py"
        source = (file if file.exists() else FOLDER / name / "__main__.py").read_text(encoding="utf-8")
        print(f"  {name:<12}{(ast.get_docstring(ast.parse(source)) or '').splitlines()[0]}")


if __name__ == "__main__":
    main()
