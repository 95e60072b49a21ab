"""Delivers stored records to one city, and moves the cursor by what the city answered. Eviction is the outbox's own.

Each connection gets a Delivery of its own: what was on its way when a connection ended is still in the outbox, where it
is owed as backlog, and goes out again under the same record ids. What does the work is in delivery, lines and verdicts.
"""

import asyncio
from collections.abc import Callable

from gateway.city.compress import Compressor
from gateway.city.delivery import Delivery, Options
from gateway.city.pace import Pace
from gateway.city.platform import Platform
from gateway.city.settling import Settling
from gateway.city.verdicts import Tally
from gateway.outbox import Outbox

_SLOW_S = 5.0  # an answer that takes longer is worth a name


class Forwarder:
    """The way of one city's records out of the outbox.

    city_name   the city's name in the outbox
    compressor  makes long messages shorter; None sends them as they are
    """

    def __init__(
        self,
        outbox: Outbox,
        city: Platform,
        *,
        city_name: str,
        count: Callable[[str], None],
        options: Options | None = None,
        compressor: Compressor | None = None,
    ) -> None:
        self._outbox = outbox
        self._city = city
        self._city_name = city_name
        self._count = count
        self._options = options or Options()
        self._compressor = compressor
        self._pace = Pace(
            records_per_s=self._options.backlog_records_per_s, bytes_per_s=self._options.backlog_bytes_per_s
        )
        self._settling = Settling(outbox, city_name)
        self._tally = Tally()
        self._delivery: Delivery | None = None

    async def run(self) -> None:
        """Serve until cancelled. No task outlives this call."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settling.run(), name="forward.settle")
            tasks.create_task(self._deliver(), name="forward.deliver")

    async def _deliver(self) -> None:
        while True:
            await self._city.ready()
            self._outbox.reconnected(self._city_name)
            self._delivery = Delivery(
                self._outbox,
                self._city,
                city_name=self._city_name,
                settling=self._settling,
                count=self._count,
                options=self._options,
                pace=self._pace,
                compressor=self._compressor,
                tally=self._tally,
            )
            try:
                await self._delivery.run()
            finally:
                self._delivery = None
            await self._settling.idle()  # else what the city has would be owed
            self._outbox.disconnected(self._city_name)

    def status(self) -> dict[str, object]:
        """What `gateway status` shows. `held_bytes`: memory that the records take which are on their way."""
        state, detail = self._state()
        return {
            "state": state,
            "detail": detail,
            "last_refusal": self._tally.last_refusal,
            "delivered_live": self._tally.live,
            "delivered_backlog": self._tally.backlog,
            "set_aside": self._tally.set_aside,
            "held_bytes": sum(self._delivery.lines.weights) if self._delivery else 0,
        }

    def _state(self) -> tuple[str, str]:
        """What a person should know first."""
        delivery = self._delivery
        if delivery is None:
            return "waiting", f"for a connection; it is {self._city.state}"
        line = next(delivery.lines.troubled(), None)
        if line is not None:
            return line.trouble, f"{self._tally.last_refusal}; kept and tried again"
        waited_s = delivery.oldest_wait_s()
        if waited_s > _SLOW_S:
            return "slow", f"the city has owed us an answer for {waited_s:.0f} s"
        if self._tally.trouble:
            return self._tally.trouble, "the last connection ended so, with records on their way"
        if self._tally.is_unheard:
            return "unheard", "nobody is subscribed at the city's broker, which throws away what it takes"
        return ("idle", "") if delivery.lines.is_empty else ("delivering", "")
