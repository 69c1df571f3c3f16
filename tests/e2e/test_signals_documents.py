"""Other tools' documents over HTTP (CloudEvents in three modes, Grafana, Evidently, NannyML), and a real Prometheus whose
rule fires through a real Alertmanager."""
import json
import os
import shutil
import subprocess
import time
import unittest

import kit

SAMPLES = os.path.join(kit.TOP, "tests/data/wire/alerts")


def sample(name):
    with open(os.path.join(SAMPLES, name), "rb") as f:
        return f.read()


class DocumentsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.w = kit.World()
        cls.w.__enter__()
        cls.addClassCleanup(cls.w.__exit__)
        cls.w.serve()
        cls.token = cls.w.token("in", "signal")

    def setUp(self):
        self.w.sql("update orch.signal set status = 'resolved', resolved_at = now() where status = 'firing'")

    def post(self, path, body, kind="application/json", **headers):
        head = {"Authorization": "Bearer " + self.token, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if kind:
            head["Content-Type"] = kind
        status, document, _ = self.w.http("POST", path, body, head)
        return status, document

    def signals(self, source):
        return self.w.sql(f"select kind || ' ' || status || ' ' || count || ' ' || disposition from orch.signal "
                          f"where source = '{source}' and status = 'firing' order by id")

    def test_cloudevents_in_three_modes_are_one_signal(self):
        url = "/v1/signals?pipeline=quick"
        status, one = self.post(url, sample("cloudevent_structured.json"), "application/cloudevents+json; charset=utf-8")
        self.assertEqual((status, one["taken"], one["refused"]), (200, 1, 0), one)
        self.assertIn(one["alerts"][0]["disposition"], ("proposed", "folded", "held"))
        status, two = self.post(url, sample("cloudevent_batch.json"), "application/cloudevents-batch+json")
        self.assertEqual((status, two["taken"]), (200, 2), two)
        self.assertEqual(two["alerts"][0]["reason"], "this delivery was taken already", "the same id again")
        status, three = self.post(url, b'{"metric": "psi", "value": 0.4}', "application/json", ce_specversion="1.0", ce_id="later",
                                  ce_source="/monitors/churn-classifier/prod", ce_type="com.example.ml.drift.detected",
                                  ce_subject="feature%2Ftenure_months")
        self.assertEqual((status, three["alerts"][0]["disposition"]), (200, "duplicate"), three)
        self.assertEqual(len(self.signals("cloudevents")), 2, "one a subject")
        self.assertTrue(self.signals("cloudevents")[0].startswith("external firing 2 "), "heard twice: two ids")

    def test_a_delivery_that_comes_again_does_not_wake_what_is_over(self):
        url = "/v1/signals?pipeline=quick"
        event = {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "data": {"status": "firing"}}
        self.post(url, json.dumps(event), "application/cloudevents+json")
        over = dict(event, id="b", data={"status": "resolved"})
        _, answer = self.post(url, json.dumps(over), "application/cloudevents+json")
        self.assertEqual(answer["alerts"][0]["disposition"], "resolved")
        _, answer = self.post(url, json.dumps(event), "application/cloudevents+json")
        self.assertEqual(answer["alerts"][0]["disposition"], "duplicate")
        self.assertEqual(self.w.sql("select count(*) from orch.signal where source = 'cloudevents' and status = 'firing'"), ["0"])

    def test_the_handshake_of_cloudevents(self):
        """The request of the sample, line by line; the answer has all that the sample's has."""
        asked, answered = sample("cloudevent_webhook_validation.http.txt").decode().split("---- response ----")
        lines = asked.strip().splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:] if not line.startswith("Host:"))
        self.assertEqual(lines[0].split()[0], "OPTIONS")
        status, _, got = self.w.http("OPTIONS", "/v1/signals", None, headers)
        self.assertEqual(status, 200)
        for line in answered.strip().splitlines()[1:]:
            name, value = line.split(": ", 1)
            self.assertEqual(got[name], "POST, OPTIONS" if name == "Allow" else value)

    def test_every_sample_is_tested(self):
        """A document that lies here and nobody reads tests nothing."""
        tests = "".join(kit.read(os.path.join(kit.TOP, "tests", name)) for name in (
            "unit/test_signal_documents.c", "unit/test_signal_in.c", "e2e/test_signals_documents.py", "e2e/test_signals_in.py"))
        names = [n for n in os.listdir(SAMPLES)] + [n for n in os.listdir(os.path.dirname(SAMPLES)) if n.startswith("alertmanager")]
        self.assertGreaterEqual(len(names), 24)
        self.assertEqual([n for n in names if f'"{n}"' not in tests], [])

    def test_documents_are_refused_with_a_reason(self):
        status, answer = self.post("/v1/signals", sample("cloudevent_structured.json"), "application/cloudevents+json")
        self.assertEqual(status, 422)
        self.assertIn("no pipeline is named", answer["alerts"][0]["error"])
        status, answer = self.post("/v1/signals", b"{}", "application/json", ce_specversion="1.0", ce_id="%C0%A0", ce_source="s", ce_type="t")
        self.assertEqual(status, 422, answer)
        for name in ("superwise_webhook.json", "sagemaker_constraint_violations.json", "whylogs_constraints_report.json",
                     "pagerduty_v3_incident_acknowledged.body.json"):
            for path in ("", "/grafana", "/alertmanager", "/evidently", "/nannyml"):
                status, answer = self.post(f"/v1/signals{path}?pipeline=quick", sample(name))
                self.assertIn(status, (400, 422), (name, path, answer))

    def test_grafana(self):
        url = "/v1/signals/grafana?pipeline=quick"
        status, answer = self.post(url, sample("grafana_firing.body.json"))
        self.assertEqual((status, answer["taken"]), (200, 1), answer)
        _, answer = self.post(url, sample("grafana_firing.json"))
        self.assertEqual(answer["alerts"][0]["disposition"], "duplicate")
        _, answer = self.post(url, sample("grafana_resolved.json"))
        self.assertEqual(answer["alerts"][0]["disposition"], "resolved")

    def test_no_data_is_told_and_retrains_nothing(self):
        before = self.w.sql("select count(*) from orch.proposal")
        body = sample("grafana_nodata.json").replace(b"2026-01-05T09:51:03", b"2026-01-06T09:51:03")  # an episode of its own
        status, answer = self.post("/v1/signals/grafana?pipeline=quick", body)
        self.assertEqual((status, answer["alerts"][0]["disposition"]), (200, "recorded"), answer)
        self.assertEqual(self.w.sql("select count(*) from orch.proposal"), before)

    def test_results_of_evidently_and_nannyml(self):
        status, answer = self.post("/v1/signals/evidently?pipeline=quick", sample("evidently_snapshot_dict.json"))
        self.assertEqual((status, answer["taken"]), (200, 1), answer)
        self.assertTrue(self.signals("evidently")[0].startswith("drift firing 1 "))
        status, answer = self.post("/v1/signals/nannyml?pipeline=quick", sample("nannyml_univariate_drift_row.json"))
        self.assertEqual((status, answer["taken"]), (200, 1), answer)
        self.assertTrue(self.signals("nannyml")[0].startswith("drift firing 1 "))
        row = json.loads(sample("nannyml_univariate_drift_row.json"))
        _, answer = self.post("/v1/signals/nannyml?pipeline=quick", json.dumps([dict(row, alert=False, value=0.01)]))
        self.assertEqual(answer["alerts"][0]["disposition"], "resolved")
        missing = dict(row, metric_name="missing_values_rate", column_name="plan")
        _, answer = self.post("/v1/signals/nannyml?pipeline=quick", json.dumps(missing))
        self.assertEqual(answer["alerts"][0]["disposition"], "recorded", "broken data never retrains")


