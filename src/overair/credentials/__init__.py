"""Pre-shared keys of devices: which identity is whose, and the keys behind it (spec lwm2m.md 10.2)."""
