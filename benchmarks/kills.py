"""Kill runs, go on with them, and compare what they come to with a run that was not killed: bit for bit.

`python benchmarks/kills.py` kills 40 runs of each of five setups with SIGKILL: half of them in the middle of a write,
fsync, rename or removal, spread over all there are, half at random moments. Each is then resumed, or trained anew into
the same folder where nothing had been kept yet. *Stuck* is a run that neither takes to its end within two minutes,
*different* one whose policies, checkpoint, metrics (but for seconds), evaluations or scores are not those of the run
that was not killed, *left behind* one of which a process still ran five seconds after the kill.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measuring

SMALL = ["--plan.checkpoint-seconds", "0.05", "--plan.score-episodes", "2", "--plan.evaluations"]
SMALL += ["4", "--plan.evaluation-episodes", "2", "--quiet", "--steps", "400"]
REPLAY = ["--plan.batch", "8", "--plan.warmup", "40", "--plan.rollout-length", "10", "--plan.capacity", "150"]
ACTOR_CRITIC = ["--config.actor-layers", "8", "--config.critic-joint-layers", "8"]
POLICY_VALUE = ["--config.actor-layers", "8", "--config.value-layers", "8"]
SETUPS: dict[str, list[str]] = {
    "ddpg, 2 seeds": ["ddpg", "Pendulum-v1", *REPLAY, *ACTOR_CRITIC, "--seeds", "2"],
    "dqn, priorities, 3 steps": [
        *("dqn", "CartPole-v1", *REPLAY, "--config.layers", "8"),
        *("--config.priority-alpha", "0.6", "--config.n-step", "3"),
    ],
    "ppo": ["ppo", "Pendulum-v1", *POLICY_VALUE, "--plan.rollout-length", "25", "--plan.envs", "2"],
    "sac, 2 workers": ["sac", "Pendulum-v1", *REPLAY, *ACTOR_CRITIC, "--plan.envs", "2", "--plan.workers", "2"],
    "ddpg, compiled": ["ddpg", "Pendulum-v1", *REPLAY, *ACTOR_CRITIC, "--backend", "device"],
}
PATIENCE = 120  # seconds that a run may take to its end


def train(setup: str, out: Path) -> list[str]:
    """Return the words that train a setup."""
    return ["train", *SETUPS[setup], *SMALL, "--out", str(out)]


def command(*words: str) -> int:
    """Run the command in this process, where everything is compiled already; return its exit code."""
    from polyak.cli.main import main as polyak

    try:
        with _at_most(PATIENCE):
            polyak(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise SystemExit(99)

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def killed(kind: str, at: float, words: list[str]) -> tuple[str, bool]:
    """Run in a process that kills itself; return what it was doing, and whether all its processes have ended."""
    line = [sys.executable, str(measuring.HERE / "killed_run.py"), kind, str(at), *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with tempfile.TemporaryFile("w+") as said:
        environment = measuring.child_environment()
        process = subprocess.Popen(line, **{**pipes, "stdout": said}, start_new_session=True, env=environment)
        process.wait(PATIENCE)
        ended = _all_ended(process.pid)
        said.seek(0)
        return said.read().strip(), ended


def _all_ended(group: int) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


def go_on(setup: str, out: Path) -> str:
    """Bring a killed run to its end; say how that was done, or "stuck"."""
    facts = out / "run.json"
    if facts.exists() and json.loads(facts.read_text())["status"] == "finished":
        return "finished"
    if facts.exists() and command("resume", str(out), "--quiet") == 0:
        return "resumed"
    return "taken over" if command(*train(setup, out)) == 0 else "stuck"


def outcome(out: Path) -> dict[str, Any]:
    """Return what must be the same: digests of all arrays, and the numbers in the other files."""
    sets = {"checkpoint": "checkpoint.json", "policy": "policy.json"}
    arrays = {
        folder: {
            which: entry["sha256"] for which, entry in json.loads((out / folder / name).read_text())["files"].items()
        }
        for folder, name in sets.items()
    }
    tables = {}
    for name in ("metrics.csv", "evaluations.csv"):
        with open(out / name, newline="", encoding="utf-8") as file:
            tables[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    facts = json.loads((out / "run.json").read_text())
    return {**arrays, **tables, "scores": facts["scores"], "status": facts["status"]}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Name the parts in which two outcomes differ."""
    return [part for part in one if one[part] != other[part]]


