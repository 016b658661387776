import { ApiClient } from "#api/client.ts";
import type { EventRecorder } from "#api/event-recorder.ts";
import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { keyOf, type KubeObject, type Resource } from "#api/meta.ts";
import { leases, namespaces, nodes, pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { systemClock } from "#lib/clock.ts";
import { type Log, noLog } from "#lib/log.ts";
import { admissionChain } from "../admission/chain.ts";
import { ApiServer } from "../apiserver/api-server.ts";
import { kubernetesContent } from "../apiserver/content.ts";
import { resourceTable } from "../apiserver/content/resources.ts";
import { LocalTransport } from "../apiserver/local-transport.ts";
import { runScheduler } from "../scheduler/run.ts";
import { getOrUndefined } from "../observe/lookup.ts";
import { SqliteStore } from "../store/sqlite/sqlite-store.ts";
import type { ControllersConfig } from "./controller.ts";
import { isoTime } from "./plan/times.ts";
import { runControllers } from "./run.ts";
import { Tables } from "./tables.ts";

const nothing = (): Promise<undefined> => Promise.resolve(undefined);

/** What a recorder was told. */
export interface RecordedEvent {
  readonly about: string;
  readonly reason: string;
  readonly message: string;
}

/**
 * A whole control plane in memory: the real engine and store, the real scheduler and controllers, and agents
 * that are not there: a test says what they would report.
 */
export class TestCluster implements AsyncDisposable {
  readonly client: ApiClient;
  readonly events: RecordedEvent[] = [];
  readonly #stop = new AbortController();
  readonly #store: SqliteStore;
  readonly #running: Promise<unknown>[] = [];
  readonly #server: ApiServer;
  #address = 0;

  private constructor(store: SqliteStore, log: Log) {
    this.#store = store;
    this.#server = new ApiServer({
      store,
      resources: resourceTable(),
      content: kubernetesContent,
      authenticate: () => Promise.resolve({ state: "refused", why: "no one comes over the network" }),
      authorize: () => ({ allowed: true, why: "a test" }),
      admission: admissionChain(["NamespaceLifecycle", "TaintNodesByCondition"], {
        namespace: (_, name, signal) => getOrUndefined(this.client, namespaces, "", name, signal),
        serviceAccount: nothing,
        pod: nothing,
        priorityClass: nothing,
        runtimeClass: nothing,
        priorityClasses: new Map<string, never>(),
        storageClasses: new Map<string, never>(),
        limitRanges: new Map<string, never>(),
        clock: systemClock,
        random: Math.random,
      }),
      issueToken: () => Promise.reject(new Error("cannot issue a token: this is a test")),
      virtual: new Map(),
      clock: systemClock,
      log,
    });
    this.client = new ApiClient(
      new LocalTransport(this.#server, { name: "system:admin", groups: ["system:masters"] }),
    );
  }

  /** @param config where it differs from a cluster of 10.244.0.0/16. */
  static async start(config: Partial<ControllersConfig> = {}, log: Log = noLog): Promise<TestCluster> {
    const store = new SqliteStore(":memory:", systemClock);
    const cluster = new TestCluster(store, log);
    await cluster.#start(config, log);
    return cluster;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  async #start(config: Partial<ControllersConfig>, log: Log): Promise<void> {
    const { signal } = this;
    await this.#server.start(signal);
    this.#running.push(this.#server.run(signal).catch(() => undefined));
    const events: EventRecorder = {
      event: (target, _, reason, message) =>
        this.events.push({ about: `${target.kind}/${target.metadata?.name}`, reason, message }),
    };
    const ports = { client: this.client, clock: systemClock, log, random: Math.random, events };
    const tables = new Tables(ports);
    const all: ControllersConfig = { clusterCidr: "10.244.0.0/16", rootCaPem: "the CA", ...config };
    this.#running.push(tables.run(signal), runScheduler({ ...ports, tables }, signal));
    this.#running.push(runControllers({ ...ports, config: all, tables }, signal));
    for (const name of ["default", "kube-node-lease"]) await this.namespace(name);
  }

  async namespace(name: string): Promise<void> {
    await this.client.create(namespaces, { metadata: { name } }, {}, this.signal);
  }

  /** A node whose agent has said that it is ready. */
  async node(name: string, ready: boolean = true): Promise<Node> {
    await this.client.create(
      nodes,
      { metadata: { name, labels: { "kubernetes.io/hostname": name } } },
      {},
      this.signal,
    );
    return await this.reportNode(name, ready);
  }

  async reportNode(name: string, ready: boolean): Promise<Node> {
    const at = isoTime(systemClock.now());
    const conditions = [
      { type: "Ready", status: ready ? "True" : "False", lastHeartbeatTime: at, lastTransitionTime: at },
    ];
    const resources = { cpu: "4", memory: "8Gi", pods: "110" };
    const status = { conditions, allocatable: resources, capacity: resources };
    const key = { namespace: "", name };
    return await this.client.patch(nodes, key, "merge", { status }, { subresource: "status" }, this.signal);
  }

  async renewLease(name: string): Promise<void> {
    const spec = {
      holderIdentity: name,
      renewTime: new Date(systemClock.now()).toISOString().replace("Z", "000Z"),
    };
    const metadata = { name, namespace: "kube-node-lease" };
    try {
      await this.client.patch(leases, metadata, "merge", { spec }, {}, this.signal);
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
      await this.client.create(leases, { metadata, spec }, {}, this.signal);
    }
  }

  /** Plays the agents of all nodes until the test ends: bound pods run and get ready (or end), deleted ones go. */
  playAgents(behave: (pod: Pod) => "ready" | "Succeeded" | "Failed" = () => "ready"): void {
    this.#running.push(
      this.#agents(behave).catch((cause: unknown) => {
        if (!this.signal.aborted) throw cause;
      }),
    );
  }

  async #agents(behave: (pod: Pod) => "ready" | "Succeeded" | "Failed"): Promise<void> {
    for await (const { type, object } of this.client.watch(pods, {}, this.signal)) {
      if (type === "DELETED" || type === "BOOKMARK" || (object.spec?.nodeName ?? "") === "") continue;
      try {
        if (object.metadata?.deletionTimestamp !== undefined) {
          await this.client.delete(pods, keyOf(object), { gracePeriodSeconds: 0 }, this.signal);
        } else if ((object.status?.podIP ?? "") === "") {
          const end = behave(object);
          const running = await this.report(object, end === "ready");
          if (end === "ready") continue;
          const status = { phase: end };
          await this.client.patch(
            pods,
            keyOf(running),
            "merge",
            { status },
            { subresource: "status" },
            this.signal,
          );
        }
      } catch (cause) {
        if (!isReason(cause, "NotFound", "Conflict")) throw cause;
      }
    }
  }

  /** The agent says that the pod runs. */
  async report(pod: Pod, ready: boolean): Promise<Pod> {
    this.#address += 1;
    const lastTransitionTime = isoTime(systemClock.now());
    const condition = { type: "Ready", status: ready ? "True" : "False", lastTransitionTime };
    const podIP = pod.status?.podIP ?? `10.244.0.${this.#address}`;
    const status = { phase: "Running", podIP, podIPs: [{ ip: podIP }], conditions: [condition] };
    return await this.client.patch(
      pods,
      keyOf(pod),
      "strategic",
      { status },
      { subresource: "status" },
      this.signal,
    );
  }

  /** Waits until the objects of this kind in a namespace are as wanted, by watching them. */
  async until<T extends KubeObject>(
    what: string,
    resource: Resource<T>,
    namespace: string,
    isRight: (objects: readonly T[]) => boolean,
    withinMs: number = 5_000,
  ): Promise<readonly T[]> {
    const late = new AbortController();
    const deadline = late.signal;
    // Not AbortSignal.timeout: nothing else in this process keeps it alive while it waits.
    const timer = setTimeout(() => late.abort(), withinMs);
    const options = resource.namespaced ? { namespace } : {};
    const all = new Map<string, T>();
    const list = await this.client.list(resource, options, this.signal);
    for (const item of list.items) all.set(item.metadata?.name ?? "", item);
    if (isRight([...all.values()])) {
      clearTimeout(timer);
      return [...all.values()];
    }
    const from = { ...options, resourceVersion: list.metadata.resourceVersion ?? "0" };
    try {
      for await (const { type, object } of this.client.watch(
        resource,
        from,
        AbortSignal.any([this.signal, deadline]),
      )) {
        if (type === "BOOKMARK") continue;
        const name = object.metadata?.name ?? "";
        if (type === "DELETED") all.delete(name);
        else all.set(name, object);
        if (isRight([...all.values()])) return [...all.values()];
      }
    } catch (cause) {
      if (!deadline.aborted) throw cause;
    } finally {
      clearTimeout(timer);
    }
    throw new Error(
      `cannot see ${what} within ${withinMs} ms; there is ${JSON.stringify([...all.values()], undefined, 1).slice(0, 6_000)}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the test is over"));
    await Promise.allSettled(this.#running);
    await this.#store.close();
  }
}
