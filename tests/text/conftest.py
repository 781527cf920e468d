"""Where the corpora are for the tests that read them; nothing is downloaded for a test."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of `TINYGRAD_NLP_DATA`; the test is skipped where there is none."""
    folder = os.environ.get("TINYGRAD_NLP_DATA")
    if not folder:
        pytest.skip("TINYGRAD_NLP_DATA names no folder with the corpora")
    return Path(folder)