def moments(kills: int, operations: int, seconds: float, draws: random.Random) -> list[tuple[str, float]]:
    """Choose when to kill: every other time in an operation, spread over all of them, else at random."""
    inside = kills // 2
    spread = [1 + int((i + draws.random()) * operations / max(inside, 1)) for i in range(inside)]
    random_ones = [("second", draws.uniform(0.0, seconds)) for _ in range(kills - inside)]
    return [*(("operation", float(min(at, operations))) for at in spread), *random_ones]


def try_setup(setup: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill runs of one setup."""
    if command(*train(setup, folder / "whole")) != 0:
        raise SystemExit(f"{setup}: the run without a kill failed")
    expected = outcome(folder / "whole")
    said, _ = killed("never", 0, train(setup, folder / "counted"))
    counted, found = json.loads(said), Counter[str]()
    if differences(expected, outcome(folder / "counted")):
        raise SystemExit(
            f"{setup}: two runs without a kill differ: {differences(expected, outcome(folder / 'counted'))}"
        )
    troubles = []
    for number, (kind, at) in enumerate(moments(kills, **counted, draws=random.Random(seed))):
        out = folder / f"killed-{number}"
        where, ended = killed(kind, at, train(setup, out))
        how = go_on(setup, out)
        differs = [] if how == "stuck" else differences(expected, outcome(out))
        found.update(
            [where or "not killed", how, *(["different"] if differs else []), *([] if ended else ["left behind"])]
        )
        if how == "stuck" or differs or not ended:
            troubles.append({"kind": kind, "at": at, "where": where, "how": how, "differs": differs, "ended": ended})
            measuring.say(f"{setup}: {troubles[-1]}")
        shutil.rmtree(out, ignore_errors=True)
    return {**counted, "kills": kills, "found": dict(found), "troubles": troubles}


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print a row for each setup."""
    columns = (
        "write",
        "fsync",
        "replace",
        "unlink",
        "mkdir",
        "at random",
        "too late",
        "resumed",
        "taken over",
        "finished",
    )
    columns += ("stuck", "different", "left behind")
    rows = [
        (setup, str(result["kills"]), *(str(result["found"].get(column, 0)) for column in columns))
        for setup, result in results.items()
    ]
    print(measuring.table(("setup", "kills", *columns), rows))


def main() -> None:
    """Kill, print, write; exit with 1 where a run was stuck, different or left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=measuring.at_least_one, default=40, help="of each setup")
    parser.add_argument("--seed", type=int, default=0, help="choose other moments")
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS))
    parser.add_argument("--quick", action="store_true", help="two kills of each: does it run at all?")
    parser.add_argument("--out", type=Path, help="the JSON file, by default results/kills.json")
    parser.add_argument("--one", choices=SETUPS, help=argparse.SUPPRESS)  # in a process of its own
    asked = parser.parse_args()
    kills = 2 if asked.quick else asked.kills
    if asked.one:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            result = try_setup(asked.one, kills, asked.seed, Path(folder))
        print(json.dumps(result))
        return
    results = {}
    for setup in asked.setups:
        words = ["--one", setup, "--kills", str(kills), "--seed", str(asked.seed)]
        results[setup] = measuring.measure("kills.py", words)
        show({setup: results[setup]})
    show(results)
    place = measuring.place_of("kills", asked.out, asked.quick)
    measuring.write_json(place, {**measuring.provenance(), "seed": asked.seed, "setups": results})
    measuring.say(f"written: {place}")
    sys.exit(any(result["troubles"] for result in results.values()))


if __name__ == "__main__":
    main()
