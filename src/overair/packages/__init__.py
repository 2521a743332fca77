"""Packages: firmware, software and files that can be brought to devices, and their images."""
