"""Every page brings the styles of what it shows, whatever page was there before it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.web import WEB

PAGES = sorted((WEB / "app").rglob("page.tsx"))
LAYOUT = WEB / "app" / "layout.tsx"
_IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")
_CLASS_NAME = re.compile(r"className=(?:\"([^\"]*)\"|\{([^}]*)\})")
_DEFINED = re.compile(r"\.([a-zA-Z][\w-]*)")


def imported(module: Path) -> set[Path]:
    """The app's files that a module imports, of its imports too, with itself."""
    found, left = set(), [module]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        if one.suffix != ".css":
            left += [path for name in _IMPORT.findall(one.read_text()) if (path := resolved(one, name))]
    return found


def resolved(module: Path, name: str) -> Path | None:
    base = WEB / name[2:] if name.startswith("@/") else module.parent / name if name.startswith(".") else None
    if base is None:
        return None
    candidates = [base, base.with_name(f"{base.name}.tsx"), base.with_name(f"{base.name}.ts")]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def defined(sheet: Path) -> set[str]:
    return set(_DEFINED.findall(re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)))


def used(module: Path) -> set[str]:
    names: set[str] = set()
    for text, expression in _CLASS_NAME.findall(module.read_text()):
        names |= set(" ".join([text, *re.findall(r'"([^"]*)"', expression)]).split())
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.relative_to(WEB / "app").as_posix())
def test_a_page_brings_its_styles(page: Path) -> None:
    files = imported(page.resolve()) | imported(LAYOUT.resolve())
    brought = {name for file in files if file.suffix == ".css" for name in defined(file)}
    styled = {name for sheet in WEB.glob("*/**/*.css") if "node_modules" not in sheet.parts for name in defined(sheet)}
    lacking = {
        file.relative_to(WEB).as_posix(): sorted(missing)
        for file in files
        if file.suffix == ".tsx" and (missing := used(file) & styled - brought)
    }
    assert lacking == {}
