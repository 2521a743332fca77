"""Where LwM2M devices come in: UDP sockets, registrations, and what devices are asked."""
