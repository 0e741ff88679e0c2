"""What a compiled program does with memory."""

import math
import re
from typing import Any


def copies(lowered: Any, least: int) -> list[str]:
    """Compile what was lowered; return its instructions that copy arrays of at least so many numbers."""
    lines = [line.strip() for line in lowered.compile().as_text().splitlines() if " copy(" in line]
    return [line for line in lines if _numbers(line) >= least]


def _numbers(line: str) -> int:
    shape = re.search(r"= \w+\[([\d,]*)\]", line)
    return math.prod(int(size) for size in shape[1].split(",") if size) if shape else 0
