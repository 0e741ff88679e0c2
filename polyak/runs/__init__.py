"""Runs on disk: settings, logs, checkpoints, policies, scores and pictures. Files are touched here, nowhere below."""
