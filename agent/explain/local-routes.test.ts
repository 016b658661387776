import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { explainPod } from "../plan/explain/explain-pod.ts";
import { findPod } from "../plan/explain/find-pod.ts";
import { planPod } from "../plan/pod-actions.ts";
import { testMemory, testPod, testRecord, testRuntime, testSandbox } from "../plan/pod-fixtures.ts";
import type { LocalDesk } from "./local-desk.ts";
import { localRoutes } from "./local-routes.ts";

const nowMs = new FakeClock().now();

function explained() {
  const pod = testPod();
  const runtime = testRuntime([testSandbox()], testRecord("web"));
  const memory = testMemory();
  return explainPod({
    nowMs,
    node: "node-a",
    source: "api",
    pod,
    firstSeenMs: nowMs,
    runtime,
    memory,
    plan: planPod(pod, runtime, memory, nowMs),
    isAdmitted: true,
    isGone: false,
    isCleaned: false,
    open: [],
    steps: [],
    errors: [],
    probes: new Map(),
    pulls: new Map(),
    unwritten: undefined,
    runtimeTrouble: undefined,
    apiTrouble: undefined,
  });
}

const known = [{ uid: "u1", namespace: "default", name: "web", shortName: "web", isGone: false }];
const cut: string[] = [];
const desk: LocalDesk = {
  find: (wish) => findPod(wish, "node-a", known),
  explain: (uid) => (uid === "u1" ? explained() : undefined),
  explainAll: () => [explained()],
  restartNow: (uid, container) => {
    cut.push(`${uid} ${container ?? "all"}`);
    return container === "other"
      ? { found: false, message: "no such container" }
      : { found: true, backOffs: [], words: ["cut"] };
  },
};
const route = localRoutes(desk);

function ask(method: string, target: string) {
  const { pathname, searchParams } = new URL(target, "http://agent");
  return route({ method, path: pathname, query: searchParams });
}

for (const [method, target, status, type, body] of [
  ["GET", "/v1/explain?pod=web", 200, "text/plain", /^Pod +default\/web/],
  ["GET", "/v1/explain?pod=web&as=json", 200, "application/json", /"name": "web"/],
  ["GET", "/v1/explain?pod=web&as=timeline", 200, "text/plain", /^Start of default\/web/],
  ["GET", "/v1/explain?pod=web&as=svg", 200, "image/svg+xml", /^<svg /],
  [
    "GET",
    "/v1/explain?pod=web&as=toString",
    400,
    "text/plain",
    /as "toString": want text, json, timeline, svg/,
  ],
  ["GET", "/v1/explain", 404, "text/plain", /no Pod ""/],
  ["GET", "/v1/explain?pod=web&namespace=other", 404, "text/plain", /no Pod "other\/web"/],
  ["POST", "/v1/explain?pod=web", 405, "text/plain", /takes GET, not POST/],
  ["GET", "/v1/pods", 200, "text/plain", /^POD +STATE/],
  ["GET", "/v1/pods?as=json", 200, "application/json", /^\[/],
  ["POST", "/v1/restart-now?pod=web", 200, "text/plain", /^cut\n$/],
  ["POST", "/v1/restart-now?pod=web&container=other", 409, "text/plain", /no such container/],
  ["GET", "/v1/restart-now?pod=web", 405, "text/plain", /takes POST/],
  ["GET", "/v1/constructor", 404, "text/plain", /knows nothing under/],
  ["GET", "/__proto__", 404, "text/plain", /knows nothing under/],
] as const) {
  t.test(`${method} ${target} is answered with ${status}`, async (t) => {
    t.match(ask(method, target), { status, type, body });
  });
}

t.test("a question that only reads cuts nothing short", async (t) => {
  t.same(cut, ["u1 all", "u1 other"]);
});

t.test("no question is too strange for an answer", async (t) => {
  const words = [
    "web",
    "default",
    "",
    "a/b",
    "\0",
    "é".repeat(300),
    "%",
    "x".repeat(7_000),
    "u1",
    "..",
    "[object]",
  ];
  let tries = 0;
  for (const pod of words)
    for (const namespace of words)
      for (const as of ["text", "json", "svg", "timeline", "", "__proto__"]) {
        const query = new URLSearchParams({ pod, namespace, as });
        for (const path of ["/v1/explain", "/v1/restart-now", "/v1/pods", "/"]) {
          const { status, body } = route({
            method: path === "/v1/restart-now" ? "POST" : "GET",
            path,
            query,
          });
          tries += 1;
          if (![200, 400, 404].includes(status) || body === "")
            t.fail(`${path} ${query.toString()}: ${status}`);
        }
      }
  t.equal(tries, 11 * 11 * 6 * 4);
});
