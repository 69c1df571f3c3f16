#!/usr/bin/python3
"""Slack's side of the conversation, on this machine: for tests and for the demo.

Start it, point orch at it, then press buttons:

    fake_slack.py serve --port 8099 --port-file F --token xoxb-test --signing-secret SECRET \
        --callback http://127.0.0.1:8077 [--quiet] [--until-parent-exits]
    ORCH_SLACK_API_URL=http://127.0.0.1:8099/api/ ORCH_SLACK_BOT_TOKEN=xoxb-test \
        ORCH_SLACK_SIGNING_SECRET=SECRET orch serve

It accepts chat.postMessage, chat.update, chat.postEphemeral, views.open and auth.test, checks their shapes and Slack's
limits (a violation is answered as Slack does, ok:false with `invalid_blocks` and the like), and prints what Slack
would show. `--port 0` takes a free port; `--port-file` receives it once the server listens.

Driving it (each prints one JSON document; exit 0 when it worked, 1 when not):

    fake_slack.py messages --url http://127.0.0.1:8099           all messages, ephemerals and modals, newest last
    fake_slack.py wait --url U [--count 1] [--contains TEXT] [--without-buttons] [--ephemeral] [--timeout 30]
    fake_slack.py press --url U --team T0001 --user U0001 --button approve [--message INDEX|TS]
        presses the newest message that has this button, or the one given
        [--user-team T9] [--wrong-secret] [--age 400] [--repeat 2] [--org E1] [--stale-value TEXT]
    fake_slack.py press --url U --team T0001 --user U0001 --button reject --comment "why"
        presses, waits for the modal (views.open), and sends it with the comment
    fake_slack.py fail --url U --method chat.postMessage --times 2 --status 429 --retry-after 1
    fake_slack.py fail --url U --method chat.postMessage --error channel_not_found
    fake_slack.py fail --url U --method chat.postMessage --times 1 --hang 5

`--repeat` sends the very same signed bytes again (a replay); `--age` signs with a timestamp that old. The same over
HTTP: GET /control/messages; POST /control/press and /control/fail with the options as JSON ("user_team", ...).
"""
import argparse
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


def units(text):
    """Length as Slack's own JavaScript counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


class Refused(Exception):
    """A request that Slack would refuse; the text is Slack's error name, then why."""


def need(condition, error, why):
    if not condition:
        raise Refused(error + ": " + why)


def check_text(node, limit, where, kinds=("plain_text", "mrkdwn")):
    need(isinstance(node, dict) and node.get("type") in kinds, "invalid_blocks", where + " is not a text object")
    text = node.get("text")
    need(isinstance(text, str) and 1 <= units(text) <= limit, "invalid_blocks", "%s: empty or over %d" % (where, limit))
    if node["type"] == "mrkdwn":
        check_mentions(text, where)


def check_mentions(text, where):
    """A pager that nobody asked for: the receiver's own check, Slack would ring."""
    for bad in ("<!channel", "<!here", "<!everyone"):
        need(bad not in text, "fake_slack_mention", where + " would page everybody: " + bad)


def check_element(element, seen):
    need(element.get("type") == "button", "invalid_blocks", "unknown element " + str(element.get("type")))
    check_text(element.get("text"), 75, "button text", ("plain_text",))
    need(units(element.get("action_id", "")) <= 255, "invalid_blocks", "action_id over 255")
    need(element.get("action_id") not in seen, "invalid_blocks", "action_id twice in a block")
    seen.add(element.get("action_id"))
    need(len(element.get("value", "").encode()) <= 2000, "invalid_blocks", "button value over 2000 bytes")
    need(units(element.get("url", "")) <= 3000, "invalid_blocks", "button url over 3000")
    need(element.get("style") in (None, "primary", "danger"), "invalid_blocks", "button style")
    confirm = element.get("confirm")
    if confirm is not None:
        check_text(confirm.get("title"), 100, "confirm title", ("plain_text",))
        check_text(confirm.get("text"), 300, "confirm text")
        check_text(confirm.get("confirm"), 30, "confirm button", ("plain_text",))
        check_text(confirm.get("deny"), 30, "deny button", ("plain_text",))


def check_section(block):
    need("text" in block or block.get("fields"), "invalid_blocks", "section without text and fields")
    if "text" in block:
        check_text(block["text"], 3000, "section text")
    need(len(block.get("fields", [])) <= 10, "invalid_blocks", "over 10 fields")
    for field in block.get("fields", []):
        check_text(field, 2000, "field")


