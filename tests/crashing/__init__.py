"""Killing and stopping a process at every line of the engine: a test build made while it is imported."""
