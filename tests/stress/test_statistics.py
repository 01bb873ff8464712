from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from stress.evaluation.estimates import AT_LIMIT, UNCHANGED, UNVARIED, Estimate, small_sample
from stress.evaluation.sample import Sample
from stress.evaluation.statistics import clip_weights, draw_people, intervals, strata_of


def everybody(people: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(people) for b in range(people) if a != b]


def ring(people: int) -> list[tuple[int, int]]:
    return [(i, (i + 1) % people) for i in range(people)]


def couples(people: int) -> list[tuple[int, int]]:
    return [(i, i ^ 1) for i in range(people)]


class Study:
    """Scores with normal effects of target, source and clip; each real shares its person's effect as a target."""

    THRESHOLD = 0.6

    def __init__(self, pairs: list[tuple[int, int]], spread: tuple[float, float, float], shift: float) -> None:
        self.pairs, self.spread, self.shift = pairs, spread, shift
        self.count = max(itertools.chain.from_iterable(pairs)) + 1
        self.clips = [(f"p{a}", f"p{b}") for a, b in pairs] + [(f"p{i}",) for i in range(self.count)]
        self.labels = np.array([1] * len(pairs) + [0] * self.count)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        target, source, noise = self.spread
        a, b = rng.normal(0, target, self.count), rng.normal(0, source, self.count)
        fakes = [self.shift + a[t] + b[s] for s, t in self.pairs]
        return np.concatenate([fakes, a]) + rng.normal(0, noise, len(self.clips))

    def truth(self) -> dict[str, float]:
        """By normal theory for a fake and a real that have nobody in common."""
        target, source, noise = self.spread
        fake, real = np.sqrt(target**2 + source**2 + noise**2), np.sqrt(target**2 + noise**2)
        cut = np.log(self.THRESHOLD / (1 - self.THRESHOLD))
        hit = stats.norm.sf((cut - self.shift) / fake)
        return {
            "auc": stats.norm.cdf(self.shift / np.hypot(fake, real)),
            "detection_rate": hit,
            "balanced_accuracy": (hit + stats.norm.cdf(cut / real)) / 2,
        }

    def as_sample(self, logits: np.ndarray) -> Sample:
        n = len(self.clips)
        return Sample(
            scores=expit(logits), labels=self.labels, clip=np.arange(n), thresholds=np.full(n, self.THRESHOLD)
        )


def estimate(study: Study, before: np.ndarray, after: np.ndarray, seed: int, resamples: int = 400):
    samples = {"before": study.as_sample(before), "after": study.as_sample(after)}
    names = ("auc", "detection_rate", "balanced_accuracy", "false_alarm_rate")

    def statistic(weights):
        return {f"{key}.{name}": part.metrics(weights)[name] for key, part in samples.items() for name in names}

    return intervals(
        statistic,
        study.clips,
        usable=samples["before"].usable,
        differences={f"gain.{name}": (f"after.{name}", f"before.{name}") for name in names},
        mixtures={
            f"{key}.balanced_accuracy": {f"{key}.detection_rate": 0.5, f"{key}.false_alarm_rate": -0.5}
            for key in ("before", "after", "gain")
        },
        limit_share=lambda name: 0.5 if name.endswith("auc") else 1.0,
        resamples=resamples,
        seed=seed,
    )


def test_weights_are_products_of_how_often_people_were_drawn() -> None:
    counts = draw_people([["a", "b", "c"], ["z"]], 50, np.random.default_rng(0))
    assert (counts["a"] + counts["b"] + counts["c"] == 3).all()
    assert (counts["z"] == 1).all()
    weights = clip_weights([("a", "b"), ("c",), ("a", "a"), ("b", "z")], counts)
    assert (weights[:, 0] == counts["a"] * counts["b"]).all()
    assert (weights[:, 1] == counts["c"]).all()
    assert (weights[:, 2] == counts["a"]).all()  # someone swapped onto themselves is one person
    assert (weights[:, 3] == counts["b"]).all()


def test_strata_keep_data_sets_apart_and_draw_shared_people_once() -> None:
    assert strata_of([("a", "b"), ("c",)], [("c", "d"), ("e",)]) == [["a", "b", "c"], ["d", "e"]]


