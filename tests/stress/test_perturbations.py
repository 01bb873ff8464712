from __future__ import annotations

import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from faceswap_hq.errors import UserError
from stress.evaluation import codecs
from stress.evaluation.codecs import Encoding, recompress
from stress.evaluation.perturbations import ClipKey, catalogue, everyday, needs_time, parse_levels, select
from stress.evaluation.perturbations import deeperforensics as df
from stress.evaluation.perturbed_crops import stretches

SINGLE = ("CS", "CC", "BW", "GNC", "GB", "JPEG")
KEY = ClipKey(clip="a", source="s")


def _picture(height=97, width=131, seed=0, grain=6):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (7, 9, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, grain, smooth.shape), 0, 255).astype(np.uint8)


def _run(count=20, size=(64, 80)):
    base = _picture(size[0] + count, size[1] + count)
    return [np.ascontiguousarray(base[i : i + size[0], i : i + size[1]]) for i in range(count)]


def _psnr(a, b):
    error = np.mean((a.astype(float) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def _mean_psnr(frames, encoding):
    return np.mean([_psnr(a, b) for a, b in zip(recompress(frames, encoding), frames, strict=True)])


def _rng():
    return np.random.default_rng(5)


# --------------------------------------------------------------------------------------------------- single pictures


@pytest.mark.parametrize("level", [1, 3, 5])
def test_faithful_saturation_is_the_published_arithmetic(level):
    image, factor = _picture(9, 11), df.PARAMETERS["CS"][level - 1]
    got = df.perturb(image, "CS", level, _rng(), faithful=True).astype(int)
    for at in np.ndindex(image.shape[:2]):
        red, green, blue = map(float, image[at])
        y = 0.299 * red + 0.587 * green + 0.114 * blue
        cr, cb = (red - y) * 0.713 + 0.5, (blue - y) * 0.564 + 0.5
        cr, cb = ((0.5 + ((c * 224 + 16) / 255 - 0.5) * factor) * 255 / 224 - 16 / 224 for c in (cr, cb))
        expected = (
            y + 1.403 * (cr - 0.5),
            y - 0.714 * (cr - 0.5) - 0.344 * (cb - 0.5),
            y + 1.773 * (cb - 0.5),
        )
        assert got[at] == pytest.approx(np.floor(expected), abs=1)


def test_saturation_cuts_off_or_clips():
    white = np.full((2, 2, 3), 255, np.uint8)
    assert df.perturb(white, "CS", 1, _rng(), faithful=True)[0, 0].tolist() == [254, 255, 254]
    assert (df.perturb(white, "CS", 1, _rng(), faithful=False) == 255).all()
    red = np.array([[[250, 10, 10]]], np.uint8)
    assert df.saturation(red, 1.5, faithful=True)[0, 0, 0] < 200, "beyond 255 the published code wraps"
    assert df.saturation(red, 1.5, faithful=False)[0, 0].tolist() == [255, 0, 0]


def test_published_saturation_wraps_nowhere():
    axis = np.arange(0, 256, 15, np.uint8)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(18 * 18, 18, 3)
    for level in (1, 2, 3, 4, 5):
        one, other = (df.perturb(cube, "CS", level, _rng(), faithful=faithful) for faithful in (True, False))
        assert np.abs(one.astype(int) - other).max() <= 2


@pytest.mark.parametrize("level", [1, 5])
def test_corrected_color_agrees_with_pillow(level):
    image = _picture()
    for name, enhancer, tolerance in (("CS", ImageEnhance.Color, 1), ("CC", ImageEnhance.Contrast, 1)):
        factor = df.PARAMETERS[name][level - 1]
        expected = np.asarray(enhancer(Image.fromarray(image)).enhance(factor)).astype(int)
        assert np.abs(df.perturb(image, name, level, _rng(), faithful=False) - expected).max() <= tolerance


def test_published_contrast_darkens_and_the_corrected_one_does_not():
    image = _picture()
    faithful, corrected = (df.perturb(image, "CC", 5, _rng(), faithful=mode) for mode in (True, False))
    assert (faithful == np.floor(image * np.float32(0.35))).all()
    luma = [picture @ np.array([0.299, 0.587, 0.114]) for picture in (image, corrected)]
    assert luma[1].mean() == pytest.approx(luma[0].mean(), abs=0.1)
    assert luma[1].std() == pytest.approx(0.35 * luma[0].std(), rel=0.01)


def test_published_blocks_need_256_px_and_spare_the_last_row():
    for side, count in ((255, 0), (256, 80), (511, 80), (512, 160)):
        image = np.zeros((side, side, 3), np.uint8)
        share = (df.perturb(image, "BW", 5, _rng(), faithful=True) == 128).mean()
        assert share <= count * 64 / side**2
        assert share > 0.7 * count * 64 / side**2 or not count  # some overlap
    hit = np.zeros((256, 300), bool)
    for seed in range(200):
        done = df.perturb(np.zeros((256, 300, 3), np.uint8), "BW", 5, np.random.default_rng(seed), faithful=True)
        hit |= done[..., 0] == 128
    assert hit[:-1, :-1].mean() > 0.99
    assert not hit[-1].any()
    assert not hit[:, -1].any()


def test_corrected_blocks_cover_the_same_share_at_any_size():
    for shape in ((64, 64, 3), (256, 256, 3), (240, 640, 3), (720, 1280, 3)):
        done = df.perturb(np.zeros(shape, np.uint8), "BW", 5, _rng(), faithful=False)
        assert (done == 128).mean() == pytest.approx(1 - np.exp(-80 / 1024), rel=0.25)
    corner = np.zeros((32, 32), bool)
    for seed in range(150):
        corner |= df.scaled_blocks(np.zeros((32, 32, 3), np.uint8), 80, np.random.default_rng(seed))[..., 0] == 128
    assert corner.all()


@pytest.mark.parametrize("faithful", [True, False])
def test_noise_has_the_strength_it_should(faithful):
    grey = np.full((300, 300, 3), 120, np.uint8)
    done = df.perturb(grey, "GNC", 1, _rng(), faithful=faithful).astype(float)
    luma = done @ [0.299, 0.587, 0.114]
    expected = 255 * np.sqrt(0.001) * (255 / 219 if faithful else 1)
    assert luma.std() == pytest.approx(expected, rel=0.02)
    assert luma.mean() == pytest.approx(119.5 if faithful else 120, abs=0.1)  # fractions cut off, or rounded
    again = df.perturb(grey, "GNC", 1, _rng(), faithful=faithful)
    assert (again == done).all()


def test_blur_agrees_with_scipy():
    image = _picture()
    for level in (1, 5):
        kernel = df.PARAMETERS["GB"][level - 1]
        sigma, radius = (kernel / 6, kernel / 6, 0), (int(kernel) // 2, int(kernel) // 2, 0)
        expected = ndimage.gaussian_filter(image.astype(float), sigma, mode="mirror", radius=radius)
        assert np.abs(df.perturb(image, "GB", level, _rng(), faithful=True) - expected).max() <= 1.01


def test_published_jpeg_is_no_jpeg():
    image = _picture(61, 83)
    got = df.perturb(image, "JPEG", 3, _rng(), faithful=True).astype(float)
    expected = _bilinear(_bilinear(image, 61 // 4, 83 // 4), 61, 83)
    assert np.abs(got - expected).max() <= 2
    real = df.perturb(image, "JPEG", 3, _rng(), faithful=False)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=df.JPEG_QUALITIES[2], subsampling="4:2:0")
    pillow = np.asarray(Image.open(stream).convert("RGB"))
    assert _psnr(real, pillow) > 45 > 40 > _psnr(real, image)


def _bilinear(image, height, width):
    """Bilinear resampling at pixel centers, nothing smoothed before."""
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for new, old in ((height, image.shape[0]), (width, image.shape[1]))
    )
    planes = [ndimage.map_coordinates(image[..., c].astype(float), np.meshgrid(rows, columns, indexing="ij"), order=1)
              for c in range(3)]  # fmt: skip
    return np.rint(np.stack(planes, -1))


@pytest.mark.parametrize("mode", ["faithful", "corrected"])
def test_damage_grows_with_the_level_and_the_picture_is_left_alone(mode):
    image = _picture(300, 320, grain=1)
    kept = image.copy()
    for name in SINGLE:
        done = [df.perturb(image, name, level, _rng(), faithful=mode == "faithful") for level in range(1, 6)]
        damage = [_psnr(each, image) for each in done]
        assert damage == sorted(damage, reverse=True), name
        assert len(set(damage)) == 5, name
    assert (image == kept).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 3, 3), (7, 9, 3), (33, 5, 3)])
