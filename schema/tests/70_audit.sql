-- The chain: whole, and broken in every way somebody with the keys could break it.
BEGIN;
\ir fixture/governance.psql
SELECT plan(9);
SELECT test.world();
SELECT test.live();
SELECT is(orch.audit_verify() ->> 'ok', 'true', 'an untouched chain verifies');
SELECT cmp_ok((orch.audit_verify('housing') ->> 'rows')::int, '>', 15, 'a promotion leaves many rows');
SELECT is((SELECT count(*) FROM orch.audit WHERE detail::text LIKE '%' || (SELECT nonce FROM orch.gate LIMIT 1) || '%'), 0::bigint, 'no nonce stands in it');
SELECT throws_ok($$SELECT orch.audit_verify('nope')$$, 'OR001', NULL, 'an unknown pipeline is named as such');

CREATE FUNCTION test.tamper(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v_what text;
BEGIN
  SET LOCAL session_replication_role = replica; -- triggers off: what an owner with intent can do
  BEGIN
    EXECUTE p_sql;
    v_what := orch.audit_verify() #>> '{broken,0,what}';
    RAISE EXCEPTION SQLSTATE 'XX999';
  EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
  END;
  SET LOCAL session_replication_role = origin;
  RETURN v_what;
END $$;
SELECT is(test.tamper($$UPDATE orch.audit SET actor = 'reviewer:erik' WHERE scope = 1 AND seq = 5$$), 'this row was altered', 'a changed row');
SELECT is(test.tamper($$DELETE FROM orch.audit WHERE scope = 1 AND seq = 5$$), 'a row before this one is missing', 'a removed row');
SELECT is(test.tamper($$DELETE FROM orch.audit WHERE scope = 1 AND seq > 10$$), 'the newest rows are missing', 'a cut tail');
SELECT is(test.tamper($$UPDATE orch.audit a SET actor = 'x', hash = orch.audit_hash(prev_hash, scope, seq, at, 'x', action, object, object_id, detail)
  WHERE scope = 1 AND seq = 5$$), 'this row does not follow from the one before it', 'a row forged with its hash');
SELECT is(orch.audit_verify() ->> 'ok', 'true', 'and whole again');
SELECT * FROM finish();
ROLLBACK;
