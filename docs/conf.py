"""Configuration of Sphinx. `make docs` builds the site into `site/`; a warning is an error.

Nothing is loaded from elsewhere, neither when the site is built nor when it is read.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from docs.generator.pages import write_pages  # noqa: E402 - needs the path above
from turnlog.protocol.version import VERSION  # noqa: E402

write_pages(DOCS)

project = "turnlog"
author = "the turnlog authors"
version = release = VERSION
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["generator", "examples"]
suppress_warnings = ["toc.not_included"]  # a page need not be in the menu
smartquotes_action = "D"  # dashes only
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

default_role = "code"  # docstrings write `code` with single backticks
add_module_names = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_numpy_docstring = False
napoleon_custom_sections = []

html_theme = "furo"
html_title = "turnlog"
html_static_path = ["static"]
html_css_files = ["turnlog.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