def test_tiny_and_odd_pictures(shape):
    image = _picture(*shape[:2]) if min(shape[:2]) > 1 else np.full(shape, 77, np.uint8)
    for name in SINGLE:
        for faithful in (True, False):
            done = df.perturb(image, name, 5, _rng(), faithful=faithful)
            assert done.shape == shape
            assert done.dtype == np.uint8
    for function, value in ((df.jpeg, 60), (everyday.resize, 0.125), (everyday.resize, 3), (everyday.fit, 4)):
        assert min(function(image, value).shape[:2]) >= 1


def test_jpeg_and_sizes():
    image = _picture()
    damage = [_psnr(df.jpeg(image, quality), image) for quality in everyday.JPEG_QUALITIES]
    assert damage == sorted(damage, reverse=True)
    assert everyday.resize(image, 0.5).shape == (48, 66, 3)  # rint of 48.5 and 65.5
    assert everyday.resize(image, 2).shape == (194, 262, 3)
    assert everyday.fit(image, 48).shape == (48, 64, 3)
    assert everyday.fit(image, 97) is image
    assert everyday.bit_rate(640, 360, 30) == 832_000
    assert everyday.bit_rate(480, 480, 30) == 832_000
    assert everyday.bit_rate(320, 180, 15) == 128_000
    assert everyday.bit_rate(1920, 1080, 30) == pytest.approx(2_176_000 * 2.25)