def test_estimates_are_the_metrics_of_all_data() -> None:
    study = Study(everybody(6), (1, 1, 0.5), 1.0)
    rng = np.random.default_rng(0)
    before, after = study.sample(rng), study.sample(rng) + study.labels
    found, counts = estimate(study, before, after, 0)
    plain = {key: roc_auc_score(study.labels, scores) for key, scores in (("before", before), ("after", after))}
    for key, area in plain.items():
        assert found[f"{key}.auc"].value == pytest.approx(area)
    assert found["gain.auc"].value == pytest.approx(plain["after"] - plain["before"])
    assert counts == {"people": 6, "resamples": 400, "redrawn": counts["redrawn"]}
    for name, each in found.items():
        assert each.low <= each.value <= each.high, name
    assert estimate(study, before, after, 0)[0] == found  # the seed decides


def test_pairing_narrows_a_difference() -> None:
    """The same people before and after: the interval of the gain ignores how different people are."""
    study = Study(everybody(10), (1.5, 0.3, 0.1), 0.5)
    rng = np.random.default_rng(1)
    before = study.sample(rng)
    after = before + 0.5 * study.labels
    found, _ = estimate(study, before, after, 0)
    width = {name: found[name].high - found[name].low for name in ("before.auc", "after.auc", "gain.auc")}
    assert width["gain.auc"] < 0.8 * min(width["before.auc"], width["after.auc"])


def test_clips_of_the_same_people_are_not_new_evidence() -> None:
    """Eight times the fakes of the same six people narrow the interval far less than eight times the people would."""
    rng = np.random.default_rng(2)
    small = Study(everybody(6), (1, 1, 0.3), 1.0)
    many = Study(everybody(6) * 8, (1, 1, 0.3), 1.0)
    widths = []
    for study in (small, many):
        found = [estimate(study, x := study.sample(rng), x, i, 100)[0]["before.detection_rate"] for i in range(8)]
        widths.append(np.mean([each.high - each.low for each in found]))
    assert widths[1] > 0.6 * widths[0]  # resampling clips would have made it about a third


def test_a_perfect_score_is_not_certain() -> None:
    study = Study(everybody(6), (0.1, 0.1, 0.1), 20.0)
    logits = study.sample(np.random.default_rng(3)) - 8 * (1 - study.labels)
    found, _ = estimate(study, logits, logits, 0)
    rate = found["before.detection_rate"]
    assert (rate.value, rate.high, rate.note) == (1, 1, AT_LIMIT)
    assert rate.low == pytest.approx(0.05 ** (1 / 6))  # no failure in six trials, one-sided
    assert found["before.auc"].low == pytest.approx(1 - (1 - 0.05 ** (1 / 6)) / 2)
    assert found["before.false_alarm_rate"].high == pytest.approx(1 - 0.05 ** (1 / 6))
    gain = found["gain.detection_rate"]
    assert gain.value == 0
    assert gain.low < -0.3
    assert gain.high > 0.3


def test_no_change_in_any_clip_is_not_certainty_of_none() -> None:
    study = Study(everybody(6), (1, 1, 1), 0.8)
    logits = study.sample(np.random.default_rng(4))
    gain = estimate(study, logits, logits, 0)[0]["gain.detection_rate"]
    assert gain.note == UNCHANGED
    assert gain.high == pytest.approx(1 - 0.05 ** (1 / 6))
    assert gain.low == -gain.high


def test_the_same_in_every_resample_is_not_certain() -> None:
    """Both clips of everybody are called alike: accuracy is a half however people are drawn."""
    clips = [(f"p{i % 8}",) for i in range(16)]
    right = np.array([1.0, 0.0] * 4 + [0.0, 1.0] * 4)  # of each person one clip is called rightly
    found, _ = intervals(lambda w: {"accuracy": w @ right / w.sum(1)}, clips, usable=lambda w: w.sum(1) > 0)
    each = found["accuracy"]
    assert (each.value, each.note) == (0.5, UNVARIED)
    assert each.high - 0.5 == pytest.approx(1 - 0.05 ** (1 / 8)) == 0.5 - each.low


def test_too_few_people_get_no_interval() -> None:
    study = Study(everybody(3), (1, 1, 1), 1)
    logits = study.sample(np.random.default_rng(5))
    found, counts = estimate(study, logits, logits, 0)
    assert all(each.low is None and "3 people" in each.note for each in found.values())
    assert found["gain.auc"].value == 0
    assert counts["resamples"] == 0


def test_a_figure_is_as_unsure_as_what_it_rests_on() -> None:
    """Twenty people in the reals do not make two people's fakes say more."""
    clips = [("p0", "p1"), ("p1", "p0"), *((f"p{i}",) for i in range(20))]

    def statistic(w):
        return {"fakes": w[:, :2].sum(1) / w[:, :2].sum(1), "reals": w[:, 2:].sum(1) / w[:, 2:].sum(1)}

    found, _ = intervals(
        statistic,
        clips,
        usable=lambda w: (w[:, :2].sum(1) > 0) & (w[:, 2:].sum(1) > 0),
        units=lambda name: 2 if name == "fakes" else 20,
    )
    assert found["fakes"].low is None
    assert "2 people or clips" in found["fakes"].note
    assert found["reals"].low == pytest.approx(0.05 ** (1 / 20))


