"""The site of the documentation: ``make docs`` builds it into build/site, any warning an error.

Sphinx reads the pages of this folder as they stand on a code host (MyST Markdown).  What is said
elsewhere is not said again: site_pages.py makes the reference of settings and of commands from
the code, and takes the READMEs of other folders in; api.md has the docstrings.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "site"), str(Path(__file__).parents[1])]

import docstrings  # noqa: E402
import site_pages  # noqa: E402

import hpcml  # noqa: E402

project = "hpcml"
author = "the developers of hpcml"
version = release = hpcml.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "study/*.md", "study/*/*.md"]
smartquotes = False  # two hyphens are an option of the command line

# Pages: anchors as code hosts make them, so that a link works in both places.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
# The tutorial holds what it printed when it was run; a test runs it anew.
nb_execution_mode = "off"
# Words that Pygments does not know (a prompt in TOML, an ellipsis in JSON) are no fault of a page.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give shapes, units and types
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"hpcml {release}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5d7a", "color-brand-content": "#0b6e8f"},
    "dark_css_variables": {"color-brand-primary": "#7cc7e0", "color-brand-content": "#7cc7e0"},
}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True


def setup(app):
    """Called by Sphinx: the pages that are made are written before any is read."""
    app.connect("builder-inited", site_pages.write)
    app.connect("source-read", site_pages.with_links_of_the_site)
    # before napoleon, which makes reStructuredText of numpydoc's sections
    app.connect("autodoc-process-docstring", docstrings.as_restructured_text, priority=400)
