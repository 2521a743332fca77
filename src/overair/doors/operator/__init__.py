"""What an operator's own tools ask: health, readiness, metrics, and, with the operator's token, packages."""
