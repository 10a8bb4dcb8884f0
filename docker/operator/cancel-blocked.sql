-- Cancels the statements that wait for a dump, and no other.
SELECT pid, application_name, pg_cancel_backend(pid) AS cancelled
  FROM pg_stat_activity
 WHERE pg_blocking_pids(pid) && ARRAY(SELECT pid FROM pg_stat_activity WHERE application_name = 'pg-backup');
