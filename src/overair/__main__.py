"""``python -m overair``."""

from overair.cli import main

main(prog_name="overair")
