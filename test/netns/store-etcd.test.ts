/** The store's contract on a real etcd, on the loopback interface. */
import t from "tap";
import { EtcdClient } from "#api/etcd/etcd-client.ts";
import { systemClock } from "#lib/clock.ts";
import { type TestApi, testApi } from "../../control/apiserver/test-api.ts";
import { EtcdStore } from "../../control/store/etcd/etcd-store.ts";
import { storeContract } from "../../control/store/store-contract.ts";
import { etcdMissing, startEtcd } from "../support/etcd.ts";

if (etcdMissing === undefined) {
  const etcd = await startEtcd();
  t.teardown(() => etcd[Symbol.asyncDispose]());
  storeContract(t, "etcd", async () => {
    const client = new EtcdClient({ endpoints: [etcd.endpoint] });
    return new EtcdStore(client, systemClock, 0);
  });

  t.test("the API server on etcd shows every write at once, others' writes included", async (t) => {
    const client = new EtcdClient({ endpoints: [etcd.endpoint] });
    const store = new EtcdStore(client, systemClock, 0);
    await using one = await testApi({ clock: systemClock, ports: { store } });
    const other = new EtcdStore(new EtcdClient({ endpoints: [etcd.endpoint] }), systemClock, 0);
    await using two = await testApi({ clock: systemClock, ports: { store: other } });
    const path = "/api/v1/namespaces/default/configmaps";
    const count = async (server: TestApi): Promise<number> =>
      ((await server.ask("GET", path)).json["items"] as readonly unknown[]).length;
    for (let at = 0; at < 10; at += 1) {
      await one.ask("POST", path, { metadata: { name: `c${at}` } });
      t.equal(await count(two), at + 1, "the other server shows it in its next list");
      // flannel, say, writes to the same etcd.
      await client.put({ key: "/coreos.com/network/config", value: String(at) }, one.signal);
      t.equal(await count(one), at + 1);
    }
    await Promise.all(
      Array.from({ length: 6 }, (_, at) =>
        (at % 2 === 0 ? one : two).ask(
          "PATCH",
          `${path}/c0`,
          { data: { [`k${at}`]: "v" } },
          { "content-type": "application/merge-patch+json" },
        ),
      ),
    );
    const read = await one.ask("GET", `${path}/c0`);
    t.equal(Object.keys(read.json["data"] as object).length, 6, "no patch of either server is lost");
    await store.close();
    await other.close();
  });
} else {
  t.test("the store on etcd", { skip: etcdMissing }, async () => {});
}
