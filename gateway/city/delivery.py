"""One connection's worth of delivering: reads ahead, decides what goes next, sends it, judges the answers.

Alarms go first, then live readings, then the backlog at its pace; every fourth turn is the backlog's, so that it ends
although live readings never do, and each group leaves some of the window to those above it. Nothing is kept on the way:
what was not answered is still in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.city.company import Company
from gateway.city.compress import Compressor
from gateway.city.lines import GROUPS, LIVE, LIVE_ALARMS, OWED, OWED_ALARMS, Line, Lines, is_owed, ranks_of
from gateway.city.pace import Pace
from gateway.city.pack_size import PackSize
from gateway.city.packing import pack_of
from gateway.city.platform import PackRefused, Platform
from gateway.city.settling import Settling
from gateway.city.verdicts import Tally, Verdicts
from gateway.errors import CityError, GatewayError
from gateway.mqtt.errors import SessionError
from gateway.outbox import Lane, Outbox, Stored, count_of
from gateway.senml import PackError, UndatedError

log = logging.getLogger(__name__)

_READ_RECORDS, _READ_BYTES = 1_000, 524_288  # taken from the outbox at one time
_HELD = {LIVE_ALARMS: 2_000, OWED_ALARMS: 2_000, LIVE: 24_000, OWED: 64_000}  # records read ahead, per group
_HELD_BYTES = {LIVE_ALARMS: 2 << 20, OWED_ALARMS: 2 << 20, LIVE: 9 << 20, OWED: 8 << 20}  # of memory, for long ones
_LOOK_AGAIN_S = 0.05  # for alarms alone, before looking whether there is room for more
_SKIPPED = 32_000  # records left unread behind refused lines before reading stops
_SKIPPING_AGAIN_S = 5.0
_ENDING_S = 5.0  # a connection that refuses to send ends long before
_TURN_RECORDS = 2_000  # sent before others get the event loop
_BACKLOG_TURN = 4  # every so many turns the backlog's is first
_ALARMS = (LIVE_ALARMS, OWED_ALARMS)
_RANKS = ranks_of((LIVE_ALARMS, OWED_ALARMS, LIVE, OWED))
_RANKS_OF_BACKLOG_TURN = ranks_of((LIVE_ALARMS, OWED_ALARMS, OWED, LIVE))


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one city is delivered to.

    require_subscriber     an answer of 0x10 (nobody subscribed) is no delivery
    pack_records           most records in one message
    pack_bytes             most bytes of one message of several records; the city's own limit holds too
    pack_wait_s            longest wait of a record for others of its node, if live only once messages queue or much
                           goes; alarms never wait
    backlog_records_per_s  most records of the backlog in any second; 0: no cap
    backlog_bytes_per_s    most bytes of the messages of the backlog in any second; 0: no cap
    """

    require_subscriber: bool = False
    pack_records: int = 500
    pack_bytes: int = 65_536
    pack_wait_s: float = 0.05
    backlog_records_per_s: int = 0
    backlog_bytes_per_s: int = 0


