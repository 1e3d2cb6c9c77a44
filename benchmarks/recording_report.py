"""The tables of the benchmark of recording, its aims, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measuring import table

SMALL, LARGE = "784-16-16-10", "784-128-64-10"
# The kinds of training that the tables and aims name.
BARE, DEFAULT = "bare", "recording"
STATISTICS, SPACED = "recording, statistics_every=1", "recording, keyframe_every=500"

COST_AIMS = {SMALL: 1.02, LARGE: 1.01}  # times bare training
STATISTICS_AIM = 1.3
KEYFRAMES_AIM, BYTES_AIM = 200, 500_000_000  # at least, in 100,000 steps; at most
SEEK_AIM_MS, HISTORY_AIM_MS = 50, 5


def name_of(case: dict[str, Any]) -> str:
    return f"{case['network']}, {case['batch']}, {case['optimizer']}"


def describe(case: dict[str, Any]) -> str:
    """Return microseconds of bare training and the ratios of the others."""
    ratios = [f"{name} {kind['ratio_cpu']['median']:.3f}" for name, kind in case["kinds"].items() if name != BARE]
    return f"{name_of(case)}, {_microseconds(case, BARE)} µs: {'; '.join(ratios)}"


def _microseconds(case: dict[str, Any], name: str) -> str:
    return f"{1e6 * case['kinds'][name]['cpu_s']['median'] / case['steps']:,.1f}"


def as_table(result: dict[str, Any]) -> str:
    """Return what recording costs as a Markdown table."""
    return _costs(result["cost"], {"states": _states, "CPU, median epoch": _median_epoch}, 3)


def as_tools_table(result: dict[str, Any]) -> str:
    """Return the tools as a Markdown table."""
    return _costs(result["tools"], {"of the weights": lambda kind: kind["weights"]}, 2)


def _states(kind: dict[str, Any]) -> str:
    return str(kind["keyframes"])


def _median_epoch(kind: dict[str, Any]) -> str:
    return f"{kind['ratio_of_epochs_cpu']['median']:.3f}"


def _costs(cases: list[dict[str, Any]], extra: dict[str, Callable[[dict[str, Any]], str]], digits: int) -> str:
    rows = []
    for case in cases:
        for name, kind in case["kinds"].items():
            row = [f"{name_of(case)}: {name}", _microseconds(case, name)]
            if name == BARE:
                rows.append([*row, *[""] * (len(extra) + 4)])
                continue
            for clock in ("ratio_cpu", "ratio_wall"):
                median, least, most = (f"{kind[clock][one]:.{digits}f}" for one in ("median", "min", "max"))
                row.append(f"**{median}** ({least} to {most})")
            same = "yes" if kind["same_weights"] else "**no**"
            rows.append([*row, f"{kind['bytes'] / 1e6:.2f} MB", *(text(kind) for text in extra.values()), same])
    header = ["network, batch, optimizer: kind", "µs a step", "CPU, times bare", "wall, times bare", "written"]
    return table([*header, *extra, "same bits"], rows)


def as_reading_table(result: dict[str, Any]) -> str:
    """Return seeks and histories as two Markdown tables."""
    seeks = [
        [
            f"{name_of(case)}, {case['steps']:,} steps",
            f"{case['keyframes']:,}",
            f"{case['bytes'] / 1e6:.1f} MB",
            *(
                f"{case[kind]['median']:.1f} / **{case[kind]['p95']:.1f}** / {case[kind]['max']:.1f}"
                for kind in ("first_visit_ms", "warm_ms")
            ),
            f"{case['same_bits']} of {case['seeks']}",
        ]
        for case in result["seeks"]
    ]
    histories = [
        [
            name_of(case),
            f"{case['keyframes']:,}",
            f"{case['first_ms']:.2f}",
            f"**{case['further_ms']['median']:.2f}** / {case['further_ms']['max']:.2f}",
            f"{case['all_weights_ms']['median']:.2f} / {case['all_weights_ms']['max']:.2f}",
        ]
        for case in result["histories"]
    ]
    times = "ms: median / 95% / max"
    seek = ["seek any step of", "states", "on disk", f"first visit, {times}", f"warm, {times}", "same bits"]
    history = ["history of a weight", "states", "first call, ms", "further calls, ms: median / max"]
    history.append("all weights of a stored step, ms: median / max")
    return f"{table(seek, seeks)}\n\n{table(history, histories)}"


def footnote(result: dict[str, Any]) -> str:
    """Return which tools were not measured."""
    return " ".join(f"{note}." for note in result["notes"])


def aims_rows(result: dict[str, Any]) -> list[list[Any]]:
    """Return each aim, what was found, and whether it was met; a cost must be met in CPU and in wall time."""
    rows: list[list[Any]] = []
    for network, goal in COST_AIMS.items():
        cases = [case for case in result["cost"] if case["network"] == network]
        rows.append([f"recording {network}: {goal:g} times bare training", *_found_cost(cases, DEFAULT, goal)])
        what = f"statistics of the neurons at every step, {network}: {STATISTICS_AIM:g} times bare training"
        rows.append([what, *_found_cost(cases, STATISTICS, STATISTICS_AIM)])
    fewest = min(case["keyframes_per_100_000_steps"] for case in result["seeks"])
    most = max(case["bytes"] for case in result["seeks"])
    rows.append(
        [
            f"recording of 100,000 steps: {KEYFRAMES_AIM} states within {BYTES_AIM / 1e6:g} MB",
            f"at least {fewest:,.0f}, at most {most / 1e6:,.0f} MB",
            fewest >= KEYFRAMES_AIM and most <= BYTES_AIM,
        ]
    )
    for case in result["seeks"]:
        if case["network"] == LARGE:
            first, warm = case["first_visit_ms"]["p95"], case["warm_ms"]["p95"]
            what = f"95% of seeks in 100,000 steps of {LARGE}, {case['optimizer']}: {SEEK_AIM_MS} ms"
            rows.append([what, f"{warm:.1f} ms (at the first visit {first:.1f} ms)", warm <= SEEK_AIM_MS])
    slowest = max(case["further_ms"]["median"] for case in result["histories"])
    first = max(case["first_ms"] for case in result["histories"])
    rows.append(
        [
            f"history of a weight over 1,000 states: {HISTORY_AIM_MS} ms",
            f"{slowest:.2f} ms (first call {first:.1f} ms)",
            slowest <= HISTORY_AIM_MS,
        ]
    )
    return rows


def _found_cost(cases: list[dict[str, Any]], name: str, goal: float) -> tuple[str, bool]:
    """Return the ratios found, smallest to largest of the cases, and whether all meet the goal."""
    found = {clock: [case["kinds"][name][f"ratio_{clock}"]["median"] for case in cases] for clock in ("cpu", "wall")}
    texts = [f"{min(values):.3f} to {max(values):.3f} ({clock})" for clock, values in found.items()]
    return " and ".join(texts), max(max(values) for values in found.values()) <= goal


def aims_table(rows: list[list[Any]]) -> str:
    """Return aims as a Markdown table."""
    return table(["aim", "found", "met"], [[aim, found, "yes" if met else "**no**"] for aim, found, met in rows])
