import t from "tap";
import { testContainer, testPod } from "./pod-fixtures.ts";
import { containerSecurity, sandboxSecurity } from "./security-context.ts";

t.test("SC3: a Pod's own seccomp profile is its containers', not the sandbox's", async (t) => {
  const seccompProfile = { type: "Localhost", localhostProfile: "web.json" };
  t.same(sandboxSecurity(testPod({ securityContext: { seccompProfile } })).seccomp, {
    type: "RuntimeDefault",
  });
});

t.test("SC4: SELinux options are the container's, else the Pod's; the sandbox has the Pod's", async (t) => {
  const pod = testPod({ securityContext: { seLinuxOptions: { level: "s0:c1,c2" } } });
  const own = testContainer("web", { securityContext: { seLinuxOptions: { type: "own_t" } } });
  const selinuxOf = (container: typeof own) =>
    containerSecurity(pod, container, {}, false, "/seccomp").selinux;
  t.same(sandboxSecurity(pod).selinux, { level: "s0:c1,c2" });
  t.same(selinuxOf(testContainer("web")), { level: "s0:c1,c2" });
  t.same(selinuxOf(own), { type: "own_t" });
  t.equal(sandboxSecurity(testPod()).selinux, undefined);
});

t.test("SC2: capabilities are told by their names in CRI, however they are spelt", async (t) => {
  const capabilities = { add: ["CAP_SYS_TIME", "net_admin"], drop: ["ALL"] };
  const container = testContainer("web", { securityContext: { capabilities } });
  t.match(containerSecurity(testPod(), container, {}, false, "/seccomp"), {
    addCapabilities: ["SYS_TIME", "NET_ADMIN"],
    dropCapabilities: ["ALL"],
  });
});