PROMETHEUS = """\
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: model, static_configs: [{{targets: ["127.0.0.1:{model}"]}}]}}]
"""
RULES = """\
groups:
  - name: models
    rules:
      - alert: ModelAUCLow
        expr: model_auc < 0.7
        for: 400ms
        labels: {orch_pipeline: quick, severity: page}
        annotations: {summary: "AUC is {{ $value }}"}
"""
ALERTMANAGER = """\
route: {{receiver: orch, group_wait: 100ms, group_interval: 500ms, repeat_interval: 1h}}
receivers:
  - name: orch
    webhook_configs:
      - url: http://127.0.0.1:{orch}/v1/signals/alertmanager
        http_config: {{authorization: {{credentials_file: {token}}}}}
"""


class PrometheusTest(unittest.TestCase):
    """The whole way: a metric falls, a rule fires, Alertmanager calls, a retraining is proposed; it recovers, and it is over."""

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self, *args):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            process = subprocess.Popen(args, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_rule_of_prometheus_retrains(self):
        for program in ("prometheus", "prometheus-alertmanager"):
            self.assertTrue(shutil.which(program), f"{program} is not installed (run scripts/setup)")
        with kit.Gauge() as gauge, kit.World() as w:
            w.serve()
            self.folder = os.path.join(w.dir, "prometheus")
            os.mkdir(self.folder)
            ports = {"alertmanager": kit.free_port(), "prometheus": kit.free_port(), "model": gauge.port, "orch": w.port}
            token = self.write("token", w.token("alertmanager", "signal"))
            self.write("rules.yml", RULES)
            config = self.write("prometheus.yml", PROMETHEUS.format(**ports))
            routes = self.write("alertmanager.yml", ALERTMANAGER.format(token=token, **ports))
            self.start("prometheus-alertmanager", f"--config.file={routes}", f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
                       "--cluster.listen-address=", f"--storage.path={self.folder}/am")
            self.start("prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
                       f"--storage.tsdb.path={self.folder}/tsdb")
            time.sleep(2)
            self.assertEqual(w.sql("select count(*) from orch.signal"), ["0"], "a healthy model raises nothing")
            gauge.value = 0.31
            kit.wait_for("the alert to arrive", lambda: w.sql("select title from orch.signal where status = 'firing'"), 30)
            row = w.sql("select concat_ws(' ; ', title, kind, source, disposition, detail #>> '{labels,severity}') from orch.signal")
            self.assertEqual(row, ["ModelAUCLow: AUC is 0.31 ; alert ; alertmanager ; proposed ; page"])
            self.assertEqual(w.sql("select reason from orch.proposal"), ["ModelAUCLow: AUC is 0.31"])
            gauge.value = 0.9
            kit.wait_for("the alert to be over", lambda: w.sql("select 1 from orch.signal where status = 'resolved'"), 30)


if __name__ == "__main__":
    unittest.main()
