"""The command `polyak`."""
