"""The README's own example, run as it stands but for the values that it tells to put in."""

import asyncio
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from ..running import PASSWORD, add_device, add_owner, serving

README = Path(__file__).resolve().parents[2] / "README.md"
IMEI = "490154203237518"


async def test_the_sdk_example(tmp_path: Path) -> None:
    owner = await add_owner(tmp_path)
    await add_device(tmp_path, IMEI)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    async with serving(tmp_path) as service:
        for said, meant in (
            ("http://127.0.0.1:8080", service.http),
            ("your key", owner.key),
            ("its secret", owner.secret),
            ("your password", PASSWORD),
        ):
            assert example.count(f'"{said}"') == 1
            example = example.replace(f'"{said}"', f'"{meant}"')
        run = partial(subprocess.run, capture_output=True, text=True, timeout=60, check=False)
        finished = await asyncio.to_thread(run, [sys.executable, "-c", example])
    assert finished.returncode == 0, finished.stderr
    assert IMEI in finished.stdout
