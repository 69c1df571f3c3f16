"""Monitors that ask a real Prometheus and a real PostgreSQL warehouse: what they see, what they may not do, what they say."""
import json
import os
import shutil
import subprocess
import unittest

import kit

MONITORS = [
    '{name: auc, kind: prometheus, query: "min by (model) (model_auc)", below: 0.7, every: 5s}',
    '{name: late, kind: sql, url_env: WAREHOUSE_URL, query: "select region, late_share from deliveries;", above: 0.1, every: 5s, then: tell}',
    '{name: writes, kind: sql, url_env: WAREHOUSE_URL, query: "select set_config(\'default_transaction_read_only\', \'off\', false), touch()", above: 0, every: 5s}',
    '{name: slow, kind: sql, url_env: WAREHOUSE_URL, query: "select pg_sleep(30)::text, 1", above: 0, every: 5s, timeout: 1s}',
    '{name: several, kind: sql, url_env: WAREHOUSE_URL, query: "select 1) as a; delete from deliveries; --", above: 0, every: 5s}',
    '{name: words, kind: sql, url_env: WAREHOUSE_URL, query: "select \'many\'", above: 0, every: 5s}',
    '{name: held, kind: prometheus, query: "model_auc", below: 0.7, for: 4s, every: 5s, then: tell}',
    '{name: risen, kind: prometheus, query: "scalar(max(model_auc))", above: 0.95, every: 5s, then: tell}',
    '{name: nowhere, kind: prometheus, query: "no_such_metric", above: 0, every: 5s}',
    '{name: wide, kind: sql, url_env: WAREHOUSE_URL, query: "select region, id, late_share from deliveries order by 1 -- by region", above: 0.2, every: 5s, then: tell}',
    '{name: none, kind: sql, url_env: WAREHOUSE_URL, query: "select 1 where false", below: 5, every: 5s}',
    '{name: changes, kind: sql, url_env: WAREHOUSE_URL, query: "with gone as (delete from deliveries returning 1) select count(*) from gone", above: 0, every: 5s}',
    '{name: elsewhere, kind: sql, url_env: OTHER_URL, query: "select 1", above: 0, every: 5s}',
]


