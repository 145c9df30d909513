"""One widget for JupyterLab and for a built page that has no kernel.

A subclass of `PageWidget` is an ordinary `anywidget` in JupyterLab. On a built page the same ES
module is loaded as a classic script and gets a small stand-in for the widget model, so it also
works from `file://`. `assets()` lists the files that such a page needs.
"""

from pagewidget.assets import assets
from pagewidget.page import write_page
from pagewidget.widget import PageWidget

__all__ = ["PageWidget", "assets", "write_page"]
