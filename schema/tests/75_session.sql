-- Sessions of people who look at pages: worth what their token is worth, over in time, known by digests alone.
BEGIN;
\ir fixture/governance.psql
SELECT plan(19);
SELECT test.world();
CREATE FUNCTION test.hash(p text) RETURNS text LANGUAGE sql AS $$ SELECT 'sha256:' || encode(sha256(convert_to(p, 'UTF8')), 'hex') $$;
SELECT orch.token_create('look', test.hash('t1'), '{read}', NULL, 'user:test');
SELECT orch.token_create('push', test.hash('t2'), '{observe}', NULL, 'user:test');
SELECT orch.token_create('danas', test.hash('t3'), '{read,decide}', 'dana', 'user:test');

SELECT is(orch.session_create(test.hash('t1'), test.hash('c1'), repeat('a', 32)) ->> 'actor', 'token:look', 'a token that may read makes a session');
SELECT throws_ok($$SELECT orch.session_create(test.hash('t2'), test.hash('c2'), repeat('a', 32))$$, 'OR006', NULL, 'one that may not read makes none');
SELECT throws_ok($$SELECT orch.session_create(test.hash('none'), test.hash('c2'), repeat('a', 32))$$, 'OR008', NULL, 'and one that is none neither');
SELECT is(orch.session_check(test.hash('c1'), 'read') ->> 'csrf', repeat('a', 32), 'the session knows what its forms carry');
SELECT is(orch.session_check(test.hash('c1'), 'read') ->> 'actor', 'token:look', 'and who it is');
SELECT throws_ok($$SELECT orch.session_check(test.hash('c2'), 'read')$$, 'OR008', NULL, 'an unknown cookie is nobody');
SELECT throws_ok($$SELECT orch.session_check(test.hash('c1'), 'operate')$$, 'OR006', NULL, 'a session may what its token may, no more');
SELECT is(orch.session_create(test.hash('t3'), test.hash('c3'), repeat('b', 32)) ->> 'actor', 'reviewer:dana', 'a person''s token makes a person''s session');

-- No secret stands in the table, and what stands there cannot be of another kind.
SELECT throws_ok($$SELECT orch.session_create(test.hash('t1'), 'the cookie itself', repeat('a', 32))$$, '23514', NULL, 'a cookie''s text is refused where its digest belongs');
SELECT throws_ok($$SELECT orch.session_create(test.hash('t1'), test.hash('c4'), 'short')$$, '23514', NULL, 'a guessable form text is refused');

-- At most 20 of a token.
SELECT orch.session_create(test.hash('t1'), test.hash('many' || i), repeat('a', 32)) FROM generate_series(1, 25) i;
SELECT is(count(*), 20::bigint, 'a token has at most 20 sessions') FROM orch.session s JOIN orch.token t ON t.id = s.token_id WHERE t.name = 'look';
SELECT lives_ok($$SELECT orch.session_check(test.hash('c3'), 'read')$$, 'another token''s sessions are left alone');
SELECT orch.session_create(test.hash('t1'), test.hash('c1'), repeat('a', 32)) WHERE NOT EXISTS (SELECT FROM orch.session WHERE hash = test.hash('c1'));

-- The ends.
SELECT orch.token_revoke('look', 'user:test');
SELECT throws_ok($$SELECT orch.session_check(test.hash('c1'), 'read')$$, 'OR008', NULL, 'a revoked token''s session is over at once');
SELECT is(orch.session_end(test.hash('c3')) ->> 'ended', 'true', 'whoever signs out is out');
SELECT throws_ok($$SELECT orch.session_check(test.hash('c3'), 'read')$$, 'OR008', NULL, 'at once');
SELECT is(orch.session_end(test.hash('c3')) ->> 'ended', 'false', 'and twice is once');
SELECT orch.session_create(test.hash('t3'), test.hash('c5'), repeat('c', 32));
SELECT test.pass('13 hours');
SELECT throws_ok($$SELECT orch.session_check(test.hash('c5'), 'read')$$, 'OR008', NULL, 'after 12 hours it is over');
SELECT cmp_ok((orch.housekeeping() ->> 'sessions')::int, '>=', 21, 'housekeeping counts what it forgets');
SELECT is(count(*), 0::bigint, 'and forgets what is over') FROM orch.session;
SELECT * FROM finish();
ROLLBACK;
