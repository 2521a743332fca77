"""What an operator's own tools ask: health, readiness, metrics."""
