"""Campaigns: what is to be brought to which devices, when, and how far that has come."""
