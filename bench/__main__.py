"""``python -m bench [--quick] [name ...]``."""

import argparse
from importlib import import_module

NAMES = ("registrations", "dtls", "downloads", "memory", "codec", "pages", "campaigns")


def main() -> None:
    """Run the benchmarks named, or all, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures beside their baselines.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"{name}: no such benchmark; there are {', '.join(NAMES)}")
    for name in chosen.names or NAMES:
        print(import_module(f"bench.{name}").run(quick=chosen.quick), flush=True)


if __name__ == "__main__":
    main()
