"""Any order of portions, owners' calls and drivers' words: counters, flags, licences and rows agree."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from overair.campaigns import rules
from overair.campaigns.model import Assignment, CampaignStatus, Row, RowStatus, Window
from overair.campaigns.states import CAMPAIGN_OVER, OPEN_TO_MEMBERS, ROW_FINAL, ROW_IDLE
from overair.licenses.rules import RUNNING, bought
from overair.platform.clock import DAY_MS

from .portions import NEW, OLD, Portions, ended, replaced

DEVICES = 7
CAMPAIGNS = 4
HOUR = rules.HOUR_MS
OUTCOMES = ("succeeded", "failed", "refused")

some = st.lists(st.integers(0, DEVICES + 1), min_size=1, max_size=DEVICES)
which = st.integers(0, CAMPAIGNS - 1)  # from the newest
Key = tuple[int, int]


class Campaigning(RuleBasedStateMachine):
    """An account with seven devices, one of another version; another account with one; one that nobody has."""

    @initialize(
        bought=st.sampled_from([DEVICES, 3, 1]), subscriptions=st.sampled_from(["mrc", "event", "mrc,event"])
    )
    def begin(self, bought: int, subscriptions: str) -> None:
        self.world = Portions(bought, subscriptions, portion=2)
        other = self.world.add_account("0000000002-00001", 9, "event")
        self.mine = [*self.world.add_devices(DEVICES - 1), *self.world.add_devices(1, firmware="9.9")]
        self.imeis = [*self.mine, *self.world.add_devices(1, account_id=other), 990099990000014]
        self.world.hear(self.mine)
        self.active = self.package = True
        self.begun: list[Assignment] = []
        self.runs: dict[int, Assignment] = {}
        self.licensed: set[int] = set()
        """Of the devices whose attempt runs, those that had a licence when it began."""
        self.final: dict[Key, Row] = {}
        self.told: set[Key] = set()
        self.world.start(self.world.schedule(self.imeis[:4], auto_assign=True).id)
        self.world.schedule(self.imeis[2:], auto_assign=True, start_day=self.world.now_ms // DAY_MS + 1)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    # The world around.

    @rule(hours=st.sampled_from([1, 5, 11, 24]))
    def wait(self, hours: int) -> None:
        self.world.now_ms += hours * HOUR

    @rule(places=some)
    def hear(self, places: list[int]) -> None:
        self.world.hear(self._chosen(places))

    @rule(place=st.integers(0, DEVICES - 1), version=st.sampled_from([OLD, NEW, "0.1"]))
    def report(self, place: int, version: str) -> None:
        self.world.report([self.mine[place]], version)

    @rule(place=st.integers(0, DEVICES - 1), status=st.sampled_from(["Active", "Suspended"]))
    def suspend_device(self, place: int, status: str) -> None:
        self.world.set_status(self.mine[place], status)

    @rule(state=st.sampled_from(["ready", "ready", "ready", "withdrawn"]))
    def change_package(self, state: str) -> None:
        self.world.set_package(state)
        self.package = state == "ready"

    @rule(active=st.sampled_from([True, True, True, False]))
    def suspend_account(self, active: bool) -> None:
        self.world.set_active(active)
        self.active = active

    # Owners.

    @precondition(lambda self: self.package and len(self.world.campaigns()) < CAMPAIGNS)
    @rule(
        places=some,
        auto_assign=st.booleans(),
        auto_add=st.booleans(),
        days=st.tuples(st.integers(0, 1), st.integers(0, 3)),
        at_once=st.booleans(),
        windows=st.sampled_from([(), (), (Window(0, 6), Window(3, 12))]),
    )
    def schedule(
        self,
        places: list[int],
        auto_assign: bool,
        auto_add: bool,
        days: tuple[int, int],
        at_once: bool,
        windows: Any,
    ) -> None:
        today = self.world.now_ms // DAY_MS
        start, length = days
        campaign = self.world.schedule(
            self._chosen(places), start_day=today + start, end_day=today + start + length, windows=windows,
            auto_assign=auto_assign, auto_add=auto_add,
        )  # fmt: skip
        if at_once:
            self.world.start(campaign.id)

    @rule(nth=which)
    def cancel(self, nth: int) -> None:
        number = self._number(nth)
        if number and self.world.campaign(number).status in OPEN_TO_MEMBERS:
            self.world.cancel(number)

    @rule(nth=which, places=some)
    def add(self, nth: int, places: list[int]) -> None:
        number = self._number(nth)
        if not number or self.world.campaign(number).status not in OPEN_TO_MEMBERS:
            return
        before, imeis = self.world.rows(number), self._chosen(places)
        changes = self.world.add_members(number, imeis)
        after = self.world.rows(number)
        for change in changes:
            imei = int(change.device_id)
            if change.reason is None:
                assert after[imei].status is RowStatus.WAITING
                self._forget(number, imei)
            else:
                assert after.get(imei) == before.get(imei)

    @rule(nth=which, places=some)
    def remove(self, nth: int, places: list[int]) -> None:
        number = self._number(nth)
        if not number or self.world.campaign(number).status not in OPEN_TO_MEMBERS:
            return
        before, imeis = self.world.rows(number), self._chosen(places)
        changes = self.world.remove_members(number, imeis)
        assert {int(each.device_id) for each in changes if each.reason is None} == set(before) & set(imeis)
        assert set(self.world.rows(number)) == set(before) - set(imeis)
        for imei in imeis:
            self._forget(number, imei)

    @rule(places=some)
    def assign_licences(self, places: list[int]) -> None:
        self.world.assign_licences(self._chosen(places))

    @rule(places=some)
    def remove_licences(self, places: list[int]) -> None:
        held, waiting = set(self.world.held()), self._idle()
        self.world.remove_licences(self._chosen(places))
        gone = held - set(self.world.held())
        assert not gone & self._idle()
        assert waiting - gone == self._idle()

    @rule(bought=st.integers(0, DEVICES))
    def buy(self, bought: int) -> None:
        self.world.buy(bought)

    # The engine.

    @rule(nth=which)
    def check(self, nth: int) -> None:
        number = self._number(nth)
        if number:
            before = self.world.campaign(number).status
            checked = self.world.check(number)
            assert not checked or before is CampaignStatus.PENDING

    @rule(nth=which)
    def auto_add(self, nth: int) -> None:
        number = self._number(nth)
        if number and self.world.campaign(number).auto_add:
            over = self.world.campaign(number).status in CAMPAIGN_OVER
            before = self.world.rows(number)
            self.world.auto_add(number)
            after = self.world.rows(number)
            assert before.items() <= after.items()
            assert not over or before == after

    @rule(nth=which, far=st.booleans())
    def move(self, nth: int, far: bool) -> None:
        number = self._number(nth)
        if number:
            self.world.check_all(number)
            while self.world.move(number) and far:
                continue

    @rule(asleep=st.just([]) | some, heard=st.just(list(range(DEVICES))) | some, room=st.integers(0, 4))
    def look(self, asleep: list[int], heard: list[int], room: int) -> None:
        awake = set(self.imeis) - set(self._chosen(asleep))
        self.world.hear(self._chosen(heard))
        held = set(self.world.held())
        begun = self.world.look(awake, room, self._chosen(heard))
        assert len(begun) <= room
        for each in begun:
            campaign = self.world.campaign(each.campaign_id)
            assert campaign.status is CampaignStatus.SCHEDULED
            assert rules.start_ms(campaign) <= self.world.now_ms < rules.end_ms(campaign)
            assert rules.window_open(campaign.windows, self.world.now_ms)
            assert each.imei in awake
            assert each.imei not in self.runs
            assert (self.active, self.package) == (True, True)
            assert each not in self.begun
            self.runs[each.imei] = each
            if each.imei in held:
                self.licensed.add(each.imei)
        self.begun += begun
        __import__('hypothesis').event(f'begun {len(begun)}')

    @precondition(lambda self: self.begun)
    @rule(
        said=st.lists(
            st.tuples(
                st.integers(0, 30), st.sampled_from(OUTCOMES), st.integers(-1, 1), st.none() | st.just(60.0)
            ),
            min_size=1,
            max_size=4,
        )
    )
    def end(self, said: list[tuple[int, str, int, float | None]]) -> None:
        """Late, repeated, with the number of another attempt, or right; of one group the first counts."""
        items, wanted, ends = [], [], {}
        for index, outcome, other, retry_seconds in said:
            begun = self.begun[-1 - index % len(self.begun)]
            spoken = replaced(begun, attempt=begun.attempt + other) if index % 3 == 0 else begun
            items.append(ended(spoken, outcome, self.world.now_ms, retry_seconds=retry_seconds))
            counts = self._runs(spoken) and spoken.imei not in ends
            wanted.append(counts)
            if counts:
                ends[spoken.imei] = (outcome, retry_seconds, spoken.campaign_id)
        assert self.world.end(*items) == wanted
        for imei, (outcome, retry_seconds, number) in ends.items():
            __import__('hypothesis').event(f'ended {outcome}')
            status = self.world.rows(number)[imei].status
            assert (status is RowStatus.SUCCEEDED) is (outcome == "succeeded")
            if outcome == "failed" and retry_seconds is None:
                assert status is RowStatus.FAILED
            self._over(imei)

    @rule(nth=which)
    def abort(self, nth: int) -> None:
        number = self._number(nth)
        if number and self.world.campaign(number).status is CampaignStatus.SCHEDULED:
            self.world.abort(number)

    @rule(nth=which)
    def close(self, nth: int) -> None:
        number = self._number(nth)
        if not number or self.world.campaign(number).status not in CAMPAIGN_OVER:
            return
        closed = self.world.close_some(number)
        aborted = self.world.campaign(number).status is CampaignStatus.ABORTED
        running = [imei for imei, each in self.runs.items() if each.campaign_id == number]
        for imei in running if aborted else ():
            self._over(imei)
        still = {imei for imei, each in self.runs.items() if each.campaign_id == number}
        assert {imei for of, imei in self.world.flags("open") if of == number} == still
        assert closed is (not still)
        assert closed is (self.world.campaign(number).closed_ms is not None)
        assert RowStatus.UNCHECKED not in {row.status for row in self.world.rows(number).values()}

    @rule(nth=which)
    def tell(self, nth: int) -> None:
        number = self._number(nth)
        if number:
            before = self.world.flags("news")
            self.world.tell(number)
            told = before - self.world.flags("news")
            assert {of for of, _ in told} <= {number}
            self.told |= told

    # What always holds.

    @invariant()
    def open_rows_are_counted_and_of_the_right_kind(self) -> None:
        if not hasattr(self, "told"):
            return
        is_open = self.world.flags("open")
        for campaign in self.world.campaigns():
            of_it = {imei for number, imei in is_open if number == campaign.id}
            assert campaign.open_rows == len(of_it)
            for imei, row in self.world.rows(campaign.id).items():
                if row.status is RowStatus.RUNNING:
                    assert imei in of_it
                    assert row.next_ms is not None
                elif row.status in ROW_IDLE:
                    assert imei in of_it or campaign.status in CAMPAIGN_OVER
                else:
                    assert imei not in of_it

    @invariant()
    def a_device_is_open_once_at_most_and_says_so(self) -> None:
        if hasattr(self, "told"):
            is_open = [imei for _, imei in self.world.flags("open")]
            assert len(is_open) == len(set(is_open))
            assert self.world.campaigning() == set(is_open)

    @invariant()
    def attempts_run_as_they_were_begun(self) -> None:
        if hasattr(self, "told"):
            running = {
                (row.campaign_id, row.imei, row.attempts)
                for campaign in self.world.campaigns()
                for row in self.world.rows(campaign.id).values()
                if row.status is RowStatus.RUNNING
            }
            assert running == {(each.campaign_id, each.imei, each.attempt) for each in self.runs.values()}

    @invariant()
    def licences_are_busy_while_their_devices_run(self) -> None:
        if hasattr(self, "told"):
            held = self.world.held()
            busy = {imei for imei, each in held.items() if each.state in RUNNING}
            assert busy == self.licensed
            staying = [each for each in held.values() if not each.leaving]
            assert len(staying) <= bought(self.world.account)

    @invariant()
    def what_is_final_stays_and_is_told(self) -> None:
        if not hasattr(self, "told"):
            return
        found = {
            (campaign.id, imei): row
            for campaign in self.world.campaigns()
            for imei, row in self.world.rows(campaign.id).items()
            if row.status in ROW_FINAL
        }
        assert self.final.items() <= found.items()
        self.final = found
        assert set(found) - self.told == self.world.flags("news")

    def _chosen(self, places: list[int]) -> list[int]:
        return list(dict.fromkeys(self.imeis[place] for place in places))

    def _number(self, nth: int) -> int | None:
        numbers = [campaign.id for campaign in self.world.campaigns()]
        return numbers[-1 - nth % len(numbers)] if numbers else None

    def _idle(self) -> set[int]:
        is_open = self.world.flags("open")
        return {imei for number, imei in is_open if self.world.rows(number)[imei].status in ROW_IDLE}

    def _runs(self, spoken: Assignment) -> bool:
        running = self.runs.get(spoken.imei)
        return running is not None and (running.campaign_id, running.attempt) == (
            spoken.campaign_id,
            spoken.attempt,
        )

    def _over(self, imei: int) -> None:
        del self.runs[imei]
        self.licensed.discard(imei)

    def _forget(self, number: int, imei: int) -> None:
        self.final.pop((number, imei), None)
        self.told.discard((number, imei))


Campaigning.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, phases=(__import__('hypothesis').Phase.generate,))
TestCampaigning = Campaigning.TestCase
