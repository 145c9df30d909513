"""One browser, one server and one tab for each page, for all tests of a session."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tools")]

from rounding import round_each_operation  # noqa: E402

round_each_operation()  # before a test imports JAX

from browser import HTML, RERUN, Tab, chromium, serve  # noqa: E402
from collect import page_names  # noqa: E402

PAGES = page_names()


def pytest_collection_modifyitems(items):
    """One worker for all tests of a page: its cells are run and compiled once, not twice.

    A test whose tab has stopped drawing has another try in a fresh one.
    """
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=list(RERUN)))
        page = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if page in PAGES:
            item.add_marker(pytest.mark.xdist_group(page))


@pytest.fixture(scope="session")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def site():
    """Address of the built site."""
    if not (HTML / "index.html").exists():
        pytest.fail(f"no built book in {HTML}: run `make book` first")
    with serve(HTML) as base:
        yield base


@pytest.fixture(scope="session")
def tabs(browser, site):
    """Function from a page's name to its tab: light, desktop, widgets mounted; opened once."""
    opened: dict[str, Tab] = {}

    def tab(name: str) -> Tab:
        if name in opened and not opened[name].draws():
            opened.pop(name).close()
        if name not in opened:
            opened[name] = Tab(browser)
            opened[name].open(f"{site}{name}.html")
            opened[name].mount()
        return opened[name]

    yield tab
    for one in opened.values():
        one.close()
