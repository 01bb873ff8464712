from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blending
from blending import BEST, PRESETS, BlendSettings, BlendState, compose
from tests.blending.scenes import Scene, disc, scene

SCENE = scene()


def changed(base: BlendSettings, **sections: dict[str, Any]) -> BlendSettings:
    return dataclasses.replace(
        base, **{name: dataclasses.replace(getattr(base, name), **values) for name, values in sections.items()}
    )


def run(it: Scene, options: BlendSettings = BEST, **more: Any) -> blending.ComposeResult:
    return compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon, settings=options, **more)


def recolored(it: Scene) -> np.ndarray:
    """The face with a wrong white balance, exposure and contrast."""
    gain = np.array([[0.80, 0.05, 0.0], [0.0, 0.95, 0.0], [0.02, 0.0, 1.1]], np.float32)
    return np.clip(cv2.transform(it.face, gain) + np.float32(0.06), 0, 1)


RUNGS = {
    **PRESETS,
    "best without colour": changed(BEST, color={"method": "off"}),
    "best without Poisson": changed(BEST, poisson={"gradients": "off"}),
    "best without detail": changed(BEST, detail={"sharpness": 0, "noise": 0}),
    "best, mixed gradients": changed(BEST, poisson={"gradients": "mixed"}),
    "best, refined": changed(BEST, mask={"refine": 0.06}),
    "best, learned": changed(BEST, mask={"shape": "learned"}),
    "best, hull": changed(BEST, mask={"shape": "hull"}),
    "best, union": changed(BEST, mask={"shape": "union"}),
    "best, product": changed(BEST, mask={"shape": "product"}),
    "best, enlarged": changed(BEST, detail={"oversampling": 0.8}),
    "best, histogram": changed(BEST, color={"method": "histogram"}),
    "best, sliced": changed(BEST, color={"method": "sliced"}),
    "square, Reinhard": changed(BEST, mask={"shape": "square"}, color={"method": "reinhard"}),
}


@pytest.mark.parametrize("name", RUNGS)
def test_outside_alpha_the_frame_is_bit_identical(name: str) -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    result = run(it, RUNGS[name])
    alpha = result.full_alpha()
    assert result.image.dtype == np.uint8
    assert alpha.max() == 1
    assert 0 < (alpha > 0).mean() < 0.6
    np.testing.assert_array_equal(result.image[alpha == 0], it.frame[alpha == 0])
    assert (result.image != it.frame).any()


@pytest.mark.parametrize("name", RUNGS)
def test_the_targets_own_face_changes_nothing_visible(name: str) -> None:
    """Limits: the resampling there and back, half a level of noise, and rounding."""
    quiet = changed(RUNGS[name], detail={"noise": 0})
    difference = np.abs(run(SCENE, quiet).image.astype(int) - SCENE.frame)
    inside = run(SCENE, quiet).full_alpha() > 0.5
    assert difference[inside].mean() < 1.5


@pytest.mark.parametrize("name", RUNGS)
def test_the_frames_own_pixels_come_back_as_they_were(name: str) -> None:
    """A crop that lies on the frame's grid needs no resampling, and then nothing has any reason to change."""
    grainy = SCENE.frame + np.random.default_rng(0).normal(0, 3, SCENE.frame.shape[:2])[..., None]
    frame = np.clip(np.round(grainy), 0, 255).astype(np.uint8)
    left, top = np.round(SCENE.polygon.mean(axis=0)).astype(int) - 64
    face = np.ascontiguousarray(frame[top : top + 128, left : left + 128]).astype(np.float32) / 255
    mask = cv2.GaussianBlur(disc((128, 128), (64, 64), 54).astype(np.float32) / 255, (0, 0), 2)
    matrix = np.array([[1, 0, -left], [0, 1, -top]], np.float64)
    options = changed(RUNGS[name], detail={"oversampling": 0})
    result = compose(frame, face, mask, matrix, polygon=SCENE.polygon, settings=options)
    assert result.full_alpha().max() == 1
    assert np.abs(result.image.astype(int) - frame).max() <= 2


