-- Sweeps can start from what an earlier sweep made (stages).
CREATE TABLE origin (
    sweep_id       INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    role           TEXT    NOT NULL,             -- model, init_adapter
    seed           TEXT    NOT NULL,             -- of the trials that start from it; 'all': of every seed
    from_sweep     TEXT    NOT NULL,
    from_trial     INTEGER NOT NULL,             -- its number
    from_identity  TEXT    NOT NULL,
    path           TEXT    NOT NULL,             -- the folder: a merged model, or the adapter
    sha256         TEXT    NOT NULL,            -- of its content: part of the identity of what starts from it
    PRIMARY KEY (sweep_id, role, seed)
) WITHOUT ROWID;