# -------------------------------------------------------------------------------------------------------------- video


def test_recompression_is_what_a_file_would_hold():
    frames, rate = _run(12), Fraction(30)
    encoding = Encoding(codec="h264", crf=30)
    got = list(recompress(frames, encoding, rate))
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as output:
        track = output.add_stream("libx264", rate=rate, options=encoding.options(80, 64, rate))
        track.width, track.height, track.pix_fmt, track.thread_count = 80, 64, "yuv420p", 1
        for image in frames:
            output.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(track.encode(None))
    stream.seek(0)
    with av.open(stream) as written:
        expected = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
    assert len(got) == len(expected) == 12
    for one, other, original in zip(got, expected, frames, strict=True):
        assert _psnr(one, other) > _psnr(one, original) + 5  # but for how chroma is scaled and rounded
    order = [int(np.argmax([_psnr(image, original) for original in frames])) for image in got]
    assert order == list(range(12))


@pytest.mark.parametrize(("codec", "values"), [("h264", everyday.H264_CRF), ("hevc", everyday.H265_CRF)])
def test_quality_falls_with_the_crf(codec, values):
    frames = _run(8)
    preset = "ultrafast" if codec == "hevc" else "medium"
    damage = [_mean_psnr(frames, Encoding(codec=codec, crf=crf, preset=preset)) for crf in values]
    assert damage == sorted(damage, reverse=True)
    assert damage[0] - damage[-1] > 3


def test_a_bit_rate_is_kept_to():
    frames = _run(30)
    fine, coarse = (
        _mean_psnr(frames, Encoding(codec="h264", bit_rate=lambda *_, bits=bits: bits)) for bits in (100_000, 5_000)
    )
    assert fine > coarse + 5


def test_odd_tiny_and_empty_runs():
    for codec in ("h264", "hevc"):
        encoding = Encoding(codec=codec, crf=20, preset="ultrafast")
        assert [image.shape for image in recompress(_run(3, (7, 9)), encoding)] == [(7, 9, 3)] * 3
    assert list(recompress([], encoding)) == []
    with pytest.raises(ValueError, match="of one clip"):
        list(recompress([_picture(8, 8), _picture(8, 10)], encoding))
    with pytest.raises(ValueError, match="either"):
        Encoding(codec="h264")


def test_the_same_frames_give_the_same_video():
    frames = _run(30, (96, 112))
    for encoding in (Encoding(codec="h264", crf=30), Encoding(codec="h264", bit_rate=everyday.bit_rate)):
        runs = [np.stack(list(recompress(frames, encoding))) for _ in range(3)]
        assert all((run == runs[0]).all() for run in runs)


