"""`orch drift` as people use it: the oracle's columns give the oracle's numbers, odd files are explained, no server."""

import csv
import gzip
import json
import os
import random
import subprocess
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/dev/orch"))
ORACLE = os.path.join(TOP, "tests/data/drift")
COLUMN = ["name", "kind", "n_ref", "n_cur", "null_ref", "null_cur", "psi", "ks", "js_distance", "wasserstein_normed", "chi2", "tvd",
          "hellinger", "linf", "noise_corrected", "verdict", "why", "reasons"]


class DriftTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def orch(self, *args, code=0, stdin=None, env=None):
        """Runs it where there is no server and no database."""
        clean = {"PATH": os.environ["PATH"], "TMPDIR": self.dir, "LC_ALL": "C.UTF-8", **(env or {})}
        out = subprocess.run([ORCH, "drift", *args], cwd=self.dir, env=clean, input=stdin, capture_output=True, text=True, check=False)
        self.assertEqual(out.returncode, code, out.stderr + out.stdout)
        if code > 1:
            self.assertEqual(out.stderr.count("\n"), 1, out.stderr)
        return out

    def document(self, *args, **kw):
        return json.loads(self.orch(*args, "--json", **kw).stdout)

    def near(self, got, want, relative=1e-9, absolute=1e-9):
        self.assertLessEqual(abs(got - want), relative * abs(want) + absolute, f"{got} is not {want}")

    # ---- the oracle

    def sides(self, case):
        """The case's `side,value` lines as two files of one column; a blank cell of one column is a blank line, so NA stands for it."""
        texts = {"ref": ["value"], "cur": ["value"]}
        with open(os.path.join(ORACLE, case["file"]), encoding="utf-8", newline="") as f:
            for row in csv.DictReader(f):
                value = row["value"]
                quoted = '"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value
                texts[row["side"]].append(quoted if value else "NA")
        return [self.write(side + ".csv", "\n".join(lines) + "\n") for side, lines in texts.items()]

    def test_oracle(self):
        with open(os.path.join(ORACLE, "cases.json"), encoding="utf-8") as f:
            cases = json.load(f)["cases"]
        self.assertEqual(len(cases), 12)
        for case in cases:
            with self.subTest(case["id"]):
                want, c = case["expected"], self.document(*self.sides(case))["columns"][0]
                self.assertEqual(c["kind"], case["kind"])
                self.assertEqual([c["n_ref"], c["n_cur"], c["null_ref"], c["null_cur"]],
                                 [want["n_ref"], want["n_cur"], want["n_ref_missing"], want["n_cur_missing"]])
                if case["kind"] == "numeric":
                    self.near(c["ks"]["statistic"], want["ks"]["statistic"])
                    self.near(c["ks"]["p_value"], want["ks"]["p_stephens"], absolute=0)
                    self.near(c["noise_corrected"], want["ks"]["linf_robust_deequ"])
                    self.near(c["wasserstein_normed"], want["wasserstein"]["evidently_norm"])
                    self.near(c["psi"], want["psi_ref_deciles"]["psi"])
                elif len(want["categories"]) <= 128:  # beyond, rare ones are counted together
                    for name, key in (("js_distance", "js_distance_nat"), ("tvd", "tvd"), ("hellinger", "hellinger"), ("linf", "linf")):
                        self.near(c[name], want[key])
                    self.assertIsNone(c["ks"])
                    self.assertIn("numbers only", c["reasons"]["ks"])
                if case["id"] == "cat_missing":  # no rare category, so the test is the plain one
                    self.near(c["chi2"]["statistic"], want["chi2_contingency"]["statistic_no_yates"])
                    self.near(c["chi2"]["p_value"], want["chi2_contingency"]["p_no_yates"])

    # ---- the document

    def table(self, rows, shift=0.0, seed=1, town=("Austin", "Dallas", "Houston")):
        rng = random.Random(seed)
        lines = ["id,price,town,flat"]
        lines += [f"{i},{rng.gauss(100, 15) + shift:.2f},{rng.choice(town)},7" for i in range(rows)]
        return "\n".join(lines) + "\n"

    def test_verdicts_and_shape(self):
        ref, cur = self.write("a.csv", self.table(2000)), self.write("b.csv", self.table(1000, 30, 2))
        d = self.document(ref, cur, "--columns", "price,town,flat")
        self.assertEqual([c["name"] for c in d["columns"]], ["price", "town", "flat"])
        for c in d["columns"]:
            self.assertEqual(list(c), COLUMN)
            for name, value in c.items():  # null stands beside its reason
                self.assertTrue(value is not None or c["reasons"][name], name)
        self.assertEqual((d["drifted"], d["faults"]), (["price"], []))
        price, town, flat = d["columns"]
        self.assertEqual((price["verdict"], town["verdict"], flat["verdict"]), ("drift", "ok", "ok"))
        self.assertGreater(price["ks"]["statistic"], 0.5)
        self.assertEqual(flat["wasserstein_normed"], 0)
        self.assertEqual((d["rows_ref"], d["rows_cur"], d["exact"]), (2000, 1000, True))
        self.assertEqual(self.orch(ref, cur, "--exit-code", code=1).stderr, "")
        self.orch(ref, ref, "--exit-code")

    def test_a_constant_column_that_changed(self):
        ref = self.write("a.csv", "x,y\n" + "7,1\n" * 500)
        cur = self.write("b.csv", "x,y\n" + "8,1\n" * 500)
        x = self.document(ref, cur)["columns"][0]
        self.assertIsNone(x["wasserstein_normed"])
        self.assertIn("single value", x["reasons"]["wasserstein_normed"])
        self.assertEqual((x["verdict"], x["ks"]["statistic"]), ("drift", 1))

    def test_missing_values_and_missing_columns_are_faults(self):
        ref = self.write("a.csv", "x,y,z\n" + "1,2,3\n2,3,4\n" * 300)
        cur = self.write("b.csv", "z,y,extra\n" + "3,,9\n4,3,9\n" * 300)
        d = self.document(ref, cur)
        self.assertEqual(d["faults"], ["x", "y"])
        self.assertEqual(d["only_cur"], ["extra"])
        x, y, _ = d["columns"]
        self.assertIn("no such column", x["why"])
        self.assertEqual((y["null_ref"], y["null_cur"], y["n_cur"]), (0, 300, 300))
        self.assertIn("broken data", y["why"])
        self.assertIn("extra", self.orch(ref, cur).stdout)

    def reasoned(self, c):
        """Null stands beside its reason, and only null does."""
        inner = {f"{name}.{key}": v for name in ("ks", "chi2") if c[name] for key, v in c[name].items()}
        for name, value in {**c, **inner}.items():
            self.assertEqual(value is None, name in c["reasons"], f"{c['name']} {name}: {c['reasons']}")

    def test_reasons_are_true(self):
        ref = self.write("a.csv", "gone,new,empty,tiny\n" + "".join(f"{i % 9},{'ab'[i % 2]},,{i % 7}e-300\n" for i in range(600)))
        cur = self.write("b.csv", "new,empty,tiny\n" + "".join(f"zz,{i % 3},{i % 7 + 1}e-300\n" for i in range(600)))
        gone, new, empty, tiny = self.document(ref, cur)["columns"]
        for c in (gone, new, empty, tiny):
            self.reasoned(c)
        for name in ("n_ref", "n_cur", "null_ref", "null_cur", "kind", "psi", "ks", "chi2"):  # nobody counted them
            self.assertIsNone(gone[name], name)
            self.assertIn("no such column", gone["reasons"][name])
        self.assertEqual((new["n_cur"], new["tvd"], new["verdict"], new["chi2"]["df"]), (600, 1, "drift", 2))
        self.assertIn("the reference has no values", empty["reasons"]["psi"])
        self.near(tiny["wasserstein_normed"], 0.5, relative=1e-2)  # deviation 2: small numbers are no constant

    def test_few_rows(self):
        path = self.write("a.csv", "x\n1\n2\n3\n")
        c = self.document(path, path)["columns"][0]
        self.assertEqual((c["verdict"], c["ks"]["p_value"]), ("insufficient", None))
        self.assertIn("too few", c["reasons"]["ks.p_value"])

    # ---- the table

    def test_table(self):
        ref, cur = self.write("a.csv", self.table(2000)), self.write("b.csv", self.table(1000, 30, 2))
        wide = self.orch(ref, cur).stdout
        self.assertIn("█", wide)
        self.assertIn("1000 rows against 2000", wide)
        narrow = self.orch(ref, cur, env={"LC_ALL": "C"}).stdout
        self.assertIn("@", narrow)
        self.assertTrue(narrow.isascii(), narrow)

    def test_table_and_document_say_the_same(self):
        ref, cur = self.write("a.csv", self.table(2000)), self.write("b.csv", self.table(1000, 4, 2, ("Austin", "Dallas", "Waco")))
        d = self.document(ref, cur)
        lines = self.orch(ref, cur, env={"COLUMNS": "300"}).stdout.split("\n")[1:]
        for c, line in zip(d["columns"], lines):
            distance = c["linf"] if c["kind"] == "categorical" else c["ks"]["statistic"]
            missing = 100 * c["null_cur"] / d["rows_cur"]
            self.assertEqual(line.split()[:6], [c["name"], c["verdict"], f"{c['psi']:.3f}", f"{distance:.3f}", f"{missing:.1f}", "%"])
            self.assertIn(c["why"][:60], line)

    def test_names_from_outside_cannot_steer_the_terminal(self):
        path = self.write("a.csv", b"x\x1b[31m,\xff\xfe\n" + b"1,a\n2,b\n" * 200)
        self.assertNotIn("\x1b", self.orch(path, path).stdout)
        self.assertEqual(len(self.document(path, path)["columns"]), 2)

    # ---- files as they come

    def test_quotes_line_breaks_and_line_ends(self):
        plain = self.write("a.csv", self.table(500))
        with open(plain, encoding="utf-8") as f:
            rows = list(csv.reader(f))
        quoted = "\ufeff" + "\r\n".join(",".join('"' + v + '"' for v in row) for row in rows) + "\r\n"
        d = self.document(plain, self.write("b.csv", quoted))
        self.assertEqual([c["psi"] for c in d["columns"]], [0, 0, 0, 0])
        broken = "name,v\n" + 'plain,1\n"two\nlines, one ""field""",2\n' * 200
        c = self.document(self.write("c.csv", broken), self.write("d.csv", broken))["columns"][0]
        self.assertEqual((c["kind"], c["n_ref"], c["tvd"]), ("categorical", 400, 0))

    def test_standard_input_and_pipes(self):
        ref, text = self.write("a.csv", self.table(500)), self.table(400, 30, 5)
        want = self.document(ref, self.write("b.csv", text))
        self.assertEqual(self.document(ref, "-", stdin=text), want)
        self.assertEqual(self.document("-", ref, stdin=text)["rows_ref"], 400)
        self.orch("-", "-", code=2, stdin=text)
        piped = subprocess.run(["bash", "-c", f"{ORCH} drift a.csv <(cat b.csv) --json"], cwd=self.dir, capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(piped.stdout), want)

    def test_no_room_for_a_copy_of_standard_input(self):
        """A limit on the size of files fails as a full disk does: the last write is short, the next one refused."""
        ref, room = self.write("a.csv", self.table(500)), os.path.join(self.dir, "room")
        text = self.table(100_000)
        os.mkdir(room)
        for limit in (1000, 0):  # KiB
            out = subprocess.run(["bash", "-c", f"ulimit -f {limit}; exec {ORCH} drift {ref} -"], cwd=self.dir, input=text, text=True,
                                 env={"PATH": os.environ["PATH"], "TMPDIR": room}, capture_output=True, check=False)
            self.assertEqual((out.returncode, out.stdout), (1, ""), out.stderr)
            for word in ("standard input", f"in {room} failed", "File too large", "set TMPDIR to"):
                self.assertIn(word, out.stderr)
            self.assertEqual(out.stderr.count("\n"), 1, out.stderr)
            self.assertEqual(os.listdir(room), [])
        nowhere = os.path.join(self.dir, "nowhere")
        err = self.orch(ref, "-", code=1, stdin=text, env={"TMPDIR": nowhere}).stderr
        self.assertIn(f"in {nowhere}", err)
        self.assertIn("set TMPDIR to", err)

    def test_errors_say_what_to_do(self):
        good = self.write("good.csv", "a,b\n" + "1,2\n" * 300)
        for text, code, *words in (
                (None, 3, "no file", "bad.csv"),
                ("", 2, "bad.csv is empty", "header"),
                ("a,b\n", 2, "no rows"),
                ("c,d\n1,2\n", 2, "no column in common", "a, b", "c, d"),
                ("a,a\n1,2\n", 2, "named twice"),
                ("a,b\n" + "1,2\n" * 5000 + "1,2,3\n" + "1,2\n" * 5000, 2, "bad.csv: line 5002: 3 fields", "2 columns"),
                ("a,b\n" + "1,2\n" * 50 + '1,"2\n' + "1,2\n" * 50, 2, "bad.csv: line 52", "inside quotes"),
                ("a,b\n1,2\n3,\0\n", 2, "bad.csv: line 3", "NUL"),
                ("a;b\n1.5;2\n", 2, 'bad.csv: line 1: one column "a;b"', "commas, not by semicolons"),
                ("a\tb\n1.5\t2\n", 2, "commas, not by tabs"),
                ("a,b\r1,2\r3,4\r", 2, "bad.csv: line 1: a carriage return", "line feed"),
                (gzip.compress(b"a,b\n1,2\n"), 2, "bad.csv is compressed", "zcat")):
            with self.subTest(words[0]):
                path = self.write("bad.csv", text) if text is not None else os.path.join(self.dir, "no", "bad.csv")
                for pair in ((good, path), (path, good)):
                    err = self.orch(*pair, code=code).stderr
                    for word in words:
                        self.assertIn(word, err)
        for columns, code, *words in (("a,c", 3, 'no column "c"', "it has a, b"), (" a", 3, 'no column " a"'), ("a,a", 2, "twice"),
                                      ("", 2, "empty name"), ("a,", 2, "empty name"), ("a\nb", 2, "line break"),
                                      ('a,"b', 2, "stray quote", "--columns '\"a,b\",c'")):
            with self.subTest(columns):
                err = self.orch(good, good, "--columns", columns, code=code).stderr
                for word in words:
                    self.assertIn(word, err)
        comma = self.write("comma.csv", '"a,b",c,"d ""e"""\n' + "1,2,3\n" * 300)
        d = self.document(comma, comma, "--columns", '"d ""e""","a,b"')
        self.assertEqual([c["name"] for c in d["columns"]], ['d "e"', "a,b"])
        self.assertIn("folder", self.orch(good, self.dir, code=2).stderr)
        self.assertIn("too few words", self.orch(good, code=2).stderr)


if __name__ == "__main__":
    unittest.main()
