"""Does what the gateway ordered, once, and reports what came of it. Loaded for one order, and forgotten after.

NVS entry "order", blob of 11 bytes: number u32, tag u16, outcome u8 (0: begun), detail u32 of the last order taken up.
It is there before anything is done, so no order is ever done twice, whatever is repeated, cut or reset; one that was
begun and not ended is told as unknown when it comes again. NVS entry "pace", blob of 8 bytes: sample_s u32, report_s
u32 in place of the configuration's, 0 for those as configured. What came of an order is a report of schema 29, kept in
the journal like any other. Codes and bytes: docs/protocol.md, "Command"; the gateway's half is drivers/link/order.
"""

import machine

from drivers.constant import const
from drivers.link.schema import OUTCOME
from firmware.forget import forget

_REPORT = const(1)
_OUTPUT = const(2)
_PACE = const(3)
_RESTART = const(4)
_DONE = const(1)
_REFUSED = const(2)
_UNKNOWN = const(3)
_STALE = const(4)
_NO_SUCH_ORDER = const(1)
_BAD_ARGUMENTS = const(2)
_NO_OUTPUT = const(3)

_SHORTEST_PACE_S = const(5)
_LONGEST_PACE_S = const(86_400)
_HEAD_LEN = const(7)
_KEPT_LEN = const(11)
_LAST_NUMBER = const(0x7FFFFFFF)


async def obey(node):
    """Take up the order that came with the last answer. Raises SettingsError."""
    parts = node.parts
    order, parts.reporter.order = parts.reporter.order, None
    if len(order) < _HEAD_LEN or _u32(order) > _LAST_NUMBER:
        parts.reporter.count("out_of_range")
    else:
        await _take(node, order)
    forget("firmware.obey", "firmware.forget")


async def _take(node, order):
    parts, settings, name = node.parts, node.parts.settings, order[:6]  # its number and tag
    kept, is_done = _kept(parts.nvs), False
    if kept[:6] == name:
        outcome, detail = (kept[6], _u32(kept[7:])) if kept[6] else (_UNKNOWN, 0)
    elif _u32(order) <= _u32(kept):
        outcome, detail = _STALE, _u32(kept)
    else:
        _keep(settings, name, 0, 0)
        outcome, detail = await _do(node, order[6], order[_HEAD_LEN:])
        is_done = outcome == _DONE
    if outcome != _STALE:
        _keep(settings, name, outcome, detail)
    print("lamppost: order %d, code %d: outcome %d, detail %d" % (_u32(order), order[6], outcome, detail))
    values = (_u32(order), order[4] << 8 | order[5], outcome, detail)
    seq = parts.archive.add(settings.boot, parts.uptime.nearest_s(), OUTCOME, values)
    if is_done and order[6] == _RESTART:
        machine.reset()
    if seq is not None and not (is_done and order[6] == _REPORT):  # that one's sample goes before it
        parts.reporter.mark_urgent(seq)
    node.is_hurried = True


async def _do(node, code, arguments):
    """(outcome, detail)."""
    if code == _REPORT:
        await node.sample_once()
    elif code == _OUTPUT:
        return _set_output(node.parts, arguments)
    elif code == _PACE:
        return _set_pace(node, arguments)
    elif code != _RESTART:
        return _REFUSED, _NO_SUCH_ORDER
    return _DONE, 0


def _set_output(parts, arguments):
    """Which one u8, seconds u24, level u8; no seconds: back to its safe state."""
    if len(arguments) != 5 or arguments[4] > 1:
        return _REFUSED, _BAD_ARGUMENTS
    output, config, for_s = parts.output, parts.config, _u32(arguments) & 0xFFFFFF
    if output is None or arguments[0]:
        return _REFUSED, _NO_OUTPUT
    if for_s > config.output_longest_s:
        return _REFUSED, _BAD_ARGUMENTS
    is_safe = not for_s or arguments[4] == config.output_safe
    output[0].value(output[1] ^ (not is_safe))
    output[2] = parts.uptime.seconds() + for_s if for_s else None
    return _DONE, 0


def _set_pace(node, arguments):
    """sample_s u24, report_s u24; 0: as configured."""
    sample_s, report_s = _u32(b"\0" + arguments[:3]), _u32(b"\0" + arguments[3:])
    parts = node.parts
    is_fast = sample_s and parts.config.sample_ms  # then that is its pace
    if len(arguments) != 6 or is_fast or not (_is_pace(sample_s) and _is_pace(report_s)):
        return _REFUSED, _BAD_ARGUMENTS
    parts.settings.write("set_blob", "pace", sample_s.to_bytes(4, "big") + report_s.to_bytes(4, "big"))
    parts.sample_s, parts.report_s = sample_s or parts.config.sample_s, report_s or parts.config.report_s
    state, now_s = parts.state, parts.uptime.seconds()
    state.sample_at_s = min(state.sample_at_s, now_s + parts.sample_s)
    state.report_at_s = min(state.report_at_s, now_s + parts.report_s)
    return _DONE, 0


def _is_pace(seconds):
    return not seconds or _SHORTEST_PACE_S <= seconds <= _LONGEST_PACE_S


def _kept(nvs):
    """The entry of the last order taken up; zeros if there was none."""
    kept = bytearray(_KEPT_LEN)
    try:
        nvs.get_blob("order", kept)
    except OSError:
        pass
    return bytes(kept)


def _keep(settings, name, outcome, detail):
    settings.write("set_blob", "order", name + bytes([outcome]) + detail.to_bytes(4, "big"))


def _u32(octets):
    return int.from_bytes(octets[:4], "big")
