-- The store: one SQLite file, the truth about every sweep in it. Names here are stable and documented in docs/store.md.
-- Opened by the coordinator alone for writing (WAL, synchronous=FULL, foreign keys on); everybody may read.
-- Version: PRAGMA user_version = 4. Times are UTC text 'YYYY-MM-DD HH:MM:SS.SSS'; hashes are lower-case SHA-256;
-- seconds, bytes and steps say so in their names.

CREATE TABLE sweep (
    id                INTEGER PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    definition        TEXT    NOT NULL,          -- the file as it was given (the last accepted one)
    definition_sha256 TEXT    NOT NULL,
    folder            TEXT    NOT NULL,          -- where relative paths in the definition start
    output_folder     TEXT    NOT NULL,          -- where checkpoints and artifacts of its trials live
    seed              INTEGER NOT NULL,
    state             TEXT    NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'COMPLETE', 'STOPPED')),
    created_at        TEXT    NOT NULL,
    finished_at       TEXT
, archived_at TEXT);

-- What a sweep was trained on.
CREATE TABLE input (
    sweep_id       INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    role           TEXT    NOT NULL,             -- model, train, validation, test
    path           TEXT    NOT NULL,
    sha256         TEXT,
    license        TEXT,                         -- as it was found; NULL: nothing said
    license_source TEXT,                         -- the file that said so
    PRIMARY KEY (sweep_id, role)
) WITHOUT ROWID;

-- What the trials of a sweep start from when its definition says "from": trials of an earlier sweep, by name, so that the
-- record stays when that one is deleted.
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

CREATE TABLE objective (
    sweep_id INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    position INTEGER NOT NULL,                   -- 0 is the first objective; trial.value is its value
    metric   TEXT    NOT NULL,
    goal     TEXT    NOT NULL CHECK (goal IN ('minimize', 'maximize')),
    PRIMARY KEY (sweep_id, position)
) WITHOUT ROWID;

-- A point of the search space. Trials of one configuration differ in their seed only.
CREATE TABLE configuration (
    id         INTEGER PRIMARY KEY,
    sweep_id   INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    number     INTEGER NOT NULL,                 -- from 1, in the order of proposal
    role       TEXT    NOT NULL DEFAULT 'search' CHECK (role IN ('search', 'baseline')),
    parameters TEXT    NOT NULL,                 -- canonical JSON of the searched values that apply
    settings   TEXT    NOT NULL,                 -- canonical JSON of everything that applies, defaults included
    UNIQUE (sweep_id, number)
);

CREATE TABLE trial (
    id               INTEGER PRIMARY KEY,
    sweep_id         INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    configuration_id INTEGER NOT NULL REFERENCES configuration ON DELETE CASCADE,
    number           INTEGER NOT NULL,           -- from 1, in the order of proposal
    seed             INTEGER NOT NULL,
    identity         TEXT    NOT NULL,           -- hash of all that decides the result
    state            TEXT    NOT NULL DEFAULT 'WAITING'
                     CHECK (state IN ('WAITING', 'RUNNING', 'PAUSED', 'COMPLETE', 'PRUNED', 'FAILED')),
    reason           TEXT    CHECK (reason IN ('diverged', 'out_of_memory', 'timeout', 'crashed', 'bad_data', 'infeasible')),
    message          TEXT,                       -- the reason in words
    value            REAL,                       -- value of the first objective, once COMPLETE
    steps            INTEGER NOT NULL DEFAULT 0, -- optimiser steps committed so far
    total_steps      INTEGER,                    -- optimiser steps of the whole trial
    trained_parameters INTEGER,
    stored_bytes     INTEGER,                    -- adapter and head on disk
    flops            REAL,                       -- of the undisturbed trial, by formula
    created_at       TEXT    NOT NULL,
    finished_at      TEXT,
    UNIQUE (sweep_id, number),
    UNIQUE (configuration_id, seed),
    CHECK ((state = 'FAILED') = (reason IS NOT NULL))
);
CREATE INDEX trial_state ON trial (sweep_id, state);
CREATE INDEX trial_identity ON trial (identity);

CREATE TABLE objective_value (
    trial_id INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    position INTEGER NOT NULL,
    value    REAL    NOT NULL,
    PRIMARY KEY (trial_id, position)
) WITHOUT ROWID;

