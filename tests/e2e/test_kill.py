"""kill -9 of serve, worker or a PostgreSQL backend at random moments, while proposals are trained, approved and promoted.

Whatever dies: no acknowledged proposal or observation is lost, nothing goes live without its gate, no job ends twice, and
the live pointer on disk comes to agree with the database. Prints its seed; SEED=… repeats a run, KILLS=… makes it longer.
"""
import os
import random
import signal
import threading
import time
import unittest

import kit

KILLS = int(os.environ.get("KILLS", "60"))
SEED = int(os.environ.get("SEED", str(int.from_bytes(os.urandom(4), "big"))))


class Killing(unittest.TestCase):
    def test_nothing_is_lost(self):
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        with kit.World(train="sleep 0.4\n" + kit.TRAIN) as w:
            self.w = w
            self.stop = threading.Event()
            self.proposals, self.rows, self.failures = [], 0, []
            self.serve, self.worker = w.serve(), w.worker()
            self.token = w.token("feeder", "observe")
            story = threading.Thread(target=self.guard, args=(self.tell_story,))
            feed = threading.Thread(target=self.guard, args=(self.feed,))
            story.start()
            feed.start()
            try:
                self.kill_all()
            finally:
                self.stop.set()
                story.join(120)
                feed.join(60)
            self.assertEqual([], self.failures)
            self.assertFalse(story.is_alive() or feed.is_alive())
            self.check()

    def guard(self, work):
        try:
            work()
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(f"{work.__name__}: {error!r}")
            self.stop.set()

    def sql(self, text):
        return self.w.sql_through_restarts(text)

    # ---- what goes on

    def tell_story(self):
        """Proposes, approves, again and again. A call that fails is made again with the same key: it must not count twice."""
        count = 0
        while not self.stop.is_set():
            count += 1
            key = f"round-{SEED}-{count}"
            document = self.again(lambda key=key: self.w.orch_json("propose", "quick", "--reason", "again", "--key", key,
                                                                   "--mode", "cancel_and_replace"))
            proposal = document["proposal"]
            self.proposals.append((proposal, key))
            end = time.monotonic() + 60
            message_id = f"msg_{key}"
            while time.monotonic() < end:
                state = self.sql(f"select state from orch.proposal where id = {proposal}")[0]
                if state == "awaiting_approval":
                    gate = self.sql(f"select id || '' from orch.gate where proposal_id = {proposal} order by id desc limit 1")[0]
                    try:
                        self.w.callback(int(gate), message_id=message_id)
                    except Exception:  # pylint: disable=broad-except
                        pass  # sent again with the same id
                elif state in ("promoted", "failed", "aborted", "blocked", "expired", "cancelled"):
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(f"proposal {proposal} got stuck in {state}")
            if state != "promoted":
                raise AssertionError(f"proposal {proposal} ended as {state}")

    def feed(self):
        """Observations: every batch that was answered 202 must be there once."""
        count = 0
        while not self.stop.is_set():
            count += 1
            body = "".join(f'{{"x": {i}}}\n' for i in range(50))
            for _ in range(400):
                try:
                    status, _, _ = self.w.http("POST", "/v1/pipelines/quick/observations", body, {
                        "Content-Type": "application/x-ndjson", "Authorization": f"Bearer {self.token}",
                        "Idempotency-Key": f"batch-{count}"}, timeout=5)
                    if status == 202:
                        self.rows += 50
                        break
                except OSError:
                    pass
                time.sleep(0.05)
            else:
                raise AssertionError("no server took observations for 20 s")
            time.sleep(0.1)

    def again(self, call):
        for _ in range(100):
            try:
                return call()
            except Exception as error:  # pylint: disable=broad-except
                last = error
                time.sleep(0.1)
        raise last

    def kill_all(self):
        dice = random.Random(SEED)
        for number in range(KILLS):
            time.sleep(dice.uniform(0.05, 2.0))
            if self.stop.is_set():
                return
            victim = dice.choice(("serve", "serve", "worker", "worker", "backend"))
            if victim == "serve":
                kit.kill9(self.serve)
                self.serve = self.w.serve(wait=False)
            elif victim == "worker":
                kit.kill9(self.worker)
                self.worker = self.w.worker()
            else:
                pids = self.sql("select pid from pg_stat_activity where datname = 'orch' and pid <> pg_backend_pid()")
                if pids:
                    try:
                        os.kill(int(dice.choice(pids)), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if number % 10 == 9:
                print(f"{number + 1} kills, {len(self.proposals)} proposals, {self.rows} rows", flush=True)

    # ---- what must be true after all that

    def check(self):
        w = self.w
        kit.wait_for("a running server", lambda: self.serve.poll() is None, 5)
        w.wait_ready()
        self.assertGreater(len(self.proposals), KILLS // 20, "the story went on meanwhile")
        self.assertEqual(len({p for p, _ in self.proposals}), len(self.proposals), "each key opened one proposal")
        self.assertEqual(int(w.sql("select count(*) from orch.proposal")[0]), len(self.proposals), "no proposal lost or doubled")
        for proposal, _ in self.proposals:
            w.wait_state(proposal, "promoted")
        self.assertEqual(w.sql("select count(*) from orch.live_period l join orch.deployment d on d.id = l.deployment_id "
                               "left join orch.gate g on g.id = d.gate_id where g.state is distinct from 'approved'"), ["0"],
                         "nothing went live without its gate")
        self.assertEqual(w.sql("select count(*) from orch.live_period l join orch.deployment d on d.id = l.deployment_id join orch.gate g "
                               "on g.id = d.gate_id where not orch.gate_satisfied(g.id)"), ["0"], "every gate has its votes")
        self.assertEqual(w.sql("select count(*) from (select proposal_id, step, subject from orch.job_history where state = 'succeeded' "
                               "group by 1, 2, 3 having count(*) > 1) twice"), ["0"], "no step ended twice")
        self.assertEqual(w.sql("select count(*) from orch.job") + w.sql("select count(*) from orch.job_later"), ["0", "0"], "no job is left over")
        self.assertEqual(int(w.sql("select next_row from orch.observation_stream where stream = 'rows'")[0]), self.rows, "every acknowledged row, once")
        self.assertEqual(w.sql("select count(*) from (select first_row, lag(first_row + n_rows) over (order by first_row) as before "
                               "from orch.observation_batch) gaps where before <> first_row"), ["0"], "without gaps")
        self.assertEqual(w.sql("select (orch.audit_verify() ->> 'ok')"), ["true"], "the audit chain is whole")
        proposal, version = self.proposals[-1][0], w.live()
        kit.wait_for("the pointer on disk to agree with the database",
                     lambda: w.pointer().startswith(f"model of proposal {proposal} version {version} "), 20)
        print(f"{len(self.proposals)} promotions, {self.rows} rows, "
              f"{w.sql('select count(*) from orch.job_attempt')[0]} attempts taken away", flush=True)


if __name__ == "__main__":
    unittest.main()
