"""Networks as frozen dataclasses of arrays that are called."""
