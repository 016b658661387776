import t from "tap";
import { findPod, type PodNames } from "./find-pod.ts";

const pod = (namespace: string, name: string, more: Partial<PodNames> = {}): PodNames => ({
  uid: `uid-${namespace}-${name}`,
  namespace,
  name,
  shortName: name,
  isGone: false,
  ...more,
});
const known = [
  pod("default", "web"),
  pod("default", "web", { uid: "old", isGone: true }),
  pod("kube-system", "dns"),
  pod("kube-system", "proxy"),
  pod("other", "proxy"),
  pod("default", "static-node-a", { shortName: "static" }),
];

for (const [what, wish, uid] of [
  [
    "a name in the default namespace, the newer one",
    { name: "web", namespace: undefined },
    "uid-default-web",
  ],
  ["a uid", { name: "old", namespace: undefined }, "old"],
  ["a name that only one namespace has", { name: "dns", namespace: undefined }, "uid-kube-system-dns"],
  ["a name and its namespace", { name: "proxy", namespace: "other" }, "uid-other-proxy"],
  [
    "a static Pod without its node's name",
    { name: "static", namespace: "default" },
    "uid-default-static-node-a",
  ],
] as const) {
  t.test(`a Pod is found by ${what}`, async (t) => {
    t.same(findPod(wish, "node-a", known), { found: true, uid });
  });
}

for (const [what, wish, message] of [
  [
    "names that are near",
    { name: "wbe", namespace: undefined },
    /^no Pod "wbe" is on node "node-a"; near: default\/web/,
  ],
  [
    "that several are meant",
    { name: "proxy", namespace: undefined },
    /kube-system\/proxy, other\/proxy; say which/,
  ],
  [
    "that the namespace has none",
    { name: "dns", namespace: "default" },
    /no Pod "default\/dns".*near: kube-system\/dns/,
  ],
  ["how many there are", { name: "something-else", namespace: undefined }, /it has 6 others$/],
] as const) {
  t.test(`who asks for a Pod that is not there is told ${what}`, async (t) => {
    const found = findPod(wish, "node-a", known);
    t.match(found, { found: false, message });
  });
}
