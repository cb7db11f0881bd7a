"""Download a file; a later try resumes where an earlier one broke off (HTTP Range, RFC 9110)."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.core.progress import progress

ATTEMPTS = 5  # in a row that bring nothing new
BACKOFF_SECONDS = 1.0  # before the second attempt; doubles with each
TIMEOUT_SECONDS = (10, 60)  # to connect; between two pieces
CHUNK_BYTES = 256 * 1024
LOOPBACK = ("127.0.0.1", "::1", "localhost")
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)


def check_url(url: str) -> None:
    """Raise UserError unless it is https, or http to this machine (for tests)."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise UserError(f"{url} is not https. Correct SOURCE in the dataset's file.")


def download(url: str, partial: Path) -> None:
    """Download to `partial`; if it has the beginning already, download only the rest.

    The validator (ETag or Last-Modified) of the server's file is stored beside it. If it has
    changed, or the server cannot send a part, the file is downloaded from its beginning.

    Raises:
        UserError: a redirect to something other than https.
        NETWORK_ERRORS: an answer such as 404, or several attempts that brought nothing new.
    """
    failures, most = 0, size(partial)
    while True:
        try:
            return _receive(url, partial)
        except NETWORK_ERRORS as error:
            failures = 0 if size(partial) > most else failures + 1
            most = max(most, size(partial))
            if failures >= ATTEMPTS or not _is_temporary(error):
                raise
            time.sleep(BACKOFF_SECONDS * 2 ** max(0, failures - 1))


def size(partial: Path) -> int:
    """How many bytes have come."""
    return partial.stat().st_size if partial.exists() else 0


def remove(partial: Path) -> None:
    """Remove a download and its validator, the validator first: without it nothing is resumed."""
    _validator_of(partial).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


def _validator_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.validator")


def _is_temporary(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def _receive(url: str, partial: Path) -> None:
    """One request for what is missing, appended to `partial` as it comes."""
    headers, n_bytes, validator = {"Accept-Encoding": "identity"}, size(partial), ""
    if n_bytes and _validator_of(partial).exists():
        validator = _validator_of(partial).read_text("utf-8")
        headers |= {"Range": f"bytes={n_bytes}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        check_url(response.url)  # after redirects
        sent = response.headers.get("Content-Range", "")
        if response.status_code == 416 and validator and sent == f"bytes */{n_bytes}":
            return  # it is complete
        if response.status_code == 416 or (
            response.status_code == 206 and not sent.startswith(f"bytes {n_bytes}-")
        ):
            remove(partial)
            raise requests.ConnectionError("the server cannot continue the partial file")
        response.raise_for_status()
        if response.status_code != 206:
            _start_over(partial, response)
        _append(partial, response)


def _start_over(partial: Path, response: requests.Response) -> None:
    remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else ""  # If-Range takes no weak ones (RFC 9110)
    if validator := strong or response.headers.get("Last-Modified"):
        write_text(_validator_of(partial), validator)


def _append(partial: Path, response: requests.Response) -> None:
    """Write the body as sent, undecoded: some servers call a .tar.gz gzip-encoded.

    Raises:
        urllib3.exceptions.HTTPError: it is shorter than the server stated.
    """
    start, length = size(partial), response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    bar = progress(total=total, initial=start, unit="B", unit_scale=True, desc=partial.stem)
    with partial.open("ab") as file, bar:
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))
