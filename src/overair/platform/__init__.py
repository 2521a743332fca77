"""What every other part stands on: clock, database, limits, logs, secrets."""