def test_every_stage_earns_its_place() -> None:
    """The recoloured face of the target itself must come out as the target: the ladder has to go up."""
    it = dataclasses.replace(SCENE, face=recolored(SCENE))

    def error(options: BlendSettings) -> float:
        result = run(it, changed(options, detail={"noise": 0}))
        inside = run(it, blending.NONE).full_alpha() > 0
        return float(np.abs(result.image.astype(float) - it.frame)[inside].mean())

    crude, classic, best = (error(PRESETS[name]) for name in ("none", "classic", "best"))
    assert crude > 5
    assert classic < 0.6 * crude
    assert best < classic
    assert error(RUNGS["best without colour"]) > best
    assert error(changed(blending.NONE, poisson={"gradients": "import"})) < crude


def test_no_seam_at_the_boundary() -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    hard = run(it, blending.NONE)
    soft = run(it, changed(BEST, detail={"noise": 0}))

    def step(result: blending.ComposeResult) -> float:
        """Mean jump of (result - frame) between neighbours, across the edge of alpha."""
        alpha = result.full_alpha() > 0
        change = result.image.astype(float) - it.frame
        edge = alpha[:, 1:] != alpha[:, :-1]
        return float(np.abs(np.diff(change, axis=1))[edge].mean())

    assert step(hard) > 8
    assert step(soft) < 1


def test_a_jaw_wider_than_the_targets_is_not_cut_off() -> None:
    """The learned mask reaches beyond the hull: by ``reach`` at most, and not at all without it."""
    middle = SCENE.polygon.mean(axis=0)
    narrow = dataclasses.replace(SCENE, polygon=middle + (SCENE.polygon - middle) * (0.7, 1))
    areas = [
        (run(narrow, changed(BEST, mask={"reach": reach, "feather": 0.02})).full_alpha() > 0.5).sum()
        for reach in (0.0, 0.05, 0.1)
    ]
    assert areas[0] < areas[1] < areas[2]
    whole = (run(narrow, changed(BEST, mask={"shape": "learned", "feather": 0.02})).full_alpha() > 0.5).sum()
    assert areas[2] < whole


def test_what_lies_behind_the_generated_face_stays_away() -> None:
    """A black rim just inside the learned mask's edge, as hair leaves it, is cut off with it."""
    it = scene(size=128, height=150)
    wide = changed(BEST, mask={"shape": "learned", "inset": 0})
    inner = cv2.erode(it.mask, np.ones((5, 5), np.uint8))
    it = dataclasses.replace(it, face=np.where(inner[..., None] > 0.5, it.face, 0).astype(np.float32))
    darkened = [
        float((it.frame.astype(float) - run(it, options).image).clip(0).mean())
        for options in (wide, changed(wide, mask={"inset": 0.03}))
    ]
    assert darkened[1] < 0.5 * darkened[0]


def test_a_union_is_not_cut_off_by_the_hull() -> None:
    middle = SCENE.polygon.mean(axis=0)
    small = dataclasses.replace(SCENE, polygon=middle + (SCENE.polygon - middle) * 0.5)
    both = run(small, changed(BEST, mask={"shape": "union", "hair": 0.0})).full_alpha()
    learned = run(SCENE, changed(BEST, mask={"shape": "learned", "hair": 0.0})).full_alpha()
    np.testing.assert_allclose(both, learned, atol=0.05)


def test_brows_near_the_edge_do_not_show_through() -> None:
    """Parts named in ``cover`` are covered where the feather would leave half of them."""
    top = SCENE.polygon[:, 1].min()
    brow = np.array([[140, top + 7], [180, top + 7], [180, top + 11], [140, top + 11]], np.float32)
    rows, columns = slice(int(top) + 7, int(top) + 11), slice(152, 168)
    narrow = changed(BEST, mask={"reach": 0.0, "erosion": 0.02, "feather": 0.12})
    bare = run(SCENE, narrow).full_alpha()
    covered = run(SCENE, narrow, cover=[brow]).full_alpha()
    assert bare[rows, columns].mean() < 0.7
    assert covered[rows, columns].min() > 0.9
    assert (covered >= bare).all()
    region = run(SCENE, changed(narrow, mask={"erosion": 0.0, "feather": 0.0})).full_alpha()
    assert covered[region == 0].max() == 0
    np.testing.assert_array_equal(run(SCENE, changed(narrow, mask={"cover": 0.0}), cover=[brow]).full_alpha(), bare)


