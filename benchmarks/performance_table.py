"""Fill the tables of speed in the documentation from benchmarks/results, and draw their pictures.

  python benchmarks/performance_table.py           write docs/performance.md, README.md and docs/images
  python benchmarks/performance_table.py --check   change nothing; exit with 1 if a page is out of date

A table stands between the lines <!-- NAME:begin --> and <!-- NAME:end -->; all else on a page is written by hand.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measuring
import scaling
import throughput
from results_table import PageError, filled, table, update
from tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("SBX", "Stable-Baselines3", "plain PyTorch")
BLUE, RED, GRAY = "#1f5fa8", "#b0462a", "#8a8a8a"

Points = dict[str, dict[str, list[dict[str, Any]]]]  # axis → value → what was measured in each round


def load(root: Path, name: str) -> dict[str, Any]:
    """Read a result. Raises PageError where it is missing."""
    path = root / "benchmarks" / "results" / f"{name}.json"
    if not path.exists():
        raise PageError(f"{path} is missing: python benchmarks/{name}.py makes it")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def measured(root: Path) -> list[dict[str, Any]]:
    """Return the results that hold all tasks of an algorithm."""
    algorithms = dict.fromkeys(task.algorithm for task in TASKS.values())
    names = ["throughput" if algorithm == "ddpg" else f"throughput-{algorithm}" for algorithm in algorithms]
    there = [name for name in names if (root / "benchmarks" / "results" / f"{name}.json").exists()]
    return [load(root, name) for name in there]


def ratios(root: Path) -> list[dict[str, Any]]:
    """Return every ratio of training speed."""
    return [ratio for result in measured(root) for ratio in result["ratios"]]


def made_by(results: Sequence[dict[str, Any]]) -> str:
    """Say by which command, at which commit and on which day results were made, once for each."""
    rows = [(f"`{found['command']}`", (found["commit"] or "")[:7], found["date"][:10]) for found in results]
    return table(("made by", "commit", "on"), dict.fromkeys(rows))


def of_ratios(root: Path) -> str:
    """Make the table of all ratios beside what was asked of them."""
    rows = [
        (
            f"{ratio['task']}: {ratio['ratio']}",
            median(ratio),
            *(asked(ratio[of]) for of in ("must", "aim")),
            said(ratio),
        )
        for ratio in ratios(root)
    ]
    found = table(("", "ratio [least, most of the rounds]", "asked", "hoped for", ""), rows)
    return f"{found}\n\n{made_by(measured(root))}"


def median(ratio: dict[str, Any]) -> str:
    """Write a median with its spread."""
    return throughput.cell(ratio, ".2f" if ratio["median"] < 4 else ".1f")


def asked(figure: float | None) -> str:
    """Write what a ratio should be."""
    return f"{figure:g}" if figure else ""


def said(ratio: dict[str, Any]) -> str:
    """Say whether a ratio is what it should be."""
    return {"for information": "", "MISSED": "**missed**"}.get(verdict := throughput.verdict(ratio), verdict)


def at_a_glance(root: Path) -> str:
    """Make the table of what is trained against the peers."""
    rows: dict[str, dict[str, str]] = {}
    for ratio in ratios(root):
        ours, _, theirs = ratio["ratio"].partition(" / ")
        peer = next((peer for peer in PEERS if theirs.startswith(peer)), None)
        if peer is not None:
            what, _, other = ratio["task"].partition(" / ")
            beside = f", the other: {other}" if other else ""
            rows.setdefault(what + ours.removeprefix("polyak") + beside, {})[peer] = median(ratio)
    return table(
        ("polyak against", *PEERS), [(what, *(row.get(peer, "–") for peer in PEERS)) for what, row in rows.items()]
    )


def of_scaling(root: Path) -> str:
    """Make the table of every point of the scaling curves."""
    result, rows = load(root, "scaling"), []
    for axis, of_axis in result["points"].items():
        for value, points in of_axis.items():
            if "env_steps_per_second" in points[0]:
                middle = measuring.spread([point["env_steps_per_second"] for point in points])["median"]
                rows.append((axis, f"{int(value):,}", f"{middle:,.0f} env steps/s", "", "", ""))
            else:
                times = measuring.spread([1e6 * point["seconds_per_update"] for point in points])
                over = measuring.spread([scaling.over_products(point) for point in points])
                shown, wanted = throughput.cell(over, ".2f"), near_products(axis, value, over["median"])
                rows.append((axis, f"{int(value):,}", "", f"{times['median']:,.0f} µs", shown, wanted))
    found = table(("axis", "value", "speed", "an update", "over its products [least, most]", "asked"), rows)
    return f"{found}\n\n{made_by([result])}"


FLOORS = {("width", "256"): (1.35, 1.15), ("batch", "256"): (1.35, 1.15)}  # asked and hoped for of 256-256, batch 256


def near_products(axis: str, value: str, middle: float) -> str:
    """Say whether an update is as near to its products as was asked."""
    must, aim = FLOORS.get((axis, value), (None, None))
    if must is None or aim is None:
        return ""
    return f"≤ {must}, {'aim reached' if middle <= aim else 'met' if middle <= must else '**missed**'}"


def of_start(root: Path) -> str:
    """Make the table of seconds from the start of a process."""
    result = load(root, "cold_start")
    found = table(("", "seconds [least, most]"), [(what, median(s)) for what, s in result["seconds"].items()])
    return f"{found}\n\n{made_by([result])}"


TABLES: dict[str, dict[str, Callable[[Path], str]]] = {
    "docs/performance.md": {"ratios": of_ratios, "scaling": of_scaling, "start": of_start},
    "README.md": {"speed": at_a_glance},
}


def pages(root: Path) -> dict[Path, str]:
    """Return what each page must contain. Raises PageError where a mark is missing."""
    texts = {}
    for name, tables in TABLES.items():
        page = root / name
        text = page.read_text(encoding="utf-8")
        for mark, make in tables.items():
            text = filled(page, make(root), mark, text)
        texts[page] = text
    return texts


def draw_ratios(root: Path, out: Path) -> None:
    """Draw a bar for every peer, on a logarithmic scale on which 1 is as fast."""
    from matplotlib import pyplot as plt

    named = [r for r in ratios(root) if any(r["ratio"].partition(" / ")[2].startswith(peer) for peer in PEERS)]
    labels = ["\n".join((*r["task"].split(" / "), r["ratio"])) for r in named]
    figure, panel = plt.subplots(figsize=(10, 0.42 * len(named) + 1), layout="constrained")
    medians, places = [r["median"] for r in named], range(len(named))
    spread = [[abs(r["median"] - r[end]) for r in named] for end in ("min", "max")]
    panel.barh(places, medians, xerr=spread, color=BLUE, height=0.7, error_kw={"ecolor": GRAY, "lw": 1})
    wanted = [(r["must"], i) for i, r in enumerate(named) if r["must"]]
    panel.plot([must for must, _ in wanted], [i for _, i in wanted], "|", color=RED, ms=12, mew=2, label="asked")
    for i, median in enumerate(medians):
        panel.annotate(f"{median:.1f}", (1.03, i), color="white", va="center", fontsize=8)
    panel.set(xscale="log", xlim=(1, None), yticks=places, xlabel="environment steps per second, polyak over the other")
    panel.set_yticklabels(labels, fontsize=7)
    ticks = [1, 2, 5, 10, 20, 50]
    panel.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    panel.margins(y=0.01)
    panel.set_axisbelow(True)
    panel.grid(axis="x", alpha=0.3)
    panel.invert_yaxis()
    panel.legend(frameon=False, loc="upper right", bbox_to_anchor=(1.0, 0.75))
    figure.savefig(out, dpi=110)


def draw_scaling(points: Points, about: dict[str, str], out: Path) -> None:
    """Draw a panel for each axis, and the roofline."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for panel, (axis, of_axis) in zip(panels.flat, points.items(), strict=False):
        values = [int(value) for value in of_axis]
        rates = "env_steps_per_second" in next(iter(of_axis.values()))[0]
        key, scale = ("env_steps_per_second", 1.0) if rates else ("seconds_per_update", 1e6)
        spreads = [measuring.spread([scale * point[key] for point in of_value]) for of_value in of_axis.values()]
        medians = [spread["median"] for spread in spreads]
        below, above = ([abs(s["median"] - s[end]) for s in spreads] for end in ("min", "max"))
        panel.errorbar(values, medians, yerr=(below, above), marker="o", color=BLUE, label="measured")
        if not rates:
            floor = [1e6 * min(p["flops"] / p["flops_per_second"] for p in of_value) for of_value in of_axis.values()]
            panel.plot(values, floor, linestyle="--", color=RED, label="its products alone")
            panel.legend(frameon=False, loc="upper left")
        panel.set(xscale="log", yscale="log", ylim=(min(medians) / 8, max(medians) * 3))
        panel.set_title(about[axis], fontsize=10)
        panel.set_ylabel("environment steps per second" if rates else "microseconds per update")
        panel.grid(alpha=0.3)
    draw_roofline(panels.flat[-1], points)
    figure.savefig(out, dpi=110)


