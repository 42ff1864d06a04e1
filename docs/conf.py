"""The site: `python -m sphinx -W -E -c docs -d runs/doctrees . runs/site`, then open runs/site/index.html.

Its pages lie where they are read on GitHub, too, so the root of the project is the source folder.
"""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.inspect import signature, stringify_signature

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "makemore_jax"
html_title = "makemore_jax"
copyright = "the authors of makemore_jax"
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "docs/api/*.rst", "lessons/README.md", "lessons/*.ipynb", "data/README.md"]
exclude_patterns = [".*", "runs", "experiments", "makemore_jax", "tests"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode"]
nitpicky = True

# Markdown, and notebooks with the outputs that they were committed with.
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True

# The reference. A name in backticks is a link if it can be one; a type must be one, unless it is not ours.
templates_path = ["docs/templates"]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
add_module_names = False
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
default_role = "py:obj"
highlight_language = "none"
nitpick_ignore_regex = [("py:obj", ".*"), ("py:.*", r"(?!makemore_jax).*|.*\.[A-Z]")]
google = Config(napoleon_type_aliases={"InputError": "makemore_jax.errors.InputError"})

# Pages that load nothing from a network and open from the disk, where the excerpts of a search cannot be fetched.
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_search_summary = False
html_show_sourcelink = html_copy_source = False
pygments_dark_style = "github-dark"


def as_rest(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are Markdown with Google's sections; the fields of a NamedTuple are shown as they are written."""
    blocks = re.sub(r"(?<=\n\n)((?:    .*\n|\n(?=    ))+)", r"::\n\n\1", "\n".join(lines))
    lines[:] = GoogleDocstring(blocks, google, app, "function").lines()
    if hasattr(obj, "_fields"):
        fields = re.findall(r"^    \w+: .*", inspect.getsource(obj), re.MULTILINE)
        lines += ["", ".. code-block:: python", "", *fields, ""]


def of_a_call(app, what, name, obj, options, shown, returns):
    """The signature of a Protocol of functions is that of its `__call__`."""
    if getattr(obj, "_is_protocol", False):
        return stringify_signature(signature(obj.__call__, bound_method=True), unqualified_typehints=True), ""
    return None


def leave_out(app, what, name, obj, skip, options) -> bool | None:
    """Leave out the fields of a NamedTuple one by one, and the method that matplotlib adds to a figure."""
    alias = str(getattr(obj, "__doc__", "")).startswith("Alias for field")
    return True if alias or getattr(obj, "__module__", "") == "matplotlib.artist" else None


def describe_pictures(app, doctree) -> None:
    """The picture that a notebook draws is described by the title of its section."""
    for section in doctree.findall(nodes.section):
        for image in section.findall(nodes.image):
            image["alt"] = image.get("alt") or f"Figure: {section.next_node(nodes.title).astext()}"


def add_pages(app, error) -> None:
    """Write what is no document: the page at the address of the site, the table that can be touched, the slides."""
    if not error and app.builder.format == "html":
        docs = app.outdir / "docs"
        (app.outdir / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">\n')
        for command in (
            ["-m", "experiments.explore", "--save", docs / "bigrams.html"],
            ["docs/teaching/deck.py", "--out", docs / "teaching"],
        ):
            subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def mathml(display: str):
    """A renderer of TeX as MathML, which browsers draw without a script or fonts."""

    def render(writer, node) -> None:
        writer.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode

    return render, None


def setup(app) -> None:
    """Connect these functions, and forget pages of modules that may be gone."""
    shutil.rmtree(ROOT / "docs/api", ignore_errors=True)
    app.connect("autodoc-process-docstring", as_rest)
    app.connect("autodoc-process-signature", of_a_call)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("doctree-read", describe_pictures)
    app.connect("build-finished", add_pages)
    app.add_html_math_renderer("mathml", inline_renderers=mathml("inline"), block_renderers=mathml("block"))
