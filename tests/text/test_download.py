"""Downloads from a server of our own: what arrives is the right file or nothing, and each failure has its sentence."""

import re
import socket
import sys

import pytest
from nlp_kernels.errors import UserError
from serving import BODY, serving, source

from tinygrad_nlp.text import download
from tinygrad_nlp.text.download import ATTEMPTS


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server():
    with serving() as address_and_log:
        yield address_and_log


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def refused(url, folder):
    """The sentence of a refusal, after which nothing is there."""
    with pytest.raises(UserError) as refusal:
        download.download([source(url)], folder, "test")
    assert files_in(folder) == []
    return str(refusal.value)


@pytest.mark.parametrize("what", ["good", "moved", "cut-once"])
def test_the_right_file_arrives(server, tmp_path, what):
    address, asked = server
    download.download([source(f"{address}/{what}"), source(f"{address}/good", "other.bin")], tmp_path, "test")
    assert (tmp_path / "folder" / "file.bin").read_bytes() == BODY
    assert sorted(p.name for p in files_in(tmp_path)) == ["file.bin", "other.bin"]
    assert asked == {"good": ["good"], "moved": ["moved", "good"], "cut-once": ["cut-once"] * 2}[what] + ["good"]


@pytest.mark.parametrize(
    ("what", "sentence", "times"),
    [
        ("cut", rf"the download of .*/cut was cut {ATTEMPTS} times \(100,000 of {len(BODY):,} bytes came\)", ATTEMPTS),
        ("wrong", r"/wrong is not the file it was: 179,200 bytes of SHA-256 \w{12}… came, 179,200 of", 1),
        ("short", r"/short is not the file it was: 179,199 bytes", 1),
        ("long", r"/long is not the file it was: more than 179,200 bytes", 1),
        ("absent", r"cannot download .*/absent: the server says 404 Not Found", 1),
        ("to-file", r"cannot download .*/to-file: the server says 302 .*not allowed", 1),
        ("to-ftp", r"cannot download .*/to-ftp \(unknown url type: ftp\)", 1),
        ("circle", r"cannot download .*/circle: the server says 302", None),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(server, tmp_path, what, sentence, times):
    address, asked = server
    assert re.search(sentence, refused(f"{address}/{what}", tmp_path))
    assert times in (None, len(asked))


def test_a_server_that_falls_silent_is_not_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    assert "/stall was cut 2 times (timed out)" in refused(f"{server[0]}/stall", tmp_path)


def test_a_body_without_end_is_not_read_on(server, tmp_path):
    address, asked = server
    assert "/endless is not the file it was: more than 179,200 bytes" in refused(f"{address}/endless", tmp_path)
    assert len(asked) < 200  # some megabytes lie in buffers


def test_no_network_names_the_address_and_where_the_file_may_be_put(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/good"
        sentence = refused(url, tmp_path)
    assert f"cannot download {url} (Connection refused)" in sentence
    assert str(tmp_path / "folder" / "file.bin") in sentence


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/x", "/etc/hostname"])
def test_only_http_addresses_are_taken(tmp_path, url):
    assert refused(url, tmp_path) == f"cannot download {url}: only http and https addresses are taken"


def test_an_old_file_stays_until_the_new_one_is_whole(server, tmp_path):
    address, _ = server
    path = tmp_path / "folder" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(UserError):
        download.download([source(f"{address}/cut")], tmp_path, "test")
    assert files_in(tmp_path) == [path]
    assert path.read_bytes() == b"old"
    download.download([source(f"{address}/good")], tmp_path, "test")
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing_behind(server, tmp_path, monkeypatch, error):
    address, _ = server
    seen = []

    def replace(part, path):
        seen.append(len(files_in(tmp_path)))
        raise error

    monkeypatch.setattr(download.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else UserError) as stopped:
        download.download([source(f"{address}/good")], tmp_path, "test")
    assert seen == [1]
    assert files_in(tmp_path) == []
    assert error is KeyboardInterrupt or "file.bin: No space left on device" in str(stopped.value)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "folder").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*folder/file\.bin: "):
        download.download([source(f"{server[0]}/good")], tmp_path, "test")


def test_a_bar_shows_on_a_terminal_only_and_counts_every_byte_once(server, tmp_path, monkeypatch, capsys):
    file = source(f"{server[0]}/cut-once")
    counted = []
    download._get(file, tmp_path / "again" / "file.bin", counted.append)
    assert sum(counted) == file.size < sum(n for n in counted if n > 0)
    download.download([file], tmp_path / "log", "test")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    download.download([file], tmp_path / "quiet", "test", quiet=True)
    assert capsys.readouterr().err == ""
    download.download([file], tmp_path / "terminal", "some corpus")
    assert "some corpus" in capsys.readouterr().err
