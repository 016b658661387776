import t from "tap";
import { freeIds, userNamespaceRange } from "./user-namespace-range.ts";

t.test("SC6: Pods get ids of the user kubelet's, or all that the host does not use", async (t) => {
  t.same(userNamespaceRange("", "ada:100000:65536\n"), { first: 65_536, length: 2 ** 32 - 65_536 });
  const own = "ada:65536:65536\nkubelet:131072:196608\n";
  t.same(userNamespaceRange(own, own), { first: 131_072, length: 196_608 });
  const wrong = [
    { name: "in one file alone", uid: own, gid: "" },
    { name: "twice", uid: `${own}kubelet:655360:65536\n`, gid: own },
    { name: "different", uid: own, gid: "kubelet:131072:65536\n" },
    { name: "no multiple", uid: "kubelet:100000:65536", gid: "kubelet:100000:65536" },
    { name: "the host's own", uid: "kubelet:0:65536", gid: "kubelet:0:65536" },
  ];
  for (const { name, uid, gid } of wrong)
    t.throws(() => userNamespaceRange(uid, gid), { message: /ids of user "kubelet"/ }, name);
});

t.test("SC6: two Pods never get the same ids, and there is an end of them", async (t) => {
  const range = { first: 65_536, length: 2 * 65_536 };
  t.equal(freeIds(range, new Set()), 65_536);
  t.equal(freeIds(range, new Set([65_536])), 131_072);
  t.equal(freeIds(range, new Set([131_072])), 65_536);
  t.equal(freeIds(range, new Set([65_536, 131_072])), undefined);
});
