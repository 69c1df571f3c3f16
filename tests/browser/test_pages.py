"""The pages in a real Chromium: signing in, reading, links from elsewhere, both colour schemes, a telephone, paper.

Pictures of what it saw are written to build/test/browser/.
"""
import http.server
import json
import os
import random
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import chromium  # noqa: E402
import kit  # noqa: E402

PICTURES = os.path.join(kit.TOP, "build/test/browser")
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e"

# The lowest contrast of text with what is behind it (WCAG 2), and where. Large text (24 px, or 18.66 px bold) counts 4.5/3 of its own.
CONTRAST = """(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
  const light = rgb => { const [r, g, b] = rgb.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a === 1) return c.rgb; }
    return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
    if (e.closest('title, desc, .skip, .hidden')) continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const a = light(parse(svg ? style.fill : style.color).rgb), b = light(behind(e));
    let ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    if (!svg && (size >= 24 || (size >= 18.66 && style.fontWeight >= 700))) ratio *= 1.5;
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 120)];
  }
  return worst;
})()"""
# Cells with sentences in them that are so narrow that every word has a line of its own.
SQUEEZED = """[...document.querySelectorAll('td, th')].filter(e => e.textContent.length > 40 && e.getClientRects().length && e.clientWidth < 180)
  .map(e => e.clientWidth + ' px: ' + e.textContent)"""
SHIFT = """new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; }).observe({type: 'layout-shift', buffered: true});
  setTimeout(() => done(sum), 200);
})"""


MONITORS = """\
monitors:
  - {name: inputs, kind: drift, window: 400 rows, importance: {income: 2}}
  - {name: accuracy, kind: performance, metric: accuracy, min: 0.8, window: 400 labels, then: tell}
  - {name: latency, kind: latency, max: 50ms, quantile: 0.99, window: 400 rows}
  - {name: complete, kind: quality, window: 400 rows}
  - {name: nightly, kind: schedule, cron: "0 3 * * 1 Europe/Berlin"}
"""


