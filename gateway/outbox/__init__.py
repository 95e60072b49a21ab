"""The outbox: a log of page-exact segments on disk, and the queue over it.

Read queue (what the rest of the gateway calls), ledger (who has what), log and page (how it lies on disk), then entries
(what a commit does, live and at a start), reader, bounds, reclaim and carry_over. files is all it asks of the system.
"""

from gateway.outbox.batch import Backlog, Batch, Lane, Stored, count_of, each_of
from gateway.outbox.ledger import AuditRow, Outcome
from gateway.outbox.queue import Outbox

__all__ = ["AuditRow", "Backlog", "Batch", "Lane", "Outbox", "Outcome", "Stored", "count_of", "each_of"]
