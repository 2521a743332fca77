"""Callbacks (webhooks): what owners are told, and the delivery of it."""
