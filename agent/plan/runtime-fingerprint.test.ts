import t from "tap";
import { testRecord, testSandbox } from "./pod-fixtures.ts";
import { runtimeFingerprint } from "./runtime-fingerprint.ts";

const sandbox = testSandbox();
const web = testRecord("web", { id: "w", state: "running" });
const side = testRecord("side", { id: "s", state: "running" });

t.test("the order of a list says nothing, what came, went or changed its state does", async (t) => {
  const before = runtimeFingerprint({ sandboxes: [sandbox], containers: [web, side] });
  t.equal(runtimeFingerprint({ sandboxes: [sandbox], containers: [side, web] }), before);
  t.not(runtimeFingerprint({ sandboxes: [sandbox], containers: [web] }), before, "one went");
  t.not(
    runtimeFingerprint({ sandboxes: [sandbox], containers: [{ ...web, state: "exited" }, side] }),
    before,
    "one ended",
  );
  t.not(
    runtimeFingerprint({ sandboxes: [{ ...sandbox, state: "not-ready" }], containers: [web, side] }),
    before,
    "the sandbox broke",
  );
  t.not(
    runtimeFingerprint({ sandboxes: [sandbox], containers: [{ ...web, id: "x" }, side] }),
    before,
    "one is another",
  );
});
