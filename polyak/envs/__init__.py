"""Environments on the host: spaces, seeding, stepping, and probes to debug agents with."""