@unittest.skipUnless(chromium.find(), "Chromium is not installed (scripts/setup --test installs it)")
class BrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.makedirs(PICTURES, exist_ok=True)
        cls.world = kit.World()
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.browser = chromium.Browser()
        cls.browser.__enter__()
        cls.addClassCleanup(cls.browser.__exit__)
        cls.world.serve()
        cls.world.worker()
        cls.token = cls.world.token("dana-looks", "read", "dana")
        cls.make_history()
        cls.base = f"http://127.0.0.1:{cls.world.port}"

    @classmethod
    def row(cls, number, shift):
        r = cls.random
        return {"id": f"r{number}", "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(cls.began + number * 90)),
                "income": round(r.gauss(41000 + 14000 * shift, 9000)), "age": round(r.gauss(44, 12)), "debt": round(r.expovariate(1 / 3000), 2),
                "city": r.choices(["Dallas", "Houston", "Austin", "El Paso and its surroundings"], [4, 3, 1 + 5 * shift, 1])[0],
                "prediction": int(r.random() < 0.4), "latency_ms": round(r.lognormvariate(2.6, 0.4), 2)}

    @classmethod
    def make_history(cls):
        """A live version, quiet windows, then drift that proposes a retraining which waits for approval."""
        world = cls.world
        cls.random, cls.began = random.Random(7), time.time() - 12 * 400 * 90
        folder = os.path.join(world.dir, "pipelines/quick")
        with open(os.path.join(folder, "pipeline.yaml"), encoding="utf-8") as f:
            text = re.sub(r"monitors:\n( .*\n)+", MONITORS, f.read())
        with open(os.path.join(folder, "pipeline.yaml"), "w", encoding="utf-8") as f:
            f.write(text)
        with open(os.path.join(folder, "rows.csv"), "w", encoding="utf-8") as f:
            f.write("income,age,debt,city,prediction\n")
            f.writelines("{income},{age},{debt},{city},{prediction}\n".format(**cls.row(i, 0)) for i in range(5000))
        world.orch("apply", "pipelines/quick")
        world.promote(reason="the first model")
        headers = {"Authorization": "Bearer " + world.token("feed", "observe"), "Content-Type": "application/x-ndjson"}

        def send(where, lines):
            status, answer, _ = world.http("POST", f"/v1/pipelines/quick/{where}", "".join(json.dumps(x) + "\n" for x in lines), headers)
            assert status == 202 and answer["rejected_count"] == 0, answer

        for window in range(12):
            shift = max(0, (window - 7) / 4)
            seen = [cls.row(400 * window + i, shift) for i in range(400)]
            send("observations", seen)
            send("labels", [{"id": x["id"], "label": x["prediction"] ^ int(cls.random.random() < 0.1 + 0.2 * shift)} for x in seen])
        closed = "select min(number) from orch.monitor where kind not in ('schedule', 'volume')"
        kit.wait_for("every window to be judged", lambda: int(world.sql(closed)[0]) >= 12)
        drift = "select proposal_id from orch.signal where kind = 'drift' and proposal_id is not null"
        cls.proposal = int(kit.wait_for("drift to propose", lambda: world.sql(drift))[0])
        world.wait_state(cls.proposal, "awaiting_approval")
        world.orch("hold", "quick", "--reason", "looking at " + EVIL)

    # ---- helpers

    def page(self, width=1200, height=900):
        page = self.browser.page(width, height)
        self.addCleanup(lambda: self.assertEqual(page.problems, []))
        return page

    def sign_in(self, page, where="/"):
        page.goto(self.base + where)
        self.assertTrue(page.url().startswith(self.base + "/login"), page.url())
        page.run(f"document.querySelector('#token').value = {self.token!r}")
        page.act("document.querySelector('form button').click()")
        self.assertEqual(page.url(), self.base + where)

    def paths(self):
        return (("home", "/"), ("pipeline", "/pipelines/quick"), ("proposal", f"/proposals/{self.proposal}"), ("incidents", "/incidents"))

    # ---- tests

    def test_story(self):
        page = self.page()
        self.sign_in(page)
        self.assertIn("Needs somebody", page.text("h2"))
        self.assertIn("waits for ml-owners", page.text("main"))
        self.assertIn("<script>", page.text("main"))  # as text
        self.assertEqual(page.count("svg.spark"), 1)
        page.act("document.querySelector('.rows h3 a').click()")
        self.assertEqual(page.url(), self.base + "/pipelines/quick")
        self.assertIn("quick", page.text("h1"))
        self.assertIn("On hold", page.text(".note"))
        for name in ("inputs", "accuracy", "latency", "complete", "nightly"):
            self.assertIn(name, page.text("article h3"))
        self.assertIn("drift", page.text("article .badge"))
        self.assertIn("income: reference and now", page.text("svg.chart[role=img] > title"))
        self.assertIn("accuracy over time", page.text("svg.chart[role=img] > title"))
        self.assertGreaterEqual(page.count(".chart .mark.drift"), 2)
        self.assertGreaterEqual(page.count("article table tbody tr"), 12)
        page.act(f"document.querySelector('a[href=\"/proposals/{self.proposal}\"]').click()")
        self.assertIn(f"#{self.proposal} quick@2", page.text("h1"))
        self.assertIn("awaiting approval", page.text(".badge"))
        self.assertIn("looks like drift", page.text(".badge"))
        self.assertIn("income", page.text(".headline"))
        self.assertEqual(page.run("document.querySelector('.grid h3').textContent"), "income")  # twice as important
        self.assertIn("values went up", page.text(".grid"))
        self.assertIn("accuracy of the live model over time", page.text("svg.chart > title"))
        self.assertIn("if ignored", page.text("dt"))
        self.assertIn("0 of 1 from ml-owners", page.text("main"))
        self.assertIn("passed", page.text(".badge"))
        self.assertNotIn("owned", page.run("document.title"))
        page.act("document.querySelector('header a.brand').click()")
        page.act("document.querySelector('header form button').click()")
        self.assertEqual(page.url(), self.base + "/login")
        page.goto(self.base + "/")
        self.assertEqual(page.url(), self.base + "/login")

    def test_where_one_wanted_to_go(self):
        page = self.page()
        self.sign_in(page, f"/proposals/{self.proposal}")

    def test_every_look(self):
        page = self.page()
        self.sign_in(page)
        for name, path in self.paths():
            page.size(1200, 900)
            page.look("light")
            page.goto(self.base + path)
            self.assertLess(page.run(SHIFT), 0.01, name)
            for scheme in ("light", "dark"):
                page.look(scheme)
                ratio, where = page.run(CONTRAST)
                self.assertGreaterEqual(ratio, 4.5, f"{name} {scheme}: {where}")
                page.screenshot(f"{PICTURES}/{name}-{scheme}.png")
            page.look("light", "print")
            ratio, where = page.run(CONTRAST)
            self.assertGreaterEqual(ratio, 7, f"{name} print: {where}")
            page.screenshot(f"{PICTURES}/{name}-print.png")
            page.look("light")
            page.pdf(f"{PICTURES}/{name}.pdf")
            page.size(360, 740)
            self.assertEqual(page.run("document.documentElement.scrollWidth"), 360, f"{name} is wider than a telephone")
            self.assertEqual(page.run(SQUEEZED), [], f"{name}: words one below the other on a telephone")
            page.screenshot(f"{PICTURES}/{name}-360.png")

    def test_ids_and_names(self):
        """What a screen reader goes by: one h1, no doubled ids, every picture named, every table headed."""
        page = self.page()
        self.sign_in(page)
        for name, path in self.paths():
            page.goto(self.base + path)
            self.assertEqual(page.count("h1"), 1, name)
            self.assertEqual(page.run("[...document.querySelectorAll('[id]')].length - new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"), 0)
            self.assertEqual(page.run("[...document.querySelectorAll('svg')].filter(e => e.getAttribute('role') !== 'img' || !e.querySelector('title')).length"), 0)
            self.assertEqual(page.count("table:not(:has(caption))"), 0)
            self.assertEqual(page.count("th:not([scope])"), 0)
            self.assertEqual(page.count("script, [style], [onclick], iframe"), 0)
            self.assertEqual(page.run("document.compatMode"), "CSS1Compat")

    def test_keyboard(self):
        page = self.page()
        self.sign_in(page)
        seen = []
        for _ in range(6):
            for kind in ("keyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            what, style = page.run("(e => [e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)")
            seen.append(what)
            self.assertEqual(style, "solid", what)
        self.assertEqual(seen[:3], ["Skip to the content", "orch", "Sign out"])

    def test_cookie_and_policy(self):
        page = self.page()
        self.sign_in(page)
        cookies = page.call("Network.getCookies")["cookies"]
        self.assertEqual([(c["name"], c["secure"], c["httpOnly"], c["sameSite"], c["path"]) for c in cookies],
                         [("__Host-orch", True, True, "Strict", "/")])
        self.assertEqual(page.run("document.cookie"), "")
        page.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.com/x.png\"><p style=\"color:red\">x</p>');"
                 "const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s)")
        time.sleep(0.2)
        self.assertIsNone(page.run("window.owned"))
        self.assertTrue(any("Content Security Policy" in p or "ContentSecurityPolicy" in p for p in page.problems), page.problems)
        page.problems.clear()

    def test_from_elsewhere(self):
        """Another site may link here, and the person stays signed in; its forms do nothing, and it may not frame a page."""
        target = f"{self.base}/pipelines/quick"

        class Site(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(f"<!doctype html><a href='{target}'>look</a><iframe src='{target}'></iframe>"
                                 f"<form method=post action='{target.split('/pipe')[0]}/logout'><input name=csrf value=0><button>x</button>"
                                 .encode())

            def log_message(self, *_):
                pass

        site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        self.addCleanup(site.server_close)
        self.addCleanup(site.shutdown)
        page = self.browser.page()
        self.sign_in(page)
        elsewhere = f"http://localhost:{site.server_address[1]}/"
        page.goto(elsewhere)
        self.assertTrue(any("frame" in p for p in page.problems), page.problems)
        page.act("document.querySelector('a').click()")
        kit.wait_for("the second, own request", lambda: "quick" in page.text("h1"), 10)
        self.assertEqual(page.url(), target)
        page.goto(elsewhere)
        page.act("document.querySelector('form button').click()")
        self.assertIn("you are not signed in", page.text("main"))  # its cookie stayed at home
        page.goto(target)
        self.assertEqual(page.url(), target)

    def test_errors_are_pages(self):
        page = self.browser.page()
        self.sign_in(page)
        for path, text in (("/pipelines/nothing", "orch pipelines"), ("/proposals/999999", "orch proposals"), ("/nowhere", "nothing at this path")):
            page.goto(self.base + path)
            self.assertIn("Not Found", page.text("h1"))
            self.assertIn(text, page.text("main"))
        page.screenshot(f"{PICTURES}/error.png")
        page.goto(self.base + "/login")
        page.screenshot(f"{PICTURES}/login.png")


if __name__ == "__main__":
    unittest.main()