@pytest.mark.parametrize("name", ["none", "classic", "best"])
def test_an_empty_mask_leaves_the_frame_alone(name: str) -> None:
    result = compose(
        SCENE.frame, SCENE.face, np.zeros_like(SCENE.mask), SCENE.matrix, polygon=SCENE.polygon, settings=PRESETS[name]
    )
    np.testing.assert_array_equal(result.image, SCENE.frame)
    assert result.full_alpha().max() == 0


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("shift", [(7, -5), (-30, 13)])
def test_shifting_everything_shifts_the_result(name: str, shift: tuple[int, int]) -> None:
    x, y = shift
    padded = cv2.copyMakeBorder(SCENE.frame, 40, 40, 40, 40, cv2.BORDER_REPLICATE)
    matrix = SCENE.matrix.astype(np.float64)
    matrix[:, 2] -= matrix[:, :2] @ (40, 40)
    moved = matrix.copy()
    moved[:, 2] -= matrix[:, :2] @ (x, y)
    polygon = SCENE.polygon + 40
    still = compose(padded, SCENE.face, SCENE.mask, matrix, polygon=polygon, settings=RUNGS[name])
    frame = np.roll(padded, (y, x), (0, 1))
    shifted = compose(frame, SCENE.face, SCENE.mask, moved, polygon=polygon + (x, y), settings=RUNGS[name])
    difference = np.abs(np.roll(shifted.image, (-y, -x), (0, 1)).astype(int) - still.image)
    assert difference.max() <= 2
    assert difference.mean() < 0.01


def test_moving_the_mask_by_a_pixel_does_not_drift() -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    quiet = changed(BEST, detail={"noise": 0})
    first = run(it, quiet)
    second = run(dataclasses.replace(it, polygon=it.polygon + np.float32([1, 0])), quiet)
    both = (first.full_alpha() == 1) & (second.full_alpha() == 1)
    assert np.abs(first.image.astype(int) - second.image)[both].mean() < 1


def test_float_frames_give_the_same_as_bytes() -> None:
    quiet = changed(BEST, detail={"noise": 0})
    as_bytes = run(SCENE, quiet)
    as_floats = run(dataclasses.replace(SCENE, frame=SCENE.frame.astype(np.float32) / 255), quiet)
    assert as_floats.image.dtype == np.float32
    assert np.abs(as_floats.image * 255 - as_bytes.image).max() <= 1.01
    outside = as_floats.full_alpha() == 0
    np.testing.assert_array_equal(as_floats.image[outside], (SCENE.frame.astype(np.float32) / 255)[outside])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(RUNGS)))
def test_a_float_frame_stays_within_its_range(seed: int, name: str) -> None:
    """However far apart face and frame are: sharpening, contrast, noise and gradients all overshoot."""
    random = np.random.default_rng(seed)
    frame = (random.random((80, 90, 3), dtype=np.float32) ** random.choice([0.1, 1, 8])).astype(np.float32)
    face = (random.random((64, 64, 3), dtype=np.float32) ** random.choice([0.1, 1, 8])).astype(np.float32)
    matrix = np.array([[1.1, 0.1, -15], [-0.1, 1.1, -8]])
    polygon = np.array([[20, 10], [70, 12], [72, 60], [45, 75], [18, 58]], np.float32)
    mask = disc((64, 64), (32, 32), 28).astype(np.float32) / 255
    result = compose(frame, face, mask, matrix, polygon=polygon, settings=RUNGS[name])
    assert np.isfinite(result.image).all()
    assert 0 <= result.image.min() <= result.image.max() <= 1


def test_writes_where_it_is_told() -> None:
    frame, elsewhere = SCENE.frame.copy(), np.empty_like(SCENE.frame)
    expected = run(SCENE).image
    np.testing.assert_array_equal(SCENE.frame, frame)  # the input was left alone
    result = compose(frame, SCENE.face, SCENE.mask, SCENE.matrix, polygon=SCENE.polygon, out=elsewhere)
    assert result.image is elsewhere
    np.testing.assert_array_equal(elsewhere, expected)
    assert compose(frame, SCENE.face, SCENE.mask, SCENE.matrix, polygon=SCENE.polygon, out=frame).image is frame
    np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("center", [(5.0, 120.0), (315.0, 235.0), (160.0, 4.0), (-40.0, 120.0), (900.0, 900.0)])
