"""kill -9 of servers and of PostgreSQL backends at random moments, while two servers take rows and labels and close windows.

Whatever dies: no acknowledged row or label is lost, none counts twice, every window closes exactly once, and a label joins
its prediction once, whichever came first. Prints its seed; SEED=… repeats a run, KILLS=… makes it longer.
"""
import json
import os
import random
import signal
import threading
import time
import unittest

import kit

KILLS = int(os.environ.get("KILLS", "50"))
SEED = int(os.environ.get("SEED", str(int.from_bytes(os.urandom(4), "big"))))
WINDOW = 200
TRUTH = f"{{name: truth, kind: performance, metric: accuracy, min: 0.01, window: {WINDOW} labels}}"


class KillingRows(unittest.TestCase):
    def test_nothing_is_lost(self):
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        with kit.World() as w:
            self.w = w
            first = w.serve()
            worker = w.worker()
            w.promote()
            kit.kill9(worker)
            w.add_monitor("quick", TRUTH)
            self.ports = [w.port, kit.free_port()]
            self.servers = [first, self.start(1)]
            self.token = w.token("feeder", "observe")
            self.stop, self.failures = threading.Event(), []
            self.rows, self.labels, self.kills = {}, {}, 0  # what was answered 202: id -> what was sent
            threads = [threading.Thread(target=self.guard, args=(self.feed, n)) for n in range(3)]
            for t in threads:
                t.start()
            try:
                self.kill_all()
            finally:
                self.stop.set()
                for t in threads:
                    t.join(60)
            self.assertEqual([], self.failures)
            self.assertFalse(any(t.is_alive() for t in threads))
            self.check()

    def guard(self, work, *args):
        try:
            work(*args)
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(repr(error))
            self.stop.set()

    def start(self, number):
        return self.w.start("serve", env={"ORCH_LISTEN": f"127.0.0.1:{self.ports[number]}"})

    def sql(self, text):
        return self.w.sql_through_restarts(text)

    # ---- what goes on

    def post(self, dice, what, lines, key):
        """To any server, again with the same key until one has answered."""
        body = "".join(json.dumps(line) + "\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        end = time.monotonic() + 60
        while time.monotonic() < end:
            port = dice.choice(self.ports)
            try:
                connection = kit.http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("POST", f"/v1/pipelines/quick/{what}", body, headers)
                answer = connection.getresponse()
                document = json.loads(answer.read())
                connection.close()
                if answer.status == 202:
                    assert document["rejected_count"] == 0 and document["accepted"] == len(lines), document
                    return
                assert answer.status >= 500, document
            except (OSError, kit.http.client.HTTPException, ValueError):
                pass
            time.sleep(0.02)
        raise AssertionError("no server took a batch for 60 s")

    def feed(self, number):
        """Batches of rows with ids, and their labels: before them, after them, twice."""
        dice, turn = random.Random(f"{SEED} {number}"), 0
        while not self.stop.is_set():
            turn += 1
            ids = [f"{number}-{turn}-{i}" for i in range(dice.randint(1, 60))]
            rows = [{"id": name, "x": dice.randint(0, 999), "prediction": dice.randint(0, 1)} for name in ids]
            truth = [{"id": name, "label": dice.randint(0, 1)} for name in ids if dice.random() < 0.8]
            steps = [("observations", rows), ("labels", truth)]
            dice.shuffle(steps)
            if dice.random() < 0.2:
                steps.append(("labels", truth))
            for step, (what, lines) in enumerate(steps):
                if not lines:
                    continue
                self.post(dice, what, lines, f"{what}-{SEED}-{number}-{turn}-{step}")
                (self.rows if what == "observations" else self.labels).update((line["id"], line) for line in lines)
            time.sleep(dice.uniform(0, 0.02))

    def kill_all(self):
        dice = random.Random(SEED)
        while self.kills < KILLS:
            time.sleep(dice.uniform(0.05, 1.0))
            if self.stop.is_set():
                return
            if dice.random() < 0.7:
                number = dice.randrange(2)
                kit.kill9(self.servers[number])
                self.servers[number] = self.start(number)
            else:
                pids = self.sql("select pid from pg_stat_activity where datname = 'orch' and pid <> pg_backend_pid()")
                if not pids:
                    continue
                try:
                    os.kill(int(dice.choice(pids)), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.kills += 1
            if self.kills % 10 == 0:
                print(f"{self.kills} kills, {len(self.rows)} rows, {len(self.labels)} labels", flush=True)

    # ---- what must be true after all that

    def stored(self, stream):
        out = self.w.sql(f"select convert_from(body, 'UTF8') from orch.observation_batch where stream = '{stream}' order by first_row")
        return [json.loads(line) for line in out if line]

    def check(self):
        w = self.w
        w.wait_ready()
        self.assertGreater(len(self.rows), KILLS * 5, "rows went on meanwhile")
        self.assertEqual(w.sql("select count(*) from orch.observation_batch b where octet_length(body) - octet_length(replace(convert_from(body, 'UTF8'), "
                               "E'\\n', '')::bytea) <> n_rows"), ["0"], "a batch has as many lines as it says")
        for stream in ("rows", "labels"):
            self.assertEqual(w.sql("select bool_and(first_row = before) from (select first_row, coalesce(lag(first_row + n_rows) over (order by first_row), 0) "
                                   f"as before from orch.observation_batch where stream = '{stream}') b"), ["t"], "batches lie end to end")
            self.assertEqual(w.sql(f"select sum(n_rows) from orch.observation_batch where stream = '{stream}'"),
                             w.sql(f"select next_row from orch.observation_stream where stream = '{stream}'"), "the stream ends with its last row")
        rows = self.stored("rows")
        self.assertEqual(len(rows), len({r["id"] for r in rows}), "no row twice")
        self.assertEqual({r["id"]: r for r in rows}, self.rows, "what was acknowledged is there, and nothing else")
        joined = self.stored("labels")
        self.assertEqual(len(joined), len({r["id"] for r in joined}), "no label twice")
        self.assertEqual({r["id"]: r["label"] for r in joined}, {name: line["label"] for name, line in self.labels.items()},
                         "every label has joined, with the first value")
        place = {r["id"]: number for number, r in enumerate(rows)}
        self.assertEqual({r["id"]: r["row"] for r in joined}, {r["id"]: place[r["id"]] for r in joined}, "with its own row")
        self.assertEqual(w.sql("select count(*) from orch.label_waiting"), ["0"], "no label waits")
        self.check_windows()

    def check_windows(self):
        w = self.w
        behind = (f"select count(*) from orch.monitor m join orch.observation_stream s using (pipeline_id, stream) where s.next_row - m.next_row >= {WINDOW}")
        kit.wait_for("the windows to close", lambda: w.sql(behind) == ["0"], 90, 0.2)
        for monitor in ("inputs", "truth"):
            windows = w.sql("select count(*) from orch.monitor_window x join orch.monitor m on m.id = x.monitor_id "
                            f"where m.name = '{monitor}'")
            self.assertGreater(int(windows[0]), 0, monitor)
            self.assertEqual(w.sql(
                f"select bool_and(x.number = n and x.to_row - x.from_row = {WINDOW} and x.rows = {WINDOW} and x.from_row = coalesce(before, x.from_row)) "
                "from (select x.*, row_number() over (order by x.number) as n, lag(x.to_row) over (order by x.number) as before "
                f"from orch.monitor_window x join orch.monitor m on m.id = x.monitor_id where m.name = '{monitor}') x"), ["t"],
                "windows follow each other, each closed once")
            self.assertEqual(w.sql(f"select m.next_row = (select max(to_row) from orch.monitor_window where monitor_id = m.id) from orch.monitor m "
                                   f"where name = '{monitor}'"), ["t"], "and the monitor stands behind the last")
        print(f"{self.kills} kills, {len(self.rows)} rows and {len(self.labels)} labels acknowledged, each there once", flush=True)


if __name__ == "__main__":
    unittest.main()
