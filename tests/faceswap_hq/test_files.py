"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faceswap_hq import files
from faceswap_hq.errors import UserError
from tests.faceswap_hq.helpers import leftovers


class TestAtomicPath:
    def test_appears_at_the_end(self, tmp_path):
        target = tmp_path / "deep" / "down" / "x.json"
        with files.atomic_path(target) as path:
            assert path.parent == target.parent
            assert path.name.startswith(".")
            assert path.suffix == ".json"
            path.write_text("new")
            assert not target.exists()
        assert target.read_text() == "new"
        assert not leftovers(tmp_path)

    @pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
    def test_an_interruption_leaves_the_old(self, tmp_path, failure):
        target = tmp_path / "x.json"
        target.write_text("old")

        def write() -> None:
            with files.atomic_path(target) as path:
                path.write_text("half")
                raise failure

        with pytest.raises(type(failure)):
            write()
        assert target.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["x.json"]

    @pytest.mark.parametrize("writing", [files.atomic_path, files.scratch_beside])
    def test_a_full_disk_is_said_of_the_target(self, tmp_path, writing):
        with pytest.raises(OSError, match="full") as caught, writing(tmp_path / "x.json") as path:
            raise OSError(errno.ENOSPC, "full", str(path))
        assert caught.value.filename == str(tmp_path / "x.json")

    def test_rights_are_those_of_a_plain_file(self, tmp_path):
        before = os.umask(0o027)
        try:
            files.write_bytes(tmp_path / "x", b"1")
            assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
            assert files.umask() == 0o027
        finally:
            os.umask(before)

    def test_long_and_odd_names(self, tmp_path):
        for name in ("n" * 240 + ".json", "a b%d*?.txt", "汉字.yaml", ".hidden", "no suffix", "-x.json"):
            files.write_bytes(tmp_path / name, b"1")
            assert (tmp_path / name).read_bytes() == b"1"
        assert not leftovers(tmp_path)

    def test_writers_at_the_same_time(self, tmp_path):
        """The last one wins, and what stands there is always one of them, whole."""
        blocks = [bytes([i]) * 300_000 for i in range(6)]
        threads = [threading.Thread(target=files.write_bytes, args=(tmp_path / "x", block)) for block in blocks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (tmp_path / "x").read_bytes() in blocks
        assert not leftovers(tmp_path)


class TestJsonAndYaml:
    VALUE = {"b": 1, "a": [1.5, None, True, "äöü"], "c": {"d": -1}}

    def test_round_trip_in_order(self, tmp_path):
        files.write_json(tmp_path / "x.json", self.VALUE)
        files.write_yaml(tmp_path / "x.yaml", self.VALUE)
        assert files.read_json(tmp_path / "x.json") == files.read_yaml(tmp_path / "x.yaml") == self.VALUE
        assert list(files.read_yaml(str(tmp_path / "x.yaml"))) == ["b", "a", "c"]
        assert "äöü" in (tmp_path / "x.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize("value", [float("nan"), {"x": [float("inf")]}, {"x": Path("y")}])
    def test_what_json_has_not(self, tmp_path, value):
        with pytest.raises((ValueError, TypeError)):
            files.write_json(tmp_path / "x.json", value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1,}', b"\xff\xfe\x00", b"[" * 100_000])
    def test_damaged_json(self, tmp_path, content):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.json cannot be read as JSON"):
            files.read_json(tmp_path / "x.json")

    @pytest.mark.parametrize(
        "content", [b"a: [", b"\xff\xfe\x00", b"a: b: c", b"!!python/name:os.system x", b"[" * 1000]
    )
    def test_damaged_yaml(self, tmp_path, content):
        (tmp_path / "x.yaml").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.yaml cannot be read as YAML") as caught:
            files.read_yaml(tmp_path / "x.yaml")
        assert "\n" not in str(caught.value)

    def test_missing_or_a_folder(self, tmp_path):
        for read in (files.read_json, files.read_yaml):
            with pytest.raises(UserError, match="missing is missing"):
                read(tmp_path / "missing")
            with pytest.raises(UserError, match="cannot be read"):
                read(tmp_path)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_scratch_is_beside_and_removed(tmp_path):
    target = tmp_path / "out" / "fake.mp4"

    def write() -> None:
        with files.scratch_beside(target) as scratch:
            assert scratch.parent == target.parent
            assert scratch.name.startswith(".fake.")
            (scratch / "half.mp4").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Of the same target, when nobody holds it any more; another target's, a living one's and a new one's stay."""
    names = [".fake.dead.part", ".fake.young.part", ".other.dead.part", ".fake.x.part.mp4"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "unsigned.mp4").write_bytes(b"half")
        if "young" not in name:
            os.utime(tmp_path / name, (1, 1))
    with files.scratch_beside(tmp_path / "fake.mp4") as living:
        os.utime(living, (1, 1))
        with files.scratch_beside(tmp_path / "fake.mp4"):
            assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


COUNTER = """
import sys; from pathlib import Path; from faceswap_hq import files
path = Path(sys.argv[1])
for _ in range(40):
    with files.lock_beside(path):
        files.write_json(path, files.read_json(path) + 1)
"""


class TestLock:
    def test_processes_take_turns(self, tmp_path):
        path = tmp_path / "count.json"
        path.write_text("0")
        workers = [
            subprocess.Popen([sys.executable, "-c", COUNTER, str(path)], cwd=Path(__file__).parents[2])
            for _ in range(3)
        ]
        assert [worker.wait() for worker in workers] == [0, 0, 0]
        assert json.loads(path.read_text()) == 120

    def test_without_waiting(self, tmp_path):
        with files.lock_beside(tmp_path / "run"):
            with pytest.raises(UserError, match="run is in use"), files.lock_beside(tmp_path / "run", wait=False):
                raise AssertionError
            with files.lock_beside(tmp_path / "other", wait=False):
                pass
        with files.lock_beside(tmp_path / "run", wait=False):
            pass

    def test_the_current_folder(self, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        with files.lock_beside("."), pytest.raises(UserError), files.lock_beside(tmp_path / "here", wait=False):
            raise AssertionError


class TestLinks:
    @pytest.mark.parametrize("linking", [True, False])
    def test_the_same_file_or_a_copy_where_there_can_be_no_link(self, tmp_path, monkeypatch, linking):
        def refuse(*_):
            raise OSError(errno.EXDEV, "another disk")

        if not linking:
            monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "a").write_bytes(b"new")
        (tmp_path / "b").write_bytes(b"old content")
        files.put_link(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"new"
        assert (tmp_path / "a").samefile(tmp_path / "b") == linking
        before = (tmp_path / "b").stat()
        files.put_link(tmp_path / "a", tmp_path / "b")  # nothing to do
        assert (tmp_path / "b").stat().st_ino == before.st_ino
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    def test_a_full_disk_is_not_taken_for_one_without_links(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "link", full)
        (tmp_path / "a").write_bytes(b"new")
        (tmp_path / "b").write_bytes(b"old content")
        with pytest.raises(OSError, match="full"):
            files.put_link(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"old content"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
