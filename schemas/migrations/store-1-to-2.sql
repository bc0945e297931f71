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
