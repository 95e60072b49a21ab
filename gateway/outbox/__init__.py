"""The outbox: a log of page-exact segments on disk, and the queue over it.

Read queue (what the rest of the gateway calls), ledger (who has what), log and page (how it lies on disk), then entries
(what a commit does, live and at a start), reader, bounds, reclaim and carry_over. files is all it asks of the system.
"""

from gateway.outbox.batch import Backlog, Batch, Lane
from gateway.outbox.ledger import AuditRow, Outcome
from gateway.outbox.places import Places, Sheet
from gateway.outbox.queue import Outbox
from gateway.outbox.singles import Singles
from gateway.outbox.stored import Stored, count_of, each_of

__all__ = [
    "AuditRow",
    "Backlog",
    "Batch",
    "Lane",
    "Outbox",
    "Outcome",
    "Places",
    "Sheet",
    "Singles",
    "Stored",
    "count_of",
    "each_of",
]
