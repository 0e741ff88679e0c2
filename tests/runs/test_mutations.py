"""Damaged run folders: some hundred of the ten thousand ways in which benchmarks/mutations.py damages one."""

import random
import runpy
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROGRAM: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "mutations.py"))
SEEDS, EACH = range(8), 40


@pytest.mark.parametrize("seed", SEEDS)
def test_every_damage_ends_in_success_or_one_sentence_soon_and_in_little_memory(seed: int, stopped: Path):
    assert PROGRAM["outcome"](lambda: PROGRAM["open_all"](stopped)) == "success"
    copy = stopped.with_name("copy")
    before, outcomes = PROGRAM["peak_mib"](), Counter[str]()
    for number in range(EACH):
        shutil.copytree(stopped, copy)
        what = PROGRAM["mutate"](copy, random.Random(f"{seed}:{number}"))
        began = time.process_time()
        became = PROGRAM["outcome"](lambda: PROGRAM["open_all"](copy))
        assert became in ("success", "refused"), (number, what, became)
        assert time.process_time() - began < 2, (number, what)
        outcomes[became] += 1
        shutil.rmtree(copy)
    assert outcomes["refused"] > EACH / 3
    assert outcomes["success"] > 0
    assert PROGRAM["peak_mib"]() - before < 200
