"""Where the book is published, and the links that run or edit a page there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import yaml
from sphinx.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """Where the book is published; book/settings.yml explains the fields. Empty means not known."""

    repository: str = ""
    branch: str = "main"
    colab_branch: str = "colab"
    jupyterhub: str = ""

    def links(self, path: str) -> list[tuple[str, str]]:
        """(label, address) of everything that opens the notebook `path` elsewhere."""
        if not self.repository:
            return []
        links = [("Run on Binder", self.binder(path))]
        if self.jupyterhub:
            links.append(("Run on JupyterHub", self.hub(path)))
        if self.host == "github.com":
            notebook = str(Path(path).with_suffix(".ipynb"))
            links.append(
                (
                    "Run in Colab",
                    f"https://colab.research.google.com/github/{self.name}/blob/"
                    f"{quote(self.colab_branch)}/{quote(notebook)}",
                )
            )
        return [*links, *self.edit(path)]

    def edit(self, path: str) -> list[tuple[str, str]]:
        """The link to the page's editor, for the two hosts whose addresses we know."""
        between = {"github.com": "edit", "gitlab.com": "-/edit"}.get(self.host)
        if not between:
            return []
        return [
            ("Edit this page", f"{self.repository}/{between}/{quote(self.branch)}/{quote(path)}")
        ]

    def file(self, path: str) -> str | None:
        """The address of a source file, for reading."""
        between = {"github.com": "blob", "gitlab.com": "-/blob"}.get(self.host)
        if not between:
            return None
        return f"{self.repository}/{between}/{quote(self.branch)}/{quote(path)}"

    def binder(self, path: str) -> str:
        provider, spec = {
            "github.com": ("gh", self.name),
            "gitlab.com": ("gl", quote(self.name, safe="")),
        }.get(self.host, ("git", quote(self.repository, safe="")))
        query = urlencode({"labpath": path})
        return f"https://mybinder.org/v2/{provider}/{spec}/{quote(self.branch, safe='')}?{query}"

    def hub(self, path: str) -> str:
        folder = self.name.rpartition("/")[2]
        query = urlencode(
            {
                "repo": self.repository,
                "branch": self.branch,
                "urlpath": f"lab/tree/{folder}/{path}",
            }
        )
        return f"{self.jupyterhub}/hub/user-redirect/git-pull?{query}"

    @property
    def host(self) -> str:
        """For example github.com."""
        return urlsplit(self.repository).netloc

    @property
    def name(self) -> str:
        """For example owner/name."""
        return urlsplit(self.repository).path.strip("/")


def read_address(path: Path, environment: Mapping[str, str]) -> Address:
    """The settings file, with METAGRAD_REPOSITORY in its place where that is set.

    Raises:
        ConfigError: if a field is unknown or an address is not https.
    """
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if "METAGRAD_REPOSITORY" in environment:
        settings["repository"] = environment["METAGRAD_REPOSITORY"]
    try:
        address = Address(**{name: value or "" for name, value in settings.items()})
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error
    for name in ("repository", "jupyterhub"):
        value = getattr(address, name)
        if value and not re.fullmatch(r"https://[^/\s]+(/[^\s]*[^/\s])?", value):
            raise ConfigError(
                f"{path}: {name} is {value!r}; allowed are an empty text and an https:// address "
                "without a slash at its end"
            )
    return address
