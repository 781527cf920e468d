"""Where files are kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_home() -> Path:
    """The folder that `TINYGRAD_NLP_CACHE` names, else `tinygrad-nlp` in the user's cache; it need not exist yet."""
    return Path(os.environ.get("TINYGRAD_NLP_CACHE") or _user_cache() / "tinygrad-nlp")


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