def test_one_class_resamples_are_drawn_again_and_counted() -> None:
    study = Study([(0, 1), (1, 0), (2, 3)], (1, 1, 1), 1)
    logits = study.sample(np.random.default_rng(6))
    found, counts = estimate(study, logits, logits, 0)
    assert counts["resamples"] == 400
    assert counts["redrawn"] > 50  # no couple is whole in many of them
    assert found["before.auc"].low is not None


def test_resamples_that_never_work_give_no_interval() -> None:
    weights_never = intervals(
        lambda w: {"x": w[:, 0]}, [("a",), ("b",), ("c",), ("d",)], usable=lambda w: np.zeros(len(w), bool)
    )
    assert weights_never[0]["x"].note.startswith("no interval")


def test_ratios_only_of_what_is_surely_there() -> None:
    rng = np.random.default_rng(7)
    clips = [(f"p{i}",) for i in range(20)]
    x, y, noise = 0.7 + rng.normal(0, 0.03, 20), 0.2 + rng.normal(0, 0.03, 20), rng.normal(0, 0.2, 20)
    z = y + 0.02 + noise - noise.mean()

    def statistic(w):
        return {name: w @ value / w.sum(1) for name, value in (("x", x), ("y", y), ("z", z), ("w", (x + y) / 2))}

    found, _ = intervals(
        statistic,
        clips,
        usable=lambda w: w.sum(1) > 0,
        differences={"drop": ("x", "y"), "back": ("w", "y"), "none": ("z", "y")},
        ratios={"share": ("back", "drop"), "void": ("back", "none")},
    )
    assert found["share"].value == pytest.approx(0.5)
    assert 0.4 < found["share"].low <= 0.5 <= found["share"].high < 0.6
    assert found["void"].value is None


def test_small_sample_factor_is_students() -> None:
    for people in (4, 5, 8, 20, 100):
        for confidence in (0.9, 0.95, 0.99):
            t, z = stats.t.ppf((1 + confidence) / 2, people - 1), stats.norm.ppf((1 + confidence) / 2)
            expected = np.sqrt(people / (people - 1)) * t / z
            assert small_sample(people, confidence) == pytest.approx(expected)


def test_as_dict_is_for_json() -> None:
    assert Estimate(value=0.1 + 0.2).as_dict() == {"value": 0.3, "low": None, "high": None}
    assert Estimate(value=None, note="why").as_dict()["note"] == "why"


DESIGNS = [(everybody, 6), (everybody, 8), (everybody, 12), (ring, 12), (couples, 12), (couples, 24)]
SPREADS = [(1, 1, 0.5), (0.7, 0.7, 1.2), (0.3, 0.3, 1.5)]


def coverage(studies: int, seed: int = 0) -> dict[str, list[float]]:
    """Share of studies whose 95 % interval holds the truth, one value a design and spread, for every figure."""
    rng = np.random.default_rng(seed)
    covered: dict[str, list[float]] = {}
    for (design, people), spread in itertools.product(DESIGNS, SPREADS):
        noisier = (*spread[:2], float(np.hypot(spread[2], 0.3)))
        old, new = Study(design(people), spread, 1.0), Study(design(people), noisier, 2.0)
        truth = {f"before.{k}": v for k, v in old.truth().items()} | {f"after.{k}": v for k, v in new.truth().items()}
        truth |= {f"gain.{k}": truth[f"after.{k}"] - v for k, v in old.truth().items()}
        hits = dict.fromkeys(truth, 0)
        for i in range(studies):
            before = old.sample(rng)
            after = before + (new.shift - old.shift) * old.labels + rng.normal(0, 0.3, len(before))
            found, _ = estimate(old, before, after, i)
            for name, value in truth.items():
                hits[name] += found[name].low - 1e-9 <= value <= found[name].high + 1e-9
        for name, count in hits.items():
            covered.setdefault(name, []).append(count / studies)
    return covered


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_coverage_of_nominal_95_per_cent() -> None:
    covered = coverage(200)
    for name, shares in covered.items():
        print(f"{name:26s} mean {np.mean(shares):.3f} from {min(shares):.3f} to {max(shares):.3f}")
    for name, shares in covered.items():
        assert 0.92 <= np.mean(shares) <= 0.995, name
        assert min(shares) >= 0.85, name