class ProbesTest(unittest.TestCase):
    def prometheus(self, folder, model, port):
        path = os.path.join(folder, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("global: {scrape_interval: 200ms, evaluation_interval: 200ms}\n"
                    f'scrape_configs: [{{job_name: model, static_configs: [{{targets: ["127.0.0.1:{model}"]}}]}}]\n')
        with open(os.path.join(folder, "log"), "ab") as log:
            process = subprocess.Popen(["prometheus", f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}",
                                        f"--storage.tsdb.path={folder}/tsdb"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def latest(self, w, name):
        rows = w.sql(f"select coalesce(latest ->> 'verdict', '?') || ': ' || coalesce(latest ->> 'summary', '') from orch.monitor where name = '{name}'")
        return rows[0] if rows else ""

    def wait_latest(self, w, name, words):
        return kit.wait_for(f"monitor {name} to say {words!r} (it says {self.latest(w, name)!r})",
                            lambda: words in self.latest(w, name) and self.latest(w, name), 30)

    def test_prometheus_and_warehouse(self):
        self.assertTrue(shutil.which("prometheus"), "prometheus is not installed (run scripts/setup)")
        port = kit.free_port()
        config = {**kit.CONFIG, "prometheus": {"url": f"http://127.0.0.1:{port}/"}, "warehouses": ["WAREHOUSE_URL", "OTHER_URL"]}
        with kit.Gauge(labels='{model="churn"}') as gauge, kit.World(config=config) as w:
            folder = os.path.join(w.dir, "prometheus")
            os.mkdir(folder)
            self.prometheus(folder, gauge.port, port)
            w.sql("create database warehouse", database="postgres")
            w.sql("create table deliveries (region text, late_share float8, id int generated always as identity); insert into deliveries values ('north', 0.05), "
                  "('south', 0.3), ('west', null); create function touch() returns int language plpgsql as "
                  "'begin insert into deliveries values (''hacked'', 1); return 1; end'", database="warehouse")
            w.set_monitors("quick", MONITORS)
            w.sql("update orch.monitor set every_ms = 1000 where runner = 'probe'")
            with open(os.path.join(w.dir, "orch.yaml"), "w", encoding="utf-8") as f:
                json.dump({**config, "warehouses": ["WAREHOUSE_URL"]}, f)
            w.orch("apply", "orch.yaml")
            secret = "s3cret-of-the-warehouse"
            serve = w.serve(env={"WAREHOUSE_URL": w.url("warehouse") + f"&password={secret}", "OTHER_URL": w.url("orch")})

            self.wait_latest(w, "auc", "ok: 0.9 is not below 0.7")
            self.assertTrue(self.wait_latest(w, "late", "south: 0.3 is above 0.1 since").startswith("alarm: "))
            self.assertEqual(w.sql("select disposition || ' ' || kind from orch.signal where source = 'monitor:late'"), ["recorded alert"])
            self.assertEqual(w.sql("select count(*) from orch.proposal"), ["0"], "what is to be told retrains nothing")
            self.wait_latest(w, "wide", "south, 2: 0.3 is above 0.2 since")
            self.assertIn("is empty", self.wait_latest(w, "none", "insufficient: "))
            self.assertIn("is empty", self.wait_latest(w, "nowhere", "insufficient: "))
            self.assertIn("WITH clause containing a data-modifying statement", self.wait_latest(w, "changes", "insufficient: could not ask"))
            gauge.value = 0.99
            self.wait_latest(w, "risen", "alarm: 0.99 is above 0.95")
            gauge.value = 0.5
            # `for`: what does not hold for so long is only shown.
            self.assertTrue(self.wait_latest(w, "held", "; fires after 4 s").startswith("ok: "))
            self.assertEqual(w.sql("select count(*) from orch.signal where source = 'monitor:held'"), ["0"])
            self.wait_latest(w, "auc", 'alarm: model="churn": 0.5 is below 0.7')
            self.assertEqual(w.sql("select disposition || ' ' || kind from orch.signal where source = 'monitor:auc'"), ["proposed alert"])
            self.wait_latest(w, "held", "alarm: ")
            self.assertEqual(w.sql("select kind || ' ' || disposition || ' ' || count(*) over () from orch.signal where source = 'monitor:held'"),
                             ["alert recorded 1"])
            since, fired = w.sql("select extract(epoch from (detail ->> 'since_at')::timestamptz) || ' ' || extract(epoch from first_at) "
                                 "from orch.signal where source = 'monitor:held'")[0].split()
            self.assertGreaterEqual(float(fired) - float(since), 4)
            gauge.value = 0.9
            kit.wait_for("the alarm to be over", lambda: w.sql("select 1 from orch.signal where source = 'monitor:auc' and status = 'resolved'"))

            # What a query may not do, and what is said then.
            self.assertIn("read-only", self.wait_latest(w, "writes", "insufficient: could not ask"))
            self.assertIn("statement timeout", self.wait_latest(w, "slow", "insufficient: could not ask"))
            self.assertIn("syntax error", self.wait_latest(w, "several", "insufficient: could not ask"))
            self.assertIn('"many"; a number is needed', self.wait_latest(w, "words", "insufficient: could not ask"))
            self.assertIn("orch.yaml does not list OTHER_URL", self.wait_latest(w, "elsewhere", "insufficient: could not ask"))
            self.assertEqual(w.sql("select count(*) from deliveries", database="warehouse"), ["3"], "nothing was written")
            kit.wait_for("people to be told", lambda: w.sql("select 1 from orch.signal where fingerprint = 'elsewhere/unreachable'"), 30)
            self.assertEqual(w.sql("select distinct disposition from orch.signal where fingerprint like '%/unreachable'"), ["recorded"])
            # Another rule while it fires: what the old one said is over at once, whatever the new one sees.
            gauge.value = 0.5
            self.wait_latest(w, "held", "alarm: ")
            w.set_monitors("quick", [m.replace("below: 0.7, for: 4s", "below: 0.1, for: 4s") for m in MONITORS if "elsewhere" not in m])
            w.sql("update orch.monitor set every_ms = 1000 where runner = 'probe'")
            self.assertEqual(w.sql("select status from orch.signal where source = 'monitor:held'"), ["resolved", "resolved"])
            self.assertEqual(w.sql("select data ->> 'why' from orch.event where type = 'signal.alarm_resolved' and data ->> 'title' like 'held%' order by id"),
                             ["", "the monitor looks with another rule"])
            self.wait_latest(w, "held", "ok: 0.5 is not below 0.1")
            self.assertNotIn(secret, kit.read(serve.log))
            self.assertEqual(w.sql(f"select count(*) from orch.monitor where latest::text like '%{secret}%'"), ["0"])
            serve.terminate()
            self.assertEqual(serve.wait(30), 0, "it stops in order while probes are under way")


if __name__ == "__main__":
    unittest.main()
