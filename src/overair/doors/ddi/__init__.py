"""Where devices come that speak HTTP: hawkBit's Direct Device Integration (spec ddi.md)."""