def check_input(block):
    check_text(block.get("label"), 2000, "input label", ("plain_text",))
    element = block.get("element", {})
    need(element.get("type") == "plain_text_input" and element.get("action_id"), "invalid_blocks", "input element")
    need(0 <= element.get("min_length", 0) <= 3000, "invalid_blocks", "min_length")
    need(1 <= element.get("max_length", 3000) <= 3000, "invalid_blocks", "max_length")
    if "placeholder" in element:
        check_text(element["placeholder"], 150, "placeholder", ("plain_text",))


def check_blocks(blocks, limit=50, modal=False):
    need(isinstance(blocks, list) and len(blocks) <= limit, "invalid_blocks", "over %d blocks" % limit)
    ids = set()
    for block in blocks:
        need(isinstance(block, dict), "invalid_blocks", "a block is not an object")
        block_id, kind = block.get("block_id"), block.get("type")
        need(block_id is None or (1 <= units(block_id) <= 255 and block_id not in ids), "invalid_blocks", "block_id")
        ids.add(block_id)
        if kind == "header":
            check_text(block.get("text"), 150, "header", ("plain_text",))
        elif kind == "section":
            check_section(block)
        elif kind == "context":
            need(1 <= len(block.get("elements", [])) <= 10, "invalid_blocks", "context elements")
            for element in block["elements"]:
                check_text(element, 3000, "context text")
        elif kind == "actions":
            need(1 <= len(block.get("elements", [])) <= 25, "invalid_blocks", "actions elements")
            seen = set()
            for element in block["elements"]:
                check_element(element, seen)
        elif kind == "input":
            need(modal, "invalid_blocks", "input outside a modal")
            check_input(block)
        else:
            need(kind == "divider", "invalid_blocks", "unknown block " + str(kind))


def check_message(body, update=False):
    need(isinstance(body.get("channel"), str) and body["channel"], "channel_not_found", "no channel")
    text = body.get("text", "")
    need(text or body.get("blocks"), "no_text", "neither text nor blocks")
    need(units(text) <= (4000 if update else 40000), "msg_too_long", "text")
    check_mentions(text, "text")
    check_blocks(body.get("blocks", []))


def check_view(view):
    need(isinstance(view, dict) and view.get("type") == "modal", "invalid_arguments", "no modal")
    check_text(view.get("title"), 24, "modal title", ("plain_text",))
    for name in ("submit", "close"):
        if name in view:
            check_text(view[name], 24, name, ("plain_text",))
    need(units(view.get("private_metadata", "")) <= 3000, "invalid_arguments", "private_metadata over 3000")
    need(units(view.get("callback_id", "")) <= 255, "invalid_arguments", "callback_id over 255")
    check_blocks(view.get("blocks"), 100, True)
    if any(block["type"] == "input" for block in view["blocks"]):
        need("submit" in view, "invalid_arguments", "a modal with inputs needs submit")


SYMBOLS = {"white_check_mark": "\u2714", "x": "\u2718", "no_entry": "\u2718", "hourglass": "\u231b", "rocket": "\u25b2",
           "rewind": "\u25c0\u25c0", "warning": "\u26a0", "rotating_light": "\u26a0", "memo": "\u270e",
           "arrows_counterclockwise": "\u21bb", "pause_button": "\u2016", "arrow_forward": "\u25b6",
           "wastebasket": "\u2718"}


