"""Rules put fewer bytes on the air than samples do, of the same weather."""

import json

from tools.bench_alarm import CASES, aired, weather_of


def test_rules_cost_less_airtime_than_samples(tmp_path) -> None:
    series = weather_of(seconds=3600)
    told = {name: aired(tmp_path, config, series) for name, config in CASES.items()}
    bytes_of = {name: sum(one["frames"]) for name, one in told.items()}
    print(json.dumps(bytes_of))
    assert bytes_of["by rules, sampled each second"] < bytes_of["each sample, one a minute"]
    assert bytes_of["by rules, sampled each second"] * 10 < bytes_of["each sample, one in 5 s"]
