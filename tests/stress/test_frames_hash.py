from __future__ import annotations

import hashlib
import os

import pytest

from faceswap_hq.errors import UserError
from stress.data import frames
from stress.data.frames import content_hash, file_hash
from tests.stress.synthetic import clip


@pytest.fixture
def reads(monkeypatch):
    """The files that were read for their hash."""
    found, whole = [], frames.sha256_file

    def counted(path):
        found.append(path.name)
        return whole(path)

    frames.hash_of_state.cache_clear()
    monkeypatch.setattr(frames, "sha256_file", counted)
    return found


def test_a_file_is_read_once_for_its_hash_and_again_when_it_was_changed(reads, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    for _ in range(3):
        assert file_hash(path) == content_hash(clip("a", 0, ("p",), path)) == hashlib.sha256(b"one").hexdigest()
    assert reads == ["a.mp4"]
    path.write_bytes(b"more")  # another size
    assert file_hash(path) == hashlib.sha256(b"more").hexdigest()
    before = path.stat()
    path.write_bytes(b"less")  # the same size, at another time
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file_hash(path) == hashlib.sha256(b"less").hexdigest()
    assert len(reads) == 3


def test_another_file_put_in_its_place_has_its_own_hash_though_size_and_time_are_the_same(reads, tmp_path):
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    for each in (path, other):
        os.utime(each, ns=(10**18, 10**18))
    assert file_hash(path) == hashlib.sha256(b"one").hexdigest()
    other.replace(path)
    assert file_hash(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_is_gone_has_no_hash_whatever_was_known_of_it(reads, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    file_hash(path)
    path.unlink()
    with pytest.raises(UserError, match="missing"):
        file_hash(path)
