# SPDX-License-Identifier: MIT
"""A chat endpoint that misbehaves, for tests/cases/judge.sh: judge_server.py PORTFILE LOG

Says 2 when the second answer is longer than the first, 1 when it is shorter, else tie. Every request is a line of LOG (JSON: path,
mode, number of times this text was asked, authorization, time). The first part of the path chooses the manners:
/good/v1  /slow/v1 (0.4 s)  /drop/v1 (the connection breaks at the first try of each text)  /cut/v1 (half of an answer, first try)
/nonsense/v1 (HTML with status 200, first try)  /mute/v1 (no verdict, ever)  /limit/v1 (429 with Retry-After: 1, first try)
/down/v1 (503, always)  /no/v1 (401, and repeats the key)  /full/v1 (402)  /hang/v1 (never answers)  /long/v1 (asks to wait an hour)
/odd/v1 (400 for texts with the word odd)  /huge/v1 (an endless answer)
"""
import json, re, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port_file, log_file = sys.argv[1:3]
lock, seen = threading.Lock(), {}


class Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def reply(self, status, body, headers=(), kind="application/json"):
        data = body.encode()
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def verdict(self, content):
        a, b = re.search(r"\[A\](.*)\[B\](.*)\[END\]", content, re.S).groups()
        return "2" if len(b) > len(a) else "1" if len(b) < len(a) else "tie"

    def answer(self, text, **more):
        return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}],
                           "usage": {"prompt_tokens": 100, "completion_tokens": 10}} | more)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content, mode = body["messages"][0]["content"], self.path.split("/")[1]
        with lock:
            seen[mode, content] = times = seen.get((mode, content), 0) + 1
            with open(log_file, "a") as f:
                f.write(json.dumps({"path": self.path, "mode": mode, "times": times, "auth": self.headers.get("Authorization"),
                                    "at": time.time(), "body": body}) + "\n")
        text, first = "The better one is: **%s**." % self.verdict(content), times == 1
        if mode == "slow":
            time.sleep(0.4)
        if mode == "hang":
            time.sleep(60)
        if mode == "drop" and first:
            self.close_connection = True
            return self.connection.close()
        if mode == "cut" and first:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
            return self.connection.close()
        if mode == "huge":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                return
        if mode == "nonsense" and first:
            return self.reply(200, "<html>a proxy's page</html>", kind="text/html")
        if mode == "mute":
            return self.reply(200, self.answer("I would rather not say"))
        if mode == "limit" and first:
            return self.reply(429, '{"error": {"message": "slow down"}}', [("Retry-After", "1")])
        if mode == "long":
            return self.reply(429, '{"error": {"message": "come back later"}}', [("Retry-After", "3600")])
        if mode == "down":
            return self.reply(503, "overloaded")
        if mode == "no":
            return self.reply(401, json.dumps({"error": {"message": "wrong key: " + str(self.headers.get("Authorization"))}}))
        if mode == "full":
            return self.reply(402, '{"error": {"message": "no money"}}')
        if mode == "odd" and "odd" in content:
            return self.reply(400, '{"error": {"message": "not about that"}}')
        self.reply(200, self.answer(text))


server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
server.daemon_threads = True
with open(port_file + ".new", "w") as f:
    f.write(str(server.server_address[1]))
import os
os.rename(port_file + ".new", port_file)
server.serve_forever()