@pytest.mark.parametrize("name", ["none", "classic", "best"])
def test_faces_cut_off_by_the_frame(center: tuple[float, float], name: str) -> None:
    it = scene(center=center)
    it = dataclasses.replace(it, face=recolored(it))
    result = run(it, PRESETS[name])
    alpha = result.full_alpha()
    np.testing.assert_array_equal(result.image[alpha == 0], it.frame[alpha == 0])
    if 0 <= center[0] < 320 and 0 <= center[1] < 240:
        assert alpha[int(center[1]), int(center[0])] == 1  # the frame's border is not an edge of the face
    if center[0] > 400:
        assert alpha.max(initial=0) == 0


@pytest.mark.parametrize("height", [6.0, 20.0, 60.0, 220.0])
def test_faces_of_any_size(height: float) -> None:
    it = scene(height=height)
    result = run(dataclasses.replace(it, face=recolored(it)))
    assert np.isfinite(result.alpha).all()
    np.testing.assert_array_equal(result.image[result.full_alpha() == 0], it.frame[result.full_alpha() == 0])
    if height >= 60:  # smaller ones lose too much to the crop's resampling for a fair comparison
        inside = result.full_alpha() > 0.5
        assert np.abs(result.image.astype(int) - it.frame)[inside].mean() < 6


def test_what_is_missing_may_be_missing() -> None:
    for options in PRESETS.values():
        alone = compose(SCENE.frame, SCENE.face, None, SCENE.matrix, settings=options)
        assert alone.full_alpha().max() == 1
    masked = compose(SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix)
    assert masked.full_alpha().max() == 1


@pytest.mark.parametrize("name", ["best", "best, union", "best, refined", "best without Poisson"])
def test_a_bounded_resolution_looks_the_same(name: str) -> None:
    """A face shown with four pixels for each of its own: worked out at half of that, the frame is the same."""
    it = scene(shape=(760, 640), center=(320, 380), height=500, size=128)
    it = dataclasses.replace(it, face=recolored(it))
    quiet = changed(RUNGS[name], detail={"noise": 0, "sharpness": 0})
    bounded, whole = run(it, quiet), run(it, changed(quiet, detail={"oversampling": 0}))
    assert np.abs(bounded.full_alpha() - whole.full_alpha()).max() < 0.25
    assert np.abs(bounded.full_alpha() - whole.full_alpha()).mean() < 0.01
    middle = [np.argwhere(result.full_alpha() > 0.5).mean(axis=0) for result in (bounded, whole)]
    np.testing.assert_allclose(*middle, atol=0.25)
    difference = np.abs(bounded.image.astype(int) - whole.image)
    assert difference.mean() < 0.3
    assert difference.max() < 32


@pytest.mark.parametrize("height", [500, 900, 1500])
def test_far_enlarged_faces_fade_in_on_all_sides(height: int) -> None:
    """Where the hull is what limits the swap, the box leaves room around it in the small picture's pixels too."""
    it = scene(shape=(1700, 1400), center=(700, 850), height=height, size=64, enlarged=4)
    result = run(it, RUNGS["best, hull"])
    for edge in (result.alpha[0], result.alpha[-1], result.alpha[:, 0], result.alpha[:, -1]):
        assert edge.max() == 0


