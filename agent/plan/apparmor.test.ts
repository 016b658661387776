import t from "tap";
import { appArmorProfile, appArmorRefusal } from "./apparmor.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

const key = "container.apparmor.security.beta.kubernetes.io/web";
const local = (localhostProfile: string) => ({ type: "Localhost", localhostProfile });

t.test(
  "SC3: the container's field, then its annotation, then the Pod's field name the profile",
  async (t) => {
    const securityContext = { appArmorProfile: local("pods") };
    const pod = (annotation?: string) =>
      testPod(
        { securityContext },
        { metadata: { name: "web", annotations: annotation === undefined ? {} : { [key]: annotation } } },
      );
    const web = testContainer("web");
    const own = testContainer("web", { securityContext: { appArmorProfile: local("own") } });
    t.same(appArmorProfile(pod("localhost/old"), own), local("own"));
    t.same(appArmorProfile(pod("localhost/old"), web), local("old"));
    t.same(appArmorProfile(pod("runtime/default"), web), { type: "RuntimeDefault" });
    t.same(appArmorProfile(pod("unconfined"), web), { type: "Unconfined" });
    t.same(appArmorProfile(pod("localhost/old"), testContainer("other")), local("pods"));
    t.same(appArmorProfile(pod(), web), local("pods"));
    t.equal(appArmorProfile(testPod(), web), undefined);
  },
);

t.test("SC3 LC19: a Pod that a node without AppArmor would leave open is refused", async (t) => {
  const disabled = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
  const web = (appArmorProfile: object) =>
    testPod({ initContainers: [testContainer("web", { securityContext: { appArmorProfile } as object })] });
  const cases = [
    { name: "nothing asked", pod: testPod(), refusal: undefined },
    { name: "unconfined", pod: web({ type: "Unconfined" }), refusal: undefined },
    { name: "the runtime's", pod: web({ type: "RuntimeDefault" }), refusal: disabled },
    { name: "an init container's", pod: web(local("x")), refusal: disabled },
    {
      name: "the Pod's",
      pod: testPod({ securityContext: { appArmorProfile: local("x") } }),
      refusal: disabled,
    },
    {
      name: "an annotation's",
      pod: testPod({}, { metadata: { annotations: { [key]: "localhost/x" } } }),
      refusal: disabled,
    },
  ];
  for (const { name, pod, refusal } of cases) {
    t.equal(appArmorRefusal(pod, false), refusal, name);
    t.equal(appArmorRefusal(pod, true), undefined, name);
  }
  t.match(appArmorRefusal(web(local(" ")), true), /localhostProfile must be set/);
});
