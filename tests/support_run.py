"""Run folders as a hostile hand would leave them: changed, with digests that fit the change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.runfile import CONFIG, DIGESTS, config_digest

Config = dict[str, Any]


def reseal(folder: Path) -> None:
    """Puts the digests of the files as they are into the config."""
    path = folder / CONFIG
    content = json.loads(path.read_text())
    seal(folder, content)
    path.write_text(json.dumps(content))


def seal(folder: Path, content: Config) -> None:
    """The same for a config that is not yet written."""
    digests = content[DIGESTS]
    for name in digests:
        file = folder / name
        if name != CONFIG and file.is_file():
            digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    digests[CONFIG] = config_digest(content)


def edit(folder: Path, change: Callable[[Config], object]) -> None:
    """Applies ``change`` to the content of ``config.json``, which then is sealed anew."""
    path = folder / CONFIG
    content = json.loads(path.read_text())
    change(content)
    if isinstance(content.get(DIGESTS), dict):
        seal(folder, content)
    path.write_text(json.dumps(content))
