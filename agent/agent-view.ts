import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import type { AgentContext } from "./agent-context.ts";
import { logDirectoryOf } from "./apply/create-sandbox.ts";
import type { AgentContainer, AgentPod, AgentView } from "./model.ts";
import { containerRecords, newestSandbox } from "./plan/container-records.ts";
import { podCgroup } from "./plan/container-resources.ts";
import { containersOf } from "./plan/containers-of.ts";
import type { PodEntry } from "./pod-entry.ts";
import type { PodTable } from "./pod-table.ts";

/** What the agent's server sees of the table. */
export function agentView(
  context: AgentContext,
  table: PodTable,
  health: () => string | undefined,
): AgentView {
  const known = (): PodEntry[] => [...table.entries.values()].filter(({ source }) => source !== "orphan");
  return {
    nodeName: context.nodeName,
    pods: () => known().map((entry) => withKind(entry.withStatus())),
    podByUid: (uid) => {
      // The API knows a static Pod by its mirror's uid.
      const mirror = [...table.mirrors].find(([, pod]) => pod.metadata?.uid === uid)?.[0];
      const entry = mirror === undefined ? table.entries.get(uid) : table.staticByKey(mirror);
      return entry === undefined ? undefined : agentPod(context, entry);
    },
    podByName: (namespace, name) => {
      const key = keyText({ namespace, name });
      const same = known().filter(({ pod }) => keyText(keyOf(pod)) === key);
      const entry = same.find(({ gone }) => !gone) ?? same[0];
      return entry === undefined ? undefined : agentPod(context, entry);
    },
    healthy: () => {
      const why = health();
      return why === undefined ? { ok: true } : { ok: false, why };
    },
    configuration: () => ({
      ...context.config,
      // They may hold a password; kubelet masks them too.
      staticPodUrlHeaders: mapValues(context.config.staticPodUrlHeaders, () => "<masked>"),
    }),
  };
}

function agentPod(context: AgentContext, entry: PodEntry): AgentPod {
  const { config, node, cgroupDriver, volumeReadings } = context;
  const pod = entry.withStatus();
  const sandbox = newestSandbox(entry.runtime);
  const ready = sandbox?.state === "ready" ? sandbox : undefined;
  const records = containerRecords(entry.runtime.containers);
  const containers = containersOf(pod).flatMap(({ kind, container }): [string, AgentContainer][] => {
    const record = records.get(container.name);
    if (record === undefined) return [];
    const { newest, older } = record;
    const previous = older.find(({ state }) => state === "exited");
    return [
      [
        container.name,
        {
          name: container.name,
          kind,
          id: newest.id,
          state: newest.state,
          attempt: newest.attempt,
          logPath: newest.logPath,
          startedAtMs: newest.startedAtMs,
          finishedAtMs: newest.finishedAtMs,
          previous: previous && { id: previous.id, logPath: previous.logPath },
        },
      ],
    ];
  });
  return {
    pod: withKind(pod),
    uid: entry.uid,
    sandboxId: ready?.id,
    ips: pod.spec?.hostNetwork === true ? node.hostIps() : (ready?.ips ?? []),
    logDirectory: logDirectoryOf(context, entry),
    cgroup: config.cgroupsPerQos ? podCgroup(pod, cgroupDriver, config.cgroupRoot) : "",
    containers: new Map(containers),
    volumes: volumeReadings.of(entry.uid),
  };
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

function withKind(pod: Pod): Pod {
  return { ...pod, apiVersion: "v1", kind: "Pod" };
}
