"""Fetches one file: over https only, resumed where it stopped, hash-checked before it gets its name."""

import contextlib
import hashlib
import http.client
import os
import pathlib
import urllib.error
import urllib.request
from collections.abc import Sequence

import rich.console

from tofu_jax.errors import DataError
from tofu_jax.progress import Progress

TIMEOUT_S = 60.0  # without a byte
_STEP = 2**18  # bytes between two updates of the progress bar


def fetch(
    url: str,
    path: pathlib.Path,
    sha256: str | None = None,
    console: rich.console.Console | None = None,
    handlers: Sequence[urllib.request.BaseHandler] = (),
) -> str:
    """Downloads a file.

    What has arrived before an interruption stays in `<path>.partial`; the next call goes on from there.

    Args:
      url: https; whatever it redirects to must be https, too.
      path: of the file, which appears when it is whole. A file that is there already is taken if its hash is right.
      sha256: of the content; None takes what comes.
      console: for a progress bar; None shows nothing.
      handlers: in place of those by which urllib opens a connection.

    Returns:
      SHA-256 of the content.

    Raises:
      DataError: no connection, no such file, a redirect to anything but https, or another content than `sha256` says.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        try:
            _download(url, partial, console, handlers)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            code = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
            raise DataError(f"{url}: cannot be downloaded to {path} ({code}{reason or type(error).__name__}).") from error
        _require_hash(url, partial, sha256)
        os.replace(partial, path)
    return _require_hash(url, path, sha256)


def _download(
    url: str, partial: pathlib.Path, console: rich.console.Console | None, handlers: Sequence[urllib.request.BaseHandler]
) -> None:
    """Appends to `partial` until it is whole."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(_require_https(url), headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.build_opener(_HttpsRedirects, *handlers).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        partial.unlink()  # There is nothing behind what has arrived; what it is, is not known.
        return _download(url, partial, console, handlers)
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # The server cannot resume and sends everything.
        elif not (response.headers["Content-Range"] or "").startswith(f"bytes {have}-"):
            raise OSError(f"asked for bytes from {have} on, got {response.headers['Content-Range']}")
        length = response.headers["Content-Length"]
        total = have + int(length) if length else None
        shown = console and total and Progress(url.rsplit("/", 1)[-1], total, console, have)
        with partial.open("ab" if have else "wb") as file, shown or contextlib.nullcontext():
            while block := response.read(_STEP):
                file.write(block)
                if shown:
                    shown.update(file.tell(), "bytes")
            if total is not None and file.tell() != total:
                raise OSError(f"{file.tell():,} of {total:,} bytes arrived; the same command goes on from there")


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return super().redirect_request(req, fp, code, msg, headers, _require_https(newurl))


def _require_https(url: str) -> str:
    if not url.startswith("https://"):
        raise DataError(f"{url}: not https; nothing is downloaded over a connection that anyone can change.")
    return url


def _require_hash(url: str, path: pathlib.Path, sha256: str | None) -> str:
    """Returns the file's SHA-256; a file of another one is removed."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in (None, found):
        path.unlink()
        raise DataError(f"{url}: SHA-256 is {found}, expected {sha256}; the file at {path} was removed, try again.")
    return found
