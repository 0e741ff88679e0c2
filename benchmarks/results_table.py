"""Fill the tables of learning results in the documentation from benchmarks/results/learning-*.json.

  python benchmarks/results_table.py           write README.md, docs/results.md and every algorithm's page
  python benchmarks/results_table.py --check   change nothing; exit with 1 if a page or a result is out of date
  python benchmarks/results_table.py --show    print the tables of docs/results.md, change nothing

A table stands between the lines <!-- results:begin --> and <!-- results:end -->; all else on a page is written by hand.
A result is out of date where its command no longer gives the settings that it was made with. Checking needs polyak.
"""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NONE = "No result has been recorded yet."
SCORES = ("steps", "seeds", "final policy: IQM [95 % interval]", "mean", "worst seed", "best policy: IQM")

Fields = dict[str, Any]  # of settings, as in JSON


class PageError(Exception):
    """A page or a result is not as it must be; the message names it."""


@dataclass(frozen=True)
class Result:
    """One file of `learning.py`."""

    path: Path
    algorithm: str
    task: str
    preset: str
    steps: int
    seeds: int
    final: dict[str, Any]
    best: dict[str, Any]
    command: str
    config: dict[str, Any]
    plan: dict[str, Any]

    @property
    def order(self) -> tuple[str, str, bool, int, str]:
        """Sort by task, then algorithm, the default preset first, then by steps."""
        return self.task, self.algorithm, self.preset != "default", self.steps, self.preset

    @property
    def settings(self) -> str:
        """Name the preset, and say where the command changes some of its settings."""
        changed = any(word.startswith(("--config.", "--plan.")) for word in shlex.split(self.command))
        return f"`{self.preset}`, changed" if changed else f"`{self.preset}`"

    @property
    def scores(self) -> tuple[str, ...]:
        """Return what the columns SCORES hold."""
        final, (low, high) = self.final, self.final["ci95"]
        return (
            f"{self.steps:,}".replace(",", " "),
            str(self.seeds),
            f"{number(final['return_iqm'])} [{number(low)}, {number(high)}]",
            number(final["return_mean"]),
            number(min(seed["return_mean"] for seed in final["per_seed"])),
            number(self.best["return_iqm"]),
        )


def read(path: Path) -> Result:
    """Read one result. Raises PageError if it lacks something."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Result(
            path=path,
            algorithm=found["algorithm"],
            task=found["env"],
            preset=found["preset"],
            steps=found["env_steps"],
            seeds=len(found["seeds"]),
            final=found["scores"]["final"],
            best=found["scores"]["best"],
            command=without(("--out",), found["command"]),
            config=dict(found["config"]),
            plan=dict(found["plan"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PageError(f"{path} is not a result of learning.py: {type(error).__name__} {error}") from error


def without(flags: Sequence[str], command: str) -> str:
    """Leave flags and their values out of a command."""
    kept: list[str] = []
    skipping = False
    for word in shlex.split(command):
        name, joined, _ = word.partition("=")
        if name not in flags and not skipping:
            kept.append(word)
        skipping = name in flags and not joined
    return shlex.join(kept)


def number(value: float) -> str:
    """Write a return: with one decimal below a thousand, whole above."""
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(header)}", *lines[1:]])


def by_task(results: Sequence[Result], docs: Path) -> str:
    """Make a heading and a table for each task, with a link to each algorithm's page."""

    def link(name: str) -> str:
        return f"[`{name}`](algorithms/{name}.md)" if (docs / "algorithms" / f"{name}.md").exists() else f"`{name}`"

    parts = []
    for task, group in groupby(sorted(results, key=lambda result: result.order), key=lambda result: result.task):
        rows = [(link(r.algorithm), r.settings, *r.scores, f"`{r.command}`") for r in group]
        parts.append(f"## {task}\n\n{table(('algorithm', 'preset', *SCORES, 'command'), rows)}")
    return "\n\n".join(parts) or NONE


def of_algorithm(results: Sequence[Result], name: str) -> str:
    """Make the table of one algorithm's page."""
    own = sorted((result for result in results if result.algorithm == name), key=lambda result: result.order)
    rows = [(f"{r.task}, {r.settings}", *r.scores, f"`{r.command}`") for r in own]
    return table(("task, preset", *SCORES, "command"), rows) if rows else NONE


def at_a_glance(results: Sequence[Result]) -> str:
    """Make one short table of what the default presets reach."""
    own = sorted((result for result in results if result.settings == "`default`"), key=lambda result: result.order)
    rows = [(r.task, f"[`{r.algorithm}`](docs/algorithms/{r.algorithm}.md)", *r.scores[:3]) for r in own]
    return table(("task", "algorithm", *SCORES[:3]), rows) if rows else NONE


