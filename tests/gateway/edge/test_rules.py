"""Rules: tables of readings and what they raise and clear; the life of an alarm; what is refused at load."""

from dataclasses import replace

import pytest

from gateway.config import EdgeConfig, parse
from gateway.config_alarm import RuleConfig
from gateway.config_edge import ActionConfig, PrivacyConfig
from gateway.errors import ConfigError
from gateway.reading import Pending, Reading
from tests.gateway.cores import ManualTime, running_core, stored_reports
from tests.gateway.edge.machine import START_S, Machine, alarms, measured, values_of

UP, DOWN = "raised", "cleared"


def rule(kind, **options):
    defaults = {} if kind in ("silent", "expression") else {"quantity": "x"}
    return RuleConfig(name="r", kind=kind, **(defaults | options))


@pytest.mark.parametrize(
    "config, readings, expected",
    [
        (rule("threshold", above=10.0), [(0, 9), (1, 10), (2, 11), (3, 12), (4, 10)], [(2, UP), (4, DOWN)]),
        (rule("threshold", below=0.0), [(0, 1), (1, -1), (2, 0)], [(1, UP), (2, DOWN)]),
        (rule("threshold", above=10.0, below=0.0), [(0, 11), (1, -1), (2, 5)], [(0, UP), (2, DOWN)]),
        (rule("threshold", above=10.0, hysteresis=2.0), [(0, 11), (1, 9), (2, 8.5), (3, 8)], [(0, UP), (3, DOWN)]),
        (rule("threshold", above=10.0, hold_s=20), [(0, 11), (10, 11), (20, 11), (30, 1)], [(20, UP), (30, DOWN)]),
        (rule("threshold", above=10.0, hold_s=20), [(0, 11), (10, 9), (20, 11), (39, 11)], []),
        (rule("threshold", above=10.0, hold_s=20, hysteresis=5.0), [(0, 11), (10, 9), (25, 11)], []),
        (rule("rate", above=0.5), [(0, 0), (10, 4), (20, 10), (30, 11)], [(20, UP), (30, DOWN)]),
        (rule("rate", below=-0.5), [(0, 10), (10, 9), (20, 3), (30, 3)], [(20, UP), (30, DOWN)]),
        (rule("rate", above=0.5), [(0, 0), (0, 100), (10, 101), (20, 111)], [(20, UP)]),  # two at one time have no rate
        (rule("stuck", for_s=60), [(0, 1), (30, 1), (60, 1), (90, 2)], [(60, UP), (90, DOWN)]),
        (rule("stuck", for_s=60, tolerance=0.5), [(0, 1), (30, 1.4), (60, 0.6), (90, 1.6)], [(60, UP), (90, DOWN)]),
        (rule("stuck", for_s=60), [(0, 1), (30, 2), (60, 1), (90, 2)], []),
        (rule("jump", step=5.0), [(0, 100), (1, 104), (2, 98), (3, 97)], [(2, UP), (3, DOWN)]),
    ],
)
def test_readings_raise_and_clear(config, readings, expected):
    machine = Machine(rule=(config,))
    made = []
    for at_s, value in readings:
        machine.now_s = START_S + at_s
        made += [(at_s, state) for _, _, state in alarms(machine.add(measured("a", machine.now_s, x=value)))]
    assert made == expected


def test_a_record_says_rule_state_severity_number_and_value():
    machine = Machine(rule=(rule("threshold", above=1.0, severity="critical"),))
    machine.add(measured("a", START_S, x=0.5))
    (record,) = machine.add(measured("a", START_S + 1, x=2.5))
    assert (record.kind, record.subject, record.measured_at_s) == ("alarm", "a", START_S + 1)
    assert values_of(record) == {
        "alarm/rule": "r",
        "alarm/state": "raised",
        "alarm/severity": "critical",
        "alarm/n": 1,
        "alarm/value": 2.5,
    }


def test_a_hold_time_ends_by_the_clock_when_no_reading_comes():
    machine = Machine(rule=(rule("threshold", above=1.0, hold_s=30),))
    machine.add(measured("a", START_S, x=2.0))
    assert machine.tick(START_S + 29) == []
    assert alarms(machine.tick(START_S + 30)) == [("r", "a", UP)]


