import t from "tap";
import { testPod } from "./pod-fixtures.ts";
import { sandboxSecurity } from "./security-context.ts";

t.test("SC3: a Pod's own seccomp profile is its containers', not the sandbox's", async (t) => {
  const seccompProfile = { type: "Localhost", localhostProfile: "web.json" };
  t.same(sandboxSecurity(testPod({ securityContext: { seccompProfile } })).seccomp, {
    type: "RuntimeDefault",
  });
});
