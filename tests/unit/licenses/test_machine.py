"""Any order of events: the counters, the rows and the devices agree, and nobody holds what nobody bought."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from overair.licenses.model import AssignOutcome, RemoveOutcome

from .world import World, add_account

DEVICES = 4
some = st.lists(st.integers(0, DEVICES + 1), min_size=1, max_size=DEVICES + 2)


class Licensing(RuleBasedStateMachine):
    """One account: four devices of its own, one of another account, one of nobody."""

    @initialize(
        bought=st.integers(0, DEVICES), subscriptions=st.sampled_from(["mrc", "event", "mrc,event", ""])
    )
    def begin(self, bought: int, subscriptions: str) -> None:
        self.world = World(bought, subscriptions)
        other = add_account(self.world.connection, "2-2", 9, "mrc,event")
        self.mine = self.world.add(DEVICES)
        self.imeis = [*self.mine, *self.world.add(1, account=other), 990099990000014]
        self.by_event = "event" in subscriptions
        self.bought = bought if "mrc" in subscriptions else 0
        self.by_month = "mrc" in subscriptions
        self.held: set[int] = set()
        self.upgraded: set[int] = set()
        self.running: dict[int, str] = {}
        self.billed: set[tuple[str, int]] = set()
        self.campaigns = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @rule(places=some)
    def assign(self, places: list[int]) -> None:
        imeis = list(dict.fromkeys(self.imeis[place] for place in places))
        for imei, outcome in zip(imeis, self.world.assign(*imeis), strict=True):
            if imei in self.held:
                assert outcome is AssignOutcome.PREEXISTING
            elif imei not in self.mine:
                assert outcome is AssignOutcome.NOT_FOUND
            elif len(self.held) < self.bought:
                assert outcome is AssignOutcome.ASSIGNED
                self.held.add(imei)
                self.upgraded.discard(imei)
            else:
                assert outcome is AssignOutcome.POOL_EMPTY

    @rule(places=some)
    def remove(self, places: list[int]) -> None:
        imeis = list(dict.fromkeys(self.imeis[place] for place in places))
        self.world.cancelled.clear()
        going = []
        for imei, outcome in zip(imeis, self.world.remove(*imeis), strict=True):
            if imei not in self.held:
                assert outcome is RemoveOutcome.NONE_HELD
            elif imei in self.upgraded or self._runs_licensed(imei):
                assert outcome is RemoveOutcome.UPGRADED
            else:
                assert outcome is RemoveOutcome.REMOVED
                going.append(imei)
                self.held.remove(imei)
        assert self.world.cancelled == going

    @rule(places=some)
    def start(self, places: list[int]) -> None:
        imeis = [imei for imei in self._own(places) if imei not in self.running]
        self.campaigns += 1
        started = self.world.start(*imeis, campaign=f"c{self.campaigns}")
        assert started == {imei for imei in imeis if self.by_event or (imei in self.held and self.by_month)}
        self.running |= dict.fromkeys(started, f"c{self.campaigns}")

    @rule(places=some, twice=st.booleans())
    def succeed(self, places: list[int], twice: bool) -> None:
        for imei in self._own(places):
            campaign = self.running.pop(imei, None)
            if campaign is None:
                continue
            self.world.succeed(imei, campaign=campaign)
            if imei in self.held:
                self.upgraded.add(imei)
            else:
                self.billed.add((campaign, imei))
            if twice and imei in self.world.held():
                self.world.succeed(imei, campaign=campaign)
            self._let_go(imei)

    @rule(places=some)
    def fail(self, places: list[int]) -> None:
        for imei in self._own(places):
            campaign = self.running.pop(imei, None)
            if campaign is not None:
                self.world.fail(imei, campaign=campaign)
                self._let_go(imei)

    @rule(places=some, well=st.booleans())
    def end_late(self, places: list[int], well: bool) -> None:
        """The end of an upgrade that is long over, while another one runs."""
        imeis = [imei for imei in self._own(places) if self._runs_licensed(imei)]
        before = self.world.licenses()
        (self.world.succeed if well else self.world.fail)(*imeis, campaign="long over")
        assert self.world.licenses() == before

    @rule(bought=st.integers(0, DEVICES), listed=some)
    def set_licenses(self, bought: int, listed: list[int]) -> None:
        self.world.candidates = [self.imeis[place] for place in dict.fromkeys(listed)]
        order = [imei for imei in self.world.candidates if imei in self.held]
        order += [imei for imei in self.world.licenses() if imei not in order]
        self.world.cancelled.clear()
        self.world.set_licenses(bought)
        self.bought = bought if self.by_month else 0
        losers = order[: max(0, len(self.held) - self.bought)]
        gone = [imei for imei in losers if not self._runs_licensed(imei)]
        assert self.world.cancelled == gone
        self.held -= set(gone)
        leaving = {imei for imei, known in self.world.licenses().items() if known.leaving}
        assert leaving == set(losers) - set(gone)

    def _own(self, places: list[int]) -> list[int]:
        return [imei for imei in dict.fromkeys(self.imeis[place] for place in places) if imei in self.mine]

    def _runs_licensed(self, imei: int) -> bool:
        """Whether the licence itself knows of the upgrade: one from before it was assigned it does not."""
        known = self.world.licenses().get(imei)
        return imei in self.running and known is not None and known.campaign_id == self.running[imei]

    def _let_go(self, imei: int) -> None:
        if imei in self.held and imei not in self.world.held():
            assert len(self.held) > self.bought
            self.held.remove(imei)

    @invariant()
    def rows_are_as_expected(self) -> None:
        if hasattr(self, "held"):
            assert self.world.held() == sorted(self.held)

    @invariant()
    def devices_and_counters_agree_with_the_rows(self) -> None:
        if hasattr(self, "held"):
            assert self.world.flagged() == self.world.held()
            assert self.world.counters().assigned == len(self.world.held())

    @invariant()
    def no_more_are_held_than_bought_but_by_those_that_leave(self) -> None:
        if hasattr(self, "held"):
            licenses = self.world.licenses().values()
            leaving = [known.imei for known in licenses if known.leaving]
            assert len(licenses) - len(leaving) <= self.bought
            assert set(leaving) <= set(self.running)

    @invariant()
    def only_upgrades_without_a_licence_are_billed(self) -> None:
        if hasattr(self, "billed"):
            assert {(campaign, imei) for campaign, imei, _ in self.world.billed()} == self.billed


Licensing.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLicensing = Licensing.TestCase