def draw_roofline(panel: Any, points: Points) -> None:
    """Draw what updates reach of the machine's rate, by the size of their products."""
    for axis, marker in (("width", "o"), ("batch", "s")):
        of_axis = points.get(axis, {})
        best = [min(of_value, key=lambda point: point["seconds_per_update"]) for of_value in of_axis.values()]
        reached = [point["flops"] / point["seconds_per_update"] / 1e9 for point in best]
        panel.plot([point["flops"] / 1e6 for point in best], reached, marker=marker, color=BLUE, label=f"by {axis}")
    everything = [p for of_axis in points.values() for of_value in of_axis.values() for p in of_value if "flops" in p]
    if everything:
        roof = measuring.spread([point["flops_per_second"] / 1e9 for point in everything])["median"]
        panel.axhline(roof, linestyle="--", color=RED, label="a product of 1024-1024")
    panel.set(xscale="log", yscale="log", title="roofline", xlabel="million operations of an update's products")
    panel.set_ylabel("billion operations per second")
    panel.legend(frameon=False, loc="lower right", fontsize=8)
    panel.grid(alpha=0.3)


def draw(root: Path) -> None:
    """Draw the pictures."""
    import matplotlib

    matplotlib.use("Agg")
    images = root / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    draw_ratios(root, images / "throughput.png")
    about = {axis: words for axis, (words, *_) in scaling.AXES.items()}
    draw_scaling(load(root, "scaling")["points"], about, images / "scaling.png")


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a page is out of date")
    options = parser.parse_args(words)
    try:
        texts = pages(root)
    except (PageError, OSError) as error:
        print(f"performance_table.py: {error}", file=sys.stderr)
        return 1
    stale = update(texts, root, options.check)
    if not options.check:
        draw(root)
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