def plain(text):
    text = re.sub(r":([a-z_]+):", lambda match: SYMBOLS.get(match.group(1), match.group(0)), text)
    text = re.sub(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])", r"\1", text).replace("```", "").replace("`", "")
    text = re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<(https?://[^|>]*)\|([^>]*)>", r"\2 (\1)", text)
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


def rendered(body):
    """A message as a person would see it, roughly: one line per line."""
    lines = []
    for block in body.get("blocks") or [{"type": "section", "text": {"text": body.get("text", "")}}]:
        if block["type"] == "divider":
            lines.append("-" * 40)
        elif block["type"] == "header":
            lines.append("# " + block["text"]["text"])
        elif block["type"] == "input":
            lines.append("[input: %s]" % block["label"]["text"])
        elif block["type"] == "actions":
            lines.append("  ".join("[ %s ]" % e["text"]["text"] for e in block["elements"]))
        else:
            for part in [block.get("text")] + block.get("fields", []) + block.get("elements", []):
                if part:
                    lines.extend(plain(part["text"]).split("\n"))
    return lines


class Workspace:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Condition()
        self.messages, self.ephemerals, self.views, self.calls = [], [], [], []
        self.failures = {}
        self.counter = 0

    def say(self, title, body):
        if self.options.quiet:
            return
        out = ["", "+-- Slack: " + title] + ["|  " + line for line in rendered(body)] + ["+--"]
        print("\n".join(out), flush=True)

    def next_ts(self):
        self.counter += 1
        return "%d.%06d" % (time.time(), self.counter)

    def find(self, key):
        if isinstance(key, str) and "." in key:
            return next((m for m in self.messages if m["ts"] == key), None)
        try:
            return self.messages[int(key)]
        except (IndexError, ValueError):
            return None

    # The Web API: each returns the answer's members.

    def chat_postMessage(self, body):
        check_message(body)
        message = {"channel": body["channel"], "ts": self.next_ts(), "edits": 0, "body": body}
        if body.get("thread_ts"):
            message["thread_ts"] = body["thread_ts"]
        self.messages.append(message)
        self.say("#%s  %s" % (body["channel"], "(in the thread)" if body.get("thread_ts") else ""), body)
        return {"channel": message["channel"], "ts": message["ts"], "message": {"text": body.get("text", "")}}

    def chat_update(self, body):
        check_message(body, update=True)
        message = self.find(body.get("ts", ""))
        need(message and message["channel"] == body["channel"], "message_not_found", "no such message")
        message["body"], message["edits"] = body, message["edits"] + 1
        self.say("#%s  (edited)" % body["channel"], body)
        return {"channel": message["channel"], "ts": message["ts"], "text": body.get("text", "")}

    def chat_postEphemeral(self, body):
        check_message(body)
        need(isinstance(body.get("user"), str) and body["user"], "user_not_in_channel", "no user")
        self.ephemerals.append({"channel": body["channel"], "user": body["user"], "text": plain(body.get("text", ""))})
        self.say("only %s sees, in #%s" % (body["user"], body["channel"]), body)
        return {"message_ts": self.next_ts()}

    def views_open(self, body):
        need(body.get("trigger_id"), "invalid_trigger_id", "no trigger")
        check_view(body.get("view"))
        view = dict(body["view"], id="V%09d" % (len(self.views) + 1))
        self.views.append({"trigger_id": body["trigger_id"], "view": view})
        self.say("modal: " + view["title"]["text"], view)
        return {"view": view}

    def auth_test(self, body):
        return {"url": "http://127.0.0.1/", "team": "Local", "team_id": "T0001", "user": "orch", "user_id": "U0ORCH"}

    # What a person does.

    def sign(self, raw, wrong, age):
        secret = "0" * 32 if wrong else self.options.signing_secret
        stamp = str(int(time.time()) - int(age))
        base = b"v0:" + stamp.encode() + b":" + raw
        return {"X-Slack-Request-Timestamp": stamp, "Content-Type": "application/x-www-form-urlencoded",
                "X-Slack-Signature": "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()}

    def deliver(self, payload, ask):
        raw = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
        headers = self.sign(raw, ask.get("wrong_secret"), ask.get("age", 0))
        answers = []
        for _ in range(int(ask.get("repeat", 1))):
            started = time.monotonic()
            request = urllib.request.Request(self.options.callback.rstrip("/") + "/slack/interactions", raw, headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    status, text = answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                status, text = error.code, error.read().decode()
            except OSError as error:
                status, text = 0, str(error)
            took_ms = round((time.monotonic() - started) * 1000, 1)
            if not self.options.quiet:
                print("    answered %s in %s ms%s" % (status, took_ms, ": " + text if text else ""), flush=True)
            answers.append({"status": status, "body": text, "took_ms": took_ms, "in_time": took_ms < 3000})
        return answers

    def who(self, ask):
        org, team = ask.get("org"), ask.get("team", "T0001")
        user = {"id": ask["user"], "username": ask["user"].lower(), "team_id": ask.get("user_team") or team}
        return {"user": user, "api_app_id": "A0LOCAL", "token": "unused",
                "team": None if org else {"id": team, "domain": "local"},
                "enterprise": {"id": org, "name": "Local"} if org else None, "is_enterprise_install": bool(org)}

    def newest_with(self, button):
        return next((m for m in reversed(self.messages) for b in m["body"].get("blocks", []) if b["type"] == "actions"
                     for e in b["elements"] if e["action_id"].endswith(button)), None)

    def press(self, ask):
        with self.lock:
            message = self.newest_with(ask["button"]) if ask.get("message") is None else self.find(ask["message"])
            message = message or self.find(-1)
            need(message, "no_message", "there is no such message")
            buttons = [e for b in message["body"].get("blocks", []) if b["type"] == "actions" for e in b["elements"]]
            button = next((e for e in buttons if e["action_id"].endswith(ask["button"])), None)
            if button is None and ask.get("stale_value"):
                button = {"action_id": "orch_" + ask["button"], "value": ask["stale_value"]}
            need(button, "no_button", "that message has no button " + ask["button"])
            trigger = "%d.%s" % (time.time() * 1000, secrets.token_hex(8))
        payload = dict(self.who(ask), type="block_actions", trigger_id=trigger, state={"values": {}},
                       container={"type": "message", "message_ts": message["ts"], "channel_id": message["channel"]},
                       channel={"id": message["channel"], "name": "local"},
                       message={"ts": message["ts"], "text": message["body"].get("text", ""),
                                "blocks": message["body"].get("blocks", [])},
                       actions=[dict({k: button[k] for k in ("action_id", "value") if k in button}, type="button",
                                     block_id="actions", action_ts="%.6f" % time.time())])
        if not self.options.quiet:
            print("\n*** %s/%s presses [%s]" % (ask.get("team", "T0001"), ask["user"], ask["button"]), flush=True)
        result = {"pressed": self.deliver(payload, ask)}
        if ask["button"] == "reject" and ask.get("comment") is not None:
            result["submitted"] = self.submit(trigger, ask)
        return result

    def submit(self, trigger, ask):
        deadline = time.monotonic() + 3
        with self.lock:
            while True:
                opened = next((v for v in self.views if v["trigger_id"] == trigger), None)
                left = deadline - time.monotonic()
                if opened or left <= 0:
                    break
                self.lock.wait(left)
        need(opened, "no_modal", "no views.open within 3 s")
        block = next(b for b in opened["view"]["blocks"] if b["type"] == "input")
        typed = {"type": "plain_text_input", "value": ask["comment"]}
        state = {block["block_id"]: {block["element"]["action_id"]: typed}}
        view = dict(opened["view"], state={"values": state})
        payload = dict(self.who(ask), type="view_submission", trigger_id=trigger + "s", view=view, response_urls=[])
        if not self.options.quiet:
            print("\n*** %s sends the modal: %s" % (ask["user"], ask["comment"]), flush=True)
        return self.deliver(payload, ask)

    def shown(self):
        return {"messages": [dict({k: v for k, v in m.items() if k != "body"}, lines=rendered(m["body"]),
                                  text=plain(m["body"].get("text", "")),
                                  buttons=[e["action_id"] for b in m["body"].get("blocks", []) if b["type"] == "actions"
                                           for e in b["elements"]],
                                  values=[e.get("value", "") for b in m["body"].get("blocks", [])
                                          if b["type"] == "actions" for e in b["elements"]]) for m in self.messages],
                "ephemerals": self.ephemerals, "views": self.views, "calls": self.calls}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    space = None

    def log_message(self, *args):
        pass

    def answer(self, status, document, headers=()):
        raw = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self):
        if self.path != "/control/messages":
            return self.answer(404, {"error": "not found"})
        with self.space.lock:
            document = json.loads(json.dumps(self.space.shown()))
        return self.answer(200, document)

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        if self.path.startswith("/control/"):
            return self.control(self.path[len("/control/"):], body)
        method = self.path.rsplit("/", 1)[-1]
        failure = self.failure(method)
        if failure:
            return self.inject(failure)
        return self.answer(200, self.call(method, body))

    def failure(self, method):
        with self.space.lock:
            failure = self.space.failures.get(method)
            if failure:
                failure["times"] -= 1
                if failure["times"] <= 0:
                    del self.space.failures[method]
                self.space.calls.append({"method": method, "ok": False, "error": failure.get("error") or "injected"})
            return failure

    def inject(self, failure):
        if failure.get("hang"):
            time.sleep(float(failure["hang"]))
        headers = [("Retry-After", str(failure["retry_after"]))] if failure.get("retry_after") is not None else []
        error = failure.get("error") or ("ratelimited" if failure.get("status") == 429 else "internal_error")
        return self.answer(int(failure.get("status") or 200), {"ok": False, "error": error}, headers)

    def call(self, method, body):
        function = getattr(self.space, method.replace(".", "_"), None)
        token = self.headers.get("Authorization", "")
        known = ("chat.postMessage", "chat.update", "chat.postEphemeral", "views.open", "auth.test")
        with self.space.lock:
            try:
                need(method in known and function, "unknown_method", method)
                need(token, "not_authed", "no token")
                need(hmac.compare_digest(token, "Bearer " + self.space.options.token), "invalid_auth", "wrong token")
                need(isinstance(body, dict) or method == "auth.test", "invalid_json", "no JSON object")
                result = dict(function(body), ok=True)
            except Refused as refused:
                error, _, why = str(refused).partition(": ")
                result = {"ok": False, "error": error, "response_metadata": {"messages": ["[ERROR] " + why]}}
                print("Slack refuses %s: %s (%s)" % (method, error, why), file=sys.stderr, flush=True)
            self.space.calls.append({"method": method, "ok": result["ok"], "error": result.get("error")})
            self.space.lock.notify_all()
        return result

    def control(self, verb, ask):
        if not isinstance(ask, dict):
            return self.answer(400, {"error": "send a JSON object"})
        try:
            if verb == "press":
                return self.answer(200, self.space.press(ask))
            if verb == "fail":
                with self.space.lock:
                    self.space.failures[ask["method"]] = dict(ask, times=int(ask.get("times", 1)))
                return self.answer(200, {"ok": True})
        except Refused as refused:
            return self.answer(409, {"error": str(refused)})
        except (KeyError, TypeError, ValueError) as error:
            return self.answer(400, {"error": repr(error)})
        return self.answer(404, {"error": "not found"})


def leave_with_parent(parent):
    """A test that dies must leave nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


def serve(options):
    if options.until_parent_exits:
        threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    Handler.space = Workspace(options)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    if options.port_file:
        with open(options.port_file, "w", encoding="ascii") as file:
            file.write("%d\n" % server.server_port)
    print("Slack's stand-in listens on http://127.0.0.1:%d/api/" % server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    return 0


def ask_server(options, verb, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(options.url.rstrip("/") + "/control/" + verb, data)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return True, json.load(answer)
    except urllib.error.HTTPError as error:
        return False, json.load(error)
    except OSError as error:
        return False, {"error": str(error)}


def matching(options, shown):
    wanted = shown["ephemerals"] if options.ephemeral else shown["messages"]
    found = [m for m in wanted if options.contains in "\n".join([m["text"]] + m.get("lines", []))]
    return [m for m in found if not (options.without_buttons and m.get("buttons"))]


def wait(options):
    deadline, found = time.monotonic() + options.timeout, []
    while time.monotonic() < deadline:
        good, shown = ask_server(options, "messages")
        found = matching(options, shown) if good else []
        if len(found) >= options.count:
            print(json.dumps(found, indent=1))
            return 0
        time.sleep(0.05)
    print(json.dumps({"error": "timed out", "found": found}))
    return 1


def control(options):
    skip = ("verb", "url", "run")
    body = {k: v for k, v in vars(options).items() if k not in skip and v not in (None, False)}
    good, document = ask_server(options, options.verb, None if options.verb == "messages" else body)
    print(json.dumps(document, indent=1))
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("serve")
    one.set_defaults(run=serve)
    one.add_argument("--port", type=int, default=8099)
    one.add_argument("--port-file")
    one.add_argument("--token", default="xoxb-test")
    one.add_argument("--signing-secret", required=True)
    one.add_argument("--callback", default="http://127.0.0.1:8077")
    one.add_argument("--quiet", action="store_true")
    one.add_argument("--until-parent-exits", action="store_true")
    for name, run in (("messages", control), ("wait", wait), ("press", control), ("fail", control)):
        one = verbs.add_parser(name)
        one.set_defaults(run=run)
        one.add_argument("--url", default="http://127.0.0.1:8099")
        if name == "wait":
            one.add_argument("--count", type=int, default=1)
            one.add_argument("--contains", default="")
            one.add_argument("--without-buttons", action="store_true")
            one.add_argument("--ephemeral", action="store_true")
            one.add_argument("--timeout", type=float, default=30)
        elif name == "press":
            for option in ("--team", "--user", "--button", "--message", "--user-team", "--org", "--comment",
                           "--stale-value"):
                one.add_argument(option, required=option in ("--user", "--button"))
            one.add_argument("--wrong-secret", action="store_true")
            one.add_argument("--age", type=int)
            one.add_argument("--repeat", type=int)
        elif name == "fail":
            one.add_argument("--method", required=True)
            one.add_argument("--error")
            for option in ("--times", "--status", "--retry-after"):
                one.add_argument(option, type=int)
            one.add_argument("--hang", type=float)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
