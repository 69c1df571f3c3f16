"""Least privilege with the real processes: every login is a member of one role and of nothing else, and the whole story runs.
And a managed database, where nobody is a superuser."""
import json
import os
import subprocess
import unittest

import kit


class RoleWorld(kit.World):
    """A world whose processes and shell calls each log in as somebody."""

    def _cluster_start(self):
        super()._cluster_start()
        self.sql("create role s login; create role w login; create role o login; create role r login; create role nobody login; "
                 "create role dana login; create role erik login", database="postgres")

    def grant(self):
        self.sql("grant orch_server to s; grant orch_worker to w; grant orch_operator to o, dana, erik; grant orch_reader to r")

    def login(self, who):
        return {"ORCH_DATABASE_URL": self.url("orch").replace("user=orch", f"user={who}")}

    def as_(self, who, *args, **kw):
        return self.orch(*args, env={**self.login(who), **kw.pop("env", {})}, **kw)

    def json_as(self, who, *args, **kw):
        return json.loads(self.as_(who, *args, "--json", **kw).stdout)


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.w = RoleWorld()
        cls.w.__enter__()
        cls.addClassCleanup(cls.w.__exit__)
        cls.w.grant()
        cls.server = cls.w.start("serve", env=cls.w.login("s"))
        cls.worker = cls.w.start("worker", "--lease", "2s", "--work", os.path.join(cls.w.dir, "work"), env=cls.w.login("w"))
        cls.w.wait_ready()

    def denied(self, who, *args):
        done = self.w.as_(who, *args, check=False)
        self.assertNotEqual(0, done.returncode, f"{who}: orch {' '.join(args)}\n{done.stdout}")
        self.assertIn("permission denied", done.stderr, f"{who}: orch {' '.join(args)}")
        self.assertIn("GRANT orch_", done.stderr, f"{who}: orch {' '.join(args)}")
        self.assertEqual(4, done.returncode)

    def promoted(self, reason):
        """Proposed by an operator's login; trained by a worker's; approved through the server; driven by the server."""
        w = self.w
        proposal = w.json_as("o", "propose", "quick", "--reason", reason)["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        status, document, _ = w.callback(w.gate_of(proposal))
        self.assertEqual((200, "accepted"), (status, document.get("outcome")), document)
        w.wait_state(proposal, "promoted")
        return proposal

    def test_1_the_story(self):
        w = self.w
        self.promoted("first")
        self.assertEqual(1, w.live())
        second = w.json_as("o", "propose", "quick", "--reason", "second")["proposal"]
        w.wait_state(second, "awaiting_approval")
        # By the shell: a token proves who approves; so does a login named like a reviewer; a plain operator is nobody.
        refused = w.as_("o", "approve", str(second), check=False)
        self.assertEqual(4, refused.returncode, refused.stderr)
        self.assertIn("not proven", refused.stderr)
        self.assertIn("erik", w.as_("erik", "approve", str(second), "--comment", "as myself").stdout)
        w.wait_state(second, "promoted")
        token = w.json_as("o", "token", "create", "erik-decides", "--scope", "decide", "--reviewer", "erik")["secret"]
        third = w.json_as("o", "propose", "quick", "--reason", "third")["proposal"]
        w.wait_state(third, "awaiting_approval")
        w.as_("o", "approve", str(third), env={"ORCH_TOKEN": token})
        w.wait_state(third, "promoted")
        # A reviewer's login that proposes cannot approve, whatever the shell's user is called.
        fourth = w.json_as("dana", "propose", "quick", "--reason", "mine")["proposal"]
        w.wait_state(fourth, "awaiting_approval")
        refused = w.as_("dana", "approve", str(fourth), check=False)
        self.assertEqual(4, refused.returncode, refused.stderr)
        self.assertIn("somebody else must approve", refused.stderr)
        w.as_("erik", "reject", str(fourth), "--comment", "no")
        w.wait_state(fourth, "rejected")

        # The shell's other verbs, as an operator.
        fifth = w.json_as("o", "propose", "quick", "--reason", "fifth", "--mode", "cancel_and_replace")["proposal"]
        w.as_("o", "cancel", str(fifth), "--reason", "not now")
        w.as_("o", "hold", "quick", "--reason", "freeze")
        self.assertEqual(4, w.as_("o", "propose", "quick", "--reason", "x", check=False).returncode)
        w.as_("o", "release", "quick")
        w.as_("o", "apply", "orch.yaml", "pipelines/quick")
        w.as_("o", "token", "revoke", "erik-decides")
        w.as_("o", "observe", "quick", "pipelines/quick/rows.csv")
        back = w.json_as("o", "rollback", "quick", "--reason", "it was worse")
        self.assertEqual(2, back["version"], back)
        self.assertEqual(2, w.live())
        w.as_("o", "release", "quick")
        self.assertTrue(w.json_as("o", "audit", "verify")["ok"])

    def test_2_reading(self):
        for args in (["status"], ["pipelines"], ["pipelines", "quick"], ["proposals"], ["show", "1"], ["versions", "quick"], ["history", "quick"],
                     ["lineage", "quick@1"], ["signals"], ["reviewers"], ["token", "list"], ["audit"], ["audit", "verify"], ["webhooks"],
                     ["logs", "1"]):
            with self.subTest(args=args):
                self.w.as_("r", *args)
        self.assertEqual([], [line for line in kit.read(self.server.log).splitlines() if "permission denied" in line])
        self.assertEqual([], [line for line in kit.read(self.worker.log).splitlines() if "permission denied" in line])
        status, text, _ = self.w.http("GET", "/metrics")
        self.assertEqual(200, status)
        self.assertIn("orch_", text)

    def test_3_what_a_role_may_not(self):
        for who in ("r", "w", "nobody"):
            for args in (["propose", "quick", "--reason", "x"], ["apply", "orch.yaml"], ["hold", "quick", "--reason", "x"], ["rollback", "quick"],
                         ["token", "create", "x", "--scope", "read"], ["cancel", "1", "--reason", "x"]):
                with self.subTest(who=who, args=args):
                    self.denied(who, *args)
        for who in ("w", "nobody"):
            for args in (["status"], ["audit"], ["show", "1"], ["reviewers"]):
                with self.subTest(who=who, args=args):
                    self.denied(who, *args)
        for who in ("s", "w", "o", "r", "nobody"):
            done = subprocess.run(["psql", "-X", "-d", self.w.login(who)["ORCH_DATABASE_URL"], "-c", "select * from orch.pipeline"],
                                  capture_output=True, text=True, check=False)
            self.assertIn("permission denied", done.stderr, who)

    def test_4_processes_without_their_role(self):
        for who, args in (("r", ("worker",)), ("o", ("worker",)), ("w", ("serve",))):
            with self.subTest(who=who, args=args):
                process = self.w.start(*args, env={**self.w.login(who), "ORCH_LISTEN": f"127.0.0.1:{kit.free_port()}"})
                kit.wait_for(f"{args[0]} as {who} to say what it lacks", lambda p=process: "permission denied" in kit.read(p.log), 20)
                process.kill()
                process.wait()


class ManagedWorld(kit.World):
    """A database whose owner is no superuser: `can` says what else it may do."""

    def __init__(self, can, ready=True):
        super().__init__()
        self.can, self.ready, self.user = can, ready, "orch"

    def _cluster_start(self):
        super()._cluster_start()
        self.sql(f"create role boss login {self.can}", database="postgres")
        if self.ready:
            self.user = "boss"

    def url(self, database):
        return super().url(database).replace("user=orch", f"user={self.user}")


class Managed(unittest.TestCase):
    def test_owner_who_may_create_roles(self):
        with ManagedWorld("createdb createrole") as w:
            self.assertEqual(["off"], w.sql("show is_superuser"))
            w.serve()
            w.worker()
            w.promote(reason="first")
            w.promote(reason="second")
            self.assertEqual(1, w.orch_json("rollback", "quick", "--reason", "worse")["version"])
            self.assertEqual(200, w.http("GET", "/metrics")[0])
            self.assertTrue(w.orch_json("audit", "verify")["ok"])
            w.orch("migrate")

    def test_owner_without_it(self):
        w = ManagedWorld("createdb", ready=False)
        w.dir = kit.tempfile.mkdtemp(prefix="orch-e2e-")
        os.chmod(w.dir, 0o711)
        self.addCleanup(w.__exit__)
        w._cluster_start()
        w.sql("create database orch owner boss", database="postgres")
        env = {"PATH": "/usr/bin:/bin", "HOME": w.dir, "ORCH_DATABASE_URL": w.url("orch").replace("user=orch", "user=boss")}
        w.env = env
        refused = w.orch("migrate", check=False)
        self.assertNotEqual(0, refused.returncode)
        self.assertIn("CREATE ROLE orch_server NOLOGIN", refused.stderr)
        w.sql("; ".join(f"create role orch_{r} nologin" for r in ("server", "worker", "operator", "reader")), database="postgres")
        w.orch("migrate")
        self.assertEqual(["boss"], w.sql("select distinct applied_by from orch.schema_migration"))
        self.assertEqual([], json.loads(w.orch("pipelines", "--json").stdout)["pipelines"])


if __name__ == "__main__":
    unittest.main()
