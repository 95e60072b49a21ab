"""Samples and alarms, with sensors that are silent, garbled, cold or out of range. Run by test_rules."""

import asyncio
from collections import namedtuple

from drivers.link.schema import BATTERY, CLIMATE, CLIMATE_PARTICLES_WATER, PARTICLES, SELF_DESCRIBING, WATER
from drivers.sensor.errors import SensorAbsent, SensorGarbled
from firmware.alarm import Alarms
from firmware.sample import Sampler, reports_of

Rule = namedtuple("Rule", ("quantity", "is_above", "limit", "clear"))
AIR = {"temperature": 2000, "humidity": 5000, "pressure": 101325}
DUST = {"pm1": 1, "pm2_5": 2, "pm10": 3}


class Uptime:
    def __init__(self, seconds_now):
        self._now = seconds_now

    def seconds(self):
        return self._now


class Sensor:
    """Answers, or raises, what it was given."""

    def __init__(self, answer):
        self._answer = answer

    async def measure(self):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def measured(sensors, *, uptime_s=100):
    sampler = Sampler({kind: Sensor(answer) for kind, answer in sensors.items()}, Uptime(uptime_s))
    return asyncio.run(sampler.measure()), sampler


def a_sensor_that_fails_costs_only_its_own_values_and_is_counted():
    for error, counter in ((SensorAbsent("x"), "pms5003_absent"), (SensorGarbled("x"), "pms5003_garbled")):
        mantissas, sampler = measured({"bme280": (2000, 5000, 101325), "pms5003": error})
        assert mantissas == AIR
        assert sampler.counters == {counter: 1}


def dust_is_left_out_until_its_sensor_is_warm():
    for uptime_s, has_dust in ((0, False), (29, False), (30, True)):
        mantissas, sampler = measured({"bme280": (2000, 5000, 101325), "pms5003": (1, 2, 3)}, uptime_s=uptime_s)
        assert ("pm10" in mantissas) == has_dust
        assert sampler.counters == {}


# what was measured -> schemas of the reports
SPLITS = (
    ({}, ()),
    (AIR, (CLIMATE,)),
    (DUST, (PARTICLES,)),
    (dict(AIR, water_level=5, **DUST), (CLIMATE_PARTICLES_WATER,)),
    (dict(DUST, water_level=5), (PARTICLES, WATER)),  # no schema has just these: one per sensor
    (dict(AIR, battery=3900), (CLIMATE, BATTERY)),
    (dict(AIR, pressure=29_999), (SELF_DESCRIBING,) * 3),  # out of range: value by value
    (dict(AIR, pressure=29_999, **DUST), (SELF_DESCRIBING,) * 3 + (PARTICLES,)),
    ({"water_level": 40_000}, (SELF_DESCRIBING,)),
)


def a_sample_becomes_as_few_reports_as_can_carry_it():
    for mantissas, schemas in SPLITS:
        reports = reports_of(mantissas)
        assert tuple(sorted(schema for schema, _ in reports)) == tuple(sorted(schemas)), (mantissas, reports)
        values = []
        for schema, of_report in reports:
            values += [value[3] for value in of_report] if schema == SELF_DESCRIBING else list(of_report)
        assert sorted(values) == sorted(mantissas.values())


def an_alarm_is_raised_once_and_cleared_at_its_own_level():
    alarms = Alarms([Rule("pm2_5", True, 150, 120)])
    seen = [alarms.judge({"pm2_5": value}) for value in (150, 151, 200, 130, 121, 120, 119, 151)]
    assert seen == [None, "raised", None, None, None, "cleared", None, "raised"]


def an_alarm_below_its_limit_works_the_other_way_round():
    alarms = Alarms([Rule("battery", False, 3400, 3600)])
    seen = [alarms.judge({"battery": value}) for value in (3400, 3399, 3500, 3600)]
    assert seen == [None, "raised", None, "cleared"]


def a_missing_quantity_changes_no_alarm():
    alarms = Alarms([Rule("pm10", True, 50, 40)])
    assert alarms.judge({"pm10": 60}) == "raised"
    assert alarms.judge({}) is None
    assert alarms.on_bits == 1


def alarms_that_were_on_before_sleep_are_not_raised_again():
    alarms = Alarms([Rule("pm10", True, 50, 40), Rule("pm1", True, 50, 40)], on_bits=1)
    assert alarms.judge({"pm10": 60, "pm1": 0}) is None
    assert alarms.judge({"pm10": 60, "pm1": 60}) == "raised"
    assert alarms.on_bits == 3
