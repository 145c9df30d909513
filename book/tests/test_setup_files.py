"""What the set-up files promise: one lock, no addresses, versions that agree."""

import itertools
import json
import os
import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import plotly
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\0")[:-1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NPM = json.loads((ROOT / "package.json").read_text())["devDependencies"]
NPM_LOCK = json.loads((ROOT / "package-lock.json").read_text())["packages"]


def locked():
    """The requirements of the lock that hold on this machine: name -> version."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines]
    for requirement in requirements:
        [specifier] = requirement.specifier
        assert specifier.operator == "==", requirement
        if requirement.marker is None or requirement.marker.evaluate():
            yield canonicalize_name(requirement.name), specifier.version


def test_every_dependency_is_locked_at_a_version_that_it_allows():
    versions = dict(locked())
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in map(Requirement, itertools.chain(*groups)):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_what_is_installed_is_what_is_locked():
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    wrong = {n: (v, installed.get(n)) for n, v in locked() if installed.get(n) != v}
    assert not wrong, f"locked, installed: {wrong}; run make setup"


def test_npm_packages_are_exact_locked_and_installed():
    for name, version in NPM.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} {version} is not exact"
        assert NPM_LOCK[f"node_modules/{name}"]["version"] == version
        installed = json.loads((ROOT / "node_modules" / name / "package.json").read_text())
        assert installed["version"] == version


def test_the_plotly_bundle_is_the_one_that_plotly_for_python_draws_with():
    bundled = plotly.offline.get_plotlyjs_version()
    assert NPM["plotly.js-cartesian-dist-min"] == bundled


def test_the_npm_lock_holds_no_address():
    assert not [name for name, package in NPM_LOCK.items() if "resolved" in package]


@pytest.mark.parametrize(
    "words",
    [
        ("registry", "npmjs"),
        ("files", "pythonhosted"),
        ("pypi", "org"),
        ("deb", "debian", "org"),
        ("npmmirror", "com"),
    ],
    ids=".".join,
)
def test_no_file_names_a_registry(words):
    # In pieces, or this file would be found.
    found = [name for name in TRACKED if ".".join(words) in read(name)]
    assert not found


def test_no_file_holds_a_path_of_this_machine():
    # A checkout in a system folder (a container's /app, say) would give false alarms.
    local = {str(ROOT), os.path.expanduser("~")} - {"/", "/app", "/home", "/root"}
    found = [(name, path) for name in TRACKED for path in local if f"{path}/" in read(name)]
    assert not found


def read(name):
    """The text of a tracked file, empty if it was deleted or is no text."""
    try:
        return (ROOT / name).read_text("utf8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def test_environment_installs_exactly_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda, pip = environment["dependencies"][:-1], environment["dependencies"][-1]
    assert conda == ["python=3.12", "pip"]
    assert pip == {"pip": ["-r requirements.txt", "-e ."]}


def test_citation_names_what_the_project_is():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["authors"] == [{"name": "The Meta-Gradients, Live authors"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", citation["date-released"])


def test_the_pre_commit_hooks_are_local_and_call_what_exists():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    subprocess.run(["pre-commit", "validate-config"], cwd=ROOT, check=True)
    for hook in config["repos"][0]["hooks"]:
        program = hook["entry"].split()[0].replace(".venv/bin/", "")
        assert program in {"ruff", "mypy"}


@pytest.mark.parametrize("name", ["postBuild", ".ci/run"])
def test_scripts_are_executable(name):
    assert (ROOT / name).stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", name], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "LICENSE-text.md"])
def test_links_to_files_work(name):
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text())
    files = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_the_readme_names_only_folders_and_targets_that_exist():
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert f"\n{target}:" in makefile, f"make {target}"
    layout = re.search(r"```text\n(.*?)```", text, re.DOTALL).group(1)
    for line in layout.splitlines():
        assert (ROOT / line.split()[0]).exists(), line
