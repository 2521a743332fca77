"""Accounts, API clients, users, tokens and sessions (spec auth.md)."""
