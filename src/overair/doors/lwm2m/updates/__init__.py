"""Updates of devices by LwM2M: the driver of campaigns for this protocol (spec lwm2m.md, 8 and 9)."""
