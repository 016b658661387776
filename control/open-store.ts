import path from "node:path";
import type { Clock } from "#lib/clock.ts";
import { makeFolder } from "#lib/make-folder.ts";
import type { Store } from "./store/store.ts";

/** Where everything is kept. */
export interface StoreOptions {
  readonly dataDir: string;
  /** Empty: the built-in store in `<data>/store.db`. */
  readonly etcdServers: readonly string[];
}

/**
 * Opens the store that was asked for; the other one's code is not loaded.
 * @throws Error that names the folder or file.
 */
export async function openStore(options: StoreOptions, clock: Clock, signal: AbortSignal): Promise<Store> {
  signal.throwIfAborted();
  if (options.etcdServers.length > 0) {
    const { EtcdClient } = await import("#api/etcd/etcd-client.ts");
    const { EtcdStore } = await import("./store/etcd/etcd-store.ts");
    return new EtcdStore(new EtcdClient({ endpoints: options.etcdServers }), clock);
  }
  const file = path.join(options.dataDir, "store.db");
  try {
    await makeFolder(options.dataDir, 0o700);
    const { SqliteStore } = await import("./store/sqlite/sqlite-store.ts");
    return new SqliteStore(file, clock);
  } catch (cause) {
    throw new Error(
      `cannot open the store "${file}"; run as root, or choose another folder with --data-dir`,
      { cause },
    );
  }
}
