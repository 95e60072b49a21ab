"""Every table of the gateway's one database, so that its whole content can be seen on one page.

Columns ending in _s are UTC seconds. A node is named by its id throughout. Format 1; a newer one is refused by name.
"""

FORMAT = 1

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- The outbox: one stored copy of each record, however many platforms wait for it.
-- stream: 0 alarm, 1 event, 2 telemetry, 3 bulk. is_produced: by the gateway itself.
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, is_produced INTEGER NOT NULL,
    node TEXT NOT NULL, epoch INTEGER, seq INTEGER,
    stored_at_s REAL NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX records_by_stream ON records (stream, id);
CREATE TABLE streams (stream INTEGER PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL);

-- Promise 1, per platform:
-- accepted + produced = delivered + stored + evicted + expired + thinned + damaged + refused.
CREATE TABLE cities (
    name TEXT PRIMARY KEY,
    accepted INTEGER NOT NULL DEFAULT 0, produced INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0, unheard INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0, thinned INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- Done for a platform: every record of the stream up to done_through, and those in settled.
CREATE TABLE cursors (
    city TEXT, stream INTEGER, done_through INTEGER NOT NULL, PRIMARY KEY (city, stream)) WITHOUT ROWID;
CREATE TABLE settled (city TEXT, stream INTEGER, id INTEGER, PRIMARY KEY (city, stream, id)) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, city TEXT NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL, body BLOB NOT NULL);

-- Freshness. seen: 64 bits, bit i says that counter highest - 1 - i was accepted.
-- down_reserved: no downlink counter from here on was used.
CREATE TABLE sessions (
    node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, highest INTEGER NOT NULL, seen BLOB NOT NULL,
    down_reserved INTEGER NOT NULL, boot INTEGER NOT NULL, heard_at_s REAL NOT NULL) WITHOUT ROWID;
-- When each boot of a node began, and when it was last heard. clock_boot: the boot of the gateway (clock_boots) since
-- whose beginning started_at_s counts, while that is not known in UTC.
CREATE TABLE boots (
    node TEXT, epoch INTEGER, boot INTEGER,
    started_at_s REAL NOT NULL, is_trusted INTEGER NOT NULL, heard_at_s REAL NOT NULL, clock_boot INTEGER,
    PRIMARY KEY (node, epoch, boot)) WITHOUT ROWID;

-- Identity of reports. Below base all are stored or declared lost.
-- above: pairs of u32 (first, end) of what is stored higher up.
CREATE TABLE sequences (
    node TEXT, epoch INTEGER, base INTEGER NOT NULL, above BLOB NOT NULL, declared BLOB NOT NULL,
    PRIMARY KEY (node, epoch)) WITHOUT ROWID;
CREATE TABLE digests (
    node TEXT, epoch INTEGER, seq INTEGER, digest INTEGER NOT NULL, PRIMARY KEY (node, epoch, seq)) WITHOUT ROWID;
-- Record ids of third-party devices, the newest few thousand of each.
CREATE TABLE heard (
    n INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, record_id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL);
CREATE INDEX heard_by_device ON heard (device, n);

-- The edge step's windows. state: per quantity and unit count, sum, lowest, highest.
CREATE TABLE windows (
    subject TEXT, start_s INTEGER, length_s INTEGER, state TEXT NOT NULL,
    revision INTEGER NOT NULL, is_open INTEGER NOT NULL, touched_at_s REAL NOT NULL,
    PRIMARY KEY (subject, start_s, length_s)) WITHOUT ROWID;
CREATE INDEX windows_open ON windows (start_s) WHERE is_open = 1;
CREATE TABLE window_floors (
    subject TEXT, length_s INTEGER, start_s INTEGER NOT NULL, PRIMARY KEY (subject, length_s)) WITHOUT ROWID;
"""

# Root keys that nodes and this gateway agreed on. enrolled: which enrolment it followed, so that a new one ends it.
# One confirmed row per node at most (a frame under it came); rows above it wait for their first frame.
JOINS = """
CREATE TABLE IF NOT EXISTS joins (
    id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, enrolled BLOB NOT NULL, root BLOB NOT NULL,
    is_confirmed INTEGER NOT NULL, at_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS joins_by_node ON joins (node, id);
"""
TABLES += JOINS