def test_older_readings_and_old_news_change_nothing():
    machine = Machine(rule=(rule("threshold", above=1.0, max_age_s=60),))
    machine.now_s = START_S + 100
    assert machine.add(measured("a", START_S + 30, x=2.0)) == []
    machine.add(measured("a", START_S + 99, x=0.0))
    assert machine.add(measured("a", START_S + 98, x=2.0)) == []
    assert machine.counters["edge_rule_reading_old"] == 2


def test_a_silent_node_is_told_and_told_again_when_it_speaks():
    machine = Machine(rule=(rule("silent", for_s=100),))
    machine.add(measured("a", START_S, y=1))
    assert machine.tick(START_S + 100) == []
    assert alarms(machine.tick(START_S + 101)) == [("r", "a", UP)]
    machine.now_s = START_S + 150
    assert alarms(machine.add(measured("a", START_S, text="x"))) == [("r", "a", DOWN)]


def test_silence_while_the_gateway_was_off_is_none_of_the_nodes():
    machine = Machine(rule=(rule("silent", for_s=100),))
    machine.add(measured("a", START_S, y=1))
    machine.tick()
    machine.checkpoint()
    machine.kill()
    assert machine.tick(START_S + 5000) == []
    for later_s in range(5010, 5100, 10):
        assert machine.tick(START_S + later_s) == []
    assert alarms(machine.tick(START_S + 5101)) == [("r", "a", UP)]


def test_rules_work_while_the_clock_is_wrong_and_say_so():
    machine = Machine(rule=(rule("threshold", above=1.0, hold_s=30),), window_s=60)
    machine.now_s = 100.0
    made = []
    for at_s in (100.0, 120.0, 130.0):
        machine.now_s = at_s
        made += machine.add(replace(measured("a", at_s, x=2.0), time_quality="untrusted", pending=Pending(3)))
    assert [(one.time_quality, one.pending, one.measured_at_s) for one in made] == [("untrusted", Pending(3), 130.0)]
    machine.add(replace(measured("b", 130.0, x=2.0), time_quality="untrusted", pending=Pending(3)))
    machine.now_s = START_S
    assert machine.add(measured("b", START_S, x=2.0)) == []  # it has not held since 1970
    assert alarms(machine.tick(START_S + 31)) == [("r", "b", UP)]


def test_a_clock_that_was_ahead_does_not_deafen_a_rule():
    machine = Machine(rule=(rule("threshold", above=1.0),))
    machine.now_s = START_S + 40 * 86_400
    machine.add(measured("a", machine.now_s, x=0.0))
    machine.now_s = START_S
    assert alarms(machine.add(measured("a", START_S, x=2.0))) == [("r", "a", UP)]


def test_an_alarm_is_acknowledged_once_and_cleared_by_its_readings():
    machine = Machine(rule=(rule("threshold", above=1.0),))
    assert machine.acknowledge("r", "a") is None
    machine.add(measured("a", START_S, x=2.0))
    (record,) = machine.acknowledge("r", "a")
    assert (values_of(record)["alarm/state"], values_of(record)["alarm/by"]) == ("acknowledged", "ann")
    assert machine.acknowledge("r", "a") is None
    assert machine.add(measured("a", START_S + 1, x=2.0)) == []
    assert alarms(machine.add(measured("a", START_S + 2, x=0.0))) == [("r", "a", DOWN)]
    (again,) = machine.add(measured("a", START_S + 3, x=2.0))
    assert values_of(again)["alarm/n"] == 2


def test_a_latching_alarm_stays_until_somebody_has_seen_it():
    machine = Machine(rule=(rule("threshold", above=1.0, latching=True),))
    machine.add(measured("a", START_S, x=2.0))
    assert machine.add(measured("a", START_S + 1, x=0.0)) == []
    assert [state for *_, state in alarms(machine.acknowledge("r", "a"))] == ["acknowledged", DOWN]


