"""Rows and labels over HTTP and from files: gzip, many at once, a pipeline that changes meanwhile, labels that join."""
import gzip
import http.client
import json
import os
import threading
import unittest

import kit

TRUTH = "{name: truth, kind: performance, metric: accuracy, min: 0.01, window: 100000 labels}"


class ObserveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = kit.World(pipelines=("quick", "other", "truth", "moving"))
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.token = cls.world.token("feeder", "observe")
        cls.world.add_monitor("truth", TRUTH)
        cls.world.serve()

    def post(self, body, pipeline="quick", what="observations", **headers):
        headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson",
                   **{name.replace("_", "-"): value for name, value in headers.items()}}
        status, answer, _ = self.world.http("POST", f"/v1/pipelines/{pipeline}/{what}", body, headers)
        return status, answer

    def stored(self, pipeline, stream="rows"):
        """The lines as they are stored, in order."""
        out = self.world.sql("select convert_from(body, 'UTF8') from orch.observation_batch join orch.pipeline p on p.id = pipeline_id "
                             f"where p.name = '{pipeline}' and stream = '{stream}' order by first_row")
        return [line for line in out if line]

    def metric(self, name):
        text = self.world.http("GET", "/metrics")[1]
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    # ---- bodies

    def test_gzip(self):
        rows = [json.dumps({"x": i, "f": {"g": i}}) for i in range(3)]
        body = "\n".join(rows).encode()
        before = self.stored("quick")
        status, answer = self.post(gzip.compress(body), Content_Encoding="gzip")
        self.assertEqual((status, answer["accepted"], answer["first_row"]), (202, 3, len(before)))
        self.assertEqual(self.stored("quick"), before + rows)
        for status, bad, coding in ((422, body, "gzip"), (422, gzip.compress(body)[:-3], "gzip"), (415, body, "br"),
                                    (413, gzip.compress(b" " * (40 << 20)), "gzip"),
                                    (413, gzip.compress(b'{"x":1}\n' * (2 << 20)), "gzip")):
            self.assertEqual(self.post(bad, Content_Encoding=coding)[0], status, coding)
        self.assertEqual(self.stored("quick"), before + rows)

    def test_limits_are_named(self):
        wide = json.dumps({f"c{i}": i for i in range(1025)})
        long = json.dumps({"a": "x" * 65536})
        deep = '{"a":' * 9 + "1" + "}" * 9
        status, answer = self.post("\n".join([wide, long, deep, '{"f.a":1,"f":{"a":1}}', '{"a":1}']))
        self.assertEqual((status, answer["accepted"], answer["rejected_count"]), (202, 1, 4))
        for error, word in zip(answer["rejected"], ("1024 columns", "65536", "deeper than 8", "duplicate")):
            self.assertIn(word, error["error"])
        status, answer = self.post(b'{"a":1}\n' * 1000001)
        self.assertEqual((status, "1000000" in answer["detail"]), (413, True))
        status, answer = self.post(b'{"id":1,"label":1}\n' * 100001, "truth", "labels")
        self.assertEqual((status, "100000" in answer["detail"]), (413, True))

    # ---- group commit

    def test_bodies_that_people_send(self):
        self.assertEqual(self.post(b'\xef\xbb\xbf{"a":1}\n{"a":2}\n')[1]["accepted"], 2)  # a byte order mark
        status, answer = self.post(gzip.compress(b'{"a":1}\n'))
        self.assertEqual((status, "Content-Encoding: gzip" in answer["hint"]), (415, True), answer)
        status, answer = self.post(json.dumps({"a": 1, "b": 2}, indent=2))
        self.assertEqual((status, "one JSON object" in answer["hint"]), (422, True), answer)
        status, answer = self.post('{"a":1,"at":"01/02/2026"}\n{"a":2,"timestamp":1736067600}\n{"a":3,"at":null}\n{"a":4,"at":"2026-01-05T09:00:00Z"}')
        self.assertEqual((status, answer["accepted"], answer["times_unread"]), (202, 4, 2))
        # A client that writes all before it reads gets to read why.
        status, answer = self.post(b'{"a":1}\n' * (2 << 20))
        self.assertEqual((status, "8388608 bytes" in answer["detail"]), (413, True), answer)

    def test_long_bodies_are_read_beside_the_loop(self):
        """Many long bodies at once, plain and packed, some lines bad: each gets its own answer."""
        before, answers = len(self.stored("other")), {}
        lines = [json.dumps({"n": i, "pad": "x" * 100}) for i in range(40000)]
        body = "\n".join(lines[:20000] + ["no row"] + lines[20000:]).encode()

        def send(n):
            packed = n % 2 == 0
            answers[n] = self.post(gzip.compress(body, 1) if packed else body, "other", **({"Content_Encoding": "gzip"} if packed else {}),
                                   Idempotency_Key=f"long-{n // 2}")
        threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for status, answer in answers.values():
            self.assertEqual((202, 40000, 1, 20001), (status, answer["accepted"], answer["rejected_count"], answer["rejected"][0]["line"]))
        self.assertEqual(4, sum(1 for _, answer in answers.values() if answer.get("repeated")))
        stored = self.stored("other")[before:]
        self.assertEqual(lines * 4, stored)
        self.assertEqual(0, self.metric("orch_observations_unread_bodies"))

    def test_requests_share_commits(self):
        requests, commits, threads, each = self.metric("orch_observations_requests_total"), \
            self.metric("orch_observations_commits_total"), 8, 25
        first_rows, failures = [], []

        def feed(number):
            connection = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=30)
            for turn in range(each):
                pipeline = ("other", "quick")[turn % 2]
                connection.request("POST", f"/v1/pipelines/{pipeline}/observations", f'{{"n":{number},"turn":{turn}}}\n' * 3,
                                   {"Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson"})
                answer = connection.getresponse()
                document = json.loads(answer.read())
                if answer.status == 202:
                    first_rows.append((pipeline, document["first_row"]))
                else:
                    failures.append(document)
            connection.close()
        before = len(self.stored("other"))
        feeders = [threading.Thread(target=feed, args=(i,)) for i in range(threads)]
        for t in feeders:
            t.start()
        for t in feeders:
            t.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(set(first_rows)), threads * each)  # everybody was given rows of their own
        self.assertEqual(self.metric("orch_observations_requests_total") - requests, threads * each)
        self.assertLess(self.metric("orch_observations_commits_total") - commits, threads * each)
        rows = self.stored("other")[before:]
        self.assertEqual(len(rows), threads * (each // 2 + 1) * 3)
        self.assertEqual(len(set(rows)), threads * (each // 2 + 1))

    def test_one_bad_request_spoils_no_commit(self):
        """Requests for a pipeline that does not exist stand beside good ones."""
        answers = []

        def feed(pipeline):
            for _ in range(20):
                answers.append((pipeline, self.post(b'{"a":1}\n', pipeline)[0]))
        feeders = [threading.Thread(target=feed, args=(p,)) for p in ("quick", "nobody", "other", "nobody")]
        for t in feeders:
            t.start()
        for t in feeders:
            t.join()
        self.assertEqual(set(answers), {("quick", 202), ("other", 202), ("nobody", 404)})

    # ---- a pipeline that changes

    def test_a_plan_that_is_old_loses_no_id(self):
        """The server has read rows by the plan of a pipeline without labels; then it gets a monitor that needs them."""
        self.assertEqual(self.post(b'{"id":"m1","prediction":1}\n', "moving")[0], 202)
        self.world.add_monitor("moving", TRUTH)
        self.assertEqual(self.post(b'{"id":"m2","prediction":1}\n', "moving")[0], 202)
        self.assertEqual(self.world.sql("select p.id from orch.prediction p join orch.pipeline q on q.id = p.pipeline_id "
                                        "where q.name = 'moving'"), ["m2"])
        status, answer = self.post(b'{"id":"m2","label":0}\n', "moving", "labels")
        self.assertEqual((status, answer["joined"]), (202, 1))

    # ---- labels

    def test_labels_join_in_either_order(self):
        before = len(self.stored("truth", "labels"))
        status, answer = self.post(b'{"id":"late","label":true}\n{"id":"x"}\n', "truth", "labels")
        self.assertEqual((status, answer["accepted"], answer["joined"], answer["waiting"], answer["rejected_count"]), (202, 1, 0, 1, 1))
        self.assertEqual(self.post(b'{"id":"early","prediction":"no","score":0.25,"version":3,"at":"2026-01-01T00:00:00Z"}\n'
                                   b'{"id":"late","prediction":"yes"}\n', "truth")[0], 202)
        status, answer = self.post(gzip.compress(b'{"id":"early","label":"yes","at":"2026-01-02T00:00:00Z"}\n'), "truth", "labels",
                                   Content_Encoding="gzip")
        self.assertEqual((status, answer["joined"]), (202, 1))
        rows = [json.loads(line) for line in self.stored("truth", "labels")[before:]]
        self.assertEqual([(r["id"], r["prediction"], r["label"]) for r in rows], [("late", "yes", "true"), ("early", "no", "yes")])
        self.assertEqual((rows[1]["score"], rows[1]["version"], rows[1]["at"], rows[1]["label_at"]),
                         (0.25, 3, "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"))
        status, answer = self.post(b'{"id":"early","label":"no"}\n', "truth", "labels")
        self.assertEqual((status, answer["known"]), (202, 1))
        self.assertEqual(len(self.stored("truth", "labels")), before + 2)

    def test_labels_refused(self):
        for status, body, pipeline in ((409, b'{"id":"a","label":1}', "quick"), (404, b'{"id":"a","label":1}', "nobody"),
                                       (422, b'{"id":"a"}', "truth"), (422, b"", "truth")):
            got, answer = self.post(body, pipeline, "labels")
            self.assertEqual(got, status, answer)
        self.assertIn("performance", self.post(b'{"id":"a","label":1}', "quick", "labels")[1]["hint"])

    # ---- files

    def write(self, name, text):
        data = text.encode()
        with open(os.path.join(self.world.dir, name), "wb") as f:
            f.write(gzip.compress(data) if name.endswith(".gz") else data)
        return name

    def test_files(self):
        w = self.world
        before = len(self.stored("truth"))
        answer = w.orch_json("observe", "truth", self.write("rows.csv.gz", "id,f.income,prediction\n007,1.5,a\n8,,b\n"))
        self.assertEqual((answer["accepted"], answer["first_row"]), (2, before))
        self.assertEqual(self.stored("truth")[before:], ['{"id":"007","f.income":1.5,"prediction":"a"}', '{"id":"8","f.income":null,"prediction":"b"}'])
        answer = w.orch_json("observe", "truth", "--labels", self.write("labels.csv", "id,label,at\n007,01,2026-01-01T00:00:00Z\n9,x,\n"))
        self.assertEqual((answer["accepted"], answer["joined"], answer["waiting"]), (2, 1, 1))
        row = json.loads(self.stored("truth", "labels")[-1])
        self.assertEqual((row["id"], row["label"]), ("007", "01"))
        answer = w.orch_json("observe", "truth", "-", stdin='{"id":9,"prediction":3}\n')
        self.assertEqual(answer["accepted"], 1)
        self.assertEqual(json.loads(self.stored("truth", "labels")[-1])["id"], "9")
        done = w.orch("observe", "quick", "--labels", "labels.csv", check=False)
        self.assertEqual((done.returncode, "performance" in done.stderr), (4, True))
        for name, text, code, says in (("semi.csv", "x;city\n1;Dallas\n", 2, "separated by commas"), ("truth.csv", "id,truth\na,1\n", 2, "no label"),
                                       ("plain", "x,y\n1,2\n", 2, "--format csv")):
            done = w.orch("observe", "truth", self.write(name, text), *(["--labels"] if name == "truth.csv" else []), check=False)
            self.assertEqual((done.returncode, says in done.stderr), (code, True), done.stderr)
        before = len(self.stored("quick"))
        with open(os.path.join(w.dir, "odd.csv"), "wb") as f:  # one record too short, one not UTF-8, one over two lines that is too long
            f.write(b"x,t,at\n1,a,2026-01-05\n2\n3,\xfc,\n4,\"b\nc\",\n5," + b"d" * 70000 + b",\n6,e,soon\n")
        done = w.orch("observe", "quick", "odd.csv", check=False)
        self.assertEqual(done.returncode, 2)
        for says in ("line 3: 1 fields", "line 4: field 2 is no UTF-8", "line 7: a line of", "3 lines are no row", "a time that cannot be read"):
            self.assertIn(says, done.stderr)
        self.assertEqual([1, 4, 6], [json.loads(line)["x"] for line in self.stored("quick")[before:]])
        cut = os.path.join(w.dir, "cut.ndjson.gz")
        with open(cut, "wb") as f:
            f.write(gzip.compress(b'{"a":1}\n' * 1000)[:-12])
        done = w.orch("observe", "quick", cut, check=False)
        self.assertEqual((done.returncode, "gzip" in done.stderr), (1, True), done.stderr)


if __name__ == "__main__":
    unittest.main()
