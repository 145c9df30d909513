"""What counts as a change of the code behind an experiment."""

import pytest

from experiments import sources


@pytest.fixture
def lib(tmp_path, monkeypatch):
    """A small library: `study` uses `tools.add`, which uses `tools.base`."""
    files = {
        "study.py": "from tools import add\nimport numpy\n",
        "tools/__init__.py": "from tools.add import add\nfrom tools.other import other\n",
        "tools/add.py": "from . import base\n\n\ndef add(x):\n    return base.ONE + x\n",
        "tools/base.py": "ONE = 1\n",
        "tools/other.py": "def other():\n    return 2\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sources, "LIB", tmp_path)
    return tmp_path


def test_modules_are_followed_through_package_and_relative_imports(lib):
    assert sorted(sources.modules("study")) == ["study", "tools.add", "tools.base"]


@pytest.mark.parametrize("name", ["study.py", "tools/add.py", "tools/base.py"])
def test_a_change_of_code_behind_the_module_counts(lib, name):
    before = sources.fingerprint("study")
    path = lib / name
    path.write_text(path.read_text() + "\nEXTRA = 3\n")
    assert sources.fingerprint("study") != before


def test_a_changed_constant_counts(lib):
    before = sources.fingerprint("study")
    (lib / "tools/base.py").write_text("ONE = 1.0\n")
    assert sources.fingerprint("study") != before


def test_comments_docstrings_layout_and_unrelated_modules_do_not_count(lib):
    before = sources.fingerprint("study")
    (lib / "tools/other.py").write_text("def other():\n    return 5\n")
    (lib / "tools/add.py").write_text(
        '"""New words."""\nfrom . import base\n'
        'def add(x):\n    """Add."""\n    # why\n    return (base.ONE\n            + x)\n'
    )
    assert sources.fingerprint("study") == before


def test_an_unknown_module_is_named():
    with pytest.raises(ValueError, match="must name a file in lib/, got 'no_such_module'"):
        sources.fingerprint("no_such_module")
