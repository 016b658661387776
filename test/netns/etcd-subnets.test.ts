/** Subnet leases against a real etcd, on the loopback interface. */
import t from "tap";
import { EtcdClient } from "#api/etcd/etcd-client.ts";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { EtcdSubnetManager } from "../../overlay/observe/etcd-subnet-manager.ts";
import type { SubnetLease } from "../../overlay/model.ts";
import { etcdMissing, startEtcd } from "../support/etcd.ts";

const skip = etcdMissing ?? false;
const signal = AbortSignal.timeout(60_000);
const attributes = (n: number) => ({ publicIp: `192.0.2.${n}`, backendType: "host-gw", vtep: undefined });

t.test("leases in etcd", { skip }, async (t) => {
  await using etcd = await startEtcd();
  const client = new EtcdClient({ endpoints: [etcd.endpoint] });
  t.teardown(() => client.close());
  const manager = (clock = systemClock): EtcdSubnetManager =>
    new EtcdSubnetManager("/net", 60, { client, clock, log: noLog, random: () => 0 });
  await client.put(
    { key: "/net/config", value: '{"Network":"10.5.0.0/20","Backend":{"Type":"host-gw"}}' },
    signal,
  );
  const config = await manager().networkConfig(signal);
  const subnets = async (): Promise<string[]> =>
    (await client.range({ key: "/net/subnets/", end: "/net/subnets0" }, signal)).entries.map(
      (entry) => entry.key,
    );

  await t.test("nodes that draw the same subnet at the same time get one each", async (t) => {
    // Every draw is the first free subnet, so all but one lose the first race.
    const all = await Promise.all(
      [1, 2, 3, 4].map((n) => manager().acquire(config, attributes(n), undefined, signal)),
    );
    t.same(all.map((lease) => lease.subnet).toSorted(), [
      "10.5.1.0/24",
      "10.5.2.0/24",
      "10.5.3.0/24",
      "10.5.4.0/24",
    ]);
    const entry = (await client.range({ key: "/net/subnets/10.5.1.0-24" }, signal)).entries[0];
    const { grantedSeconds } = await client.leaseTimeToLive(entry?.lease ?? 0n, {}, signal);
    t.equal(grantedSeconds, 86_400);
  });

  await t.test(
    "a restarted node gets its own subnet, and a lease that no longer fits is removed",
    async (t) => {
      t.equal(
        (await manager().acquire(config, attributes(3), undefined, signal)).attributes.publicIp,
        "192.0.2.3",
      );
      t.equal((await subnets()).length, 4);
      await client.put({ key: "/net/subnets/10.9.0.0-24", value: '{"PublicIP":"192.0.2.9"}' }, signal);
      const { subnet } = await manager().acquire(config, attributes(9), "10.5.7.0/24", signal);
      t.equal(subnet, "10.5.7.0/24", "the subnet from before is free");
      t.notOk((await subnets()).includes("/net/subnets/10.9.0.0-24"));
    },
  );

  await t.test("a lease is kept alive long before it ends", async (t) => {
    const clock = new FakeClock();
    const keeper = manager(clock);
    const own = await keeper.acquire(config, attributes(1), undefined, signal);
    const key = `/net/subnets/${own.subnet.replace("/", "-")}`;
    const id = (await client.range({ key }, signal)).entries[0]?.lease ?? 0n;
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    t.ok((await client.leaseTimeToLive(id, {}, signal)).ttlSeconds < 86_400);
    const stop = new AbortController();
    const running = keeper
      .run({ leases: () => undefined, moved: () => undefined }, stop.signal)
      .catch(() => undefined);
    await clock.advance((86_400 - 3_600) * 1_000);
    for (
      let tries = 0;
      tries < 50 && (await client.leaseTimeToLive(id, {}, signal)).ttlSeconds < 86_399;
      tries += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    t.ok((await client.leaseTimeToLive(id, {}, signal)).ttlSeconds >= 86_399);
    stop.abort();
    await running;
  });

  await t.test("when somebody else has our subnet we take another and say so", async (t) => {
    const keeper = manager();
    const own = await keeper.acquire(config, attributes(20), "10.5.9.0/24", signal);
    const stop = new AbortController();
    const moved = Promise.withResolvers<SubnetLease>();
    const listed = Promise.withResolvers<void>();
    const told = { leases: () => listed.resolve(), moved: (lease: SubnetLease) => moved.resolve(lease) };
    const running = keeper.run(told, stop.signal).catch(() => undefined);
    await listed.promise;
    await client.put(
      { key: "/net/subnets/10.5.9.0-24", value: '{"PublicIP":"192.0.2.21","BackendType":"host-gw"}' },
      signal,
    );
    const now = await moved.promise;
    t.equal(own.subnet, "10.5.9.0/24");
    t.not(now.subnet, own.subnet);
    t.equal(now.attributes.publicIp, "192.0.2.20");
    stop.abort();
    await running;
  });

  await t.test("a full network is an error that says so", async (t) => {
    const small = { ...config, subnetMax: "10.5.1.0" };
    await t.rejects(manager().acquire(small, attributes(50), undefined, signal), { code: "out-of-subnets" });
  });
});
