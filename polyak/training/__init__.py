"""The loops: collect, then learn."""