def filled(page: Path, content: str, mark: str = "results", text: str | None = None) -> str:
    """Return a page's text, or the one given, with new content between its marks.

    Raises PageError unless each mark is there once.
    """
    text = page.read_text(encoding="utf-8") if text is None else text
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise PageError(f"{page} must have the line {begin} once, and after it the line {end} once")
    return f"{text[: text.index(begin)]}{begin}\n\n{content}\n\n{text[text.index(end) :]}"


def results_in(root: Path) -> list[Result]:
    """Read every result."""
    return [read(path) for path in sorted((root / "benchmarks" / "results").glob("learning-*.json"))]


def pages(results: Sequence[Result], root: Path) -> dict[Path, str]:
    """Return what each page that has results must contain."""
    docs = root / "docs"
    wanted = {docs / "results.md": by_task(results, docs)}
    if (root / "README.md").exists():
        wanted[root / "README.md"] = at_a_glance(results)
    wanted |= {page: of_algorithm(results, page.stem) for page in sorted((docs / "algorithms").glob("*.md"))}
    return {page: filled(page, content) for page, content in wanted.items()}


def outdated(result: Result) -> list[str]:
    """Say which settings of a result its command no longer gives; those added since may be missing at their default."""
    from polyak import UsageError

    try:
        preset, today = settings_today(result)
    except UsageError as error:
        return [f"its command is refused today: {error}"]
    changed = [] if preset == result.preset else [f"preset is {result.preset}, in its command {preset}"]
    for part, then in (("config", result.config), ("plan", result.plan)):
        now, defaults = today[part]
        assumed = {**defaults, **then}
        for name in assumed:
            if name not in now:
                changed.append(f"{part}.{name} is no longer there")
            elif assumed[name] != now[name]:
                changed.append(f"{part}.{name} is {then.get(name, 'missing')}, today {now[name]}")
    return changed


def settings_today(result: Result) -> tuple[str, dict[str, tuple[Fields, Fields]]]:
    """Return what the command gives: the preset, and of config and plan the values and the defaults, as in JSON.

    Raises UsageError where it is refused.
    """
    from polyak import UsageError, algorithms
    from polyak.runs import files, presets
    from polyak.runs.settings import Asked, settings_for

    script, *words = shlex.split(result.command)[1:] or [""]
    if Path(script).name != "learning.py" or words[:2] != [result.algorithm, result.task]:
        raise UsageError(f"it is not learning.py {result.algorithm} {result.task}")
    learning = learning_script()
    asked = learning.asked_for(learning.parse(result.algorithm, result.task, words[2:]), words[2:])
    name, module = algorithms.find(result.algorithm)
    start = presets.find(name, asked["preset"], result.task)
    today = settings_for(name, module, start, Asked(asked["steps"], asked["config"], asked["plan"]))

    def both(settings: Any) -> tuple[Fields, Fields]:
        defaults = {field.name: field.default for field in dataclasses.fields(settings)}
        return files.plain(files.settings_to_json(settings)), files.plain(defaults)

    return asked["preset"], {"config": both(today.config), "plan": both(today.plan)}


def learning_script() -> Any:
    """Return learning.py, which reads its own flags."""
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.insert(0, str(ROOT / "benchmarks"))
    import learning

    return learning


def update(texts: dict[Path, str], root: Path, check: bool) -> list[Path]:
    """Write the pages that say something else, unless they are only checked; return and print which those are."""
    stale = [page for page, text in texts.items() if page.read_text(encoding="utf-8") != text]
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page.relative_to(root)}")
        if not check:
            page.write_text(texts[page], encoding="utf-8")
    return stale


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write, check or show; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a page or a result is out of date")
    parser.add_argument("--show", action="store_true", help="print the tables of docs/results.md")
    asked = parser.parse_args(words)
    try:
        results = results_in(root)
        texts = pages(results, root)
    except (PageError, OSError) as error:
        print(f"results_table.py: {error}", file=sys.stderr)
        return 1
    if asked.show:
        text = texts[root / "docs" / "results.md"]
        print(text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip())
        return 0
    stale = update(texts, root, asked.check)
    changed = [(result, field) for result in results for field in outdated(result)] if asked.check else []
    for result, field in changed:
        print(f"out of date: {result.path.relative_to(root)}: {field}")
    return 1 if asked.check and (stale or changed) else 0


if __name__ == "__main__":
    sys.exit(main())
