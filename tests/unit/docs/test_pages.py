"""The documentation names only what exists: pages, headings, commands, make targets, files, modules."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from core.settings import ROOT

PAGES = sorted(
    page
    for pattern in (
        *("*.md", "docs/*.md", "examples/*.md", "web/*.md", "clients/*/*.md"),
        *("models/starter/*.md", "recipes/**/*.md"),
    )
    for page in ROOT.glob(pattern)
)
# The changelog names commands as they were.
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"clients", "examples"}
# Folders of keys in storage, and what commands make in the project.
_KEYS = "".join((ROOT / "storage" / name).read_text() for name in ("keys.py", "work_keys.py"))
STORED = set(re.findall(r'"(\w+)/', _KEYS)) - {"models"}
MADE = {"build", "data", "demo", "runs"}

FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
MODULE_COMMAND = re.compile(r"python3? -m ([a-z_][\w.]*\w)")
MAKE_COMMAND = re.compile(r"(?:^|[`\s;&])make ([a-z][\w./-]*)", re.MULTILINE)
FILE = re.compile(r"(?<![\w/.<>-])((?:[\w.<>-]+/)*[\w<>-]+\.(?:py|md|ya?ml|toml|sh|mjs))\b(?![/(])")
FOLDER = re.compile(r"`((?:[\w.<>-]+/)+)`")
PATH = re.compile(r"`(\w+/(?:[\w<>-]+/)*[\w<>-]+)`")  # without an extension: a folder or a module
NAME = re.compile(r"`((?:\w+\.)+\w+)`")


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@cache
def project_files() -> frozenset[Path]:
    skipped = {".venv", "node_modules", ".next", ".git", *MADE}
    return frozenset(
        file.relative_to(ROOT)
        for top in ROOT.iterdir()
        if top.name not in skipped
        for file in ([top] if top.is_file() else top.rglob("*"))
        if not skipped & set(file.relative_to(ROOT).parts)
    )


def exists(path: str, page: Path) -> bool:
    """Whether a path, or the end of one, of the project or in storage exists; `<…>` in it stands for anything."""
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    if any(file.match(pattern) for file in project_files()):
        return True
    if path.count("/") == 1 and path.endswith("/") and any(pattern in file.parts for file in project_files()):
        return True
    first = path.split("/")[0]
    if first in STORED | MADE or "<producer>" in path:
        return True
    return any(any(folder.glob(pattern)) for folder in (ROOT, page.parent))


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@each(PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}: {linked.name} has {sorted(anchors(linked))}"


@each(CURRENT)
def test_commands_can_be_run(page: Path) -> None:
    for name in MODULE_COMMAND.findall(page.read_text()):
        if name.split(".")[0] not in PACKAGES:
            assert find_spec(name.split(".")[0]), name
            continue
        path = ROOT / name.replace(".", "/")
        if not (path / "__main__.py").is_file():
            assert '__name__ == "__main__"' in path.with_suffix(".py").read_text(), name


@each(CURRENT)
def test_make_has_the_targets(page: Path) -> None:
    rules = re.findall(r"^([\w./ -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    code = "\n".join([*re.findall(r"`[^`\n]+`", page.read_text()), *(m[0] for m in FENCE.finditer(page.read_text()))])
    code = re.sub(r"(?<=\s)#.*", "", code)
    assert not set(MAKE_COMMAND.findall(code)) - targets


@each(CURRENT)
def test_files_and_folders_exist(page: Path) -> None:
    text = re.sub(r"https?://\S+|</?br?/?>", " ", page.read_text())
    paths = [path for path in PATH.findall(text) if path.split("/")[0] in PACKAGES]
    named = {*FILE.findall(text), *FOLDER.findall(FENCE.sub("", text)), *paths}
    assert not [path for path in sorted(named) if not exists(path, page)]


@each(CURRENT)
def test_modules_exist(page: Path) -> None:
    """A dotted name of our packages is a module, or something in one."""
    names = [name for name in NAME.findall(page.read_text()) if name.split(".")[0] in PACKAGES]
    for name in names:
        assert any(is_module(part) for part in (name, name.rpartition(".")[0])), name


def test_the_code_names_pages_and_commands_that_exist() -> None:
    for file in project_files():
        if file.suffix in {".py", ".yaml", ".toml"} or file.name == "Makefile":
            text = (ROOT / file).read_text()
            for page in re.findall(r"\bdocs/[\w-]+\.md\b", text):
                assert (ROOT / page).is_file(), f"{file} names {page}"
            for command in MODULE_COMMAND.findall(text):
                assert is_module(command) or command.split(".")[0] not in PACKAGES, f"{file} names {command}"
