"""Whether there is a GPU to measure."""

from __future__ import annotations

import argparse
from importlib import import_module


def needed(options: argparse.ArgumentParser) -> None:
    """Ends the program with one sentence where there is no CuPy, or no GPU."""
    try:
        import_module("cupy").cuda.Device().synchronize()
    except ImportError:
        options.error("--device cuda needs CuPy: install the extra cuda12 or cuda13")
    except Exception as error:  # CuPy's, which must be there to be named
        options.error(f"--device cuda needs an NVIDIA GPU: {error}")
