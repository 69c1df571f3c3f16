-- The applied migrations, one name a line: what a server compares with its own before it works on this database. It has
-- no table of its own to read them from.
CREATE OR REPLACE FUNCTION orch.migrations_applied() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  RETURN (SELECT string_agg(name, E'\n' ORDER BY name COLLATE "C") FROM orch.schema_migration);
END $$;
