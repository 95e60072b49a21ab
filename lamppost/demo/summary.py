"""The closing table of the demo."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lamppost.demo.report import Report


def print_summary(report: Report) -> None:
    """Print what was measured, what arrived, and the verdict in one line."""
    table = Table(title="what the nodes' flash says, and what the city saw")
    for column in ("", "measured", "at the city"):
        table.add_column(column, justify="left" if not column else "right")
    for bearer, counts in report.by_bearer.items():
        table.add_row(f"reports by {bearer}", str(counts["measured"]), str(counts["delivered"]))
    table.add_row("all reports", str(report.measured), str(report.delivered))
    table.add_row("lost", "", str(report.lost))
    table.add_row("duplicates", "", str(report.duplicates))
    table.add_row("sent again (allowed)", "", str(report.repeats))
    table.add_row("records of the gateway's own", "", str(report.gateway_records))
    table.add_row("values compared with the weather", "", str(report.values_compared))
    table.add_row("values off", "", str(report.values_off))
    console = Console(highlight=False)
    console.print(table)
    if report.outage_s:
        live = report.first_live_after_outage_s
        console.print(
            f"outage {report.outage_s:g} s; first live reading {'-' if live is None else f'{live:.1f} s'} after it; "
            f"all it owed was at the city after {report.drain_s:.1f} s"
        )
    for problem in (*report.protocol_errors, *report.lost_ids[:10], *report.duplicate_ids[:10]):
        console.print(f"  {problem}")
    console.print("nothing was lost, nothing came twice" if report.is_good else "FAILED: see the table above")
