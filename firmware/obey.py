"""Does what the gateway ordered, once, and reports what came of it. Loaded for one order, and forgotten after.

NVS entry "order", blob of 11 bytes: number u32, tag u16, outcome u8 (0: begun), detail u32 of the last order taken up.
It is there before anything is done, so no order is ever done twice, whatever is repeated, cut or reset; one that was
begun and not ended is told as unknown when it comes again. NVS entry "pace", blob of 8 bytes: sample_s u32, report_s
u32 in place of the configuration's, 0 for those as configured. What came of an order is a report of schema 29, kept in
the journal like any other. docs/protocol.md, "Command".
"""

import struct

import machine

from drivers.link import order as orders
from drivers.link.frame import FrameError
from drivers.link.schema import OUTCOME
from firmware.forget import forget
from firmware.identity import read_blob

_LAST = ">IHBI"
_NEVER = (0, 0, 0, 0)


async def obey(node):
    """Take up the order that came with the last answer. Raises SettingsError."""
    parts = node.parts
    octets, parts.reporter.order = parts.reporter.order, None
    try:
        await _take(node, parts, orders.Order(octets))
    except FrameError as error:
        parts.reporter.count(error.reason)
    forget("firmware.obey", "drivers.link.order", "firmware.identity", "firmware.forget")


async def _take(node, parts, order):
    settings, is_new = parts.settings, False
    number, tag, outcome, detail = _last(parts.nvs)
    if (order.number, order.tag) == (number, tag):
        outcome, detail = (outcome, detail) if outcome else (orders.UNKNOWN, 0)
    elif order.number <= number:
        outcome, detail = orders.STALE, number
    else:
        is_new = True
        _keep(settings, order, 0, 0)
        outcome, detail = await _do(node, order)
    if outcome != orders.STALE:
        _keep(settings, order, outcome, detail)
    values = (order.number, order.tag, outcome, detail)
    print("lamppost: order %d, code %d: outcome %d, detail %d" % (order.number, order.code, outcome, detail))
    seq = parts.archive.add(settings.boot, parts.uptime.nearest_s(), OUTCOME, values)
    is_done = is_new and outcome == orders.DONE
    if is_done and order.code == orders.RESTART:
        machine.reset()
    if seq is not None and not (is_done and order.code == orders.REPORT):  # its report goes in its place in the row
        parts.reporter.mark_urgent(seq)
    node.hurry()


async def _do(node, order):
    """(outcome, detail)."""
    if order.code == orders.REPORT:
        await node.sample_once()
    elif order.code == orders.OUTPUT:
        return _set_output(node.parts, orders.read_output(order.arguments))
    elif order.code == orders.PACE:
        return _set_pace(node, orders.read_pace(order.arguments))
    elif order.code != orders.RESTART:
        return orders.REFUSED, orders.NO_SUCH_ORDER
    return orders.DONE, 0


def _set_output(parts, wanted):
    if wanted is None:
        return orders.REFUSED, orders.BAD_ARGUMENTS
    which, for_s, level = wanted
    if parts.output is None or which:
        return orders.REFUSED, orders.NO_OUTPUT
    if for_s > parts.output.longest_s:
        return orders.REFUSED, orders.BAD_ARGUMENTS
    parts.output.switch(level, for_s, parts.uptime.seconds())
    return orders.DONE, 0


def _set_pace(node, pace):
    if pace is None:
        return orders.REFUSED, orders.BAD_ARGUMENTS
    parts = node.parts
    parts.settings.write("set_blob", "pace", struct.pack(">II", *pace))
    node.set_pace(*pace)
    state, now_s = parts.state, parts.uptime.seconds()
    state.sample_at_s = min(state.sample_at_s, now_s + node.sample_s)
    state.report_at_s = min(state.report_at_s, now_s + node.report_s)
    return orders.DONE, 0


def _last(nvs):
    """(number, tag, outcome, detail) of the last order taken up."""
    blob = read_blob(nvs, "order", struct.calcsize(_LAST))
    return _NEVER if blob is None else struct.unpack(_LAST, blob)


def _keep(settings, order, outcome, detail):
    settings.write("set_blob", "order", struct.pack(_LAST, order.number, order.tag, outcome, detail))
