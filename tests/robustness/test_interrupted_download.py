"""Downloads go on where they broke off, are checked, and explain what went wrong."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_server import CONTENT, Server, break_off

from mtcil.audio import download, provide
from mtcil.audio.provide import fetch, provide_archive
from mtcil.audio.source import Source
from mtcil.core.errors import UserError


@pytest.fixture
def one_attempt(monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)


def fetched(server: Server, tmp_path, **source: object) -> bytes:
    archive = fetch(server.source(**source), tmp_path / "out", tmp_path / "partial")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["data.tar.gz"]
    assert list((tmp_path / "partial").iterdir()) == []
    return archive.read_bytes()


def test_an_archive_is_downloaded_whole_and_silently(server, tmp_path, capsys):
    assert fetched(server, tmp_path) == CONTENT
    assert "Range" not in server.requests[0]
    assert "%" not in capsys.readouterr().err


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_a_later_run_asks_only_for_the_rest(server, tmp_path, validator):
    if validator == "modified":
        server.etag, server.modified = 'W/"weak"', "Sun, 01 Jan 2023 00:00:00 GMT"
    break_off(server, tmp_path, 300_000)
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.requests) == 2
    assert server.requests[1]["Range"] == "bytes=300000-"
    assert server.requests[1]["If-Range"] == getattr(server, validator)


def test_a_download_resumes_by_itself_while_bytes_arrive(server, tmp_path, one_attempt):
    server.break_after = [100_000, 100_000, 100_000]
    assert fetched(server, tmp_path) == CONTENT
    ranges = [asked.get("Range") for asked in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_file_that_changed_on_the_server_is_downloaded_afresh(server, tmp_path):
    break_off(server, tmp_path, 300_000)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert fetched(server, tmp_path, content=CONTENT[::-1]) == CONTENT[::-1]
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_server_without_ranges_sends_the_whole_again(server, tmp_path):
    break_off(server, tmp_path, 300_000)
    server.takes_ranges = False
    assert fetched(server, tmp_path) == CONTENT


def test_without_a_validator_nothing_is_resumed(server, tmp_path):
    server.etag = None
    break_off(server, tmp_path, 300_000)
    assert fetched(server, tmp_path) == CONTENT
    assert "Range" not in server.requests[1]


def test_a_server_that_always_breaks_off_ends_in_an_error(server, tmp_path):
    server.takes_ranges, server.break_after = False, [300_000] * 100
    with pytest.raises(UserError, match="The part that has arrived is kept"):
        fetch(server.source(), tmp_path / "out", tmp_path / "partial")
    assert len(server.requests) <= download.ATTEMPTS + 1


def test_a_partial_file_that_is_too_long_is_dropped(server, tmp_path):
    break_off(server, tmp_path, 300_000)
    with (tmp_path / "partial" / "data.tar.gz.part").open("ab") as partial:
        partial.write(bytes(500_000))
    assert fetched(server, tmp_path) == CONTENT


def test_a_download_killed_before_its_check_is_not_repeated(server, tmp_path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(provide, "_checksum", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.source(), tmp_path / "out", tmp_path / "partial")
    monkeypatch.undo()
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.requests) == 2
    assert server.requests[1]["Range"] == f"bytes={len(CONTENT)}-"  # of which there are none


def test_a_checked_download_is_not_repeated(server, tmp_path):
    assert fetched(server, tmp_path) == fetched(server, tmp_path) == CONTENT
    assert len(server.requests) == 1


def test_an_archive_on_another_file_system_appears_whole(server, tmp_path, monkeypatch):
    replace = Path.replace

    def refuse_to_leave(self, target):
        if self.parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_to_leave)
    assert fetched(server, tmp_path) == CONTENT


def test_a_wrong_checksum_is_reported_and_the_next_try_starts_from_the_beginning(server, tmp_path):
    server.content = CONTENT[:-1] + b"!"
    expected, got = server.source().checksum, server.source(server.content).checksum
    says = rf"checksum is {got}, but {expected} was expected.*MTCIL_SOURCE_"
    with pytest.raises(UserError, match=says):
        fetch(server.source(), tmp_path / "out", tmp_path / "partial")
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "partial").iterdir()) == []
    server.content = CONTENT
    assert fetched(server, tmp_path) == CONTENT
    assert "Range" not in server.requests[1]


def test_a_busy_server_is_retried(server, tmp_path):
    server.statuses = [503, 429]
    assert fetched(server, tmp_path) == CONTENT


def test_a_missing_file_is_reported_at_once(server, tmp_path):
    with pytest.raises(UserError, match="404"):
        fetch(server.source(path="gone"), tmp_path / "out", tmp_path / "partial")
    assert len(server.requests) == 1


def test_a_body_is_stored_as_sent_whatever_encoding_the_server_calls_it(server, tmp_path):
    server.encoding = "x-gzip"
    assert fetched(server, tmp_path) == CONTENT


def test_without_a_network_the_error_names_the_way_out(server, tmp_path):
    source = server.source()
    server.server_close()
    with pytest.raises(UserError, match=r"Cannot download.*set MTCIL_SOURCE_GSC to its absolute"):
        fetch(source, tmp_path / "out", tmp_path / "partial", "MTCIL_SOURCE_GSC")


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_only_https_is_accepted(server, tmp_path, url):
    with pytest.raises(UserError, match="is not https"):
        fetch(Source(url, "a", None, "md5:0", "", ""), tmp_path / "out", tmp_path / "partial")


def test_downloaded_archives_are_called_official(server, tmp_path):
    settings = SimpleNamespace(kind="any", classes=("dog",), exclude=())
    dataset = SimpleNamespace(SOURCE=server.source(), CLASSES=("dog", "cat"))
    places = (tmp_path / "out", tmp_path / "partial")
    facts = provide_archive("gsc", settings, dataset, *places, None, print)
    assert facts["official"] is True
    assert (facts["origin"], facts["file"]) == ("official URL", "data.tar.gz")
    assert (facts["url"], facts["licence"]) == (server.source().url, "free")
    assert facts["sha256"] == hashlib.sha256(CONTENT).hexdigest()
