"""What was found: the verdict in one sentence, the sentences behind it, and what to read before quoting them."""

from __future__ import annotations

from collections.abc import Mapping

from stress.report.words import Results, interval, number, several, signed, spread, within

__all__ = ["caution", "details", "headline", "suspect", "verdict"]


def headline(results: Results) -> list[str]:
    """The verdict, and then the sentences behind it."""
    return [verdict(results), *details(results)]


def suspect(results: Results) -> bool:
    """Whether the audit found something other than faces that tells fakes from reals."""
    audit = results["audit"]
    if "suspect" in audit:
        return bool(audit["suspect"])
    return any(row["flag"] for row in audit["features"])


def verdict(results: Results) -> str:
    """One sentence: drop, recovery and forgetting of the AUC by video with their intervals, and what spoils them."""
    changes = results["changes"]
    parts = [f"{results['detector']['name']} {_drop(results)}", _recovery(results), _forgetting(results)]
    if suspect(results):
        found = "recovery" in changes
        parts.append(f"the audit found a shortcut{', so this recovery is suspect' if found else ' between them'}")
    if (results.get("gate") or {}).get("passed") is False:
        parts.append("but it misses its card's claims on its own data, so all of this may be a fault in how it is run")
    return "; ".join(part for part in parts if part) + "."


def _drop(results: Results) -> str:
    conditions, drop = results["conditions"], results["changes"].get("drop", {}).get("video", {}).get("auc")
    here, own = (conditions.get(name, {}).get("video", {}).get("auc") for name in ("before", "reference"))
    if here is None or here["value"] is None:
        return "could not be given an AUC on these fakes"
    if drop is None or drop["value"] is None or own is None:
        return f"tells these fakes from their reals with an AUC of {here['value']:.3f}{interval(here)}"
    levels = f"from {own['value']:.3f} on its own kind of data to {here['value']:.3f}"
    size = f"{abs(drop['value']):.3f}{interval(drop, -1 if drop['value'] < 0 else 1)}"
    if _sure(drop):
        return f"{'loses' if drop['value'] > 0 else 'gains'} {size} of AUC on these fakes ({levels})"
    return f"shows no sure drop in AUC on these fakes ({number(drop['value'])}{interval(drop)}: {levels})"


def _recovery(results: Results) -> str:
    recovery = results["changes"].get("recovery", {}).get("video", {}).get("auc")
    if recovery is None or recovery["value"] is None:
        return "" if "after" in results["conditions"] else "nothing is said about recovery"
    if not _sure(recovery):
        return f"fine-tuning brings no sure change ({signed(recovery['value'])}{spread(recovery)})"
    if recovery["value"] < 0:
        return f"fine-tuning makes it worse by {-recovery['value']:.3f}{interval(recovery, -1)}"
    share = results["changes"].get("recovery_share", {}).get("video", {}).get("auc") or {"value": None}
    won = f"{recovery['value']:.3f}{interval(recovery)}"
    if share["value"] is None:
        return f"fine-tuning adds {won}"
    return f"fine-tuning wins back {won}, {within(share)} of the drop"


def _forgetting(results: Results) -> str:
    lost = results["changes"].get("forgetting", {}).get("video", {}).get("auc")
    if lost is None or lost["value"] is None:
        return ""
    if not _sure(lost):
        return f"no sure forgetting of its own kind of data ({number(lost['value'])}{interval(lost)})"
    if lost["value"] < 0:
        return f"its own kind of data gains {-lost['value']:.3f}{interval(lost, -1)}"
    return f"of its own kind of data it forgets {lost['value']:.3f}{interval(lost)}"


def _sure(figure: Mapping[str, float | None]) -> bool:
    """Whether the interval leaves out 0."""
    low, high = figure["low"], figure["high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def details(results: Results) -> list[str]:
    """The rates behind the verdict: one sentence on the stress fakes, one on fine-tuning, one on what it cost."""
    conditions, changes = results["conditions"], results["changes"]
    before = conditions["before"]
    n = before["n"]
    caught = before["video"]["detection_rate"]
    basis = f"{several(n['fakes']['clips'], 'fake')}, {several(n['all']['people'], 'person')}"
    sentence = f"At its own threshold it detects {within(caught)} of the stress fakes (n = {basis})"
    own = conditions.get("reference")
    if own:
        reference = own["video"]["detection_rate"]
        sentence += f", {_against(caught['value'], reference['value'])} {within(reference)} on its own kind of data"
    alarms = before["video"]["false_alarm_rate"]
    sentence += f", and calls {within(alarms)} of the reals fake."
    sentences = [sentence]
    if "after" in conditions:
        after, tested = conditions["after"]["video"], conditions["before_tested"]
        text = f"Fine-tuned on people it is not tested on, it detects {within(after['detection_rate'])}"
        if tested["n"]["fakes"]["clips"] != n["fakes"]["clips"]:
            text += (
                f" of the {several(tested['n']['fakes']['clips'], 'fake')} that could be tested so"
                f" (before: {within(tested['video']['detection_rate'])})"
            )
        sentences.append(f"{text}, and calls {within(after['false_alarm_rate'])} of the reals fake.")
    else:
        sentences.append(f"Nothing is said about recovery: {results['finetune']['reason']}.")
    if "forgetting" in changes:
        left = conditions["base_after"]["video"]["detection_rate"]
        sentences.append(f"On its own kind of data it then detects {within(left)}.")
    elif not own:
        sentences.append("No data of its own kind was given, so no drop and no forgetting are stated.")
    return sentences


def _against(value: float, reference: float) -> str:
    if abs(value - reference) < 0.02:
        return "much like the"
    return "down from" if value < reference else "up from"


def caution(results: Results) -> list[str]:
    """What should be read before the figures are believed."""
    gate = results.get("gate") or {}
    found = [*results["warnings"], *results["audit"]["warnings"]]
    if gate.get("passed") is False and gate.get("reason") not in found:
        found.insert(0, f"Gate not passed: {gate.get('reason') or 'see below'}")
    people = results["conditions"]["before"]["n"]["all"]["people"]
    if people < 10:
        found.append(f"All of this rests on {several(people, 'person')}. The intervals say how little that is.")
    left_out = len(results["finetune"]["left_out"])
    if results["finetune"]["done"] and left_out:
        found.append(
            f"{several(left_out, 'fake')} joined people of different folds and could not be tested after fine-tuning; "
            "recovery is measured on the others, before and after."
        )
    if results["failures"]:
        found.append(f"{several(len(results['failures']), 'failure')}: see Left out.")
    return list(dict.fromkeys(found))
