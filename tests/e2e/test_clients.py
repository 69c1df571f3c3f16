"""The clients for live models against a real server, a dead one, and one that is killed: a caller never notices, and what
was not stored is counted."""
import json
import logging
import os
import socket
import subprocess
import sys
import time
import unittest

import kit

sys.path.insert(0, os.path.join(kit.TOP, "clients", "python"))
import orch_client  # noqa: E402  pylint: disable=wrong-import-position

logging.getLogger("orch_client").addHandler(logging.NullHandler())
logging.getLogger("orch_client").propagate = False


class ClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = kit.World(pipelines=("quick", "truth"))
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.token = cls.world.token("model", "observe")
        cls.world.add_monitor("truth", "{name: truth, kind: performance, metric: accuracy, min: 0.01, window: 100000 labels}")
        cls.url = f"http://127.0.0.1:{cls.world.port}"
        cls.server = cls.world.serve()

    def client(self, pipeline="quick", **more):
        client = orch_client.Client(self.url, self.token, pipeline, **{"flush_s": 0.05, **more})
        self.addCleanup(client.close, 0)
        return client

    def stored(self, pipeline="quick", stream="rows"):
        out = self.world.sql("select convert_from(body, 'UTF8') from orch.observation_batch join orch.pipeline p on p.id = pipeline_id "
                             f"where p.name = '{pipeline}' and stream = '{stream}' order by first_row")
        return [json.loads(line) for line in out if line]

    # ---- Python

    def test_rows_and_labels(self):
        client, before, labels = self.client("truth"), len(self.stored("truth")), len(self.stored("truth", "labels"))
        for i in range(2500):  # several batches, gzip
            self.assertTrue(client.observe({"id": f"r{i}", "n": i, "f": {"g": float("nan")}, "prediction": i % 2}))
        for i in range(100):
            self.assertTrue(client.label(f"r{i}", i % 2, at="2026-01-05T09:00:00Z"))
        self.assertTrue(client.flush(20))
        stats = client.stats()
        self.assertEqual((stats["queued"], stats["sent"], stats["refused"], stats["dropped"], stats["waiting"]), (2600, 2600, 0, 0, 0), stats)
        rows = self.stored("truth")[before:]
        self.assertEqual([r["n"] for r in rows], list(range(2500)))
        self.assertEqual(rows[7]["f"], {"g": "NaN"})
        self.assertEqual([r["id"] for r in self.stored("truth", "labels")[labels:]], [f"r{i}" for i in range(100)])
        self.assertTrue(client.close(5))
        self.assertFalse(client.observe({"a": 1}))
        self.assertEqual(client.stats()["dropped"], 1)

    def test_what_is_no_row_is_counted(self):
        client = self.client()

        class Odd:
            def __str__(self):
                raise RuntimeError("not even a text")
        for bad in (None, 3, [], {}, {"a": Odd()}, {"a": "x" * 70000}):
            self.assertFalse(client.observe(bad))
        before = len(self.stored())
        self.assertTrue(client.observe({"a": 1, "b.c": 1, "b": {"c": 2}}))  # the server refuses this line, and only it
        self.assertTrue(client.observe({"a": 2, "who": Odd}))
        self.assertTrue(client.flush(10))
        stats = client.stats()
        self.assertEqual((stats["sent"], stats["refused"], stats["dropped"]), (1, 1, 6), stats)
        self.assertIn("duplicate", stats["last_error"])
        self.assertEqual(len(self.stored()), before + 1)
        label = self.client()
        label.label("a", 1)  # no monitor of this pipeline uses labels
        self.assertTrue(label.flush(10))
        self.assertEqual((label.stats()["refused"], label.stats()["retries"]), (1, 0))
        stranger = orch_client.Client(self.url, "nobody's", "quick")
        stranger.observe({"a": 1})
        self.assertTrue(stranger.flush(10))
        self.assertEqual(stranger.stats()["refused"], 1)

    def test_a_dead_server(self):
        """Nobody listens: each call returns at once, the queue stays bounded, and what did not fit is counted."""
        client = orch_client.Client(f"http://127.0.0.1:{kit.free_port()}", "t", "quick", queue_rows=1000, flush_s=0.01)
        for i in range(5000):
            client.observe({"a": i})
        stats = client.stats()
        self.assertEqual((stats["queued"], stats["dropped"], stats["sent"]), (1000, 4000, 0), stats)
        self.assertFalse(client.flush(0.2))
        self.assertFalse(client.close(0.3))
        self.assertEqual((client.stats()["dropped"], client.stats()["waiting"]), (5000, 0))

    def test_a_server_that_does_not_answer(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = orch_client.Client(f"http://127.0.0.1:{silent.getsockname()[1]}", "t", "quick", flush_s=0.01, timeout_s=30)
            client.observe({"a": 1})
            time.sleep(0.2)  # its thread is waiting for the answer now
            began = time.monotonic()
            client.observe({"a": 2})
            self.assertFalse(client.close(0.5))
            self.assertLess(time.monotonic() - began, 20)  # it did not wait for the request's 30 seconds

    def test_killed_servers_store_once(self):
        """The server dies again and again under a client; every row is stored, none twice."""
        cls = type(self)
        before = len(self.stored())
        client = self.client(batch_rows=20)
        for i in range(3000):
            self.assertTrue(client.observe({"once": i}))
            if i % 600 == 300:
                kit.kill9(cls.server)
                time.sleep(0.1)
                cls.server = self.world.serve(wait=False)
            time.sleep(0.0005)
        self.world.wait_ready()
        self.assertTrue(client.flush(30))
        self.assertEqual([r["once"] for r in self.stored()[before:]], list(range(3000)))
        stats = client.stats()
        self.assertEqual((stats["sent"], stats["dropped"]), (3000, 0), stats)

    def test_a_pause_is_no_failure(self):
        """A connection that was not used for long may be dead: a new one is made before that shows."""
        cls = type(self)
        client = self.client()
        client.observe({"a": 1})
        self.assertTrue(client.flush(20))
        kit.kill9(cls.server)
        cls.server = self.world.serve()
        idle, orch_client._IDLE_S = orch_client._IDLE_S, 0.0  # pylint: disable=protected-access
        self.addCleanup(setattr, orch_client, "_IDLE_S", idle)
        client.observe({"a": 2})
        self.assertTrue(client.flush(20))
        stats = client.stats()
        self.assertEqual((2, 0, None), (stats["sent"], stats["retries"], stats["last_error"]))

    def test_forks_and_ends(self):
        """A process that forks and just ends: parent and child send their own rows, each once."""
        before = len(self.stored())
        text = (f"import os, orch_client\nc = orch_client.Client({self.url!r}, {self.token!r}, 'quick', flush_s=60)\n"
                "c.observe({'who': 'parent'})\nif os.fork() == 0:\n  c.observe({'who': 'child'})\n  raise SystemExit\nos.wait()\n")
        subprocess.run([sys.executable, "-c", text], check=True, timeout=60, env={**os.environ, "PYTHONPATH": os.path.join(kit.TOP, "clients", "python")})
        self.assertEqual(sorted(r["who"] for r in self.stored()[before:]), ["child", "parent"])

    # ---- C

    def build(self, *flags):
        path = os.path.join(self.world.dir, "example" + str(len(flags)))
        subprocess.run([os.environ.get("CC", "cc"), "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-o", path,
                        os.path.join(kit.TOP, "clients/c/example.c"), *flags, "-lcurl", "-lpthread", "-lm"], check=True)
        return path

    def run_c(self, path, url, lines, *more):
        done = subprocess.run([path, url, "truth", *more], input=lines, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "ORCH_TOKEN": self.token})
        return done.returncode, json.loads(done.stdout), done.stderr

    def test_c_client(self):
        for flags in ((), ("-DORCH_CLIENT_GZIP", "-lz")):
            before, labels = self.stored("truth"), len(self.stored("truth", "labels"))
            lines = "".join(f'{{"id":"c{len(before)}-{i}","c":{i}}}\n' for i in range(20000)) + f"bad\nlabel c{len(before)}-7 yes\n"
            code, stats, said = self.run_c(self.build(*flags), self.url, lines)
            self.assertEqual((code, stats["queued"], stats["sent"], stats["refused"], stats["dropped"], stats["waiting"]),
                             (0, 20003, 20002, 1, 0, 0), said)
            rows = self.stored("truth")[len(before):]
            self.assertEqual([r["c"] for r in rows[:-1]], list(range(20000)))
            self.assertEqual(rows[-1], {"id": 'last "one"\n', "features.income": 3.25, "ratio": "NaN", "new": True, "city": None})
            self.assertEqual([r["label"] for r in self.stored("truth", "labels")[labels:]], ["yes"])

    def test_c_client_of_a_dead_server(self):
        code, stats, said = self.run_c(self.build(), f"http://127.0.0.1:{kit.free_port()}", '{"a":1}\n' * 10, "300")
        self.assertEqual((code, stats["queued"], stats["sent"], stats["dropped"]), (0, 11, 0, 11), said)
        self.assertGreater(stats["retries"], 0)
        self.assertIn("dropped", said)


if __name__ == "__main__":
    unittest.main()
