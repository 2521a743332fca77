"""Firmware, software and files for devices: the catalogue, their images, who signed them."""