def test_a_missing_encoder_is_said_clearly(monkeypatch):
    monkeypatch.setitem(codecs.ENCODERS, "hevc", "libnothing")
    with pytest.raises(UserError, match="no encoder libnothing"):
        list(recompress(_run(2), Encoding(codec="hevc", crf=28)))


# ---------------------------------------------------------------------------------------------------------- catalogue


def test_every_perturbation_runs_and_repeats():
    frames = list(enumerate(_run(4, (40, 48))))
    for item in catalogue("corrected"):
        if item.family == "H.265" and item.level > 1:
            continue  # only the CRF differs
        one, two = (dict(item.apply(frames, KEY)) for _ in range(2))
        assert list(one) == [0, 1, 2, 3], item
        assert all((one[n] == two[n]).all() for n in one), item
        assert all(image.dtype == np.uint8 for image in one.values())
    sizes = {item.name: dict(item.apply(frames[:1], KEY))[0].shape for item in catalogue("faithful") if item.level == 2}
    assert sizes["DOWN"] == (20, 24, 3)
    assert sizes["UP"] == (60, 72, 3)
    assert {sizes[name] for name in ("CS", "CC", "BW", "GNC", "GB", "JPEG", "VC", "MIX", "SOCIAL")} == {(40, 48, 3)}


def test_noise_follows_clip_frame_and_seed():
    noise = next(item for item in catalogue("corrected") if item.name == "GNC" and item.level == 3)
    image = _picture(32, 32)

    def of(number, **key):
        return next(noise.apply([(number, image)], ClipKey(**{"clip": "a", "source": "s", "seed": 0} | key)))[1]

    assert (of(3) == of(3)).all()
    for other in (of(4), of(3, clip="b"), of(3, seed=1)):
        assert (other != of(3)).mean() > 0.5


def test_mixtures_are_of_different_types_and_the_same_for_a_fake_and_its_real():
    mixes = {item.level: item for item in catalogue("faithful") if item.name == "MIX"}
    image = _picture(64, 64)
    for level in (1, 2, 3, 4):
        kinds = set()
        for source in range(30):
            fake, real = (ClipKey(clip=clip, source=f"s{source}") for clip in ("fake", "real"))
            operations = mixes[level].operations(fake)
            assert len(operations) == level
            assert sum(needs_time([each]) for each in operations) <= 1
            kinds.add(needs_time(operations))
            if not needs_time(operations) and level == 1:  # most are not random themselves
                same = [operation(image, _rng()) for operation in (*operations, *mixes[level].operations(real))]
                assert (same[0] == same[1]).all()
        assert kinds == {True, False}


def test_selection():
    assert len(select(("deeperforensics",))) == 35
    assert [(i.name, i.level) for i in select(("gb", "VC"), [5, 1])] == [("GB", 1), ("GB", 5), ("VC", 1), ("VC", 5)]
    assert len(select()) == len(catalogue("corrected")) == 35 + 5 + 4 + 5 * 6
    assert [item.setting for item in select(("JPEG",), [1], "faithful")] == ["scaled down and up by 2"]
    assert [item.setting for item in select(("JPEG",), [1], "corrected")] == ["quality 25"]
    with pytest.raises(ValueError, match="known: all"):
        select(("XX",))
    with pytest.raises(ValueError, match="1 to 5"):
        select(("GB",), [0])
    assert parse_levels("1-5") == [1, 2, 3, 4, 5]
    assert parse_levels("1,3-4") == [1, 3, 4]
    with pytest.raises(ValueError, match="1-5"):
        parse_levels("high")


def test_stretches_are_what_is_near():
    rng = np.random.default_rng(0)
    for _ in range(30):
        numbers = rng.choice(200, 6, replace=False).tolist()
        found = stretches(numbers, 9, 4)
        near = {n for n in range(210) if any(wanted - 9 <= n <= wanted + 4 for wanted in numbers)}
        assert sorted(n for run in found for n in run) == sorted(near)
        assert all(a.stop < b.start for a, b in zip(found, found[1:], strict=False))
