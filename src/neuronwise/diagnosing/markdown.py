"""A diagnosis as Markdown, for a file beside the run: names out of data and models stay text, whatever is in them."""

from __future__ import annotations

import re

from neuronwise.diagnosing.causes import SYMPTOMS
from neuronwise.diagnosing.diagnosis import Diagnosis, Finding

_MARKS = re.compile(r"([\\`*_\[\]<>#|~&$])")
# What begins an item of a list.
_FIRST = re.compile(r"^(\d*)([-+.)])")


def markdown(found: Diagnosis, title: str) -> str:
    """Return a diagnosis as a Markdown document.

    Args:
        found: The diagnosis.
        title: Of whom it is.
    """
    lines = [f"# {text(title)}", ""]
    learned = f" {found.learned}" if found.learned else ""
    if not found.findings:
        lines += [f"Nothing wrong was found in {found.steps:,} steps.{learned}", ""]
    for place, one in enumerate(found.findings):
        lines += _finding(one, learned if place == 0 else "")
    if found.symptoms and not found.findings:
        lines += [*(f"- {text(one.sentence)}" for one in found.symptoms), ""]
    for heading, sentences in (
        ("Remarks", [one.sentence for one in found.remarks]),
        ("Looked at", found.checked),
        ("Not looked at", found.missing),
    ):
        if sentences:
            lines += [f"## {heading}", "", *(f"- {text(one)}" for one in sentences), ""]
    return "\n".join(lines)


def _finding(one: Finding, learned: str) -> list[str]:
    lines = [f"## {text(one.title)}", "", f"`{one.cause}`, confidence {one.confidence:.0%}.{learned}", ""]
    lines += [text(one.student), "", f"*For experts:* {text(one.expert)} ({text(one.reference)})", ""]
    where = ", ".join(one.layers[:10]) + (" …" if len(one.layers) > 10 else "")
    facts = [("Where", where), ("Neurons", ", ".join(one.neurons[:10]) + (" …" if len(one.neurons) > 10 else ""))]
    if one.first_step is not None:
        facts.append(("Since step", f"{one.first_step:,}"))
    facts.append(("Shows as", "; ".join(f"{name} ({SYMPTOMS[name]})" for name in one.symptoms)))
    lines += [f"- {name}: {text(words)}" for name, words in facts if words]
    if one.evidence:
        lines += ["", "| what was measured | value | limit | where the limit is from |", "| --- | ---: | ---: | --- |"]
        for each in one.evidence:
            side = "above" if each.is_above else "below"
            lines.append(f"| `{each.quantity}` | {each.value:.4g} | {side} {each.threshold:g} | {text(each.source)} |")
    fence = "`" * (max((len(run) for run in re.findall("`+", one.treatment.line)), default=0) + 3)
    return [*lines, "", f"**Try:** {text(one.treatment.sentence)}", "", fence, one.treatment.line, fence, ""]


def text(words: str) -> str:
    """Return words that Markdown takes for nothing else: in one line, its marks escaped."""
    plain = _MARKS.sub(r"\\\1", " ".join(words.split()))
    return _FIRST.sub(r"\1\\\2", plain)
