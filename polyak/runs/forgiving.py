"""A standard error stream that may be full, closed or broken."""

from typing import TextIO


class Forgiving:
    """A text stream that goes silent when writing fails: a closed terminal must not end training."""

    def __init__(self, stream: TextIO | None):
        """Wrap a stream; None stays silent."""
        self.stream, self.silent = stream, stream is None

    def write(self, text: str) -> int:
        """Write text, with question marks for characters that the encoding lacks."""
        encoding = self.encoding
        self._try("write", text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, if possible."""
        self._try("flush")

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return bool(self._try("isatty"))

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _try(self, method: str, *arguments: str) -> object:
        if self.silent:
            return None
        try:
            return getattr(self.stream, method)(*arguments)
        except (OSError, ValueError):  # full, broken, or closed
            self.silent = True
            return None
