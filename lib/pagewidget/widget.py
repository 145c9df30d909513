"""The Python half: a widget that also writes itself as HTML for a page without a kernel."""

import json
import re
from html import escape
from typing import Any, ClassVar

import anywidget
import traitlets

EXPORT = "export default { render };"

# Traits that only a Jupyter front end understands, and `_html`, which the page holds as real HTML.
_LAB_ONLY = {
    "_anywidget_id", "_css", "_dom_classes", "_esm", "_html", "_model_module",
    "_model_module_version", "_model_name", "_view_count", "_view_module", "_view_module_version",
    "_view_name", "layout", "tabbable", "tooltip",
}  # fmt: skip


class PageWidget(anywidget.AnyWidget):
    """A widget whose one ES module runs in JupyterLab and on a page without a kernel.

    A subclass sets three class attributes and, in its `__init__`, the trait `_html`:

    * `page_name`: name of its files on a built page, for example `"livejax-figure"`.
    * `_esm`: text of an ES module without imports, whose last statement is exactly
      `export default { render };`.
    * `_css`: text of its style sheet (may be empty).
    * `_html`: what a reader without scripts sees. On a built page the module's
      `render({ model, el, page })` finds it in `el`; in JupyterLab `el` is empty and
      `model.get("_html")` has it.

    `page` is undefined in JupyterLab. On a built page it offers `page.script(name)`, which loads a
    classic script from the folder of `pagewidget.js` once and returns a promise.

    Raises:
        ValueError: at the definition of a subclass whose `page_name` or `_esm` breaks these rules.
    """

    registry: ClassVar[dict[str, type["PageWidget"]]] = {}
    page_name: ClassVar[str]

    _html = traitlets.Unicode("").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check and register a subclass that brings its own module."""
        if "page_name" in cls.__dict__:  # not the classes that add_traits() derives
            if not re.fullmatch(r"[a-z][a-z0-9-]*", cls.page_name):
                raise ValueError(
                    f"page_name of {cls.__name__} is {cls.page_name!r}; "
                    "allowed are lower-case letters, digits and hyphens"
                )
            classic_script(cls.page_name, cls.__dict__.get("_esm", ""))
            PageWidget.registry[cls.page_name] = cls
        super().__init_subclass__(**kwargs)

    def page_state(self) -> dict[str, Any]:
        """The synced traits that the page's model starts from."""
        keys = [key for key in self.keys if key not in _LAB_ONLY]
        return {key: value for key, value in self.get_state(keys).items() if key in keys}

    def page_html(self) -> str:
        """The element that `pagewidget.js` brings to life, without any outer page.

        Raises:
            ValueError: if a synced trait holds NaN or an infinity, which JSON has no word for.
            TypeError: if a synced trait holds what JSON cannot express.
        """
        # Escaping "<" keeps "</script>" in a string from ending the island.
        island = json.dumps(self.page_state(), allow_nan=False).replace("<", "\\u003c")
        return (
            f'<div class="pagewidget" data-page-widget="{escape(self.page_name)}">'
            f'<div class="pagewidget-view">{self._html}</div>'
            f'<script type="application/json">{island}</script></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        return {**data, "text/html": self.page_html()}, metadata


def classic_script(page_name: str, esm: str) -> str:
    """The ES module `esm` as a classic script that hands its `render` to `pagewidget.js`.

    A page opened from `file://` may not import modules, but it may load classic scripts.

    Raises:
        ValueError: if the last statement is not `export default { render };` or if the module has
            another import or export.
    """
    body = str(esm).rstrip()
    if not body.endswith(EXPORT):
        raise ValueError(f"the module of {page_name!r} must end with the statement {EXPORT!r}")
    body = body.removesuffix(EXPORT)
    stray = re.search(r"^\s*(import\b(?!\s*\.meta)|export\b).*", body, flags=re.MULTILINE)
    if stray:
        raise ValueError(
            f"the module of {page_name!r} has {stray.group(0).strip()!r}; only the last statement "
            "may export, and nothing may be imported"
        )
    return (
        f'pagewidget.define("{page_name}", (() => {{\n"use strict";\n'
        f"{body}return {{ render }};\n}})());\n"
    )
