"""Where devices fetch images over HTTP."""
