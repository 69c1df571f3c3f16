"""Pages over HTTP: who is let in and who is not, sessions that end, forms from elsewhere, text that would be markup."""
import re
import unittest
import urllib.parse

import kit

COOKIE = re.compile(r"^__Host-orch=([0-9a-f]{64}); Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200$")
HOSTILE = "<script>alert(1)</script>\"' onload=x javascript:alert(1) \u202egnp.exe"


class PagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = kit.World()
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.world.serve()
        cls.token = cls.world.token("look", "read")

    # ---- a browser without a browser

    def origin(self):
        return f"http://127.0.0.1:{self.world.port}"

    def get(self, path, cookie=None, **headers):
        return self.world.http("GET", path, headers={"Accept": "text/html", **({"Cookie": f"__Host-orch={cookie}"} if cookie else {}),
                                                     **{k.replace("_", "-"): v for k, v in headers.items()}})

    def post(self, path, fields, cookie=None, origin=True, site="same-origin"):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if origin:
            headers["Origin"] = self.origin() if origin is True else origin
        if site:
            headers["Sec-Fetch-Site"] = site
        if cookie:
            headers["Cookie"] = f"__Host-orch={cookie}"
        return self.world.http("POST", path, urllib.parse.urlencode(fields), headers)

    def sign_in(self, token=None, **fields):
        status, text, headers = self.post("/login", {"token": token or self.token, **fields})
        self.assertEqual(status, 303, text)
        return COOKIE.match(headers["Set-Cookie"]).group(1), headers["Location"]

    def csrf(self, cookie):
        return re.search(r'name="csrf" value="([0-9a-f]{32})"', self.get("/", cookie)[1]).group(1)

    # ---- who is let in

    def test_nobody_is_asked_to_sign_in(self):
        for path, where in (("/", "/login"), ("/pipelines/quick", "/login?next=%2Fpipelines%2Fquick"),
                            ("/proposals/7", "/login?next=%2Fproposals%2F7")):
            status, _, headers = self.get(path)
            self.assertEqual((status, headers["Location"]), (303, where))
        status, text, _ = self.get("/login?next=%2Fproposals%2F7")
        self.assertEqual(status, 200)
        self.assertIn('name="next" value="/proposals/7"', text)
        self.assertNotIn("evil", self.get("/login?next=https%3A%2F%2Fevil.example")[1])

    def test_signing_in_and_out(self):
        cookie, where = self.sign_in()
        self.assertEqual(where, "/")
        status, text, _ = self.get("/", cookie)
        self.assertEqual(status, 200)
        self.assertIn('<a href="/pipelines/quick">quick</a>', text)
        self.assertNotIn(cookie, text)
        self.assertEqual(self.sign_in(next="/pipelines/quick")[1], "/pipelines/quick")
        self.assertEqual(self.sign_in(next="//evil.example")[1], "/")
        self.assertEqual(self.sign_in(token=f"  {self.token}\n")[1], "/")
        csrf = self.csrf(cookie)
        for wrong in ({}, {"csrf": ""}, {"csrf": "0" * 32}, {"csrf": self.csrf(self.sign_in()[0])}):
            self.assertEqual(self.post("/logout", wrong, cookie)[0], 403)
        self.assertEqual(self.post("/logout", {"csrf": csrf}, cookie, origin="https://evil.example")[0], 403)
        self.assertEqual(self.get("/", cookie)[0], 200)
        status, _, headers = self.post("/logout", {"csrf": csrf}, cookie)
        self.assertEqual((status, headers["Location"]), (303, "/login"))
        self.assertIn("Max-Age=0", headers["Set-Cookie"])
        self.assertEqual(self.get("/", cookie)[0], 303)
        self.assertEqual(self.post("/logout", {"csrf": csrf}, cookie)[0], 401)

    def test_wrong_tokens(self):
        weak = self.world.token("weak", "observe")
        for token, status in (("", 401), ("hello", 401), ("orch_" + "a" * 40, 401), (weak, 403), ("orch_" + "a" * 300, 401)):
            got, text, headers = self.post("/login", {"token": token})
            self.assertEqual(got, status, token)
            self.assertIsNone(headers["Set-Cookie"])
            self.assertIn('role="alert"', text)
        self.assertIn("orch token create", text)

    def test_posts_from_elsewhere(self):
        good = {"token": self.token}
        for origin, site in (("https://evil.example", "cross-site"), (True, "cross-site"), (True, "same-site"), (True, "none"),
                             ("null", "same-origin"), ("https://evil.example", None), (False, None), ("http://127.0.0.1", None),
                             (f"http://127.0.0.1:{self.world.port}.evil.example", "same-origin")):
            status, text, headers = self.post("/login", good, origin=origin, site=site)
            self.assertEqual(status, 403, (origin, site))
            self.assertIsNone(headers["Set-Cookie"])
            self.assertIn("not sent from a page of this server", text)
        for origin, site in ((True, None), (False, "same-origin"), (f"https://127.0.0.1:{self.world.port}", "same-origin")):
            self.assertEqual(self.post("/login", good, origin=origin, site=site)[0], 303, (origin, site))

    def test_bearer_on_pages_and_cookie_nowhere_else(self):
        bearer = {"Authorization": f"Bearer {self.token}"}
        status, text, _ = self.get("/", **bearer)
        self.assertEqual(status, 200)
        self.assertNotIn("csrf", text)  # there is no session to end
        self.assertEqual(self.get("/", Authorization="Bearer orch_wrong")[0], 401)
        cookie, _ = self.sign_in()
        for path in ("/v1/status", "/v1/pipelines/quick"):
            self.assertEqual(self.get(path, cookie)[0], 401)
        status, _, _ = self.world.http("POST", "/v1/pipelines/quick/hold", '{"reason":"x"}', {
            "Cookie": f"__Host-orch={cookie}", "Content-Type": "application/json", "Origin": self.origin()})
        self.assertEqual(status, 401)

    def test_sessions_end(self):
        cookie, _ = self.sign_in()
        digest = self.world.sql("select hash from orch.session order by created_at desc limit 1")[0]
        self.assertNotIn(cookie, digest)
        self.world.sql(f"update orch.session set expires_at = now() - interval '1 s', created_at = now() - interval '12 h' where hash = '{digest}'")
        self.assertEqual(self.get("/", cookie)[0], 303)
        other = self.world.token("leaver", "read")
        cookie, _ = self.sign_in(token=other)
        self.assertEqual(self.get("/", cookie)[0], 200)
        self.world.orch("token", "revoke", "leaver")
        self.assertEqual(self.get("/", cookie)[0], 303)
        for bad in ("0" * 64, "x", "0" * 64 + "; __Host-orch=" + "0" * 64):
            self.assertEqual(self.get("/", bad)[0], 303)

    def test_link_from_elsewhere(self):
        """SameSite=Strict keeps the cookie back then: the page asks again, from here."""
        status, text, _ = self.get("/pipelines/quick", Sec_Fetch_Site="cross-site")
        self.assertEqual(status, 200)
        self.assertIn('content="0;url=/pipelines/quick"', text)
        self.assertNotIn("test-team", text)

    # ---- what goes out

    def test_headers(self):
        cookie, _ = self.sign_in()
        for path, status in (("/", 200), ("/pipelines/quick", 200), ("/pipelines/none", 404), ("/proposals/999", 404), ("/incidents", 200), ("/incidents/999", 404), ("/login", 200),
                             ("/nowhere", 404)):
            got, text, headers = self.get(path, cookie)
            self.assertEqual(got, status, path)
            self.assertTrue(headers["Content-Type"].startswith("text/html"), path)
            policy = headers["Content-Security-Policy"]
            for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
                self.assertIn(rule, policy)
            self.assertNotIn("script-src", policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(headers["Cache-Control"], "no-store")
            self.assertEqual(headers["X-Frame-Options"], "DENY")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["Referrer-Policy"], "same-origin")
            self.assertNotIn("<script", text)
        self.assertIn("orch pipelines", self.get("/pipelines/none", cookie)[1])
        self.assertEqual(self.world.http("GET", "/nowhere")[2]["Content-Type"], "application/problem+json")
        self.assertEqual(self.world.http("POST", "/", "x")[0], 405)

    def test_static(self):
        cookie, _ = self.sign_in()
        sheet = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{16})"', self.get("/", cookie)[1]).group(1)
        status, text, headers = self.get(sheet)
        self.assertEqual(status, 200)
        self.assertIn("immutable", headers["Cache-Control"])
        self.assertTrue(headers["Content-Type"].startswith("text/css"))
        self.assertIn("prefers-color-scheme", text)
        self.assertEqual(self.get("/static/style.css?v=old")[2]["Cache-Control"], "no-cache")
        self.assertEqual(self.get("/static/..%2fpages.h")[0], 404)

    def test_hostile_text(self):
        proposal = self.world.orch_json("propose", "quick", "--reason", HOSTILE)["proposal"]
        cookie, _ = self.sign_in()
        self.world.sql("with i as (insert into orch.incident (share, value, rule, opened_at) values ('owner', 'team <script>alert(1)</script>', '{}', now()) "
                       "returning id) insert into orch.incident_member (incident_id, pipeline_id, signal_id, joined_at) "
                       f"select i.id, s.pipeline_id, s.id, now() from i, orch.signal s where s.proposal_id = {proposal}")
        incident = self.world.sql("select max(id) from orch.incident")[0]
        for path in ("/", "/pipelines/quick", f"/proposals/{proposal}", "/incidents", f"/incidents/{incident}"):
            _, text, _ = self.get(path, cookie)
            self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;", text, path)
            self.assertNotIn("<script", text)
            self.assertNotIn("\u202e", text)
            self.assertNotIn("href=\"javascript", text)
        self.world.orch("cancel", str(proposal))

    def test_public_url_and_too_many_tries(self):
        """In a server of its own: the address has to wait afterwards."""
        with kit.World(env={"ORCH_PUBLIC_URL": "https://orch.example.com/"}) as world:
            for bad in ("orch.example.com", "https://", "https://orch.example.com/orch", "javascript:alert(1)", "https://a b"):
                done = world.orch("serve", env={"ORCH_PUBLIC_URL": bad}, check=False)
                self.assertEqual(done.returncode, 2, bad)
                self.assertIn("ORCH_PUBLIC_URL", done.stderr)
            world.serve()
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
            for origin, want in (("https://orch.example.com", 401), ("https://orch.example.com.evil.example", 403),
                                 ("http://orch.example.com", 403)):
                self.assertEqual(world.http("POST", "/login", "token=x", {**headers, "Origin": origin})[0], want, origin)
            seen = [world.http("POST", "/login", "token=orch_wrong", headers)[0] for _ in range(25)]
            self.assertEqual(seen, [401] * 19 + [429] * 6)
            status, text, got = world.http("POST", "/login", "token=" + world.token("t", "read"), headers)
            self.assertEqual(status, 429)
            self.assertIn("too many tries", text)
            self.assertLessEqual(int(got["Retry-After"]), 60)


if __name__ == "__main__":
    unittest.main()
