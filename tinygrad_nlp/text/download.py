"""Files from the network: written aside, checked to the last bit, then renamed, so that what is there is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib import error as failures
from urllib import request

from nlp_kernels.errors import UserError

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 2  # of a download that is cut
CHUNK = 1 << 16

Advance = Callable[[int], Any]  # told how many bytes came


@dataclass(frozen=True)
class Source:
    """A file: where it lies below a folder, its bytes, its SHA-256, and the address it comes from."""

    path: str
    size: int
    sha256: str
    url: str


class _CutError(Exception):
    """A body that ended early."""


def download(files: Sequence[Source], folder: Path, title: str, *, quiet: bool = False) -> None:
    """Get each file into the folder; one that fails leaves nothing behind, those before it stay.

    Redirects are followed, a download that is cut is tried once more. `UserError` says what failed: an address that is
    not http or https, no network, the server's refusal, a wrong length or SHA-256, a folder that cannot be written.
    """
    with _bar(title, sum(file.size for file in files), quiet or not files) as advance:
        for file in files:
            _get(file, folder / file.path, advance)


def _get(file: Source, path: Path, advance: Advance) -> None:
    if not file.url.startswith(("http://", "https://")):
        raise UserError(f"cannot download {file.url}: only http and https addresses are taken")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _aside(path) as part:
                _copy(file, part, advance)
            return
        except failures.HTTPError as error:
            error.close()
            raise UserError(f"cannot download {file.url}: the server says {error.code} {error.reason}") from error
        except failures.URLError as error:
            why = getattr(error.reason, "strerror", None) or error.reason
            raise UserError(
                f"cannot download {file.url} ({why}); try again with a network, or put the file at {path}"
            ) from error
        except (_CutError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            if attempt == ATTEMPTS:
                raise UserError(f"the download of {file.url} was cut {ATTEMPTS} times ({error}); try again") from error
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _copy(file: Source, part: IO[bytes], advance: Advance) -> None:
    """The body, to the file's length and not a byte further, into `part`."""
    digest, came = hashlib.sha256(), 0
    with _opener().open(file.url, timeout=TIMEOUT) as response:
        try:
            while came <= file.size and (block := response.read(CHUNK)):
                part.write(block)
                digest.update(block)
                came += len(block)
                advance(len(block))
            if came <= file.size and response.length:  # what it promised and did not send
                raise _CutError(f"{came:,} of {came + response.length:,} bytes came")
        except BaseException:
            advance(-came)  # it may be tried again
            raise
    if digest.hexdigest() != file.sha256:
        more = "more than " if came > file.size else ""
        raise UserError(
            f"{file.url} is not the file it was: {more}{min(came, file.size):,} bytes of SHA-256 "
            f"{digest.hexdigest()[:12]}… came, {file.size:,} of {file.sha256[:12]}… were expected; nothing was kept"
        )


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file beside the path that takes its name when the block is done, and goes when it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as part:
            yield part
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _opener() -> request.OpenerDirector:
    """http and https alone: no redirect leads to a local file or elsewhere."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "tinygrad-nlp")]
    return opener


@contextlib.contextmanager
def _bar(title: str, size: int, quiet: bool) -> Iterator[Advance]:
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("[bold]{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task(title, total=size)
        yield lambda n: progress.advance(task, n)