def test_an_expression_combines_quantities_and_other_rules():
    flood = RuleConfig(name="flood", kind="threshold", quantity="water", above=1.0)
    ice = RuleConfig(name="ice", kind="expression", expression="flood && air_t < 2.0", max_age_s=100)
    machine = Machine(rule=(flood, ice))
    machine.add(measured("a", START_S, **{"air/t": 1.0}))
    assert machine.add(measured("b", START_S, water=2.0, **{"air/t": 5.0})) != []
    made = machine.add(measured("a", START_S + 1, water=2.0))
    assert alarms(made) == [("flood", "a", UP), ("ice", "a", UP)]
    assert alarms(machine.add(measured("a", START_S + 2, **{"air/t": 3.0}))) == [("ice", "a", DOWN)]
    machine.now_s = START_S + 300  # the temperature is too old to judge by
    assert machine.add(measured("a", START_S + 300, water=2.0)) == []


def test_a_rule_that_changed_or_is_gone_clears_its_alarm_and_says_why():
    machine = Machine(rule=(rule("threshold", above=1.0),))
    machine.add(measured("a", START_S, x=2.0))
    machine.reconfigure(rule=(rule("threshold", above=1.5),))
    (record,) = machine.tick()
    assert (values_of(record)["alarm/state"], values_of(record)["alarm/cause"]) == (DOWN, "rule_changed")
    assert alarms(machine.add(measured("a", START_S + 1, x=2.0))) == [("r", "a", UP)]
    machine.reconfigure()
    (record,) = machine.tick()
    assert values_of(record)["alarm/cause"] == "rule_gone"
    assert machine.tick() == []


def test_an_alarm_over_a_quantity_that_must_stay_here_does_not_tell_its_value():
    hidden = PrivacyConfig(quantities=("x",), action="local")
    machine = Machine(rule=(rule("threshold", above=1.0),), privacy=(hidden,))
    (record,) = machine.add(measured("a", START_S, x=2.0))
    assert "alarm/value" not in values_of(record)


@pytest.mark.parametrize(
    "expression, hint",
    [
        ("x >", "is not CEL"),
        ("x + 1.0", "not true or false"),
        ("x", "not true or false"),
        ("1.0 < 2.0", "1 to 16 names"),
        ("x > 1 + 2.5", "no condition"),
        ("other && x", "no condition"),
        ("!x", "no condition"),
        ("size(x) > 1", "'size' is not allowed"),
        ("[1.0, 2.0].exists(y, y > x)", "not allowed"),
        ("x in [1.0]", "not allowed"),
        ("x == 'a'", "neither text nor lists"),
        ("later && x > 1.0", "put that one first"),
        ("r && x > 1.0", "put that one first"),
        ("x > 1.0" + " || x > 1.0" * 60, "at most 500"),
        ("__import__('os').system('x') == x", "not allowed"),
    ],
)
def test_an_expression_that_cannot_work_is_refused_when_the_file_is_read(expression, hint):
    rules = [
        RuleConfig(name="other", kind="silent", for_s=60),
        RuleConfig(name="r", kind="expression", expression=expression),
        RuleConfig(name="later", kind="silent", for_s=60),
    ]
    with pytest.raises(ConfigError, match="expression") as caught:
        EdgeConfig(rule=tuple(rules))
    assert hint in str(caught.value)
    assert caught.value.key == "rule[1].expression"


MINIMAL = '[gateway]\nid = "g"\nsite = "s"\ndata_dir = "/d"\n[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:1883"\n'
RULE = '[[edge.rule]]\nname = "r"\n'
WINDOW = '[[edge.window]]\nname = "w"\n'


