"""The story that scripts/demo tells: a model of house prices in Texas, retrained under human control.

Everything here is done from outside, as users would: the command line, the HTTP API, Slack's buttons (pressed in a
stand-in on this machine that signs as Slack does) and a signed webhook. The dates are those of the data.
"""
import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from demo_lib import Http, Orch, Portal, Timeline, Trouble, free_port, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAKE_SLACK = os.path.join(TOP, "tests", "e2e", "fake_slack.py")
PEOPLE = {"dana": "U0001", "erik": "U0002", "fay": "U0003"}


def months(first, last):
    year, month = first
    while (year, month) <= last:
        yield year, month
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)


def after(year, month):
    """A month's figures are known on the first day of the next."""
    return f"{year + month // 12}-{month % 12 + 1:02d}-01"


class Story:
    def __init__(self, options):
        self.say = Timeline(0 if options.fast else 0.6)
        self.folder = tempfile.mkdtemp(prefix="orch-demo-", dir="/tmp")
        os.chmod(self.folder, 0o755)  # PostgreSQL runs as another user when this runs as root
        self.live_link = os.path.join(self.folder, "live", "housing")
        self.port, self.slack = free_port(), None
        self.base = f"http://127.0.0.1:{self.port}"
        self.portal = Portal(self.base)
        self.windows_seen, self.rows_sent, self.show_windows, self.up = set(), 0, True, False
        self.rows = self.read_rows()
        self.env = self.environment()
        self.orch = Orch(options.orch, self.folder, self.env)

    def environment(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "PG"))}
        self.signing_secret = os.urandom(16).hex()
        return dict(env, ORCH_LISTEN=f"127.0.0.1:{self.port}", ORCH_PUBLIC_URL=self.base,
                    ORCH_WEBHOOK_SECRET=self.portal.secret, ORCH_SLACK_BOT_TOKEN="xoxb-demo",
                    ORCH_SLACK_SIGNING_SECRET=self.signing_secret)

    def read_rows(self):
        rows = {}
        path = os.path.join(TOP, "pipelines", "housing", "data", "txhousing.csv")
        with open(path, encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                if line["sales"]:  # a city that reports nothing this month asks for no prediction
                    rows.setdefault((int(line["year"]), int(line["month"])), []).append(line)
        return rows

    # ---- starting and stopping

    def start(self):
        self.say.head("Starting: PostgreSQL, orch serve, orch worker, and a stand-in for Slack")
        shutil.copytree(os.path.join(TOP, "pipelines"), os.path.join(self.folder, "pipelines"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(os.path.join(TOP, "pipelines", "orch.yaml"), self.folder)
        port_file = os.path.join(self.folder, "slack.port")
        self.slack = subprocess.Popen(
            [sys.executable, FAKE_SLACK, "serve", "--port", "0", "--port-file", port_file, "--token", "xoxb-demo",
             "--signing-secret", self.signing_secret, "--callback", self.base, "--quiet"],
            stdout=subprocess.DEVNULL, stderr=open(os.path.join(self.folder, "slack.log"), "wb"),
            start_new_session=True)
        wait_for("the stand-in for Slack", lambda: os.path.exists(port_file) and os.path.getsize(port_file))
        with open(port_file, encoding="ascii") as file:
            self.slack_http = Http(f"http://127.0.0.1:{int(file.read())}", None)
        self.env["ORCH_SLACK_API_URL"] = self.slack_http.base + "/api/"
        self.up = True
        self.command("up")
        self.command("apply", "orch.yaml", "pipelines/housing")
        made = self.orch.json("token", "create", "site", "--scope", "observe", "--scope", "propose", "--scope", "read")
        self.api = Http(self.base, made["secret"])
        made = self.orch.json("token", "create", "dana", "--scope", "propose", "--scope", "decide",
                              "--reviewer", "dana")
        self.dana = dict(self.env, ORCH_TOKEN=made["secret"])

    def stop(self):
        if self.up:
            self.orch.run("down", expect=None)
        if self.slack:
            self.slack.terminate()
            self.slack.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words, env=None, refused=0):
        """Runs orch and shows what it prints; `refused` is the exit code that the story expects."""
        self.say.command("orch " + " ".join(f'"{word}"' if " " in word else word for word in words))
        began = time.monotonic()
        done = self.orch.run(*words, env=env, expect=refused)
        seconds = time.monotonic() - began
        self.say.more(done.stdout or done.stderr)
        return seconds

    def kill(self, name):
        """kill -9: nothing is said goodbye to."""
        with open(os.path.join(self.folder, ".orch", name + ".pid"), encoding="ascii") as file:
            pid = int(file.read().split()[0])
        self.say.command(f"kill -9 {pid}   (orch {name})")
        os.kill(pid, signal.SIGKILL)

    # ---- looking

    def proposal(self, number):
        return self.api.get(f"/v1/proposals/{number}")

    def newest_proposal(self):
        found = self.api.get("/v1/proposals?pipeline=housing&limit=1")["proposals"]
        return found[0] if found else None

    def live_version(self):
        live = self.api.get("/v1/pipelines/housing")["live"]
        return live["version"] if live else None

    def judged(self, number):
        """Waits until the proposal's candidate is trained and judged."""
        def look():
            seen = self.proposal(number)
            return None if seen["state"] in ("proposed", "training", "evaluating") else seen
        return wait_for(f"the candidate of proposal #{number}", look, 120)

    def gate_of(self, number):
        """Waits until the proposal's candidate stands at its gate."""
        seen = self.judged(number)
        if seen["state"] != "awaiting_approval":
            raise Trouble(f"proposal #{number} is {seen['state']}: {seen.get('end_reason')}")
        return self.api.get(f"/v1/gates/{seen['gate']['gate']}")

    def evidence(self, date, gate, short=False):
        evidence = gate["evidence"]
        candidate, champion = evidence["candidate"], evidence["champion"]
        words = f"housing@{candidate['version']}: accuracy {candidate['metrics']['accuracy']:.3f}"
        if champion:
            words += f"; live housing@{champion['version']}: {champion['metrics']['accuracy']:.3f}"
        self.say.line(date, f"trained and judged on the same {candidate['metrics']['rows']} hold-out rows: {words}")
        if short:
            return
        self.say.line(date, f"gate {gate['gate']} waits for ml-owners and risk; evidence {gate['digest'][:19]}…")

    def slack_shows(self, contains):
        def look():
            shown = [m for m in self.slack_http.get("/control/messages")["messages"]
                     if contains in "\n".join([m["text"], *m["lines"]])]
            return shown[-1] if shown else None
        return wait_for(f"a Slack message with {contains!r}", look, 20)

    # ---- deciding

    def press(self, who, button):
        """Presses a button of the newest Slack message; returns what only this person was told, if anything."""
        before = len(self.slack_http.get("/control/messages")["ephemerals"])
        status, document = self.slack_http.call("POST", "/control/press",
                                                {"team": "T0001", "user": PEOPLE[who], "button": button})
        if status != 200 or document["pressed"][0]["status"] != 200:
            raise Trouble(f"Slack's button: {status} {document}")
        return before

    def told_privately(self, before):
        return wait_for("a private answer in Slack", lambda: self.slack_http.get("/control/messages")["ephemerals"]
                        [before:], 20)[0]["text"]

    def sign_for(self, who, gate, comment):
        status, answer = self.portal.decide(gate["gate"], "approve", who, comment, gate["digest"])
        if status != 200:
            raise Trouble(f"the signed callback for {who}: {status} {answer}")
        return answer

    def goes_live(self, date, number, version):
        wait_for(f"housing@{version} to go live", lambda: self.live_version() == version, 30)
        state = self.proposal(number)["state"]
        self.say.line(date, f"proposal #{number} is {state}: housing@{version} is live", "32")
        self.show_link()

    def show_link(self):
        folder, _, digest = os.readlink(self.live_link).rpartition("/")
        self.say.more(f"live/housing -> {os.path.basename(folder)}/{digest[:12]}…")

    # ---- replaying

    def replay(self, first, last):
        """Sends what the live model was asked, month by month; stops when something is proposed."""
        known = self.newest_proposal()["proposal"]
        for year, month in months(first, last):
            at = after(year, month)
            lines = [json.dumps(dict({"at": at + "T00:00:00Z", "city": row["city"], "month": month},
                                     **{name: float(row[name]) if row[name] else None
                                        for name in ("sales", "listings", "inventory")}))
                     for row in self.rows.get((year, month), [])]
            status, answer = self.api.call("POST", "/v1/pipelines/housing/observations",
                                           ("\n".join(lines) + "\n").encode(), "application/x-ndjson")
            if status != 202:
                raise Trouble(f"observations of {year}-{month:02d}: {status} {answer}")
            self.rows_sent += answer["accepted"]
            self.windows_close(at)
            newest = self.newest_proposal()
            if newest["proposal"] != known:
                return at, newest
        return after(*last), None

    def windows_close(self, date):
        def look():
            seen = self.api.get("/v1/pipelines/housing")
            monitor = seen["monitors"][0]
            due = self.rows_sent - monitor["next_row"] >= monitor["spec"]["window"]["rows"]
            return None if due else monitor
        monitor = wait_for("the window to be judged", look, 30, 0.01)
        for window in reversed(monitor["windows"]):
            if window["from_row"] not in self.windows_seen:
                self.windows_seen.add(window["from_row"])
                if not self.show_windows:
                    continue
                colour = {"drift": "33", "fault": "31"}.get(window["verdict"])
                self.say.line(date, f"{window['verdict']:<6} {window['summary']}", colour)

    # ---- the chapters

    def first_version(self):
        self.say.head("2003: the first version is trained on 2000-2002, and passes the same gate as every other")
        status, answer = self.api.call("POST", "/v1/proposals", {
            "pipeline": "housing", "reason": "first version", "as_of": "2003-01-01T00:00:00Z"})
        if status != 200:
            raise Trouble(f"the first proposal: {status} {answer}")
        self.say.line("2003-01-01", f"proposal #{answer['proposal']}: first version")
        gate = self.gate_of(answer["proposal"])
        self.evidence("2003-01-01", gate)
        for who in ("fay", "erik"):
            answer_text = self.sign_for(who, gate, "good enough to start with")
            self.say.line("2003-01-01", f"signed callback for {who}: {answer_text['message']}")
        self.goes_live("2003-01-01", gate["proposal"], 1)

    def first_retraining(self):
        self.say.head("2003 and on: live inputs arrive; the training data of housing@1 is what they are compared with")
        date, found = self.replay((2003, 1), (2004, 12))
        if not found:
            raise Trouble("the drift of 2003 was not proposed")
        self.say.line(date, f"proposal #{found['proposal']}: {found['reason']}", "33")
        gate = self.gate_of(found["proposal"])
        self.evidence(date, gate)
        self.say.line(date, f"signed callback for fay: {self.sign_for('fay', gate, 'better on the hold-out')['message']}")
        self.slack_shows("fay")
        self.press("erik", "approve")
        self.say.line(date, "erik presses [Approve] in Slack")
        self.goes_live(date, found["proposal"], 2)
        return date

    def broken_data(self, date):
        self.say.head("2005 to 2007: cities stop reporting inventory. That is broken data: nothing is retrained")
        year, month = int(date[:4]), int(date[5:7])
        date, found = self.replay((year, month), (2007, 6))
        if found:
            raise Trouble(f"broken data led to proposal #{found['proposal']}: {found['reason']}")
        fault = next(s for s in self.api.get("/v1/signals?pipeline=housing&limit=50")["signals"]
                     if s["kind"] == "data_fault")
        self.say.line(date, f"signal {fault['signal']} ({fault['disposition']}, heard {fault['count']} times): "
                      f"{fault['title']}", "31")
        self.say.line(date, "no proposal was made; housing@2 stays live")
        return date

    def second_retraining(self, date):
        self.say.head("2007 to 2008: the data is whole again, and the market has turned. That is drift")
        date, found = self.replay((int(date[:4]), int(date[5:7])), (2010, 12))
        if not found:
            raise Trouble("the drift of 2008 was not proposed")
        self.say.line(date, f"proposal #{found['proposal']}: {found['reason']}", "33")
        self.say.line(date, "dana asks for the same retraining, which makes it hers too")
        self.command("propose", "housing", "--reason", "prices have turned", env=self.dana)
        gate = self.gate_of(found["proposal"])
        self.evidence(date, gate)
        message = self.slack_shows(f"housing@{gate['version']}")
        self.say.more("\n".join(["what Slack shows now:", *("| " + line for line in message["lines"])]))
        before = self.press("dana", "approve")
        self.say.line(date, "dana presses [Approve] in Slack; only dana sees: " + self.told_privately(before), "31")
        self.say.line(date, "dana tries the shell")
        self.command("approve", str(found["proposal"]), env=self.dana, refused=4)
        self.press("fay", "approve")
        self.say.line(date, "fay presses [Approve] in Slack")
        self.say.line(date, f"signed callback for erik: {self.sign_for('erik', gate, 'risk is fine with it')['message']}")
        self.goes_live(date, found["proposal"], gate["version"])
        message = wait_for("Slack's message to be closed", lambda: next(
            (m for m in self.slack_http.get("/control/messages")["messages"]
             if m["ts"] == message["ts"] and not m["buttons"]), None), 20)
        self.say.more("\n".join(["the same message now:", *("| " + line for line in message["lines"][-3:])]))
        return date

    def later_years(self, date):
        self.say.head("2008 to 2015: the market keeps moving, and each time a better candidate replaces the model")
        self.show_windows = False
        while True:
            date, found = self.replay((int(date[:4]), int(date[5:7])), (2015, 7))
            if not found:
                break
            number = found["proposal"]
            seen = self.judged(number)
            self.say.line(date, f"#{number}: {found['reason']}", "33")
            if seen["state"] == "blocked":
                failed = next(check for check in seen["checks"] if not check["ok"])
                self.say.line(date, f"#{number} is blocked, nobody is asked: {failed['metric']} "
                              f"{failed.get('value') or ''}: {failed['what']}", "31")
                continue
            gate = self.gate_of(number)
            self.evidence(date, gate, short=True)
            for who in ("fay", "erik"):
                self.sign_for(who, gate, "better on the hold-out")
            wait_for(f"housing@{gate['version']} to go live", lambda: self.live_version() == gate["version"], 30)
            self.say.line(date, f"fay and erik approve; housing@{gate['version']} is live", "32")
        self.say.line(date, "the data ends here; a model of 2000-2002 left alone would be right in 33 of 100 cases by now")

    def rollbacks(self):
        self.say.head("The newest model misbehaves: back, in one command")
        bad = self.live_version()
        seconds = self.command("rollback", "housing", "--reason", "banners are wrong in Dallas")
        self.say.line("", f"housing@{self.live_version()} is live again after {seconds * 1000:.0f} ms", "32")
        self.show_link()
        self.command("release", "housing", "--reason", "cause found: listings of Dallas were doubled")
        self.say.head("And with orch serve stopped: rollback needs PostgreSQL and nothing else")
        for name in ("serve", "worker"):
            self.kill(name)
        seconds = self.command("rollback", "housing", "--reason", "still wrong")
        self.say.line("", f"back again after {seconds * 1000:.0f} ms, with no server and no worker", "32")
        self.show_link()
        return bad

    def looking_back(self, bad):
        self.say.head("What happened, as orch tells it")
        for words in (("history", "housing"), ("lineage", f"housing@{bad}"), ("audit", "verify")):
            self.command(*words)

    def tell(self):
        self.start()
        self.first_version()
        date = self.first_retraining()
        date = self.broken_data(date)
        date = self.second_retraining(date)
        self.later_years(date)
        self.looking_back(self.rollbacks())

    def goodbye(self):
        self.command("up")
        print(f"""
Everything is left running. In {self.folder}:

  export PATH={os.path.dirname(self.orch.binary)}:$PATH; cd {self.folder}
  orch status                       what is live, what waits for whom
  orch proposals                    then: orch show 3, orch logs 3
  orch rollback housing --dry-run   what it would do
  {self.base}/                      pages for a browser; this token signs you in:
  {self.api.token}
  curl {self.base}/healthz   and /readyz, /metrics
  orch down                         stops it; then: kill {self.slack.pid}; rm -r {self.folder}
""")


def main():
    parser = argparse.ArgumentParser(description="The demo's story; run scripts/demo.")
    parser.add_argument("--orch", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--fast", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    story, kept = Story(options), False
    try:
        story.tell()
        if options.keep:
            story.goodbye()
            kept = True
        print(f"\nThe story took {time.monotonic() - story.say.began:.0f} s.")
        return 0
    except Trouble as trouble:
        print(f"\nscripts/demo: {trouble}", file=sys.stderr)
        for name in ("slack.log", ".orch/log/serve.log", ".orch/log/worker.log"):
            path = os.path.join(story.folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print(f"--- {name}\n{''.join(file.readlines()[-15:])}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if not kept:
            story.stop()


if __name__ == "__main__":
    sys.exit(main())
