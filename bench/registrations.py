"""Registrations and Updates a second on one core, answered after the commit.

Three servers take turns under the same load (:mod:`bench.load`): ``overair serve`` with SQLite on disk and
all devices added beforehand; a loop that parses and keeps nothing (:mod:`bench.bare`); aiocoap, which keeps
nothing either. What a server does after its last answer is waited for, and counted where it says "settled".

In each round the service gets a fresh copy of the database, and then another for the same devices in an
order that has nothing to do with their IMEIs: neighbours in time are then no neighbours in the database, and
each row is a page to write.

The service asks devices for their inventory after a Register. These devices never answer, so it asks as many
as it asks at once (``refreshes_at_once``), and waits. What answering devices would cost is a load of its own.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import fleet, inventory
from bench.load import WINDOW, Devices, Phase
from bench.processes import CLIENT_CORE, ServerProcess, pin
from bench.report import Row, Target, render, thousands
from overair.protocols.coap import codes

DEVICES, ROUNDS = 100_000, 3
QUICK_DEVICES, QUICK_ROUNDS = 300, 1
AIOCOAP_SHARE = 10  # it gets a tenth of the devices: it is that much slower
TICK_SECONDS = 0.01  # what the kernel counts in
AIOCOAP_WINDOW = 64  # more than it reads in time is lost, and it would be measured by our timeouts

REGISTER, UPDATE, AGAIN = "first registrations", "updates", "registrations again"
SHUFFLED = "shuffled"
Identities = Sequence[int]
"""Which device of the database each device of the load is."""


@dataclass(frozen=True)
class Measured:
    """One phase on one server."""

    phase: Phase
    server_cpu_seconds: float
    settling_seconds: float
    """For how long the server was busy with it after the last answer."""

    @property
    def settled_per_second(self) -> float:
        """Answers a second, counting also what the server left for later."""
        return len(self.phase.answers) / (self.phase.seconds + self.settling_seconds)

    @property
    def per_cpu_second(self) -> float:
        """Answers a second of the server's own processor time."""
        return len(self.phase.answers) / max(self.server_cpu_seconds, TICK_SECONDS)


Round = dict[str, Measured]


def run(*, quick: bool) -> str:
    """Measure, and return the table."""
    pin(CLIENT_CORE)
    count, rounds = (QUICK_DEVICES, QUICK_ROUNDS) if quick else (DEVICES, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="overair-bench-", dir=disk()) as folder:
        template = Path(folder) / "template"
        asyncio.run(inventory.provision(template, count))
        measured = [_round(template, count) for _ in range(rounds)]
    return render(f"Registrations: {count} devices, {rounds} rounds", _rows(measured), _notes(measured))


def disk() -> str:
    """Return a folder on a real file system: /tmp may be memory, where a commit costs nothing."""
    return "/var/tmp"


def _round(template: Path, count: int) -> dict[str, Round]:
    ordered = range(count)
    shuffled = random.Random(1).sample(ordered, count)
    return {
        "bare": _load(["bench.bare"], ordered, (REGISTER, UPDATE)),
        "aiocoap": _load(
            ["bench.aiocoap_server"], range(count // AIOCOAP_SHARE), (REGISTER,), AIOCOAP_WINDOW
        ),
        "service": _load_service(template, ordered),
        SHUFFLED: _load_service(template, shuffled),
    }


def _load_service(template: Path, identities: Identities) -> Round:
    data = template.with_name("data")
    shutil.copytree(template, data)
    os.sync()  # or the copy would be written back while commits are measured
    try:
        return _load(serve(data), identities, (REGISTER, UPDATE, AGAIN))
    finally:
        shutil.rmtree(data)


def serve(data: Path) -> list[str]:
    """Return the command that runs the service on free ports."""
    return [
        "overair",
        "serve",
        "--data",
        str(data),
        "--http",
        "127.0.0.1:0",
        "--coap",
        "127.0.0.1:0",
        "--no-coaps",
    ]


def _load(
    arguments: Sequence[str], identities: Identities, phases: Sequence[str], window: int = WINDOW
) -> Round:
    measured: Round = {}
    address = "127.0.0.1"
    with (
        ServerProcess(arguments) as server,
        Devices((address, server.ports["coap"]), len(identities), window) as devices,
    ):
        locations: list[bytes] = []
        for message_id, name in enumerate(phases, 1):
            if name == UPDATE:
                datagrams = [
                    fleet.update_datagram(index, message_id, location)
                    for index, location in enumerate(locations)
                ]
            else:
                datagrams = [
                    fleet.register_datagram(index, message_id, identity)
                    for index, identity in enumerate(identities)
                ]
            before = server.cpu_seconds()
            phase = devices.run(datagrams, codes.CHANGED if name == UPDATE else codes.CREATED)
            settling_seconds = server.await_idle()
            measured[name] = Measured(phase, server.cpu_seconds() - before, settling_seconds)
            locations = locations or [fleet.location_of(answer) for answer in phase.answers]
    return measured


def _rows(rounds: Sequence[dict[str, Round]]) -> list[Row]:
    rows = [
        _row(rounds, REGISTER, "bare", REGISTER, Target("at least", 0.3)),
        _row(rounds, REGISTER, "aiocoap", REGISTER, Target("at least", 8)),
        _row(rounds, AGAIN, "bare", REGISTER, Target("at least", 0.3)),
        _row(rounds, AGAIN, "aiocoap", REGISTER, Target("at least", 8)),
        _row(rounds, UPDATE, "bare", UPDATE, Target("at least", 0.4)),
    ]
    settled = _row(rounds, REGISTER, "bare", REGISTER, None, settled=True)
    any_order = [
        _row(rounds, what, "bare", UPDATE if what == UPDATE else REGISTER, None, SHUFFLED)
        for what in (REGISTER, AGAIN, UPDATE)
    ]
    return [*rows, settled, *any_order]


def _row(
    rounds: Sequence[dict[str, Round]],
    what: str,
    baseline: str,
    of: str,
    target: Target | None,
    server: str = "service",
    *,
    settled: bool = False,
) -> Row:
    measured = [each[server][what] for each in rounds]
    ours = [each.settled_per_second if settled else each.phase.per_second for each in measured]
    theirs = [each[baseline][of].phase.per_second for each in rounds]
    return Row(
        figure=what + (", settled" if settled else "") + (", any order" if server == SHUFFLED else ""),
        measured=thousands(median(ours)),
        baseline=f"{baseline} {thousands(median(theirs))}",
        ratio=median(one / other for one, other in zip(ours, theirs, strict=True)),
        target=target,
    )


def _notes(rounds: Sequence[dict[str, Round]]) -> list[str]:
    notes = ["", "each round: wall rate, rate a CPU second of the server, how busy the generator was"]
    for number, each in enumerate(rounds, 1):
        for server, phases in each.items():
            for what, measured in phases.items():
                phase = measured.phase
                notes.append(
                    f"  {number} {server:8} {what:20} {thousands(phase.per_second):>11}"
                    f" {thousands(measured.per_cpu_second):>11}/cpu  generator {phase.cpu_share:4.0%}"
                    f"  settled {measured.settling_seconds:4.1f} s later"
                    f"  sent again {phase.resent}, asked {phase.asked}"
                )
    return notes
