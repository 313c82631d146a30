-- What a study keeps. Rows of items, annotators, events, judgements and undos are only ever added;
-- the triggers hold everybody to it, whatever program opens the file. The one exception is a person
-- who asks to be forgotten: see `forgetting`.

CREATE TABLE documents (
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    entered_at REAL NOT NULL,
    PRIMARY KEY (kind, version)
);

CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);

CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL,
    audience TEXT NOT NULL,
    content TEXT NOT NULL,
    added_at REAL NOT NULL
);
CREATE INDEX items_for ON items (purpose, number);

CREATE TABLE annotators (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    pseudonym TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    weight REAL NOT NULL,
    came_by TEXT NOT NULL,
    added_at REAL NOT NULL
);

CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    annotator TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX events_of ON events (annotator, number);

CREATE TABLE judgements (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    annotator TEXT NOT NULL,
    item TEXT NOT NULL,
    shown TEXT NOT NULL,
    answer TEXT NOT NULL,
    strength INTEGER,
    reason TEXT NOT NULL,
    shown_at REAL NOT NULL,
    answered_at REAL NOT NULL,
    guideline_version INTEGER NOT NULL,
    repeats TEXT
);
CREATE INDEX judgements_by ON judgements (annotator, item);
CREATE INDEX judgements_of ON judgements (item);

CREATE TABLE undos (judgement TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;

-- What holds now: no answer that was taken back.
CREATE VIEW standing AS
    SELECT * FROM judgements WHERE id NOT IN (SELECT judgement FROM undos);

CREATE VIEW excluded AS
    SELECT annotator FROM (
        SELECT annotator, kind, MAX(number) FROM events
        WHERE kind IN ('excluded', 'included') GROUP BY annotator
    ) WHERE kind = 'excluded';

-- What counts towards the overlap: one opinion per person and item for work.
CREATE VIEW counted AS
    SELECT * FROM standing
    WHERE repeats IS NULL AND answer <> '{"skip": true}'
    AND item IN (SELECT id FROM items WHERE purpose = 'work')
    AND annotator NOT IN (SELECT annotator FROM excluded);

-- What remains of forgotten people: how often each answer was given.
CREATE TABLE remains (
    item TEXT NOT NULL,
    answer TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (item, answer)
);

-- Everything below changes.

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    annotator TEXT NOT NULL UNIQUE,
    item TEXT NOT NULL,
    shown TEXT NOT NULL,
    shown_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    guideline_version INTEGER NOT NULL,
    repeats TEXT
);
CREATE INDEX leases_of ON leases (item);

-- Secret links and sessions, by the hash of what the person holds.
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_of ON tokens (holder);

-- Computed from the rows above, item by item, whenever one of its rows is added.
CREATE TABLE queue (
    item TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    audience TEXT NOT NULL,
    score REAL NOT NULL DEFAULT 0,
    draw INTEGER NOT NULL,
    judged INTEGER NOT NULL DEFAULT 0,
    answers INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX queue_order ON queue (purpose, score DESC, draw);

-- Who may be deleted, within the transaction that deletes them.
CREATE TABLE forgetting (annotator TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TRIGGER documents_stay BEFORE DELETE ON documents
BEGIN SELECT RAISE(ABORT, 'documents are only added'); END;
CREATE TRIGGER documents_hold BEFORE UPDATE ON documents
BEGIN SELECT RAISE(ABORT, 'documents are only added'); END;
CREATE TRIGGER items_stay BEFORE DELETE ON items
BEGIN SELECT RAISE(ABORT, 'items are only added'); END;
CREATE TRIGGER items_hold BEFORE UPDATE ON items
BEGIN SELECT RAISE(ABORT, 'items are only added'); END;
CREATE TRIGGER annotators_stay BEFORE DELETE ON annotators
WHEN OLD.id NOT IN (SELECT annotator FROM forgetting)
BEGIN SELECT RAISE(ABORT, 'annotators are only added'); END;
CREATE TRIGGER annotators_hold BEFORE UPDATE ON annotators
BEGIN SELECT RAISE(ABORT, 'annotators are only added'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
WHEN OLD.annotator NOT IN (SELECT annotator FROM forgetting)
BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER events_hold BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER judgements_stay BEFORE DELETE ON judgements
WHEN OLD.annotator NOT IN (SELECT annotator FROM forgetting)
BEGIN SELECT RAISE(ABORT, 'judgements are only added'); END;
CREATE TRIGGER judgements_hold BEFORE UPDATE ON judgements
BEGIN SELECT RAISE(ABORT, 'judgements are only added'); END;
CREATE TRIGGER undos_stay BEFORE DELETE ON undos
WHEN OLD.judgement IN (
    SELECT id FROM judgements WHERE annotator NOT IN (SELECT annotator FROM forgetting)
)
BEGIN SELECT RAISE(ABORT, 'undos are only added'); END;
CREATE TRIGGER undos_hold BEFORE UPDATE ON undos
BEGIN SELECT RAISE(ABORT, 'undos are only added'); END;
