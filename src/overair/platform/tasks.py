"""Ending tasks."""

import asyncio
import contextlib


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait until it is over; a failure of its own is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
