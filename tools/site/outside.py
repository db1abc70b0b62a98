"""Links to files outside docs/ lead to pages of the site that show these files."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

log = logging.getLogger("mkdocs.hooks.unrolled")

LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)((?:#[^)\s]*)?(?=\)))")
LANGUAGES = {".py": "python", ".toml": "toml", ".h": "cpp", ".cpp": "cpp"}
SHOWN = "repository"

sources: dict[str, str] = {}
"""Of the pages that may have such links, by their place in the site: the file in the repository."""


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each file that a page links to, and for those that such a page links to."""
    root = Path(config.config_file_path).parent
    sources.clear()
    waiting: list[tuple[str, str]] = []

    def look_at(page: Any, path: str) -> None:
        sources[page.src_uri] = path
        waiting.extend((path, link) for link, _ in LINK.findall(page.content_string))

    for page in list(files.documentation_pages()):
        look_at(page, f"docs/{page.src_uri}")
    while waiting:
        source, link = waiting.pop()
        path = _resolved(source, link)
        uri = _uri(path)
        if path.startswith("docs/") or files.get_file_from_path(uri):
            continue
        if not (root / path).exists():
            log.warning("%s links to %s, which is not there", source, link)
            continue
        inclusion = InclusionLevel.NOT_IN_NAV
        shown = File.generated(config, uri, content=_shown(root / path, path), inclusion=inclusion)
        files.append(shown)
        if path.endswith(".md") or (root / path).is_dir():
            look_at(shown, path)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns these links to those pages."""
    here = page.file.src_uri
    if here not in sources:  # a page of code
        return markdown

    def turned(found: re.Match[str]) -> str:
        path = _resolved(sources[here], found[1])
        if path.startswith("docs/") and sources[here].startswith("docs/"):
            return found[0]
        return posixpath.relpath(_uri(path), posixpath.dirname(here) or ".") + found[2]

    return LINK.sub(turned, markdown)


def _resolved(source: str, link: str) -> str:
    """The path in the repository to which a file of the repository links."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _uri(path: str) -> str:
    """Where a path of the repository stands in the site's sources."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{SHOWN}/{path}" if path.endswith(".md") else f"{SHOWN}/{path}.md"


def _shown(target: Path, path: str) -> str:
    if target.is_dir():
        names = sorted(p.name for p in target.iterdir() if p.suffix in LANGUAGES)
        return f"# {path}\n\n" + "".join(f"* [{name}]({target.name}/{name})\n" for name in names)
    text = target.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    fence = "`" * 6
    return f"# {path}\n\n{fence}{LANGUAGES.get(target.suffix, '')}\n{text.rstrip()}\n{fence}\n"
