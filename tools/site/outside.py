"""Links from docs/ to files of the repository lead to pages of the site that show these files."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

log = logging.getLogger("mkdocs.hooks.unrolled")

LINK = re.compile(r"(?<=\]\()(\.\./[^)\s#]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".h": "cpp", ".cpp": "cpp"}
SHOWN = "repository"


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each file that a page links to outside docs/."""
    for page in list(files.documentation_pages()):
        for link, _ in LINK.findall(page.content_string):
            path = _outside(page.src_uri, link)
            uri = path and _page_of(path)
            if not uri or files.get_file_from_path(uri):
                continue
            target = Path(config.config_file_path).parent / path
            if not target.exists():
                log.warning("%s links to %s, which is not there", page.src_uri, link)
                continue
            content = _shown(path, target)
            inclusion = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, uri, content=content, inclusion=inclusion))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns these links to those pages."""
    here = page.file.src_uri

    def turned(found: re.Match[str]) -> str:
        path = _outside(here, found[1])
        if path is None:
            return found[0]
        return posixpath.relpath(_page_of(path), posixpath.dirname(here) or ".")

    return LINK.sub(turned, markdown)


def _outside(page: str, link: str) -> str | None:
    """The file's path in the repository, None where the link stays within docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith(("docs/", "../")) else path


def _page_of(path: str) -> str:
    return f"{SHOWN}/{path}.md"


def _shown(path: str, target: Path) -> str:
    if target.is_dir():
        names = sorted(p.name for p in target.iterdir() if p.suffix in LANGUAGES)
        text, language = "\n".join(names), ""
    else:
        text, language = target.read_text(encoding="utf-8"), LANGUAGES.get(target.suffix, "")
    fence = "`" * 6
    return f"# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"
