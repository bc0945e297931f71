-- A sweep of 50,000 trials with 100 points of the loss each (and 20 validations), in a store that has its tables already:
--   { echo 'PRAGMA synchronous = OFF;'; cat schemas/store.sql tests/page/large.sql; } | sqlite3 large.db      (and the user_version of orchestrator/store.h)
-- 12,500 configurations of six methods with four seeds; a tenth failed, a fifth was pruned at one of three rungs.
-- Numbers that look drawn are remainders of products with primes, so that every run makes the same file.
BEGIN;
CREATE TEMP TABLE method (k INTEGER PRIMARY KEY, name TEXT, key TEXT, size INTEGER, ceiling REAL);
INSERT INTO method VALUES (0, 'lora', 'rank', 9216, 0.845), (1, 'adapter', 'adapter_size', 18464, 0.842), (2, 'prefix', 'prefix_length', 4608, 0.821),
    (3, 'bitfit', NULL, 26498, 0.829), (4, 'full', NULL, 22713986, 0.851), (5, 'ia3', NULL, 9216, 0.815);
CREATE TEMP TABLE number (n INTEGER PRIMARY KEY);
INSERT INTO number WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 50000) SELECT n FROM r;

INSERT INTO sweep (id, name, definition, definition_sha256, folder, output_folder, seed, state, created_at, finished_at)
    VALUES (1, 'large', '{"name":"large","seeds":4}', 'd0', '/tmp/sweeps', '/tmp/runs/large', 7, 'COMPLETE', '2026-03-01 22:00:00.000', '2026-03-02 10:00:00.000');
INSERT INTO objective VALUES (1, 0, 'validation/accuracy', 'maximize');
INSERT INTO environment VALUES (1, '0.1.0', '0123456789ab', 'OpenBLAS 0.3.21', 'Haswell', 'made-up CPU', 'avx2', 'fp32', 'm0', 't0', 'a0', 'd0');
INSERT INTO metric_name VALUES (1, 'train/loss'), (2, 'validation/accuracy');

CREATE TEMP TABLE drawn AS
    SELECT n AS number, m.*, 5e-5 * exp(4.6 * (n * 7919 % 10007 / 10007.0)) AS rate, 1 << (n / 6 % 6) AS value,
           m.ceiling + 0.002 * (n / 6 % 6) - 0.02 * abs((n * 7919 % 10007 / 10007.0) - 0.6) AS score
    FROM number JOIN method m ON m.k = n % 6 WHERE n <= 12500;
INSERT INTO configuration (id, sweep_id, number, parameters, settings)
    SELECT number, 1, number, p, p FROM (SELECT number, CASE WHEN key IS NULL THEN json_object('learning_rate', rate, 'method', name)
        ELSE json_object('learning_rate', rate, 'method', name, key, value) END AS p FROM drawn);
INSERT INTO trial (id, sweep_id, configuration_id, number, seed, identity, state, reason, message, value, steps, total_steps, trained_parameters,
                   stored_bytes, flops, created_at, finished_at)
    SELECT n.n, 1, d.number, n.n, 1001 + n.n % 4, printf('i%d', n.n), state, iif(state = 'FAILED', 'diverged', NULL), iif(state = 'FAILED', 'the loss is not a number', NULL),
           iif(state = 'COMPLETE', d.score + 0.008 * (n.n * 6101 % 9973 / 9973.0 - 0.5), NULL), CASE state WHEN 'COMPLETE' THEN 500 WHEN 'FAILED' THEN 300 ELSE 125 * (1 + n.n % 3) END, 500,
           d.size * d.value, 4 * d.size * d.value + 512, 2.2e12 + 1e5 * d.size, '2026-03-01 22:00:00.000',
           strftime('%Y-%m-%d %H:%M:%f', '2026-03-01 22:00:00', printf('+%.3f seconds', n.n / 8 * 6.9 + 6.5))
    FROM (SELECT n, CASE WHEN n % 10 = 3 THEN 'FAILED' WHEN n % 5 = 1 THEN 'PRUNED' ELSE 'COMPLETE' END AS state FROM number) n JOIN drawn d ON d.number = (n.n + 3) / 4;
