/** The store's contract on a real etcd, on the loopback interface. */
import t from "tap";
import { EtcdClient } from "#api/etcd/etcd-client.ts";
import { systemClock } from "#lib/clock.ts";
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
} else {
  t.test("the store on etcd", { skip: etcdMissing }, async () => {});
}
