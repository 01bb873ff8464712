"""The seam test's own parts: strips lie where they should, AUC is what scikit-learn says, people are kept apart."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blending import ComposeResult
from tests.faceswap_hq.helpers import face_at

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import flicker
import ring_classifiers
import rings
import seam
import swap_material


def disc(radius=50.0, center=(90.0, 80.0), box=(20, 10, 160, 150), size=(180, 170)):
    """A result whose alpha is a disc with an edge a pixel wide, and every pixel's distance from the center."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    away = np.hypot(x - center[0], y - center[1])
    alpha = np.clip(radius + 0.5 - away, 0, 1)[box[1] : box[3], box[0] : box[2]]
    return ComposeResult(np.zeros((*size, 3), np.uint8), alpha.astype(np.float32), box), away


def test_rows_of_a_strip_lie_at_the_same_distance_from_the_boundary_inside_first():
    result, away = disc()
    where = rings.places(result)
    distance = np.hypot(where[..., 0] - 90, where[..., 1] - 80)
    size = 50 * np.sqrt(np.pi)
    expected = 50 + ((np.arange(rings.ACROSS) + 0.5) / rings.ACROSS * 2 - 1) * rings.REACH * size
    assert np.abs(distance - expected[:, None]).max() < 0.5
    # begins at the top and runs clockwise
    assert where[0, 0, 1] < 80 - 35
    assert where[0, rings.ALONG // 4, 0] > 90 + 35


def test_a_strip_is_read_from_the_picture():
    result, away = disc()
    image = np.repeat(np.clip(away * 2, 0, 255).astype(np.uint8)[..., None], 3, 2)
    strip = rings.strip(image, rings.places(result))
    rows = (np.arange(rings.ACROSS) + 0.5) / rings.ACROSS * 2 - 1
    level = (50 + rows * rings.REACH * 50 * np.sqrt(np.pi)) * 2 / 255
    assert np.abs(strip[0] - level[:, None]).max() < 0.02
    assert np.abs(strip[1:3] - 128 / 255).max() < 0.01


def test_no_face_no_strip():
    result, _ = disc()
    assert rings.places(ComposeResult(result.image, np.zeros_like(result.alpha), result.box)) is None


@pytest.mark.parametrize(
    ("group", "spoil"),
    [
        ("color", lambda inside, image, rng: image + 6 * inside),
        ("noise", lambda inside, image, rng: image + 4 * inside * rng.standard_normal(image.shape)),
        ("sharpness", lambda inside, image, rng: np.where(inside > 0, cv2.GaussianBlur(image, (0, 0), 1.5), image)),
    ],
)
def test_each_group_of_numbers_sees_what_it_is_for(group, spoil):
    result, away = disc()
    rng = np.random.default_rng(0)
    numbers, labels = [], []
    inside = (away < 50)[..., None].astype(float)
    where = rings.places(result)
    for _ in range(24):
        image = cv2.GaussianBlur(rng.standard_normal((180, 170, 3)), (0, 0), 1.0) * 15 + rng.uniform(90, 140)
        image = image + rng.standard_normal(image.shape)
        for label, picture in ((1, spoil(inside, image, rng)), (0, image)):
            numbers.append(rings.features(rings.strip(np.clip(picture, 0, 255).astype(np.uint8), where))[group])
            labels.append(label)
    x, y = np.array(numbers), np.array(labels)
    assert roc_auc_score(y[24:], ring_classifiers.linear(x[:24], y[:24], x[24:])) > 0.9


def makers(pairs):
    nothing = np.zeros((0, 1, 1), np.uint8)
    return [
        swap_material.Faces(source=a, target=b, kind=k, faces=nothing, masks=nothing, matrices=np.zeros((0, 2, 3)))
        for a, b, k in pairs
    ]


def test_auc_agrees_with_scikit_learn_within_groups_and_weights():
    rng = np.random.default_rng(1)
    made = makers([("a", "b", "x"), ("b", "a", "y"), ("c", "c", "x"), ("d", "c", "x")])
    fold = {"a": 0, "b": 0, "c": 1, "d": 1}
    clip = np.repeat(np.arange(4), 10)
    data = seam.Rings(strips=np.zeros(40), numbers=np.zeros(40), groups={}, clip=clip)
    score = np.round(rng.normal(data.labels, 1.5), 1)
    table = seam._wins(score, data, made, fold)
    weights = rng.integers(0, 3, (5, 8)).astype(float)
    found = seam._auc(table, [0, 1, 2, 3], weights)
    for row, value in zip(weights, found, strict=True):
        top = total = 0.0
        for here in (clip < 2, clip >= 2):
            w = row[2 * clip + 1 - data.labels][here]
            y = data.labels[here]
            pairs = w[y == 1].sum() * w[y == 0].sum()
            if pairs:
                top += pairs * roc_auc_score(y, score[here], sample_weight=w)
                total += pairs
        assert value == pytest.approx(top / total) if total else np.isnan(value)
    assert np.isnan(seam._auc(table, [1], np.zeros((1, 8)))).all()


def test_linked_people_share_a_group_and_groups_are_even():
    names = [f"p{k}" for k in range(10)]
    fold = seam.folds_of(names, [("p0", "p9"), ("p9", "p4"), ("p1", "p2")])
    assert fold["p0"] == fold["p9"] == fold["p4"]
    assert fold["p1"] == fold["p2"]
    assert sorted(np.bincount(list(fold.values()))) == [2, 2, 3, 3]
    # actors: person k and person k + FOLDS are drawn onto each other
    names = [f"a{k}" for k in range(12)]
    fold = seam.folds_of(names, [(names[(k + 4) % 12], name) for k, name in enumerate(names)])
    assert all(sum(value == place for value in fold.values()) == 3 for place in range(4))


def test_no_person_is_both_trained_on_and_tested():
    made = makers([("a", "b", "x"), ("b", "a", "x"), ("c", "d", "x"), ("d", "c", "x")])
    fold = {"a": 0, "b": 0, "c": 1, "d": 1}
    data = seam.Rings(strips=np.zeros(16), numbers=np.zeros(16), groups={}, clip=np.repeat(np.arange(4), 4))

    def classify(train, held):
        seen, asked = ({made[c].target for c in data.clip[rows]} for rows in (train, held))
        seen |= {made[c].source for c in data.clip[train]}
        assert not seen & asked
        return np.ones(len(held))

    assert seam.scores(data, made, fold, classify).all()


def test_a_bend_maps_its_points_and_leaves_a_still_face_alone():
    rng = np.random.default_rng(2)
    place = rng.uniform(20, 100, (30, 2))
    still = swap_material.bend(place, place, 128)
    y, x = np.mgrid[:128, :128]
    assert np.abs(still - np.stack([x, y], -1)).max() < 0.01
    turn = np.array([[0.98, -0.12], [0.12, 0.98]])
    turned = swap_material.bend(place, place @ turn.T + [3, -2], 128)
    assert np.abs(turned - (np.stack([x, y], -1) @ turn.T + [3, -2])).max() < 0.05


def clip_of(images, landmarks):
    return swap_material.Footage(
        name="a", images=np.stack(images), landmarks=landmarks, runs=((0, len(images)),), fps=25.0,
        matrices=np.zeros((len(images), 2, 3)), numbers=np.arange(len(images)),
    )  # fmt: skip


def test_flicker_takes_motion_out_and_sees_added_change():
    face = face_at(125, 130, height=150)
    rng = np.random.default_rng(3)
    scene = cv2.GaussianBlur(rng.standard_normal((260, 260, 3)), (0, 0), 4) * 300 + 128
    scene = np.clip(scene, 60, 200).astype(np.float32)
    images, points = [], []
    for k in range(5):
        matrix = np.float32([[1, 0, 3 * k], [0, 1, -2 * k]])
        images.append(np.round(cv2.warpAffine(scene, matrix, (260, 260))).astype(np.uint8))
        points.append(face + np.array([3 * k, -2 * k, 0], np.float32))
    target = clip_of(images, np.stack(points))
    moves = flicker.moves(target)
    still = flicker.energies(images, moves)
    assert still[:, 0].max() < 1.0  # rounding alone; without compensation it is hundreds
    jumping = [image if k % 2 else image + np.uint8(6) for k, image in enumerate(images)]
    found = flicker.energies(jumping, moves)
    np.testing.assert_allclose(found[:, 1], 36, rtol=0.05)  # the square of the step, all of it coarse
    noisy = [np.clip(image + 4 * rng.standard_normal(image.shape), 0, 255).astype(np.uint8) for image in images]
    found = flicker.energies(noisy, moves)
    assert found[:, 2].mean() > 20 * found[:, 1].mean()
    np.testing.assert_allclose(found[:, 0], 32, rtol=0.2)  # noise of both frames
