"""How long polyak takes before it does anything: its import beside JAX's own, and a saved policy's first action.

`python benchmarks/start.py` starts fresh processes in turn and prints their seconds from start to exit as median
[minimum, maximum], and the ratio of the two imports, computed round by round.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measuring

ACT = """
import sys
import numpy as np
import polyak
policy = polyak.load(sys.argv[1]).policy
policy(np.zeros(3, np.float32))
assert "jax" not in sys.modules
"""
PROGRAMS = {
    "python": "",
    "import jax": "import jax",
    "from polyak import train": "from polyak import train",
    "load a policy and act": ACT,
}


def seconds(program: str, *words: str) -> float:
    """Return how long a fresh process takes, from its start to its exit. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *words], check=True, env=measuring.child_environment())
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="where to write; default: benchmarks/results/start.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        train = "import sys, polyak; polyak.train('ddpg', 'Pendulum-v1', steps=1000, out=sys.argv[1], quiet=True)"
        seconds(train, run)
        taken = [{name: seconds(program, run) for name, program in PROGRAMS.items()} for _ in range(options.rounds + 1)]
    taken = taken[1:]  # the first round read the files from the disk
    of = {name: measuring.spread([one[name] for one in taken]) for name in PROGRAMS}
    ratio = measuring.spread([one["from polyak import train"] / one["import jax"] for one in taken])
    form = "{median:.2f} [{min:.2f}, {max:.2f}]"
    rows = [(name, form.format(**values)) for name, values in of.items()]
    rows.append(("ratio of the imports", form.format(**ratio)))
    print(measuring.table(("seconds from start to exit", "median [min, max]"), rows))
    result = {**measuring.provenance(), "seconds": of, "import_ratio": ratio, "rounds": taken}
    measuring.write_json(measuring.place_of("start", options.out, quick=False), result)


if __name__ == "__main__":
    main()
