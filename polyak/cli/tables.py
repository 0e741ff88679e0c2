"""The tables of scores that the command prints: one row per seed and one for all."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from polyak.runs.run import Run
    from polyak.runs.scores import Summary


class Printing(Protocol):
    """Options that say what to print."""

    @property
    def quiet(self) -> bool:
        """Print nothing."""

    @property
    def json(self) -> bool:
        """Print one JSON object."""


def report(run: "Run", options: Printing) -> None:
    """Print the result of training: one object if `options.json`, nothing if `options.quiet`, else the table."""
    if options.json:
        print(one_object({"run": str(run.folder), "scores": run.scores, "seconds": run.record.seconds}))
    elif not options.quiet:
        from polyak.runs import trust

        table(run.scores)
        exploring = [value for value in run.record.exploring_returns or [] if value is not None]
        if exploring:
            mean = sum(exploring) / len(exploring)
            print(f"with exploration, the newest 20 training episodes of each seed returned {mean:.1f}")
        if run.record.warning:
            print(run.record.warning)
        print(f"run: {run.folder}  ({trust.command('watch', run.folder, run.record)})")


def one_object(content: Mapping[str, object]) -> str:
    """Return content as one JSON object; numbers that are not finite become null."""
    from polyak.runs.files import plain

    return json.dumps(plain(content), allow_nan=False)


def table(scores: Mapping[str, "Summary"]) -> None:
    """Print one row per seed and one for all, for the best and the final policies."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from polyak.runs.scores import STATISTICS

    results = list(scores.values())
    acting = "without exploration" if results[0]["deterministic"] else "exploring"
    print(f"return {acting}, {results[0]['episodes']} fresh episodes per seed, mean ± deviation:")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("seed", overflow="fold")
    for which in scores:
        table.add_column(f"{which} policy", justify="right", overflow="fold")
    for rows in zip(*(result["per_seed"] for result in results), strict=True):
        cells = [f"{row['return_mean']:.1f} ± {row['return_std']:.1f}" for row in rows]
        table.add_row(str(rows[0]["seed"]), *cells)
    table.add_section()
    # for a single seed the statistic is the mean over its episodes, which equals the IQM over one seed
    cells = [f"{r['return_iqm']:.1f} [{r['ci95'][0]:.1f}, {r['ci95'][1]:.1f}]" for r in results]
    statistic = STATISTICS[results[0]["statistic"]]
    table.add_row(statistic, *cells)
    Console().print(table)
    print(f"{statistic} [95 % bootstrap interval] over {results[0]['ci95_over']}")
    for which, result in scores.items():
        if cut := result.get("cut_episodes"):
            played = result["episodes"] * len(result["per_seed"])
            print(
                f"{cut} of {played} episodes of the {which} policy were cut before they ended;"
                " --plan.evaluation-steps sets after how many steps"
            )
