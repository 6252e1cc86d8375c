"""A hook of mkdocs: what the pages link to outside of doc/ (code, CONTRIBUTING.md, images) becomes
part of the site.

On GitHub such a link leads to the file itself; the site has no such place. So each file is put
under files/: Markdown as a page, all else as it is. A link to a folder becomes its text. One to
what is not there stays as it is, and `mkdocs build --strict` ends with it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "doc"
LINK = re.compile(r"\[([^\[\]]*(?:\[[^\]]*\])?[^\[\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
AS_TEXT = (".py", ".yaml", ".msg")  # a browser shows .txt, and downloads these


def meant(page: Path, target: str) -> Path | None:
    """The file or folder of this repository that `target` on `page` means; None where it is not
    there."""
    path = (page.parent / target).resolve()
    return path if path.exists() and ROOT in path.parents else None


def place(path: Path) -> str:
    """Where a file is in the site."""
    if DOC in path.parents:
        return str(path.relative_to(DOC))
    return f"files/{path.relative_to(ROOT)}{'.txt' if path.suffix in AS_TEXT else ''}"


def on_files(files: Files, config: Any) -> Files:
    pages = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    added: set[Path] = set()
    while pages:
        page = pages.pop()
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            path = meant(page, target)
            if path and path.is_file() and DOC not in path.parents and path not in added:
                added.add(path)
                files.append(
                    File.generated(
                        config,
                        place(path),
                        abs_src_path=str(path),
                        inclusion=InclusionLevel.NOT_IN_NAV,
                    )
                )
                pages += [path] if path.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    source = Path(page.file.abs_src_path)

    def in_the_site(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = meant(source, target)
        if path is None:
            return link[0]
        if path.is_dir():
            return text
        way = os.path.relpath(place(path), os.path.dirname(page.file.src_uri) or ".")
        return f"[{text}]({way}{anchor or ''})"

    return LINK.sub(in_the_site, markdown)
