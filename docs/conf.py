"""How the documentation is built: ``make docs``, or ``sphinx-build -W docs docs/_build``.

The tutorials are the notebooks of ``notebooks/``, as they are committed: executed. They are copied
beside their index before Sphinx reads, and what the reference is made from the code itself is in
``_ext/``. Nothing of that is kept in git, and no page needs another host to be read.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import nbdock  # noqa: E402

# As in `notebooks/run.py`: nothing here needs the grammar that jsonschema would compile.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

project = "nbdock"
author = "the nbdock authors"
copyright = author  # noqa: A001 - Sphinx' name
version = release = nbdock.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "nbdock_tutorials",
    "nbdock_api",
    "nbdock_reference",
    "nbdock_lexer",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
# Widgets need a kernel; beside each stands what it shows, as HTML.
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

add_module_names = False
default_role = "py:obj"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "nbdock"
html_static_path = ["_static"]
html_css_files = ["nbdock.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": "nbdock"},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
