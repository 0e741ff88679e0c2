"""The replay buffer: a ring of transitions, and the priorities to draw them by."""
