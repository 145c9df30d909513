"""The HTML, the classic script and the model shim of `pagewidget`."""

import json
import re
import subprocess

import pytest
import traitlets
from noderun import node_path

import pagewidget
from pagewidget import PageWidget
from pagewidget.widget import classic_script

ESM = """
function render({ model, el }) {
  el.textContent = model.get("text");
}
export default { render };
"""


class Probe(PageWidget):
    page_name = "probe"
    _esm = ESM
    _css = ".probe { color: inherit; }"
    text = traitlets.Unicode("hello").tag(sync=True)
    private = traitlets.Unicode("not synced")


@pytest.fixture(autouse=True, scope="module")
def unregister():
    yield
    PageWidget.registry.pop("probe", None)


def island(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html).group(1))


def test_the_bundle_holds_the_widget_view_and_the_page_html():
    widget = Probe(_html="<p>fallback</p>")
    data, _ = widget._repr_mimebundle_()
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == widget.model_id
    assert data["text/html"] == widget.page_html()
    assert "<p>fallback</p>" in data["text/html"]


def test_the_island_holds_the_synced_traits_and_nothing_else():
    assert island(Probe(text="a").page_html()) == {"text": "a"}


def test_added_traits_reach_the_island_and_register_no_new_class():
    widget = Probe()
    widget.add_traits(step=traitlets.Float(0.5).tag(sync=True))
    assert island(widget.page_html()) == {"text": "hello", "step": 0.5}
    assert PageWidget.registry["probe"] is Probe


def test_text_cannot_end_the_island():
    text = "</script><script>alert(1)</script><!--"
    html = Probe(text=text).page_html()
    assert html.count("</script>") == 1
    assert island(html)["text"] == text


def test_nan_in_a_trait_is_refused():
    widget = Probe()
    widget.add_traits(bad=traitlets.Float(float("nan")).tag(sync=True))
    with pytest.raises(ValueError, match="JSON"):
        widget.page_html()


def test_assets_list_every_registered_widget():
    files = pagewidget.assets()
    assert {"pagewidget.js", "pagewidget.css", "probe.js", "probe.css"} <= set(files)
    assert files["probe.js"] == classic_script("probe", ESM)
    assert files["probe.css"] == Probe._css


@pytest.mark.parametrize(
    "esm",
    [
        "function render() {}",
        "import x from 'y';\nfunction render() {}\nexport default { render };",
        "export const a = 1;\nfunction render() {}\nexport default { render };",
    ],
)
def test_modules_that_cannot_become_classic_scripts_are_refused(esm):
    with pytest.raises(ValueError, match="probe"):
        classic_script("probe", esm)


@pytest.mark.parametrize("name", ["Upper", "a b", "../up", ""])
def test_bad_page_names_are_refused(name):
    with pytest.raises(ValueError, match="page_name"):
        type("Bad", (PageWidget,), {"page_name": name, "_esm": ESM})


def test_the_classic_script_defines_the_same_render():
    before = "const pagewidget = { define: (...found) => { globalThis.found = found; } };"
    after = """
    const el = {};
    found[1].render({ el, model: { get: () => "from the model" } });
    console.log(found[0] + ": " + el.textContent);
    """
    script = before + classic_script("probe", ESM) + after
    done = subprocess.run([node_path(), "-e", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "probe: from the model"
