"""Lets redbot, and httplint below it, judge the gateway's answers.

    judge.py URL... < EXCHANGES

EXCHANGES is a JSON list of {"name", "request", "response"}, the last two lists of bytes as they were on the wire; each
is judged by itself. Each URL is asked by redbot in all the ways it knows: plainly, with conditions, ranges and codings.
Prints a JSON list of {"name", "level", "note", "summary"}: every warning and every fault.
"""

import json
import sys
from configparser import ConfigParser

import thor
from httplint import HttpRequestLinter, HttpResponseLinter
from redbot.resource import HttpResource

FAULTS = ("warning", "bad")


def head(message: bytes):
    """A message's first line, its fields, and its body."""
    lines, _, body = message.partition(b"\r\n\r\n")
    top, *fields = lines.split(b"\r\n")
    pairs = [field.split(b":", 1) for field in fields]
    return top, [(name, value.strip()) for name, value in pairs], body


def judged(name: str, notes) -> list:
    found = []
    for note in notes:
        if note.level.value in FAULTS:
            row = {"name": name, "level": note.level.value, "note": type(note).__name__, "summary": note.summary}
            found.append(row)
        found += judged(name, note.subnotes)
    return found


def lint(name: str, request: bytes, response: bytes) -> list:
    asked = HttpRequestLinter()
    top, fields, _ = head(request)
    asked.process_request_topline(*top.split(b" "))
    asked.process_headers(fields)
    asked.finish_content(True)
    answer = HttpResponseLinter()
    answer.request = asked
    answer.is_head_response = asked.method == "HEAD"
    top, fields, body = head(response)
    version, status, phrase = top.split(b" ", 2)
    answer.process_response_topline(version.removeprefix(b"HTTP/"), status, phrase)
    answer.process_headers(fields)
    answer.feed_content(body)
    answer.finish_content(True)
    return judged(name, answer.notes)


def redbot(urls: list) -> list:
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    resources = [HttpResource(config["redbot"]) for _ in urls]
    running = set(urls)

    def done(url: str) -> None:
        running.discard(url)
        if not running:
            thor.stop()

    for url, resource in zip(urls, resources):
        resource.set_request(url)
        resource.on("check_done", lambda url=url: done(url))
        resource.check()
    if running:
        thor.run()
    found = []
    for url, resource in zip(urls, resources):
        if not resource.response.complete:
            found.append({"name": url, "level": "bad", "note": "INCOMPLETE", "summary": str(resource.fetch_error)})
        found += judged(url, resource.response.notes)
    return found


rows = redbot(sys.argv[1:])
for exchange in json.load(sys.stdin):
    rows += lint(exchange["name"], bytes(exchange["request"]), bytes(exchange["response"]))
json.dump(rows, sys.stdout, indent=1)
