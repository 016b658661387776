import { readFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { PodStep, StepName } from "./pod-step.ts";
import { timelineSvg } from "./timeline-svg.ts";
import { timelineText } from "./timeline-text.ts";

const seenMs = Date.UTC(2026, 0, 1, 12, 0, 0, 250);

function step(
  what: StepName,
  from: number,
  to: number | undefined,
  container?: string,
  failed = false,
): PodStep {
  return {
    what,
    container,
    startMs: seenMs + from,
    endMs: to === undefined ? undefined : seenMs + to,
    failed,
  };
}

const start = {
  nowMs: seenMs + 60_000,
  node: "node-a",
  namespace: "default",
  name: "web",
  phase: "Running",
  timeline: [
    step("seen", 0, 0),
    step("admitted", 3, 3),
    step("volumes", 4, 16),
    step("image pull", 20, 320, "web"),
    step("sandbox", 20, 150),
    step("network up", 90, 90),
    step("create", 325, 350, "web"),
    step("start", 352, 401.5, "web"),
    step("readiness probe", 420, 420, "web"),
    step("Ready", 421, 421),
    step("Ready in the API", 430, 430),
  ],
};
/** What goes wrong in it, and names that a careless drawing would break on. */
const troubled = {
  ...start,
  nowMs: seenMs + 12_500,
  name: 'a<b>&"c',
  timeline: [
    step("seen", 0, 0),
    step("sandbox", 5, 1_005, undefined, true),
    step("image pull", 6, undefined, "<web>"),
    step("image pull", 7, 8, "a-container-with-a-long-name"),
  ],
};

for (const [name, given] of [
  ["ready", start],
  ["troubled", troubled],
] as const) {
  for (const [ending, render] of [
    ["txt", timelineText],
    ["svg", timelineSvg],
  ] as const) {
    t.test(`the timeline of a start that is ${name} is drawn as in the golden ${ending} file`, async (t) => {
      const file = path.join(import.meta.dirname, `golden/timeline-${name}.${ending}`);
      t.equal(render(given), await readFile(file, "utf8"));
    });
  }
}

t.test(
  "a Pod that ended before it was ready has ended, and one that was found running was found",
  async (t) => {
    const timeline = [step("seen", 0, 0), step("sandbox", 5, 10)];
    t.match(
      timelineText({ ...start, phase: "Succeeded", timeline }),
      /: it ended \(Succeeded\) and had never been ready\n/,
    );
    t.match(
      timelineText({ ...start, phase: "Pending", timeline }),
      /: not ready yet, 60\.0 s after it was seen\n/,
    );
    const found = [step("seen", 0, 0), step("found running", 1, 1), step("Ready", 2, 2)];
    t.match(timelineText({ ...start, timeline: found }), /: this agent found the Pod running/);
  },
);

t.test("the picture stands alone, is well formed, and says all of it as text", async (t) => {
  const svg = timelineSvg(troubled);
  t.notMatch(svg, /<script|<image|href=|url\(|@import|<style/);
  t.match(svg, /role="img" aria-labelledby="title desc"/);
  t.match(svg, /<title id="title">Start of default\/a&#60;b&#62;&#38;&#34;c on node-a<\/title>/);
  t.match(svg, /sandbox at \+5\.0 ms, took 1\.00 s \(failed\)/);
  t.match(svg, />image pull \(a-container-with-a-…<\/text>/, "a long name is cut, and whole in the title");
  t.match(svg, /image pull \(&#60;web&#62;\) at \+6\.0 ms, took 12\.5 s \(goes on\)/);
  const open: string[] = [];
  for (const [, close, tag = "", selfClosed] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (close === "/") t.equal(open.pop(), tag);
    else if (selfClosed !== "/") open.push(tag);
  }
  t.same(open, [], "every element is closed");
});
