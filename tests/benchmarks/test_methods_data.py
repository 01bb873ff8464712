"""Who is in which group, and which pairs and frames the study's data sets are made of."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from faceswap_hq import fakes, files
from faceswap_hq.render import Counts
from tests.faceswap_hq.clips import synthetic_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import methods_data

PEOPLE = ["p1", "p2", "p3", "p4", "p5"]


def test_groups_share_nobody():
    assert methods_data.groups_of(PEOPLE, None) == {"train": ["p1", "p2", "p3"], "test": ["p4", "p5"]}
    assert methods_data.groups_of(PEOPLE, ["p1,p5", "p2,p3"]) == {"train": ["p1", "p5"], "test": ["p2", "p3"]}
    for wrong in (["p1,p2", "p2,p3"], ["p1", "p2,p3"], ["p1,p2", "p3,p9"], ["p1,p1", "p2,p3"]):
        with pytest.raises(SystemExit):
            methods_data.groups_of(PEOPLE, wrong)


def options(**changes) -> Namespace:
    return Namespace(**{"pairs": None, "start": 2, "frames": 4} | changes)


@pytest.fixture
def cast(tmp_path) -> dict[str, Path]:
    return {name: synthetic_clip(tmp_path / f"{name}.mp4", count=count) for name, count in (("a", 10), ("b", 12))}


def test_pairs_of_a_target_have_frames_of_their_own(tmp_path, cast):
    assert [(p.source, p.target, p.frames) for p in methods_data.pairs_of(cast, options())] == [
        (cast["a"], cast["b"], (2, 6)), (cast["b"], cast["a"], (2, 6)),
    ]  # fmt: skip
    third = cast | {"c": synthetic_clip(tmp_path / "c.mp4", count=10)}
    frames = [(p.target.stem, p.frames) for p in methods_data.pairs_of(third, options())]
    assert sorted(frames) == [(name, stretch) for name in "abc" for stretch in ((2, 6), (6, 10))]


@pytest.mark.parametrize("changes", [{"frames": 9}, {"start": 7}])
def test_a_clip_too_short_for_its_pairs_stops_everything_and_is_named(cast, changes):
    with pytest.raises(SystemExit, match=r"a\.mp4 has 10 frames.* need 11"):
        methods_data.pairs_of(cast, options(**changes))


def test_what_is_too_short_for_all_pairs_may_do_for_fewer(tmp_path, cast):
    third = cast | {"c": synthetic_clip(tmp_path / "c.mp4", count=10)}
    with pytest.raises(SystemExit, match=r"c\.mp4 has 10 frames.* need 12"):
        methods_data.pairs_of(third, options(frames=5))
    assert len(methods_data.pairs_of(third, options(frames=5, pairs=3))) == 3


@dataclass(frozen=True, kw_only=True)
class Copy(fakes.Method):
    """A method whose fakes are the target's frames; ``how`` stands for weights and the like."""

    how: str = "first"

    def watch(self, video, advance):
        raise NotImplementedError

    def painter(self, plan):
        raise NotImplementedError

    def made_with(self):
        return {"method": "copy", "how": self.how}


def copied(video, swap, out):
    """A stand-in for rendering a pair: the files and the entry, with the facts that every method states."""
    name = fakes.identifier(video, swap.source, swap.target, swap.settings.frames, swap.joint)
    plan = SimpleNamespace(info=SimpleNamespace(path=video), start=0, stop=1)
    counts = Counts(frames=1, with_face=1, swapped=1, passed=0, people=1, damaged=0, seconds={})
    entry = {"id": name, **swap.facts(plan, counts, files.sha256_file(video)), "frames": list(swap.settings.frames)}
    entry["sha256"] = {}
    for kind in ("fake", "real"):
        entry[kind] = f"{kind}s/{name}.mp4"
        (out / entry[kind]).parent.mkdir(parents=True, exist_ok=True)
        (out / entry[kind]).write_bytes(video.read_bytes())
        (out / f"{entry[kind]}.credentials.json").write_text("{}")
        entry["sha256"][kind] = files.sha256_file(video)
    fakes.Manifest(out).put(entry)
    return name, counts


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the script with stand-ins for methods; returns the pairs that were rendered."""
    (tmp_path / "cast").mkdir()
    for name in ("a", "b", "c", "d"):
        synthetic_clip(tmp_path / "cast" / f"{name}.mp4", count=10)

    def run(*arguments, how="first"):
        done = []

        def opener(pair, settings):
            return Copy(settings=settings, source=pair.source.stem, target=pair.target.stem, how=how)

        def render(video, swap, out):
            done.append(f"{swap.source}{swap.target}")
            return copied(video, swap, out)

        monkeypatch.setattr(fakes, "render_pair", render)
        monkeypatch.setattr(methods_data, "openers", lambda *_: {"one": ("none", opener), "two": ("none", opener)})
        given = ["--cast", tmp_path / "cast", "--out", tmp_path / "out", *arguments]
        monkeypatch.setattr(sys, "argv", ["methods_data.py", *map(str, given)])
        methods_data.main()
        return done

    return run


def test_what_is_there_is_kept_and_what_was_made_otherwise_is_made_again(tmp_path, command):
    arguments = ("--methods", "one", "--frames", 4)
    assert command(*arguments) == ["ab", "ba", "cd", "dc"]
    assert command(*arguments) == []
    next((tmp_path / "out/one/fakes").glob("a*.mp4")).unlink()
    assert command(*arguments) == ["ab"]
    assert command(*arguments, how="second") == ["ab", "ba", "cd", "dc"]


def test_what_this_run_did_not_plan_is_gone_with_its_files(tmp_path, command, capsys):
    for frames in (4, 5):
        command("--methods", "one", "--frames", frames)
    assert "4 fakes" in capsys.readouterr().err
    out = tmp_path / "out/one"
    assert [entry["frames"] for entry in fakes.Manifest(out).read()] == [[0, 5]] * 4
    assert len([path for path in out.rglob("*") if path.is_file() and path.parent != out]) == 4 * 2 * 2


def test_methods_made_before_are_remembered_as_long_as_the_pairs_are_the_same(tmp_path, command):
    def methods():
        return json.loads((tmp_path / "out/groups.json").read_text())["methods"]

    command("--methods", "one", "--frames", 4)
    command("--methods", "two", "--frames", 4)
    assert methods() == ["one", "two"]
    command("--methods", "one", "--frames", 4)
    assert methods() == ["one", "two"]
    command("--methods", "two", "--frames", 5)
    assert methods() == ["two"]


def test_consent_stands_in_the_manifest_and_other_consent_is_another_fake(tmp_path, command):
    (tmp_path / "cast/consent.yaml").write_text("a: own footage\nb: virtual actor\nc: own footage\nd: own footage\n")
    assert len(command("--methods", "one", "--frames", 4)) == 4
    entry = fakes.Manifest(tmp_path / "out/one").read()[0]
    assert entry["source"] == {"person": "a", "consent": {"basis": "own footage"}}
    assert entry["target"]["consent"] == {"basis": "virtual actor"}
    assert command("--methods", "one", "--frames", 4) == []
    (tmp_path / "cast/consent.yaml").write_text("a: own footage\nb: own footage\nc: own footage\nd: own footage\n")
    assert command("--methods", "one", "--frames", 4) == ["ab", "ba"]
