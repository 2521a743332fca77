"""The way out: callback requests over HTTP, to receivers that owners named (spec callbacks.md, section 2)."""
