"""Webhooks: who listens, what waits to be told, and what became of telling it (spec callbacks.md)."""
