"""Replace characters that a terminal's encoding lacks by plain ones, instead of raising an error."""

import codecs
import sys
import unicodedata

PLAIN = {
    **{"±": "+-", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">="},
    **{"µ": "u", "α": "alpha", "β": "beta", "γ": "gamma", "ε": "epsilon", "θ": "theta", "λ": "lambda", "π": "pi"},
    **{"σ": "sigma", "τ": "tau", "“": '"', "”": '"', "‘": "'", "’": "'", "│": "|", "┃": "|", "║": "|", "•": "*"},
    **dict.fromkeys("─━═╸╺╴╶", "-"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝", "+"),
}


def write_plainly() -> None:
    """Make standard output and standard error replace characters that their encoding lacks."""
    codecs.register_error("polyak.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # otherwise it is an object of the caller, not a terminal, file or pipe
            stream.reconfigure(errors="polyak.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace text that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff":  # a byte of a file name that is not text: keep it
        return bytes([ord(first) - 0xDC00]), error.start + 1
    known = PLAIN.get(first)
    if known is None:
        known = unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode()
        power = unicodedata.decomposition(first).startswith("<super>")
        known = f"^{known}" if power and not _is_power(error.object[: error.start]) else known
    return known or "?", error.start + 1


def _is_power(before: str) -> bool:
    return bool(before) and unicodedata.decomposition(before[-1]).startswith("<super>")
