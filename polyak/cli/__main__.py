"""`python -m polyak.cli`, which is `polyak`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # `python -m` puts the current folder there, before everything that is installed

from polyak.cli.main import main

main()
