-- Sessions that wait for another session, the longest wait first. `waits_for_dump` is true for those that wait for a dump.
SELECT pid, application_name, pg_blocking_pids(pid) AS blocked_by,
       pg_blocking_pids(pid) && ARRAY(SELECT pid FROM pg_stat_activity WHERE application_name = 'pg-backup') AS waits_for_dump,
       now() - state_change AS since, left(query, 60) AS query
  FROM pg_stat_activity
 WHERE cardinality(pg_blocking_pids(pid)) > 0
 ORDER BY since DESC;
