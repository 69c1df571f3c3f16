"""The cascade breaker with numbers of its own, over real monitors: rows drift in several pipelines, people answer."""
import json
import os
import unittest

import kit

MONITOR = "{{name: inputs, kind: drift, columns: [{column}], window: 200 rows, for: 1 of 1}}"
NAMES = ("a", "b", "c", "d", "other")


class CascadeTest(unittest.TestCase):
    def setUp(self):
        config = {**kit.CONFIG, "cascade": {"pipelines": 2, "within": "1m", "share": ["column"]}}
        self.w = kit.World(config=config, pipelines=NAMES)
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)
        # All have one owner, which this rule does not look at; one watches another column.
        path = os.path.join(self.w.dir, "pipelines/other/rows.csv")
        text = kit.read(path)
        with open(path, "w", encoding="utf-8") as f:
            f.write("y" + text[1:])
        for name in NAMES:
            self.w.set_monitors(name, [MONITOR.format(column="y" if name == "other" else "x")])
        self.w.serve()
        self.w.worker()
        self.token = self.w.token("feeder", "observe")
        for name in NAMES:
            self.w.promote(name)

    def drift(self, name, column="x", shift=600, seconds=30):
        """One window of moved rows -> its signal"""
        rows = "".join(json.dumps({column: (i * 7919) % 1000 + shift}) + "\n" for i in range(200))
        status, answer, _ = self.w.http("POST", f"/v1/pipelines/{name}/observations", rows, {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson"})
        self.assertEqual(status, 202, answer)
        return kit.wait_for(f"{name} to fire", lambda: next(iter(
            s for s in self.w.orch_json("signals", name)["signals"] if s["status"] == "firing" and s["kind"] == "drift"), None), seconds)

    def state(self, name):
        return self.w.orch_json("signals", name)["signals"][0]["disposition"]

    def test_two_within_a_minute(self):
        w = self.w
        self.assertEqual(self.drift("a")["disposition"], "proposed")
        self.assertEqual(self.drift("other", "y")["disposition"], "proposed", "another column: the same owner does not count here")
        second = self.drift("b")
        self.assertEqual((second["disposition"], second["proposal"], second["incident"]), ("held", None, 1))
        self.assertIn("2 pipelines that watch x fired within 1 min", second["held_reason"])
        incident = w.orch_json("incident", "1")
        self.assertEqual((incident["pipelines"], incident["waiting"], incident["rule"]),
                         (["a", "b"], 1, {"pipelines": 2, "within_ms": 60000, "share": ["column"]}))
        # The feed is wrong: nobody retrains for it, however long it goes on.
        w.orch("incident", "dismiss", "1", "--reason", "the feed sent cents")
        self.assertEqual(self.state("b"), "recorded")
        self.assertEqual(self.drift("b")["disposition"], "recorded", "the same episode")
        # A third one waits in an incident of its own, and that one is released.
        third = self.drift("c")
        self.assertEqual((third["disposition"], third["incident"]), ("held", 2))
        w.orch("incident", "release", "2", "--reason", "c is right to learn this")
        kit.wait_for("c to propose", lambda: self.state("c") == "proposed", 30)
        self.assertEqual(self.state("b"), "recorded", "what was dismissed stays so")
        self.assertEqual(w.orch("incident", "release", "2", "--reason", "again", check=False).returncode, 4)
        # It heals and comes again: b fires anew, and by then the others are out of the minute.
        w.sql("create or replace function orch.clock() returns timestamptz language sql volatile as "
              "$$ select clock_timestamp() + interval '2 minutes' $$")
        rows = self.w.sql("select count(*) from orch.incident")
        status, _, _ = self.w.http("POST", "/v1/pipelines/b/observations", "".join(json.dumps({"x": (i * 7919) % 1000}) + "\n" for i in range(200)), {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson"})
        self.assertEqual(status, 202)
        kit.wait_for("b to be well", lambda: w.orch_json("signals", "b")["signals"][0]["status"] == "resolved", 30)
        self.assertEqual(self.drift("b")["disposition"], "proposed")
        self.assertEqual(w.sql("select count(*) from orch.incident"), rows)
        # Turned off, nothing waits.
        with open(os.path.join(w.dir, "orch.yaml"), "w", encoding="utf-8") as f:
            json.dump({**kit.CONFIG, "cascade": "off"}, f)
        w.orch("apply", "orch.yaml")
        self.assertEqual(self.drift("d")["disposition"], "proposed")
        self.assertEqual(w.sql("select orch.audit_verify(null) ->> 'ok'"), ["true"])


if __name__ == "__main__":
    unittest.main()
