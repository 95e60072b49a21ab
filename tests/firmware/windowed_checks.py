"""The node's rules on one series, against a reference that the test wrote. Run by test_node_rules, on MicroPython."""

import json
from collections import namedtuple

from drivers.link.schema import WINDOW, fit, readings
from firmware.alarm_timed import TimedAlarms
from firmware.config import parse
from firmware.rules import Rules

Moment = namedtuple("Moment", ("s", "ms"))


class Uptime:
    def __init__(self):
        self.at_ms = 0

    def split(self):
        return divmod(self.at_ms, 1000)


def told(case):
    """Everything that the rules of `case` make of its series: windows, reports that go, alarms."""
    config = parse(case["config"])
    rules = Rules(config.rules.windows, config.rules.exceptions, config.rules.held_back_s, 0)
    uptime = Uptime()
    alarms = TimedAlarms(config.alarms, uptime)
    found = {"windows": [], "reports": [], "alarms": []}
    for at_ms, mantissas in case["series"]:
        uptime.at_ms = at_ms
        time_s = (at_ms + 500) // 1000
        verdict = alarms.judge(mantissas)
        if verdict:
            found["alarms"].append([at_ms, verdict])
        for end_s, values in rules.take(mantissas, time_s):
            found["windows"].append([end_s, [list(reading) for reading in readings(WINDOW, values)]])
        schema, values = fit(mantissas)
        if mantissas and rules.lets_go(schema, values, time_s, verdict):
            found["reports"].append(at_ms)
    return found


def run(path):
    with open(path) as file:
        for line in file:
            print(json.dumps(told(json.loads(line))))
