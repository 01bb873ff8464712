"""Pictures that a training leaves say who may be in them and on what basis, and are signed by whom the user wants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from faceswap_hq.provenance import load_key, verify
from stress.detectors.zoo import default_card
from stress.pictures import save_picture, stated_people
from tests.faceswap_hq.test_provenance_keys import make_key
from tests.stress.synthetic import clip

OWN, DRAWN = {"basis": "own footage"}, {"basis": "virtual actor"}
PAPER = {"basis": "written consent", "date": "2024-05-01"}


def manifest(folder: Path, *pairs: tuple[dict, dict]) -> Path:
    folder.mkdir()
    entries = [{"source": source, "target": target} for source, target in pairs]
    content = {"format": "faceswap-hq manifest", "version": 1, "entries": entries}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def test_everybody_is_named_with_the_consent_that_manifests_state(tmp_path):
    a, b, c = {"person": "a", "consent": OWN}, {"person": "b", "consent": PAPER}, {"person": "c"}
    one = manifest(tmp_path / "one", (a, b | {"clip": "b.mp4"}), (b, a), (c, a))
    other = manifest(tmp_path / "other", (a | {"consent": DRAWN}, b), ({"person": "z", "consent": OWN}, b))
    (tmp_path / "bare").mkdir()
    clips = [clip("b", 1, ("a", "b")), clip("c", 0, ("c",)), clip("d", 0, ("d",))]
    assert stated_people(clips, [one, one, tmp_path / "bare"]) == [a, b, c, {"person": "d"}]
    assert stated_people(clips[:1], [one, other]) == [a, a | {"consent": DRAWN}, b]  # what differs is all said
    assert stated_people(clips[:1], []) == [{"person": "a"}, {"person": "b"}]


def test_people_and_consent_are_in_the_credentials_and_the_key_is_the_users(tmp_path):
    people = [{"person": "a", "consent": OWN}, {"person": "b"}]
    (tmp_path / "lab").mkdir()
    key = load_key(*make_key(tmp_path / "lab", ed25519.Ed25519PrivateKey.generate()))
    target = tmp_path / "d.blurred.png"
    picture = np.full((20, 30, 3), 90, np.uint8)
    assert save_picture(picture, target, default_card("small_cnn"), people=people, key=key) == target
    found = verify(target)
    assert (found.state, found.signer) == ("valid", key.name)
    assert found.facts["facts"]["people"] == people
    beside = json.loads(target.with_name("d.blurred.png.credentials.json").read_text())
    assert beside["facts"]["people"] == people


@pytest.mark.parametrize("people", [(), [{"person": "a"}]])
def test_without_a_key_the_users_own_signs(tmp_path, people):
    target = save_picture(np.zeros((16, 16, 3), np.uint8), tmp_path / "d.png", default_card("small_cnn"), people=people)
    assert verify(target).facts["facts"]["people"] == list(people)