@pytest.mark.parametrize(
    "text, key, hint",
    [
        (RULE + 'kind = "treshold"', "edge.rule[0].kind", "threshold"),
        (RULE + 'kind = "threshold"\nquantity = "x"', "edge.rule[0].above or below", "needs it"),
        (RULE + 'kind = "threshold"\nabove = 1', "edge.rule[0].quantity", "needs it"),
        (RULE + 'kind = "silent"\nfor_s = 60\nquantity = "x"', "edge.rule[0].quantity", "not for"),
        (RULE + 'kind = "silent"\nfor_s = 60\nhold_s = 5', "edge.rule[0].hold_s", "not for"),
        (RULE + 'kind = "silent"\nfor_s = 60\nactions = ["x"]', "edge.rule[0].actions", "no [[edge.action]]"),
        (RULE + 'kind = "silent"\nfor_s = 60\nnodes = []', "edge.rule[0].nodes", "is empty"),
        (RULE + 'kind = "silent"\nfor_s = 60\nnodes = "a"', "edge.rule[0].nodes", "square brackets"),
        (RULE + 'kind = "silent"\nfor_s = 60\nnodes = [1]', "edge.rule[0].nodes", "text in quotes"),
        (RULE.replace('"r"', '"r-1"') + 'kind = "silent"\nfor_s = 60', "edge.rule[0].name", "letters, digits and _"),
        (RULE + 'kind = "silent"\nfor_s = 60\n' + RULE + 'kind = "silent"\nfor_s = 6', "edge.rule[1].name", "taken"),
        (WINDOW + 'kind = "sliding"', "edge.window[0].slide_s", "needs it"),
        (WINDOW + 'kind = "sliding"\nlength_s = 60\nslide_s = 50', "edge.window[0].slide_s", "divide"),
        (WINDOW + 'kind = "sliding"\nlength_s = 600\nslide_s = 1', "edge.window[0].slide_s", "64"),
        (WINDOW + "gap_s = 5", "edge.window[0].gap_s", "session"),
        (WINDOW + 'stats = ["median"]', "edge.window[0].stats", "time_mean"),
        (WINDOW + "stats = []", "edge.window[0].stats", "nothing"),
        (WINDOW + "quantiles = [50]", "edge.window[0].quantiles", "0 to 1"),
        (WINDOW + 'by = "street"', "edge.window[0].by", "zone"),
        (WINDOW + "window_s = 5", "edge.window[0].window_s", "not a key"),
        (WINDOW + WINDOW, "edge.window[1].name", "taken"),
        ('[[edge.action]]\nname = "a"\nkind = "gpio"', "edge.action[0].pin", "needs it"),
        ('[[edge.action]]\nname = "a"\nkind = "mqtt"\npin = 4', "edge.action[0].pin", "gpio"),
        ('[[edge.action]]\nname = "a"\nkind = "gpio"\npin = 4\nsafe = "open"', "edge.action[0].safe", "off or on"),
        ('[[edge.report]]\nquantities = ["x"]\ndead_band = 0', "edge.report[0].dead_band", "more than 0"),
        (
            '[[edge.report]]\nquantities = ["x"]\non_change = true\ndead_band = 1',
            "edge.report[0].on_change",
            "keep one",
        ),
        ('[[edge.privacy]]\nquantities = ["x"]\naction = "coarsen"', "edge.privacy[0].step", "needs it"),
        ('[[edge.privacy]]\nquantities = ["x"]\naction = "erase"', "edge.privacy[0].action", "drop"),
        ('[[group]]\nname = "a"\nnodes = ["x y"]', "group[0].nodes", "wildcards"),
        ('[[group]]\nname = "a"\nnodes = ["x"]\nkind = "area"', "group[0].kind", "zone"),
    ],
)
def test_a_mistake_in_the_file_names_its_key(text, key, hint):
    with pytest.raises(ConfigError) as caught:
        parse(MINIMAL + text)
    assert caught.value.key == key
    assert hint in str(caught.value)


def test_a_rule_names_actions_that_are_there():
    siren = ActionConfig(name="siren", kind="gpio", pin=4)
    held = rule("silent", for_s=60, actions=("siren",))
    assert EdgeConfig(action=(siren,), rule=(held,)).rule[0].actions == ("siren",)
    assert Machine(action=(siren,), rule=(held,)).edge.must_react
    assert not Machine(rule=(rule("silent", for_s=60),)).edge.must_react


async def test_a_gateway_that_does_not_know_the_time_raises_alarms_that_wait_for_it(tmp_path):
    time = ManualTime(now_s=500.0)  # 1970
    edge = EdgeConfig(rule=(rule("threshold", above=1.0), RuleConfig(name="s", kind="silent", for_s=60)))
    async with running_core(tmp_path, edge=edge, clock=time.clock) as core:
        assert not core.clock.is_trusted
        await core.intake.submit_own([Reading(quantity="x", value=2.0)])
        time.advance(70)
        await core.clockwork.tell_windows()
        told = [one for one in await stored_reports(core) if one.kind == "alarm"]
    assert alarms(told) == [("r", "gw-1", UP), ("s", "gw-1", UP)]
    assert {one.time_quality for one in told} == {"untrusted"}
    assert all(one.pending is not None and one.pending.boot == core.clock.number for one in told)
    assert told[1].measured_at_s - told[0].measured_at_s == 70