class Delivery:
    """Made when the connection is there, of no use after it. `run` returns when it is to be made anew."""

    def __init__(
        self,
        outbox: Outbox,
        city: Platform,
        *,
        city_name: str,
        settling: Settling,
        count: Callable[[str], None],
        options: Options,
        pace: Pace,
        compressor: Compressor | None,
        tally: Tally,
    ) -> None:
        self.lines = Lines()
        self.in_flight = 0
        self._outbox = outbox
        self._city = city
        self._city_name = city_name
        self._settling = settling
        self._options = options
        self._pace = pace
        self._size = PackSize(
            most_records=options.pack_records, most_bytes=options.pack_bytes, now_s=asyncio.get_running_loop().time()
        )
        self._company = Company(pack_records=options.pack_records, pack_wait_s=options.pack_wait_s)
        self._compressor = compressor
        self._tally = tally
        self._verdicts = Verdicts(
            self.lines,
            settling,
            tally,
            city_name=city_name,
            count=count,
            require_subscriber=options.require_subscriber,
        )
        self._loop = asyncio.get_running_loop()
        self._in_flight_by_group = [0] * len(GROUPS)
        self._sent_at_s: dict[Line, float] = {}
        self._answers: deque[tuple[Line, tuple[Stored, ...], int, asyncio.Future[int]]] = deque()
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._oversize_bytes = 0  # of a message that waits because it is larger than what goes at once

    async def run(self) -> None:
        """Deliver until the connection has ended, or what waits has to be read anew; then nothing is on its way."""
        self._city.on_room = self._wake.set
        self._settling.on_settled = self._has_room.set
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(self._read("live"), name="forward.read.live"),
                tasks.create_task(self._read("backlog"), name="forward.read.backlog"),
                tasks.create_task(self._send(), name="forward.send"),
            ]
            working.append(tasks.create_task(self._watch(), name="forward.watch"))
            await self._is_over.wait()
            for task in working:
                task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        while self.in_flight:
            self._wake.clear()
            self._judge_all()
            if self.in_flight:
                await self._wake.wait()

    def oldest_wait_s(self) -> float:
        """For how long the city has owed an answer."""
        now_s = self._loop.time()
        return max((now_s - sent_at_s for sent_at_s in self._sent_at_s.values()), default=0.0)

    async def _watch(self) -> None:
        await self._city.gone()
        self._is_over.set()

    # Reading ahead

    async def _read(self, lane: Lane) -> None:
        """One lane. Its alarms are taken also while there is no room for the rest."""
        groups = [group for group, (one, _) in enumerate(GROUPS) if one == lane]
        while True:
            room = {group: free for group in groups if (free := self._room_to_read(group)) > 0}
            if not room:
                self._has_room.clear()
                await self._wait_for_room()
                continue
            try:
                async with asyncio.timeout(None if len(room) == len(groups) else _LOOK_AGAIN_S):
                    batch = await self._outbox.take(
                        self._city_name,
                        lane=lane,
                        streams=[stream for group in room for stream in GROUPS[group][1]],
                        limit=min(_READ_RECORDS, *room.values()),
                        max_bytes=_READ_BYTES,
                        in_rows=True,
                    )
            except TimeoutError:
                continue
            self.lines.add(batch, self._loop.time())
            self._wake.set()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(_SKIPPING_AGAIN_S):
                await self._has_room.wait()
        except TimeoutError:  # only refused lines are left: look a little further for others
            self.lines.skipped = min(self.lines.skipped, _SKIPPED - _READ_RECORDS)

    def _room_to_read(self, group: int) -> int:
        if self.lines.skipped >= _SKIPPED and GROUPS[group][0] == "backlog":
            return 0
        most = _HELD[group]
        cap = self._options.backlog_records_per_s
        if group == OWED and cap:
            most = min(most, max(2 * cap, 1_000))  # two seconds' worth: more would only cost memory
        if self.lines.weights[group] + self._settling.weight >= _HELD_BYTES[group]:
            return 0
        room = most - self.lines.held[group] - self._settling.count
        return room if room >= min(most // 4, _READ_RECORDS) else 0

    # Sending

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._judge_all()
            self._send_what_may()
            await asyncio.sleep(0)

    def _send_what_may(self) -> None:
        now_s = self._loop.time()
        due_s = [self.lines.release(now_s)]
        sent = 0
        if now_s < self._verdicts.paused_until_s:
            due_s.append(self._verdicts.paused_until_s)
        else:
            while self._city.room > 0 and not (self._verdicts.is_probing and self.in_flight):
                line = self._next(now_s, due_s)
                if line is None:
                    break
                sent += self._send_from(line, now_s)
                if sent >= _TURN_RECORDS:
                    self._wake.set()
                    break
        self._come_back(min((at_s for at_s in due_s if at_s is not None), default=None))

    def _come_back(self, at_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at_s is not None:
            self._timer = self._loop.call_at(at_s, self._wake.set)

    def _next(self, now_s: float, due_s: list[float | None]) -> Line | None:
        """The line whose turn it is; when there is none, `due_s` gets the time at which there may be."""
        self._turn += 1
        for rank in _RANKS_OF_BACKLOG_TURN if self._turn % _BACKLOG_TURN == 0 else _RANKS:
            line = self.lines.first(rank)
            if line is None or not self._has_slot(line.group):
                continue
            wait_s = self._company.wait_s(line, now_s, is_queue=self.in_flight * 4 >= self._city.window)
            if wait_s <= 0 and is_owed(line.group):
                wait_s = self._pace_wait_s(line, now_s)
            if wait_s <= 0:
                return line
            due_s.append(now_s + wait_s)
        return None

    def _has_slot(self, group: int) -> bool:
        """Whether a group may take more of the window: what is above it must always find some free."""
        if group in _ALARMS:
            return True
        window = self._city.window
        for_alarms = max(window // 20, min(window // 10, 1))
        if group == LIVE:
            return self._in_flight_by_group[LIVE] + self._in_flight_by_group[OWED] < window - for_alarms
        # Whenever an answer frees a slot, live readings are first; so one of their own will do.
        return self._in_flight_by_group[OWED] < window - for_alarms - max(window // 20, min(window // 4, 1))

    def _pace_wait_s(self, line: Line, now_s: float) -> float:
        if self._oversize_bytes:
            return self._pace.wait_whole_s(now_s, self._oversize_bytes)
        records = min(line.count, self._size.records)
        return self._pace.wait_s(now_s, records, self._size.bytes // 2)

    # One pack

    def _send_from(self, line: Line, now_s: float) -> int:
        """Send a pack of the line, which may go now. Returns how many records it holds."""
        room_records, room_bytes = self._pace.room(now_s) if is_owed(line.group) else (2**62, 2**62)
        most_bytes = min(self._size.bytes, room_bytes, self._city.most_bytes(line.node) or 2**62)
        try:
            pack, count = pack_of(
                line,
                content=self._city.content,
                most_records=min(self._size.records, room_records),
                most_bytes=most_bytes,
            )
        except UndatedError:
            raise
        except PackError as error:
            self._verdicts.give_up(line, self.lines.start(line, 1), str(error))
            return 1
        if self._compressor is not None:
            pack = self._compressor.shorten(pack)
        if pack.size_bytes > max(room_bytes, self._oversize_bytes):
            self._oversize_bytes = pack.size_bytes
            self._wake.set()
            return 0
        records = self.lines.start(line, count)
        try:
            answer = self._city.send(pack)
        except PackRefused as error:
            self._verdicts.unsendable(line, records, str(error), now_s)
            self._wake.set()
            return count
        except CityError:
            self.lines.put_back(line, records, until_s=now_s + _ENDING_S)
            return 0
        if is_owed(line.group):
            self._pace.spend(self._loop.time(), count, pack.size_bytes)  # not now_s: a busy machine stops us in between
            self._oversize_bytes = 0
        self._company.sent(count, now_s)
        self.in_flight += 1
        self._sent_at_s[line] = now_s
        self._in_flight_by_group[line.group] += 1
        answer.add_done_callback(partial(self._answered, line, records, pack.size_bytes))
        return count

    # Answers

    def _answered(self, line: Line, records: tuple[Stored, ...], size_bytes: int, answer: asyncio.Future[int]) -> None:
        self._answers.append((line, records, size_bytes, answer))
        self._wake.set()

    def _judge_all(self) -> None:
        now_s = self._loop.time()
        while self._answers:
            line, records, size_bytes, answer = self._answers.popleft()
            self.in_flight -= 1
            del self._sent_at_s[line]
            self._in_flight_by_group[line.group] -= 1
            error = None if answer.cancelled() else answer.exception()
            if isinstance(error, GatewayError):
                self._tally.trouble = error.state if isinstance(error, SessionError) else "lost"
                log.debug("city %s: %d records stay in the outbox: %s", self._city_name, count_of(records), error)
            elif error is not None:
                raise error
            elif not answer.cancelled():
                self._size.acknowledged(size_bytes, now_s)
                self._verdicts.judge(line, records, answer.result(), now_s)
        if self._verdicts.wants_rewind:
            self._is_over.set()
