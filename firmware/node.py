"""The node's application: measure on a schedule, keep, report, sleep. Parts are made in start; rules are in the parts.

Awake (sleep = "idle"), three tasks share the processor: sampling, reporting, watching. In deep sleep ("deep") a waking
does what is due, one after the other, and RTC memory carries the schedule. All times are seconds of uptime.
"""

import asyncio
import os

import machine

from drivers import clock
from drivers.constant import const
from drivers.link.schema import WINDOW
from firmware.bearer_error import BearerError
from firmware.sample import reports_of

_LOOK_MS = const(10_000)  # how soon a sample that an order moved is noticed
_TICK_MS = const(200)  # how soon an alarm interrupts the wait for the next report
_REPORT_LIMIT_S = const(400)  # the longest that one report may take: Wi-Fi, MQTT, answer
_SAMPLE_LIMIT_S = const(60)
_CLEAR_WITHIN_S = const(8)  # a channel that is never free is used all the same
_URGENT_RETRY_MAX_S = const(30)
_INSIST = const(2)  # rounds of an alarm in which frames follow each other at once: no more, for the airtime of the hour
_RELAXED_S = const(3600)
_SOUND_AFTER_S = const(600)  # of running: what crashed before is forgotten


class Node:
    """One node at work."""

    def __init__(self, parts, clock, watchdog):
        """parts: an object with config, settings, state, archive, reporter, sampler, alarms, rules (None if there are
        none), bearer, uptime, sample_s, report_s, output (or None), and what serve and asleep want (firmware/start)."""
        self._config = parts.config
        self.parts = parts
        self._clock = clock
        self._watchdog = watchdog
        self._is_sound = False  # it has run long enough to forget earlier crashes
        self.is_hurried = False  # an alarm, or its end, waits to be told
        self._is_sampling = False
        self.counters = {"samples": 0, "samples_empty": 0, "bearer_failures": 0}

    async def run(self):
        """Serve until cancelled; with deep sleep, until asleep."""
        self._schedule_first()
        if self._config.sleep == "deep":
            from firmware.asleep import run_until_asleep

            await run_until_asleep(self, self._clock, self._watchdog, _REPORT_LIMIT_S)
        else:
            await asyncio.gather(self._sample_for_ever(), self._report_for_ever(), self._watch_for_ever())

    async def sample_once(self):
        """Measure now, judge alarms, and keep the reports."""
        parts, state = self.parts, self.parts.state
        state.sample_at_s = max(state.sample_at_s + self.parts.sample_s, parts.uptime.seconds() + 1)
        if self._is_sampling:  # an order asks for what the schedule is just doing, or the other way round
            return
        self._is_sampling = True
        mantissas = await parts.sampler.measure()
        self._is_sampling = False
        time_s = parts.uptime.nearest_s()
        # A late sample and the next on time must not share a second: one measurement under two ids is a duplicate.
        state.sample_at_s = max(state.sample_at_s, time_s + 1)
        verdict = parts.alarms.judge(mantissas)
        state.alarms = parts.alarms.on_bits
        reports, rules = reports_of(mantissas), parts.rules
        self.counters["samples" if reports else "samples_empty"] += 1
        if rules is not None:
            for end_s, values in rules.take(mantissas, time_s):
                parts.archive.add(parts.settings.boot, end_s, WINDOW, values)
        for schema, values in reports:
            if rules is not None and not rules.lets_go(schema, values, time_s, verdict):
                continue
            seq = parts.archive.add(parts.settings.boot, time_s, schema, values)
            if seq is not None and verdict == "raised":
                if not parts.reporter.has_urgent:
                    parts.bearer.is_hurried = True
                parts.reporter.mark_urgent(seq)
        if verdict:
            _say("alarm %s: %s" % (verdict, mantissas))
            self.is_hurried = True

    async def report_once(self):
        """Send one frame if there is anything to say, wait for its answer, and set the time of the next."""
        parts, state = self.parts, self.parts.state
        self.is_hurried = parts.bearer.is_hurried = False
        if not parts.reporter.has_unsent():
            self._schedule_regular()
            return
        wait_s = parts.bearer.wait_s()
        if wait_s:
            _say("the region allows the next frame in %d s" % wait_s)
            state.report_at_s = parts.uptime.seconds() + wait_s
            return
        try:
            answered = await self._exchange()
        except BearerError as error:
            self.counters["bearer_failures"] += 1
            _say(str(error))
            answered = False
        if not answered and parts.bearer.is_hurried:
            return  # at once again: an alarm goes first, and its ack says whether the report was heard
        self._schedule_next(answered)
        if parts.reporter.order is not None:
            from firmware.obey import obey

            await obey(self)
        if answered and parts.settings.next_counter >= parts.settings.look_at:
            from firmware.turn import turn

            turn(self)
        state.save()

    async def _exchange(self):
        parts = self.parts
        await parts.bearer.ready()
        is_calm = self._config.sleep == "idle" and not parts.reporter.has_urgent
        starts_s = await self._clear_second() if is_calm else None
        frame = parts.reporter.next_frame(starts_s)
        if frame is None:
            return True
        insists = parts.reporter.has_urgent and parts.state.misses < _INSIST
        again = parts.reporter.next_frame if insists else None
        parts.bearer.is_hurried = False
        return await parts.bearer.exchange(frame, parts.reporter.take_downlink, again)

    async def _clear_second(self):
        """Wait for a whole second, so that ages are exact, before which nobody else is heard. Returns it.

        Another node's seconds may begin with ours: looking long before, both would send at once, time after time.
        """
        uptime, bearer = self.parts.uptime, self.parts.bearer
        for _ in range(_CLEAR_WITHIN_S):
            starts_s = await uptime.wait_for_second(bearer.scan_ms)
            is_clear = await bearer.is_clear()
            await self._clock.sleep_ms(uptime.ms_until(starts_s))
            if is_clear or self.is_hurried:
                break
        return starts_s

    def _schedule_first(self):
        """Right after boot for the sample; for the report somewhere in the first period, as nodes boot together."""
        state, now_s = self.parts.state, self.parts.uptime.seconds()
        if not state.sample_at_s:
            state.sample_at_s = now_s + 1
            state.report_at_s = now_s + 2 + random_below(self.parts.report_s)
            state.save()

    def _schedule_next(self, answered):
        parts, state = self.parts, self.parts.state
        if answered:
            state.misses = 0
            if self._has_backlog():
                state.report_at_s = parts.uptime.seconds() + 1 + random_below(2)
            else:
                self._schedule_regular()
            return
        state.misses += 1
        if state.misses == getattr(parts, "join_after", 0):  # a node with a key pair of its own (rejoin)
            from firmware.leaving import leave

            leave(parts)  # the next boot looks for another gateway, and comes back here
            machine.reset()
        delay_s = min(self._config.retry_s << min(state.misses - 1, 16), self._config.retry_max_s)
        if parts.reporter.has_urgent:
            delay_s = min(delay_s, 2 * state.misses if state.misses <= _INSIST else _URGENT_RETRY_MAX_S)
        state.report_at_s = parts.uptime.seconds() + 1 + delay_s // 2 + random_below(delay_s)

    def _schedule_regular(self):
        spread_s = self.parts.report_s // 10
        delay_s = self.parts.report_s - spread_s + random_below(2 * spread_s + 1)
        self.parts.state.report_at_s = self.parts.uptime.seconds() + delay_s

    def _has_backlog(self):
        """Whether more waits than one period brings."""
        return self.parts.archive.count_held() > self.parts.report_s // self.parts.sample_s + 1

    async def _sample_for_ever(self):
        parts = self.parts
        if self._config.sample_ms:
            from firmware.fast import sample_fast

            await sample_fast(self, self._clock, self._watchdog, self._config.sample_ms)
        while True:
            wait_ms = parts.uptime.ms_until(parts.state.sample_at_s)
            self._watchdog.promise("sample", _LOOK_MS // 1000 + _SAMPLE_LIMIT_S)
            await self._clock.sleep_ms(min(wait_ms, _LOOK_MS))
            if wait_ms <= _LOOK_MS:
                await self.sample_once()

    async def _report_for_ever(self):
        parts = self.parts
        while True:
            wait_ms = parts.uptime.ms_until(parts.state.report_at_s)
            self._watchdog.promise("report", _REPORT_LIMIT_S)
            if wait_ms and not self.is_hurried:
                await self._clock.sleep_ms(min(wait_ms, _TICK_MS))
                await parts.bearer.rest()
            else:
                await self.report_once()

    async def _watch_for_ever(self):
        parts = self.parts
        while True:
            output = parts.output
            if output is not None and output[2] is not None and parts.uptime.seconds() >= output[2]:
                output[0].value(output[1])
                output[2] = None
            late = self._watchdog.feed()
            if late:
                _say("%s has not come back; the watchdog will reset the node" % late)
            if not self._is_sound and parts.uptime.seconds() > _SOUND_AFTER_S:
                self._is_sound = True
                parts.settings.erase("crashes")
            await self._clock.sleep_ms(2_000)


class Watchdog:
    """Fed only while every part of the application keeps its promise to come back.

    A hung radio, a socket that never returns or a task that died looks the same from outside: the promise runs out,
    feeding stops, and the chip resets. It cannot be stopped once started: it is relaxed when a technician takes over.
    """

    def __init__(self, make_wdt, clock, timeout_s):
        """make_wdt: machine.WDT. timeout_s must outlast the longest blocking call (littlefs may stall for 12 s)."""
        self._make_wdt = make_wdt
        self._clock = clock
        self._promises = {}  # name -> (ticks when given, ms)
        self._wdt = make_wdt(timeout=timeout_s * 1000)

    def promise(self, name, within_s):
        """`name` will be heard of again within so many seconds."""
        self._promises[name] = (self._clock.ticks_ms(), within_s * 1000)

    def feed(self):
        """Feed, if nobody is overdue. Returns the name of the first that is, else None."""
        now = self._clock.ticks_ms()
        for name, (given, within_ms) in self._promises.items():
            if self._clock.ticks_diff(now, given) > within_ms:
                return name
        self._wdt.feed()
        return None

    def relax(self):
        """Give a technician an hour at the REPL before it bites."""
        self._make_wdt(timeout=_RELAXED_S * 1000).feed()


def serve(parts):
    """Run the application. Returns only to leave the REPL open, with an hour before the watchdog bites."""
    watchdog = Watchdog(machine.WDT, clock, parts.config.watchdog_s)
    try:
        asyncio.run(Node(parts, clock, watchdog).run())
    except KeyboardInterrupt:
        watchdog.relax()
        _say("stopped by Ctrl-C, the REPL is open for an hour; machine.reset() starts the application")
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not lock anybody out
        watchdog.relax()
        parts.archive = parts.reporter = parts.rules = parts.sampler = None  # it may be for want of memory
        from firmware.crash import fall

        fall(error, parts.nvs)


def _say(line):
    print("lamppost:", line)


def random_below(limit):
    """A whole number from 0 to limit - 1; 0 if limit is 0."""
    return int.from_bytes(os.urandom(4), "big") % limit if limit > 0 else 0
