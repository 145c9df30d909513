"""The files that a built page needs beside its HTML."""

from importlib.resources import files

from pagewidget.widget import PageWidget, classic_script


def static_text(package: str, *names: str) -> str:
    """The texts of `package`'s files `static/<name>`, one after the other."""
    folder = files(package) / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def assets() -> dict[str, str]:
    """File name -> text of everything that pages with the registered widgets load.

    `pagewidget.js` and the style sheets belong in the page's head (the script with `defer`);
    `pagewidget.js` itself loads `<page_name>.js` when a widget nears the viewport. All files go
    into one folder. Only subclasses that have been imported are listed.
    """
    result = {name: static_text("pagewidget", name) for name in ("pagewidget.js", "pagewidget.css")}
    for page_name, widget in sorted(PageWidget.registry.items()):
        result[f"{page_name}.js"] = classic_script(page_name, str(widget._esm))
        result[f"{page_name}.css"] = str(getattr(widget, "_css", ""))
    return result
