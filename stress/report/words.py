"""Figures as words: shares, changes and intervals as they are written, what they rest on and how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Any]


def percent(value: float | None, digits: int = 0) -> str:
    """A share as per cent: 0.267 -> "27 %", without claiming 100 % or 0 % for what only rounds to it.

    >>> percent(0.267), percent(0.999), percent(1.0), percent(None)
    ('27 %', '99.9 %', '100 %', '–')
    """
    if value is None:
        return "–"
    text = f"{100 * value:.{digits}f}"
    if (float(text) == 100 and value < 1) or (float(text) == 0 and value > 0):
        text = f"{100 * value:.{digits + 1}f}"
    return f"{text} %"


def within(figure: Mapping[str, Any]) -> str:
    """A share with its interval: "27 % [12, 44]"."""
    if figure["low"] is None:
        return percent(figure["value"])
    return f"{percent(figure['value'])} [{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]"


def short(text: object, length: int = 12) -> str:
    """The beginning of a long key such as a hash."""
    text = str(text)
    return text if len(text) <= length else f"{text[:length]}…"


def plain(value: object) -> str:
    """A setting's value as a person writes it."""
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def several(count: int, name: str) -> str:
    """"1 fake", "2 fakes", "1 person", "3 people"."""
    if name == "person":
        return f"{count} person" if count == 1 else f"{count} people"
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def number(value: float | None, digits: int = 3) -> str:
    """A number with as many decimals and a true minus sign, or a dash for what is not known.

    >>> number(0.5), number(-0.25, 1), number(None)
    ('0.500', '−0.2', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def chance(p: float | None) -> str:
    """A p-value; never 0.

    >>> chance(0.0004), chance(0.0371), chance(None)
    ('< 0.001', '0.037', '–')
    """
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def signed(value: float, digits: int = 3) -> str:
    """A change with its sign; ± for what rounds to nothing."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return f"±{text}"
    return f"{'+' if value > 0 else '−'}{text}"


def interval(figure: Mapping[str, Any], sign: int = 1) -> str:
    """The interval of a figure (times ``sign``) in brackets after a space, or nothing: " [0.20, 0.44]"."""
    if figure["low"] is None:
        return ""
    low, high = sorted((sign * figure["low"], sign * figure["high"]))
    return f" [{number(low, 2)}, {number(high, 2)}]"


def spread(figure: Mapping[str, Any]) -> str:
    """The interval of a change, with signs: " [−0.02, +0.07]"."""
    if figure["low"] is None:
        return ""
    return f" [{signed(figure['low'], 2)}, {signed(figure['high'], 2)}]"


def basis(results: Results) -> list[tuple[str, str]]:
    """What each condition rests on: its name and "12 fakes and 8 reals, 320 frames, 8 people"."""
    names = {"reference": "Own data", "before": "Before", "before_tested": "Before, tested part", "after": "After"}
    found = []
    for name, label in names.items():
        n = results["conditions"].get(name, {}).get("n")
        if not n or (name == "before_tested" and n == results["conditions"]["before"]["n"]):
            continue
        text = f"{several(n['fakes']['clips'], 'fake')} and {several(n['reals']['clips'], 'real')}"
        text += f", {several(n['all']['frames'], 'frame')}, {several(n['all']['people'], 'person')}"
        found.append((label, text))
    return found


def methods(results: Results) -> list[tuple[str, str]]:
    """How the figures came about: heading and paragraph."""
    settings, finetune = results["settings"], results["finetune"]
    draws = results["resampling"]["video"]["stress"]
    found = [
        (
            "Scores",
            "Frames are spread evenly over each clip. A video's score is the "
            f"{settings.get('video_score', 'mean')} of its frames' scores; it is called fake from the detector's own "
            f"threshold, {results['detector']['threshold']:.3f} "
            f"({results['detector'].get('threshold_source', 'source unknown')}).",
        ),
        (
            "Intervals",
            f"{100 * settings['confidence']:g} %, from {draws['resamples']} resamples of the people, with replacement; "
            "a clip counts as often as its people were drawn, multiplied over source and target (Owen 2007; Snijders "
            "and Borgatti 1999). All columns see the same draws. Widths are corrected for few people and for few fakes "
            "a person; a figure at 0 % or 100 % gets the exact binomial limit with as many trials as people. In "
            "simulated studies of 6 to 24 people nominal 95 % intervals of AUC and of the rates held the truth in 95 "
            "to 99 % of cases on average and in 87 % in the worst design. "
            f"{draws['redrawn']} resamples that kept only fakes or only reals were drawn again.",
        ),
    ]
    if finetune["folds"]:
        lost = several(len(finetune["left_out"]), "fake")
        how = {
            "separate": "The people fall into groups that share no fake, and each fold tests one group.",
            "groups": "Each fold tests one group of people; the groups are chosen so that few fakes run between them. "
            f"{lost} that do are not tested.",
            "pairs": "The people are in groups, and each fold holds out two of them and tests the fakes between.",
        }[finetune["scheme"]]
        old = results["conditions"].get("after_old_threshold", {}).get("video")
        same = ""
        if old:
            same = (
                f" By the untouched detector's threshold instead {within(old['detection_rate'])} of the fakes would be "
                f"detected and {within(old['false_alarm_rate'])} of the reals called fake."
            )
        calibrated = results["conditions"].get("before_calibrated", {}).get("video")
        if calibrated:
            same += (
                " Left as it was and given only a threshold that suits the clips each fold was fine-tuned on, the "
                f"detector would detect {within(calibrated['detection_rate'])} and call "
                f"{within(calibrated['false_alarm_rate'])} of the reals fake: that much is calibration, not learning."
            )
        found.append(
            (
                "Fine-tuning",
                f"{len(finetune['folds'])} folds. No person and no source clip is both trained on and tested in any of "
                f"them. {how} The scores of all folds are pooled, each as the distance of its log odds "
                f"from its own detector's threshold, by which it is judged too.{same}",
            )
        )
    return found
