"""Inventory: what is known of each device, who it belongs to, and when it was last heard."""
