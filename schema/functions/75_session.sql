-- People who look at pages. A session is made from a bearer token and known by the digest of a random cookie, whose text
-- the database never sees. It is worth what its token is worth at that moment: whoever is revoked is out at once.

-- p_token_hash: the token's digest; p_hash: the cookie's; p_csrf: random text that the session's own forms carry.
-- -> as token_check, with csrf and expires_at. A token has at most 20 sessions: the oldest makes room.
CREATE OR REPLACE FUNCTION orch.session_create(p_token_hash text, p_hash text, p_csrf text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_who   jsonb := orch.token_check(p_token_hash, 'read');
  v_now   timestamptz := orch.clock();
  v_until timestamptz := v_now + interval '12 hours';
  v_token bigint;
BEGIN
  -- The lock keeps a revocation from passing between the look and the insert, and the count true.
  SELECT id INTO v_token FROM orch.token WHERE hash = p_token_hash AND revoked_at IS NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN PERFORM orch.fail('OR008', 'the token is unknown or revoked', 'orch token create makes a new one'); END IF;
  DELETE FROM orch.session WHERE hash IN (
    SELECT hash FROM orch.session WHERE token_id = v_token ORDER BY created_at DESC, hash OFFSET 19);
  INSERT INTO orch.session (hash, token_id, csrf, created_at, expires_at) VALUES (p_hash, v_token, p_csrf, v_now, v_until);
  RETURN v_who || jsonb_build_object('csrf', p_csrf, 'expires_at', orch.rfc3339(v_until));
END $$;

-- Who a session is, if its token carries the scope. -> as token_check, with csrf and expires_at; OR008 when it is none.
CREATE OR REPLACE FUNCTION orch.session_check(p_hash text, p_scope text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  s      orch.session;
  v_hash text;
BEGIN
  SELECT * INTO s FROM orch.session WHERE hash = p_hash AND expires_at > orch.clock();
  IF NOT FOUND THEN PERFORM orch.fail('OR008', 'the session is over', 'sign in again'); END IF;
  SELECT hash INTO STRICT v_hash FROM orch.token WHERE id = s.token_id;
  RETURN orch.token_check(v_hash, p_scope) || jsonb_build_object('csrf', s.csrf, 'expires_at', orch.rfc3339(s.expires_at));
END $$;

-- Signing out; the caller has compared the csrf text. -> {"ended": bool}
CREATE OR REPLACE FUNCTION orch.session_end(p_hash text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  DELETE FROM orch.session WHERE hash = p_hash;
  RETURN jsonb_build_object('ended', FOUND);
END $$;

-- Part of housekeeping: forgets sessions that are over. -> how many
CREATE OR REPLACE FUNCTION orch.sessions_forget(p_limit int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := orch.clock();
  v_n   bigint;
BEGIN
  DELETE FROM orch.session WHERE hash IN (
    SELECT hash FROM orch.session WHERE expires_at <= v_now ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS v_n = ROW_COUNT;
  RETURN v_n;
END $$;