def test_enlarged_faces_get_the_frames_noise() -> None:
    it = scene(shape=(760, 640), center=(320, 380), height=500, size=128)
    rng = np.random.default_rng(0)
    noisy = np.clip(it.frame + rng.normal(0, 5, it.frame.shape[:2])[..., None], 0, 255).astype(np.uint8)
    it = dataclasses.replace(it, frame=noisy)
    result = run(it)
    inside = (result.full_alpha() > 0.99).astype(np.uint8)
    grey = cv2.cvtColor(result.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    assert blending.grain.noise_sigma(grey, inside) == pytest.approx(5, rel=0.25)


def test_a_shrunken_crop_does_not_alias() -> None:
    """A 256-px checkerboard in a 40-px face averages out instead of beating."""
    checker = np.indices((256, 256)).sum(axis=0) % 2
    face = np.repeat(checker[..., None], 3, axis=2).astype(np.float32)
    it = scene(height=40, size=256)
    result = compose(it.frame, face, None, it.matrix, settings=blending.NONE)
    assert np.abs(result.image[result.full_alpha() == 1].astype(int) - 128).max() < 20


def test_color_flicker_of_the_generator_is_taken_out() -> None:
    """A generator whose exposure jumps from frame to frame, on a target that stands still."""
    quiet = changed(BEST, detail={"noise": 0})
    random = np.random.default_rng(0)
    faces = [np.clip(SCENE.face + np.float32(random.normal(0, 0.02)), 0, 1) for _ in range(10)]
    inside = run(SCENE, quiet).full_alpha() == 1

    def flicker(options: BlendSettings) -> float:
        state = BlendState(options.temporal)
        images = [run(dataclasses.replace(SCENE, face=face), options, state=state).image for face in faces]
        return float(np.std([image[inside].mean() for image in images]))

    crude = flicker(blending.NONE)
    assert crude > 3
    assert flicker(quiet) < 0.1 * crude
    assert flicker(changed(quiet, temporal={"color": 8.0})) > flicker(quiet)  # why means are not filtered


def test_state_is_reproducible_and_noise_is_new_in_each_frame() -> None:
    grainy = scene()
    noise = np.random.default_rng(0).normal(0, 5, grainy.frame.shape[:2])[..., None]
    grainy.frame = np.clip(grainy.frame + noise, 0, 255).astype(np.uint8)
    first, second = BlendState(seed=3), BlendState(seed=3)
    a, b = run(grainy, state=first).image, run(grainy, state=first).image
    assert (a != b).any()
    np.testing.assert_array_equal(run(grainy, state=second).image, a)
    inside = run(grainy).full_alpha() == 1
    assert np.std(a[inside].astype(float) - b[inside]) > 3  # independent noise of some 4 levels in each


def test_learned_mask_is_filtered_until_a_reset() -> None:
    options = changed(BEST, mask={"shape": "learned"}, temporal={"mask": 3.0})
    state = BlendState(options.temporal)
    run(SCENE, options, state=state)
    nothing = dataclasses.replace(SCENE, mask=np.zeros_like(SCENE.mask))
    assert run(nothing, options, state=state).full_alpha().max() > 0
    state.reset()
    assert run(nothing, options, state=state).full_alpha().max() == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(PRESETS)))
def test_never_fails_on_odd_but_legal_input(seed: int, name: str) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 90)), int(random.integers(1, 90)), 3)
    size = int(random.integers(8, 70))
    frame = random.integers(0, 256, shape, dtype=np.uint8)
    face, face_mask = random.random((size, size, 3), dtype=np.float32), random.random((size, size), dtype=np.float32)
    angle, zoom = random.uniform(0, 2 * np.pi), 10 ** random.uniform(-1, 1)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = random.uniform(-10, 100, 2)
    matrix = np.hstack([linear, (size / 2 - linear @ center)[:, None]])
    polygon = random.uniform(-20, 110, (int(random.integers(3, 12)), 2))
    options = PRESETS[name]
    state = BlendState(options.temporal)
    result = compose(frame, face, face_mask, matrix, polygon=polygon, settings=options, state=state)
    alpha = result.full_alpha()
    assert 0 <= alpha.min() <= alpha.max() <= 1
    np.testing.assert_array_equal(result.image[alpha == 0], frame[alpha == 0])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.zeros((10, 10), np.uint8), "frame"),
        (0, np.zeros((10, 10, 3), np.float64), "frame"),
        (1, np.zeros((64, 60, 3), np.float32), "face"),
        (1, np.zeros((64, 64, 3), np.uint8), "face"),
        (2, np.zeros((32, 32), np.float32), "mask"),
        (3, np.zeros((2, 3), np.float32), "matrix"),
        (3, np.full((2, 3), np.nan, np.float32), "matrix"),
        (4, np.zeros((2, 2), np.float32), "polygon"),
        (4, np.full((5, 2), np.inf, np.float32), "polygon"),
    ],
)
def test_wrong_arrays_are_refused(place: int, value: np.ndarray, message: str) -> None:
    arguments: list[Any] = [SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix, SCENE.polygon]
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        compose(*arguments[:4], polygon=arguments[4])