INSERT INTO parameter_value SELECT t.id, 'learning_rate', d.rate FROM trial t JOIN drawn d ON d.number = t.configuration_id;
INSERT INTO parameter_value SELECT t.id, 'method', d.name FROM trial t JOIN drawn d ON d.number = t.configuration_id;
INSERT INTO parameter_value SELECT t.id, d.key, d.value FROM trial t JOIN drawn d ON d.number = t.configuration_id WHERE d.key IS NOT NULL;
INSERT INTO attempt (trial_id, number, environment_id, state, reason, worker, slot, seconds, tokens_per_second, peak_bytes, exit_status, log_tail, started_at, ended_at)
    SELECT id, 1, 1, CASE state WHEN 'PRUNED' THEN 'STOPPED' ELSE state END, reason, 'host-' || (1 + id % 2), id / 2 % 4, 6.5 * steps / 500.0, 9000 + id % 997, 310000000 + id * 1009 % 60000000,
           state = 'FAILED', 'step ' || steps || ': loss ' || value, strftime('%Y-%m-%d %H:%M:%f', finished_at, '-6.5 seconds'), finished_at FROM trial;
INSERT INTO metric
    SELECT t.id, 1, p.n * 5, iif(t.state = 'FAILED' AND p.n * 5 >= 300, NULL, 0.35 + 0.35 * exp(-0.04 * p.n) + 0.04 * ((t.id * 31 + p.n * 6101) % 997 / 997.0))
    FROM trial t CROSS JOIN number p WHERE p.n <= 100;
INSERT INTO metric
    SELECT t.id, 2, p.n * 25, d.score - 0.3 * exp(-0.25 * p.n) + 0.004 * ((t.id * 31 + p.n * 6101) % 997 / 997.0)
    FROM trial t JOIN drawn d ON d.number = t.configuration_id CROSS JOIN number p WHERE p.n <= 20 AND p.n * 25 <= t.steps;
INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics)
    SELECT id, s.split, 500, 1, 300, json_object('accuracy', value - s.less, 'loss', 1.2 - value) FROM trial t
    CROSS JOIN (SELECT 'validation' AS split, 0 AS less UNION ALL SELECT 'test', 0.006) s WHERE t.state = 'COMPLETE';
INSERT INTO objective_value SELECT id, 0, value FROM trial WHERE state = 'COMPLETE';
INSERT INTO bias_check (trial_id, check_name, metric, n_items, before, after, delta, low, high)
    SELECT id, '0:counterfactual', m.metric, 408, 0.04, 0.04 + d, d, d - 0.006, d + 0.006
    FROM (SELECT id, 0.02 * (id * 6101 % 9973 / 9973.0 - 0.6) AS d FROM trial WHERE state = 'COMPLETE')
    CROSS JOIN (SELECT 'flip_rate' AS metric UNION ALL SELECT 'mean_absolute_difference' UNION ALL SELECT 'signed_difference') m;
INSERT INTO decision (sweep_id, trial_id, rule, step, action, reason, created_at)
    SELECT 1, id, 'random', NULL, 'propose', 'drawn at random', created_at FROM trial;
INSERT INTO decision (sweep_id, trial_id, rule, step, action, reason, created_at)
    SELECT 1, t.id, 'median', r.step, iif(stops, 'prune', 'continue'),
           printf('validation/accuracy %.4f is %s the median %.4f at step %d', 0.8 + t.id % 50 / 1000.0, iif(stops, 'below', 'above'), 0.82, r.step), t.finished_at
    FROM (SELECT t.id, r.step, t.finished_at, t.state = 'PRUNED' AND r.step = t.steps AS stops FROM trial t
          CROSS JOIN (SELECT 125 AS step UNION ALL SELECT 250 UNION ALL SELECT 375) r WHERE r.step <= t.steps) t JOIN (SELECT 125 AS step UNION ALL SELECT 250 UNION ALL SELECT 375) r ON r.step = t.step;
INSERT INTO artifact SELECT id, 'adapter', id || '/adapter_model.safetensors', stored_bytes, printf('%064x', id) FROM trial WHERE state = 'COMPLETE';
INSERT INTO event (sweep_id, kind, message, created_at) VALUES (1, 'started', 'sweep ''large'' started', '2026-03-01 22:00:00.000');
COMMIT;
