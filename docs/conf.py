"""How Sphinx builds the documentation: offline, strict, Markdown first.

What it is not: content.  Prose pages are plain Markdown, so that another generator could
read them too.
"""

import tomllib
from pathlib import Path


_PROJECT = tomllib.loads(
    (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]

project = "Tildawn"
copyright = "the Tildawn contributors"
author = "the Tildawn contributors"
release = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

nitpicky = True
# Names of Python and of libraries have no inventory here: none is fetched from a network.
# Signatures also name private types, which have no page of their own.
nitpick_ignore_regex = [
    ("py:.*", r"(?!tildawn).*"),
    ("py:class", r"tildawn\.(engine|guard|providers|runtime|units)\..*"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "code"

html_theme = "furo"
html_title = "Tildawn"
html_show_sphinx = False
html_show_sourcelink = False
