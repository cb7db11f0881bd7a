"""Download a file and go on where an earlier try broke off (HTTP Range, RFC 9110)."""

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from mtcil.core.errors import UserError
from mtcil.core.files import write_text

ATTEMPTS = 5  # in a row without a byte more
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


@dataclass(frozen=True)
class _Validator:
    """What tells whether the server's file is still the one that a partial file belongs to."""

    url: str
    if_range: str  # strong ETag or Last-Modified
    n_bytes: int | None  # of the whole file


class Partial:
    """A half-finished download, with the validator of its content in a file beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._validator_file = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> _Validator | None:
        """The stored validator, if it is readable and of this URL."""
        try:
            stored = _Validator(**json.loads(self._validator_file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return stored if stored.url == url and self.size() else None

    def start_over(self, validator: _Validator | None) -> None:
        """Empty the file. Without a validator the next try cannot go on from this one."""
        self.remove()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        if validator is not None:
            write_text(self._validator_file, json.dumps(asdict(validator)) + "\n")

    def remove(self) -> None:
        self._validator_file.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def download(url: str, output: Path, partial: Partial) -> None:
    """Complete the partial file, then let `output` be it.

    The partial file stays: a run that is killed while the caller computes the checksum of
    `output` need not download again.

    Raises:
        UserError: a redirect to what is not https.
        NETWORK_ERRORS: some attempts in a row brought nothing more.
    """
    failures, most = 0, partial.size()
    while True:
        try:
            _receive(url, partial)
            break
        except NETWORK_ERRORS as error:
            failures = 0 if partial.size() > most else failures + 1
            most = max(most, partial.size())
            if failures >= ATTEMPTS or not _may_pass(error):
                raise
            time.sleep(BACKOFF_SECONDS * 2 ** max(0, failures - 1))
    output.unlink(missing_ok=True)
    try:
        os.link(partial.path, output)
    except OSError:  # another file system, or one without links
        shutil.copyfile(partial.path, output)


def _may_pass(error: Exception) -> bool:
    """Whether a later attempt may succeed: not after an answer such as 404."""
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def _receive(url: str, partial: Partial) -> None:
    """Ask for what is missing and append it; start over where the server has another file.

    Raises:
        requests.RequestException, urllib3.exceptions.HTTPError: it did not come whole.
    """
    known = partial.validator(url)
    if known and known.n_bytes == partial.size():
        return
    headers = {"Accept-Encoding": "identity"}
    if known:
        headers |= {"Range": f"bytes={partial.size()}-", "If-Range": known.if_range}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        check_url(response.url)  # after redirects
        if response.status_code in (206, 416) and not _goes_on(response, partial.size()):
            partial.remove()
            raise requests.ConnectionError("the server cannot go on from the partial file")
        response.raise_for_status()
        if response.status_code != 206:
            partial.start_over(_validator_of(url, response))
        _append(response, partial)
    known = partial.validator(url)
    if known and known.n_bytes not in (None, partial.size()):
        raise requests.ConnectionError(f"{partial.size()} of {known.n_bytes} bytes came")


def _goes_on(response: requests.Response, offset: int) -> bool:
    """Whether the answer is the rest from `offset` on, and nothing else."""
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")


def _validator_of(url: str, response: requests.Response) -> _Validator | None:
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else None  # If-Range takes no weak ones (RFC 9110)
    if_range = strong or response.headers.get("Last-Modified")
    return _Validator(url, if_range, _length(response)) if if_range else None


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _append(response: requests.Response, partial: Partial) -> None:
    """Write the body as it comes, undecoded: some servers call a .tar.gz gzip-encoded."""
    start, rest = partial.size(), _length(response)
    with (
        partial.path.open("ab") as file,
        tqdm(
            total=None if rest is None else start + rest,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=partial.path.stem,
            disable=None,  # silent where stderr is no terminal
        ) as bar,
    ):
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))
