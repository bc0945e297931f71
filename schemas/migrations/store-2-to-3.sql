-- Sweeps can be archived; what they were trained on is named with its licence; deleting finds its rows by index.
ALTER TABLE sweep ADD COLUMN archived_at TEXT;

CREATE TABLE input (
    sweep_id       INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    role           TEXT    NOT NULL,             -- model, train, validation, test
    path           TEXT    NOT NULL,
    sha256         TEXT,
    license        TEXT,                         -- as it was found; NULL: nothing said
    license_source TEXT,                         -- the file that said so
    PRIMARY KEY (sweep_id, role)
) WITHOUT ROWID;

CREATE INDEX decision_sweep ON decision (sweep_id);
CREATE INDEX decision_trial ON decision (trial_id);
CREATE INDEX event_sweep ON event (sweep_id, kind);
CREATE INDEX event_trial ON event (trial_id);
CREATE INDEX attempt_environment ON attempt (environment_id);
CREATE INDEX checkpoint_attempt ON checkpoint (attempt_id);
