"""The run folder's files, as far as they are read without torch and pydantic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import unrolled
from unrolled.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT: Literal["unrolled-run"] = "unrolled-run"
FORMAT_VERSION: Literal[1] = 1


def read_config(path: Path) -> dict[str, Any]:
    """What ``config.json`` holds, if it is a run's and of the version that is read here.

    Raises:
        InputError: the file is missing, not whole, no run's, or of another version.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing. Is this a run folder? unrolled train makes one"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Restore the file, or train again") from error
    except ValueError as error:
        raise InputError(
            f"{path}: not whole JSON ({error}). Restore the file, or train again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not the config of an unrolled run (no format {FORMAT!r})")
    if content.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {content.get('format_version')!r}, and this unrolled "
            f"({unrolled.__version__}) reads {FORMAT_VERSION}. Install the unrolled that wrote it "
            f"({content.get('unrolled_version', 'unknown')}), or train again"
        )
    return content
