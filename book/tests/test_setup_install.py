"""What a fresh machine gets: Binder's view of the checkout, and an empty environment filled."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = "import metagrad, livejax, selfcheck, pagewidget; metagrad.heavy_ball; livejax.LiveFigure"


@pytest.fixture
def checkout(tmp_path):
    """A copy of the tracked files as they are now, without what is installed or built."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    for name in names:
        if (ROOT / name).is_file():
            target = tmp_path / "checkout" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return tmp_path / "checkout"


def test_repo2docker_reads_our_python_our_packages_and_post_build(checkout):
    command = ["jupyter-repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "conda environment for python=3.12" in said
    # The lock is read from the repository, so this has to be copied in first.
    copied, installed = said.index("COPY --chown=0:0 src/"), said.index('"environment.yml"')
    assert copied < installed < said.index("RUN ./postBuild")


def test_post_build_makes_text_notebooks_open_as_notebooks(tmp_path):
    environment = os.environ | {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    subprocess.run(["./postBuild"], cwd=ROOT, env=environment, check=True)
    command = ["jupytext-config", "list-default-viewer"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "markdown: Jupytext Notebook" in done.stdout


def test_the_packages_carry_their_scripts_and_results(checkout, tmp_path):
    """What `pip install git+...` gets, in Colab: every file of lib/, not the Python alone."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", tmp_path, checkout], check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    lib = checkout / "lib"
    files = {
        str(path.relative_to(lib))
        for name in ("metagrad", "livejax", "pagewidget", "selfcheck", "experiments")
        for path in (lib / name).rglob("*")
        if path.is_file()
    }
    assert files - packed == set()


def pythons():
    """Interpreters to try, by version: this one only where neither 3.12 nor 3.13 is there."""
    found = {}
    for version in ("3.12", "3.13"):
        name = shutil.which(f"python{version}")
        if name is None:
            continue
        # The shim of a version manager answers to PYENV_VERSION, or fails: then it is left out.
        done = subprocess.run(
            [name, "-c", "import sys, ensurepip; print(sys.executable)"],
            env=os.environ | {"PYENV_VERSION": version},
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            found[version] = done.stdout.strip()
    return found or {"this": sys.executable}


@pytest.mark.parametrize(("version", "python"), pythons().items(), ids=list(pythons()))
def test_the_pip_part_of_environment_fills_an_empty_environment(
    version, python, checkout, tmp_path
):
    """Binder's Python is 3.12; where a machine has another that we support, it is tried too."""
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    environment = yaml.safe_load((checkout / "environment.yml").read_text())
    arguments = " ".join(environment["dependencies"][-1]["pip"]).split()
    fresh = str(tmp_path / "venv/bin/python")
    install = [fresh, "-m", "pip", "install", "--quiet", *arguments]
    subprocess.run(install, cwd=checkout, check=True)
    subprocess.run([fresh, "-c", IMPORTS], cwd=tmp_path, check=True)
    subprocess.run([fresh, "-m", "pip", "check"], cwd=tmp_path, check=True)
    shutil.rmtree(tmp_path / "venv")  # 1.5 GB
