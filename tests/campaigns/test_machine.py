"""Any order of portions, owners' calls and drivers' words: counters, flags, licences and rows agree."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
windows = st.sampled_from([(), (Window(5, 12), Window(3, 6)), (Window(0, 1),)])
which = st.integers(0, CAMPAIGNS - 1)  # from the newest
Key = tuple[int, int]


class Campaigning(RuleBasedStateMachine):
    """An account with seven devices, one of another version; a device of another account, and of none."""

    @initialize(
        bought=st.sampled_from([DEVICES, 3, 1]),
        subscriptions=st.sampled_from(["mrc", "event", "mrc,event"]),
        windows=windows,
    )
    def begin(self, bought: int, subscriptions: str, windows: tuple[Window, ...]) -> None:
        self.world = Portions(bought, subscriptions, portion=3)
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
        today = self.world.now_ms // DAY_MS
        runs = self.world.schedule(self.imeis[:4], auto_assign=True, end_day=today, windows=windows)
        self.world.start(runs.id)
        waits = self.world.schedule(self.imeis[3:], auto_assign=True, start_day=today + 1)
        self.world.start(waits.id)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    # The world around.

    @rule(hours=st.sampled_from([1, 5, 11, 24]))
    def wait(self, hours: int) -> None:
        self.world.now_ms += hours * HOUR

    @rule(
        place=st.integers(0, DEVICES - 1),
        change=st.sampled_from([OLD, NEW, "0.1", "Active", "Suspended", "ready", "withdrawn", True, False]),
        back=st.booleans(),
    )
    def change(self, place: int, change: str | bool, back: bool) -> None:
        """A device, the package or the account changes; *back*: and package and account are well again."""
        imei = self.mine[place]
        if change in (OLD, NEW, "0.1"):
            self.world.report([imei], str(change))
        elif change in ("Active", "Suspended"):
            self.world.set_status(imei, str(change))
        elif isinstance(change, bool):
            self.active = change
        else:
            self.package = change == "ready"
        if back:
            self.active = self.package = True
        self.world.set_active(self.active)
        self.world.set_package("ready" if self.package else "withdrawn")

    # Owners.

    @rule(
        places=some,
        auto_assign=st.booleans(),
        auto_add=st.booleans(),
        days=st.tuples(st.integers(0, 1), st.integers(0, 3)),
        at_once=st.booleans(),
        windows=windows,
    )
    def schedule(
        self,
        places: list[int],
        auto_assign: bool,
        auto_add: bool,
        days: tuple[int, int],
        at_once: bool,
        windows: tuple[Window, ...],
    ) -> None:
        if not self.package or len(self.world.campaigns()) == CAMPAIGNS:
            return
        today = self.world.now_ms // DAY_MS
        start, length = days
        campaign = self.world.schedule(
            self._chosen(places), start_day=today + start, end_day=today + start + length, windows=windows,
            auto_assign=auto_assign, auto_add=auto_add,
        )  # fmt: skip
        if at_once:
            self.world.start(campaign.id)

    @rule(nth=which, action=st.sampled_from(["add", "remove", "cancel"]), places=some)
    def change_before_the_start(self, nth: int, action: str, places: list[int]) -> None:
        number = self._number(nth)
        if self.world.campaign(number).status not in OPEN_TO_MEMBERS:
            return
        if action == "cancel":
            self.world.cancel(number)
        elif action == "add":
            self._add(number, self._chosen(places))
        else:
            self._remove(number, self._chosen(places))

    def _add(self, number: int, imeis: list[int]) -> None:
        before = self.world.rows(number)
        changes = self.world.add_members(number, imeis)
        after = self.world.rows(number)
        for change in changes:
            imei = int(change.device_id)
            if change.reason is None:
                assert after[imei].status is RowStatus.WAITING
                self._forget(number, imei)
            else:
                assert after.get(imei) == before.get(imei)

    def _remove(self, number: int, imeis: list[int]) -> None:
        before = self.world.rows(number)
        changes = self.world.remove_members(number, imeis)
        assert {int(each.device_id) for each in changes if each.reason is None} == set(before) & set(imeis)
        assert set(self.world.rows(number)) == set(before) - set(imeis)
        for imei in imeis:
            self._forget(number, imei)

    @rule(action=st.sampled_from(["assign", "remove", "buy"]), places=some)
    def change_licences(self, action: str, places: list[int]) -> None:
        held, waiting, chosen = set(self.world.held()), self._idle(), self._chosen(places)
        if action == "assign":
            self.world.assign_licences(chosen)
        elif action == "remove":
            self.world.remove_licences(chosen)
        else:
            self.world.buy(len(places))
        gone = held - set(self.world.held())
        assert self._idle() == waiting - gone

    # The engine.

    @rule(nth=which, action=st.sampled_from(["check", "add", "move", "start", "abort", "tell"]))
    def bring_forward(self, nth: int, action: str) -> None:
        number = self._number(nth)
        before = self.world.campaign(number)
        rows, news = self.world.rows(number), self.world.flags("news")
        if action == "check":
            assert not self.world.check(number) or before.status is CampaignStatus.PENDING
        elif action == "add" and before.auto_add:
            self.world.auto_add(number)
            assert rows.items() <= self.world.rows(number).items()
            assert before.status not in CAMPAIGN_OVER or self.world.rows(number) == rows
        elif action == "move":
            self.world.check_all(number)
            self.world.move(number)
        elif action == "start":
            self.world.start(number)
        elif action == "abort" and before.status is CampaignStatus.SCHEDULED:
            self.world.abort(number)
        elif action == "tell":
            self.world.tell(number)
            told = news - self.world.flags("news")
            assert {of for of, _ in told} <= {number}
            self.told |= told

    @rule(
        asleep=st.just([]) | some,
        heard=st.just(list(range(DEVICES))) | some,
        room=st.integers(0, 4),
        outcome=st.none() | st.sampled_from(OUTCOMES),
    )
    def look(self, asleep: list[int], heard: list[int], room: int, outcome: str | None) -> None:
        """Look at rows; with an *outcome*, every attempt that runs then ends with it."""
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
        if outcome:
            self._end_all(outcome)

    def _end_all(self, outcome: str) -> None:
        running = list(self.runs.values())
        items = [ended(each, outcome, self.world.now_ms, retry_seconds=3600.0) for each in running]
        assert self.world.end(*items) == [True] * len(running)
        for each in running:
            self._over(each.imei)

    @rule(
        said=st.lists(
            st.tuples(
                st.integers(0, 4),
                st.sampled_from(OUTCOMES),
                st.sampled_from([0, 0, 0, -1, 1]),
                st.none() | st.just(60.0),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def end(self, said: list[tuple[int, str, int, float | None]]) -> None:
        """Late, repeated, with the number of another attempt, or right; of one group the first counts."""
        items, wanted, ends = [], [], {}
        for index, outcome, other, retry_seconds in said if self.begun else ():
            begun = self.begun[-1 - index % len(self.begun)]
            spoken = replaced(begun, attempt=begun.attempt + other)
            items.append(ended(spoken, outcome, self.world.now_ms, retry_seconds=retry_seconds))
            counts = self._runs(spoken) and spoken.imei not in ends
            wanted.append(counts)
            if counts:
                ends[spoken.imei] = (outcome, retry_seconds, spoken.campaign_id)
        assert self.world.end(*items) == wanted
        for imei, (outcome, retry_seconds, number) in ends.items():
            status = self.world.rows(number)[imei].status
            assert (status is RowStatus.SUCCEEDED) is (outcome == "succeeded")
            if outcome == "failed" and retry_seconds is None:
                assert status is RowStatus.FAILED
            self._over(imei)

    @rule(nth=which)
    def close(self, nth: int) -> None:
        number = self._number(nth)
        if self.world.campaign(number).status not in CAMPAIGN_OVER:
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

    def _number(self, nth: int) -> int:
        numbers = [campaign.id for campaign in self.world.campaigns()]
        return numbers[-1 - nth % len(numbers)]

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


Campaigning.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestCampaigning = Campaigning.TestCase
