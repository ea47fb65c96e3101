"""Sphinx's configuration of the documentation. `make docs` builds it into build/docs; no page asks another host."""

import logging
import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # asked_of_the_code, beside this file
for told_at_import in ("alembic", "procrastinate"):
    logging.getLogger(told_at_import).setLevel(logging.WARNING)

project = "Uraniborg"
version = release = installed("uraniborg")
project_copyright = "the authors of Uraniborg"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "asked_of_the_code",
]

html_theme = "furo"
html_title = f"Uraniborg {release}"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_use_type_comments = False
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
# Several rooms have a Limits, a Service, a Finding: a bare name in a signature is not a link then.
suppress_warnings = ["ref.python"]
