"""PostgreSQL's disk is full while rows come in: nothing that is not durable is acknowledged, the answer says what to do, and
when there is room again everything goes on without a restart, with nothing lost and nothing stored twice."""
import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import kit

SMALL = "48m"


class Disk:
    """A small file system of our own, for PostgreSQL."""

    def __init__(self, test):
        self.path = tempfile.mkdtemp(prefix="orch-disk-")
        os.chmod(self.path, 0o755)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", self.path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            os.rmdir(self.path)
            why = f"a small file system cannot be mounted here: {done.stderr.strip()}"
            if os.environ.get("CI"):
                test.fail(why)
            print(f"skipped: {why}")
            test.skipTest(why)
        self.ballast = os.path.join(self.path, "ballast")

    def fill(self, left=0):
        """Leaves so many bytes."""
        stat = os.statvfs(self.path)
        free = stat.f_bavail * stat.f_frsize
        with open(self.ballast, "ab") as f:
            f.write(b"\0" * max(0, free - left))

    def clear(self):
        os.remove(self.ballast)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.path], check=False)
        os.rmdir(self.path)


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        disk = Disk(self)
        self.addCleanup(disk.unmount)
        self.disk = disk
        self.world = kit.World()
        self.world.__enter__()
        self.addCleanup(self.world.__exit__)
        self.space = os.path.join(disk.path, "space")
        os.mkdir(self.space, 0o700)
        data = os.stat(self.world.pg_data)
        shutil.chown(self.space, data.st_uid, data.st_gid)
        self.dice = random.Random(20260105)
        self.sent = {}  # idempotency key -> its ids, when it was answered 202

    def serve(self):
        self.world.add_monitor("quick", "{name: truth, kind: performance, metric: accuracy, min: 0.01, window: 100000 labels}")
        self.server = self.world.serve()
        self.token = self.world.token("feeder", "observe")

    def batch(self, key, rows=2000):
        """Ids that come from the key, numbers that do not compress."""
        return "".join(json.dumps({"id": f"{key}-{i}", "x": self.dice.random(), "y": self.dice.random(), "z": self.dice.random(),
                                   "prediction": "yes"}) + "\n" for i in range(rows))

    def post(self, key, body, what="observations"):
        status, answer, headers = self.world.http("POST", f"/v1/pipelines/quick/{what}", body, {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson", "Idempotency-Key": key})
        if status == 202 and what == "observations":
            self.sent[key] = [json.loads(line)["id"] for line in body.splitlines()]
        return status, answer, headers

    def assert_full(self, answered):
        status, answer, headers = answered
        self.assertEqual(503, status, answer)
        self.assertEqual("urn:orch:problem:disk_full", answer["type"])
        self.assertIn("disk is full", answer["detail"])
        self.assertIn("free space", answer["hint"])
        self.assertEqual("10", headers["Retry-After"])

    def check_stored(self):
        """Exactly what was acknowledged, once, as rows and as predictions."""
        text = self.world.sql("select convert_from(body, 'UTF8') from orch.observation_batch where stream = 'rows' order by first_row")
        stored = [json.loads(line)["id"] for line in text if line]
        acknowledged = [i for ids in self.sent.values() for i in ids]
        self.assertEqual(sorted(acknowledged), sorted(stored))
        self.assertEqual(len(stored), int(self.world.sql("select next_row from orch.observation_stream where stream = 'rows'")[0]))
        self.assertEqual(len(stored), int(self.world.sql("select count(*) from orch.prediction")[0]))

    def test_rows_and_labels(self):
        self.world.sql(f"create tablespace small location '{self.space}'")
        self.world.sql("alter database orch set tablespace small", database="postgres")
        self.serve()
        self.assertEqual(202, self.post("before", self.batch("before"))[0])
        self.disk.fill(left=1 << 20)
        key, body = None, None
        for number in range(200):  # room for one or two
            key = f"k{number}"
            body = self.batch(key)
            answered = self.post(key, body)
            if answered[0] != 202:
                break
        self.assert_full(answered)
        for _ in range(3):  # it stays so, and the server lives on
            self.assert_full(self.post(key, body))
        self.assertEqual(200, self.world.http("GET", "/healthz")[0])
        labels = "".join(json.dumps({"id": f"never-{i}-" + "x" * 150, "label": "y" * 200}) + "\n" for i in range(20000))
        self.assert_full(self.post("labels", labels, "labels"))
        done = self.world.orch("observe", "quick", "-", stdin=body, check=False)
        self.assertEqual(5, done.returncode, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.check_stored()
        self.disk.clear()
        self.assertEqual(202, self.post(key, body)[0])
        status, answer, _ = self.post(key, body)
        self.assertEqual((202, True), (status, answer["repeated"]))
        self.assertEqual(202, self.post("after", self.batch("after"))[0])
        self.assertEqual(202, self.post("labels", labels, "labels")[0])
        self.assertIsNone(self.server.poll())
        self.check_stored()
        self.assertIn("http.disk_full", kit.read(self.server.log))

    def test_the_log(self):
        """No room for PostgreSQL's log: it refuses the statement or goes down, as it happens; the server waits for it."""
        w = self.world
        log, moved = os.path.join(w.pg_data, "pg_wal"), os.path.join(self.space, "pg_wal")
        pg_ctl = [*w.as_pg, os.path.join(kit.pg_bin(), "pg_ctl"), "-D", w.pg_data]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        start = [*pg_ctl, "-w", "-l", os.path.join(w.pg_run, "log"), "-o",
                 f"-c listen_addresses='' -c unix_socket_directories={w.pg_run}", "start"]
        subprocess.run([*pg_ctl, "-m", "fast", "stop"], check=True, **quiet)
        subprocess.run([*w.as_pg, "cp", "-a", log, moved], check=True)
        shutil.rmtree(log)
        subprocess.run([*w.as_pg, "ln", "-s", moved, log], check=True)
        subprocess.run(start, check=True, **quiet)
        self.serve()
        self.disk.fill()
        tried = {}
        for number in range(40):
            key = f"w{number}"
            tried[key] = self.batch(key)
            status, answer, headers = self.post(key, tried[key])
            if status != 202:
                break
        self.assertEqual(503, status, answer)
        self.assertIn("Retry-After", headers)
        self.assertIn("No space left on device", kit.read(os.path.join(w.pg_run, "log")))
        self.assertEqual(200, w.http("GET", "/healthz")[0])
        self.disk.clear()
        if subprocess.run([*pg_ctl, "status"], check=False, **quiet).returncode != 0:  # as whoever runs it would
            subprocess.run(start, check=True, **quiet)

        def again():
            """What got no 202 may have been stored or not: the key makes sure."""
            return all(key in self.sent or self.post(key, body)[0] == 202 for key, body in tried.items())
        kit.wait_for("rows to be taken again", again, 60, 0.5)
        self.assertIsNone(self.server.poll())
        self.check_stored()


if __name__ == "__main__":
    unittest.main()