CREATE TABLE parameter_value (
    trial_id INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    name     TEXT    NOT NULL,
    value    NOT NULL,                           -- number or text; lists as JSON text
    PRIMARY KEY (trial_id, name)
) WITHOUT ROWID;

-- What ran it: everything that can change the last bits of a result.
CREATE TABLE environment (
    id              INTEGER PRIMARY KEY,
    program_version TEXT NOT NULL,
    git_commit      TEXT NOT NULL,
    blas_version    TEXT NOT NULL,
    blas_core       TEXT NOT NULL,
    cpu             TEXT NOT NULL,
    kernel_level    TEXT NOT NULL,               -- portable, avx2, avx512
    compute         TEXT NOT NULL,               -- fp32
    model_sha256      TEXT NOT NULL,
    tokenizer_sha256  TEXT NOT NULL,
    data_sha256       TEXT NOT NULL,             -- hash over the hashes of the task's files
    definition_sha256 TEXT NOT NULL,
    UNIQUE (program_version, git_commit, blas_version, blas_core, cpu, kernel_level, compute, model_sha256,
            tokenizer_sha256, data_sha256, definition_sha256)
);

-- One run of a trial by a worker. An interrupted trial has several.
CREATE TABLE attempt (
    id             INTEGER PRIMARY KEY,
    trial_id       INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    number         INTEGER NOT NULL,             -- from 1
    environment_id INTEGER REFERENCES environment,
    state          TEXT    NOT NULL DEFAULT 'RUNNING'
                   CHECK (state IN ('RUNNING', 'COMPLETE', 'INTERRUPTED', 'STOPPED', 'FAILED')),
    reason         TEXT,                         -- for FAILED, as in trial.reason
    message        TEXT,
    worker         TEXT    NOT NULL,             -- host and worker number
    slot           INTEGER NOT NULL,
    resumed_step   INTEGER NOT NULL DEFAULT 0,   -- step of the checkpoint it went on from
    bit_exact      INTEGER NOT NULL DEFAULT 1,   -- 0: resumed under another fingerprint
    exit_status    INTEGER,
    signal         INTEGER,
    seconds        REAL,
    tokens_per_second REAL,
    peak_bytes     INTEGER,
    log_tail       TEXT,                         -- last lines of standard error
    started_at     TEXT    NOT NULL,
    ended_at       TEXT,
    UNIQUE (trial_id, number)
);
CREATE INDEX attempt_environment ON attempt (environment_id);

CREATE TABLE metric_name (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Curve points: only values that the job determines. Speed and memory belong to the attempt.
CREATE TABLE metric (
    trial_id INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    name_id  INTEGER NOT NULL REFERENCES metric_name,
    step     INTEGER NOT NULL,
    value    REAL,                               -- NULL: not a number (the trial diverged there)
    PRIMARY KEY (trial_id, name_id, step)
) WITHOUT ROWID;

CREATE TABLE evaluation (
    id       INTEGER PRIMARY KEY,
    trial_id INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    split    TEXT    NOT NULL,                   -- validation or test
    step     INTEGER NOT NULL,
    is_final INTEGER NOT NULL DEFAULT 0,         -- of the best checkpoint, after training
    n_items  INTEGER NOT NULL,
    metrics  TEXT    NOT NULL,                   -- JSON: accuracy, macro_f1, loss, ece, f1 per class, confusion
    item_set_sha256 TEXT,                        -- equal exactly when the items are the same, in the same order
    items    BLOB,                               -- per item: see docs/store.md
    UNIQUE (trial_id, split, step, is_final)
);

-- A check's metric after training, and before it (the baseline trial of the same seed).
CREATE TABLE bias_check (
    id          INTEGER PRIMARY KEY,
    trial_id    INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    check_name  TEXT    NOT NULL,                -- position in the definition and kind, '0:counterfactual'
    metric      TEXT    NOT NULL,                -- flip_rate, mean_absolute_difference, signed_difference
    n_items     INTEGER NOT NULL,
    before      REAL,
    after       REAL    NOT NULL,
    delta       REAL,                            -- after − before
    low         REAL,                            -- paired bootstrap interval of delta (of after, without before)
    high        REAL,
    item_set_sha256 TEXT,
    items       TEXT,                            -- JSON per item, when the definition asks for it
    UNIQUE (trial_id, check_name, metric)
);

CREATE TABLE decision (
    id         INTEGER PRIMARY KEY,
    sweep_id   INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
    trial_id   INTEGER REFERENCES trial ON DELETE CASCADE,
    rule       TEXT    NOT NULL,                 -- the search algorithm or stopping rule
    step       INTEGER,
    action     TEXT    NOT NULL,                 -- propose, continue, pause, resume, prune, stop
    reason     TEXT    NOT NULL,                 -- in words
    created_at TEXT    NOT NULL
);
CREATE INDEX decision_sweep ON decision (sweep_id);
CREATE INDEX decision_trial ON decision (trial_id);

CREATE TABLE checkpoint (
    trial_id   INTEGER PRIMARY KEY REFERENCES trial ON DELETE CASCADE,  -- the newest committed one
    attempt_id INTEGER NOT NULL REFERENCES attempt,
    step       INTEGER NOT NULL,
    path       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT    NOT NULL
);
CREATE INDEX checkpoint_attempt ON checkpoint (attempt_id);

CREATE TABLE artifact (
    trial_id INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    kind     TEXT    NOT NULL,                   -- adapter, adapter_config, head, labels
    path     TEXT    NOT NULL,                   -- below the sweep's output_folder
    bytes    INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    PRIMARY KEY (trial_id, path)
) WITHOUT ROWID;

CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    sweep_id   INTEGER REFERENCES sweep ON DELETE CASCADE,
    trial_id   INTEGER REFERENCES trial ON DELETE CASCADE,
    kind       TEXT    NOT NULL,                 -- started, stopped, resumed, recovered, nondeterministic, …
    message    TEXT    NOT NULL,
    created_at TEXT    NOT NULL
);
CREATE INDEX event_sweep ON event (sweep_id, kind);
CREATE INDEX event_trial ON event (trial_id);

