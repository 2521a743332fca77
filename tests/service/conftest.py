"""What every test of the service runs under."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

# Done once, when a database is opened or an error is logged.
ALLOWED = ("os.mkdir", "os.path.abspath", "os.stat")
# A command has its loop for itself.
COMMANDS = "test_cli.py"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which our own code blocks the event loop: a file, a sleep, a lock, SQLite."""
    if request.node.path.name == COMMANDS:
        yield
        return
    with blockbuster_ctx("overair") as blockbuster:
        for name in ALLOWED:
            blockbuster.functions[name].deactivate()
        # A handshake reads its key on the loop: docs/decisions/0007.
        for name, function in blockbuster.functions.items():
            if name.startswith("sqlite3."):
                function.can_block_in("overair/credentials/store.py", {"rows"})
        yield
