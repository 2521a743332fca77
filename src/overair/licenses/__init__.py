"""Licences of devices, and the subscriptions that they come from."""