-- Views for people ---------------------------------------------------------------------------------------------------

CREATE VIEW curve AS
SELECT s.name AS sweep, t.number AS trial, n.name AS metric, m.step, m.value
FROM metric m JOIN metric_name n ON n.id = m.name_id JOIN trial t ON t.id = m.trial_id JOIN sweep s ON s.id = t.sweep_id;

CREATE VIEW validation_curve AS
SELECT sweep, trial, metric, step, value FROM curve WHERE metric LIKE 'validation/%';

CREATE VIEW trial_summary AS
SELECT s.name AS sweep, t.number AS trial, c.number AS configuration, c.role, c.parameters,
       json_extract(c.settings, '$.method') AS method, t.seed, t.state, t.reason, t.value, t.steps, t.total_steps,
       t.trained_parameters, t.stored_bytes, t.flops,
       (SELECT COUNT(*) FROM attempt a WHERE a.trial_id = t.id) AS attempts,
       (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id) AS seconds,
       (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id) AS peak_bytes,
       t.message
FROM trial t JOIN configuration c ON c.id = t.configuration_id JOIN sweep s ON s.id = t.sweep_id;

-- Configurations of a sweep by the mean of the first objective over their seeds, best first, with the 95 % Student
-- interval (mean ± t · s/√n; NULL with one seed).
CREATE VIEW leaderboard AS
WITH t_quantile(df, t) AS (VALUES
    (1, 12.7062047364), (2, 4.3026527297), (3, 3.1824463053), (4, 2.7764451052), (5, 2.5705818356), (6, 2.4469118511),
    (7, 2.3646242516), (8, 2.3060041352), (9, 2.2621571629), (10, 2.2281388520), (11, 2.2009851601), (12, 2.1788128297),
    (13, 2.1603686565), (14, 2.1447866879), (15, 2.1314495456), (16, 2.1199052992), (17, 2.1098155778), (18, 2.1009220402),
    (19, 2.0930240544), (20, 2.0859634473), (24, 2.0638985616), (29, 2.0452296421), (39, 2.0226909200), (49, 2.0095752371)),
score AS (
    SELECT c.id AS configuration_id, c.sweep_id, COUNT(t.value) AS seeds, AVG(t.value) AS mean,
           CASE WHEN COUNT(t.value) > 1
                THEN sqrt(MAX(0, (SUM(t.value * t.value) - COUNT(t.value) * AVG(t.value) * AVG(t.value)) / (COUNT(t.value) - 1)))
           END AS deviation,
           MAX(t.trained_parameters) AS trained_parameters
    FROM configuration c JOIN trial t ON t.configuration_id = c.id
    WHERE t.state = 'COMPLETE' AND c.role = 'search' AND t.value IS NOT NULL GROUP BY c.id)
SELECT s.name AS sweep,
       RANK() OVER (PARTITION BY s.id ORDER BY CASE o.goal WHEN 'maximize' THEN -score.mean ELSE score.mean END) AS rank,
       c.number AS configuration, json_extract(c.settings, '$.method') AS method, c.parameters, o.metric, score.seeds,
       score.mean,
       score.mean - q.t * score.deviation / sqrt(score.seeds) AS low,
       score.mean + q.t * score.deviation / sqrt(score.seeds) AS high,
       score.trained_parameters
FROM score JOIN configuration c ON c.id = score.configuration_id JOIN sweep s ON s.id = c.sweep_id
     LEFT JOIN objective o ON o.sweep_id = s.id AND o.position = 0
     LEFT JOIN t_quantile q ON q.df = (SELECT MAX(df) FROM t_quantile WHERE df <= score.seeds - 1)
ORDER BY s.name, rank;

-- Views under Optuna's table names ------------------------------------------------------------------------------------
-- optuna.load_study and optuna-dashboard open this file as it is, read-only, while it is being written (Optuna 5.0,
-- schema 12). Our trial number n is Optuna's n − 1; ids are ours. A parameter is a FloatDistribution or IntDistribution
-- over the values seen in its sweep (a bound that 15 digits cannot say is widened by 1e-12 of itself, so that it still
-- contains its value), or a CategoricalDistribution where one of them is text. WAITING and PAUSED are
-- WAITING; FAILED is FAIL. The curve of the first objective's metric gives the intermediate values.

CREATE VIEW version_info AS SELECT 1 AS version_info_id, 12 AS schema_version, '5.0.0' AS library_version;
CREATE VIEW alembic_version AS SELECT 'v3.2.0.a' AS version_num;

CREATE VIEW studies AS SELECT id AS study_id, name AS study_name FROM sweep;

CREATE VIEW study_directions AS
SELECT sweep_id * 64 + position AS study_direction_id, upper(goal) AS direction, sweep_id AS study_id, position AS objective
FROM objective;

CREATE VIEW study_user_attributes AS
SELECT id * 8 AS study_user_attribute_id, id AS study_id, 'nightsweep:state' AS key, json_quote(state) AS value_json FROM sweep
UNION ALL
SELECT id * 8 + 1, id, 'nightsweep:definition_sha256', json_quote(definition_sha256) FROM sweep;

CREATE VIEW study_system_attributes AS
SELECT s.id AS study_system_attribute_id, s.id AS study_id, 'study:metric_names' AS key,
       (SELECT json_group_array(metric) FROM (SELECT metric FROM objective WHERE sweep_id = s.id ORDER BY position))
       AS value_json
FROM sweep s;

CREATE VIEW trials AS
SELECT t.id AS trial_id, t.number - 1 AS number, t.sweep_id AS study_id,
       CASE t.state WHEN 'FAILED' THEN 'FAIL' WHEN 'PAUSED' THEN 'WAITING' ELSE t.state END AS state,
       CASE t.state WHEN 'WAITING' THEN NULL
            ELSE COALESCE((SELECT MIN(started_at) FROM attempt a WHERE a.trial_id = t.id), t.created_at) || '000' END
       AS datetime_start,
       CASE WHEN t.state IN ('COMPLETE', 'PRUNED', 'FAILED') THEN COALESCE(t.finished_at, t.created_at) || '000' END
       AS datetime_complete
FROM trial t;

CREATE VIEW trial_user_attributes AS
SELECT trial_id * 16 + place AS trial_user_attribute_id, trial_id, key, value_json FROM (
    SELECT id AS trial_id, 0 AS place, 'nightsweep:configuration' AS key, CAST(configuration_id AS TEXT) AS value_json FROM trial
    UNION ALL SELECT id, 1, 'nightsweep:seed', CAST(seed AS TEXT) FROM trial
    UNION ALL SELECT id, 2, 'nightsweep:reason', json_quote(reason) FROM trial WHERE reason IS NOT NULL
    UNION ALL SELECT id, 3, 'nightsweep:message', json_quote(message) FROM trial WHERE message IS NOT NULL
    UNION ALL SELECT id, 4, 'nightsweep:trained_parameters', CAST(trained_parameters AS TEXT) FROM trial
        WHERE trained_parameters IS NOT NULL
    UNION ALL SELECT t.id, 5, 'nightsweep:role', json_quote(c.role) FROM trial t JOIN configuration c ON c.id = t.configuration_id
    UNION ALL SELECT trial_id, 6, 'nightsweep:seconds', CAST(SUM(seconds) AS TEXT) FROM attempt WHERE seconds IS NOT NULL
        GROUP BY trial_id);

CREATE VIEW trial_system_attributes AS
SELECT id AS trial_system_attribute_id, id AS trial_id, '' AS key, 'null' AS value_json FROM trial WHERE 0;

CREATE VIEW trial_params AS
WITH domain AS (
    SELECT t.sweep_id, p.name, MIN(p.value) AS low, MAX(p.value) AS high, SUM(typeof(p.value) = 'text') AS n_texts,
           SUM(typeof(p.value) = 'real') AS n_reals
    FROM parameter_value p JOIN trial t ON t.id = p.trial_id GROUP BY t.sweep_id, p.name),
choice AS (
    SELECT v.sweep_id, v.name, v.value, ROW_NUMBER() OVER (PARTITION BY v.sweep_id, v.name ORDER BY v.value) - 1 AS place
    FROM (SELECT DISTINCT t.sweep_id, p.name, p.value FROM parameter_value p JOIN trial t ON t.id = p.trial_id) v
         JOIN domain d ON d.sweep_id = v.sweep_id AND d.name = v.name AND d.n_texts > 0),
distribution AS (
    SELECT d.sweep_id, d.name, d.n_texts,
           CASE WHEN d.n_texts > 0 THEN json_object('name', 'CategoricalDistribution', 'attributes', json_object('choices',
                    (SELECT json_group_array(c.value) FROM (SELECT value FROM choice WHERE sweep_id = d.sweep_id
                     AND name = d.name ORDER BY place) c)))
                WHEN d.n_reals > 0 THEN printf('{"name":"FloatDistribution","attributes":{"step":null,"low":%s,'
                    || '"high":%s,"log":%s}}', iif(CAST(json_quote(d.low) AS REAL) = d.low, json_quote(d.low),
                    json_quote(d.low - abs(d.low) * 1e-12)), iif(CAST(json_quote(d.high) AS REAL) = d.high,
                    json_quote(d.high), json_quote(d.high + abs(d.high) * 1e-12)),
                    iif(d.low > 0 AND d.high >= 20 * d.low, 'true', 'false'))
                ELSE printf('{"name":"IntDistribution","attributes":{"log":%s,"step":1,"low":%d,"high":%d}}',
                    iif(d.low > 0 AND d.high >= 20 * d.low, 'true', 'false'), d.low, d.high) END AS distribution_json
    FROM domain d)
SELECT p.trial_id * 256 + ROW_NUMBER() OVER (PARTITION BY p.trial_id ORDER BY p.name) AS param_id, p.trial_id,
       p.name AS param_name, CASE WHEN d.n_texts > 0 THEN CAST(c.place AS REAL) ELSE CAST(p.value AS REAL) END AS param_value,
       d.distribution_json
FROM parameter_value p JOIN trial t ON t.id = p.trial_id
     JOIN distribution d ON d.sweep_id = t.sweep_id AND d.name = p.name
     LEFT JOIN choice c ON c.sweep_id = t.sweep_id AND c.name = p.name AND c.value = p.value;

CREATE VIEW trial_values AS
SELECT trial_id * 64 + position AS trial_value_id, trial_id, position AS objective, value, 'FINITE' AS value_type FROM (
    SELECT id AS trial_id, 0 AS position, value FROM trial WHERE state = 'COMPLETE' AND value IS NOT NULL
    UNION ALL
    SELECT v.trial_id, v.position, v.value FROM objective_value v JOIN trial t ON t.id = v.trial_id
    WHERE t.state = 'COMPLETE' AND v.position > 0);

CREATE VIEW trial_intermediate_values AS
SELECT m.trial_id * 4294967296 + m.step AS trial_intermediate_value_id, m.trial_id, m.step,
       m.value AS intermediate_value, iif(m.value IS NULL, 'NAN', 'FINITE') AS intermediate_value_type
FROM metric m JOIN trial t ON t.id = m.trial_id JOIN objective o ON o.sweep_id = t.sweep_id AND o.position = 0
     JOIN metric_name n ON n.name = o.metric AND n.id = m.name_id;

CREATE VIEW trial_heartbeats AS
SELECT id AS trial_heartbeat_id, id AS trial_id, created_at AS heartbeat FROM trial WHERE 0;
