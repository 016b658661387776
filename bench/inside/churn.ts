/**
 * Runs on the test machine: Pods come and go on the real runtime, in waves, and what the node's process, the kernel and
 * the disk still hold of them afterwards. Prints {@link Churn} as JSON.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { pods } from "#api/resources.ts";

/** What is held, after each wave and a pause. */
export interface Holdings {
  readonly pods: number;
  readonly rssMb: number;
  readonly descriptors: number;
  readonly mounts: number;
  readonly netns: number;
  readonly links: number;
  readonly cgroups: number;
  readonly folders: number;
}

export interface Churn {
  readonly waves: readonly Holdings[];
}

const waves = Number(process.argv[3] ?? 6);
const podsInWave = 50;
const signal = AbortSignal.timeout(540_000);
const client = new ApiClient(new HttpTransport(loadKubeconfig("/etc/keelson/admin.kubeconfig")));
const found: Holdings[] = [];
for (let wave = 0; wave < waves; wave += 1) {
  const names = Array.from({ length: podsInWave }, (_, index) => `churn-${wave}-${index}`);
  await Promise.all(names.map(create));
  await until(async () => {
    const { items } = await client.list(pods, { namespace: "default" }, signal);
    return items.length === podsInWave && items.every(({ status }) => status?.phase === "Running");
  });
  await Promise.all(names.map((name) => client.delete(pods, { namespace: "default", name }, {}, signal)));
  await until(async () => (await client.list(pods, { namespace: "default" }, signal)).items.length === 0);
  await delay(5_000); // what is removed after the API has let go
  found.push(holdings((wave + 1) * podsInWave));
}
console.log(JSON.stringify({ waves: found } satisfies Churn));
process.exit(0);

async function create(name: string): Promise<void> {
  await client.create(
    pods,
    {
      metadata: { namespace: "default", name },
      spec: {
        volumes: [{ name: "data", emptyDir: { medium: "Memory" } }],
        containers: [
          {
            name: "main",
            image: "docker.io/library/busybox:1.36",
            command: ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"],
            volumeMounts: [{ name: "data", mountPath: "/data" }],
            readinessProbe: { exec: { command: ["true"] }, periodSeconds: 5 },
          },
        ],
      },
    },
    {},
    signal,
  );
}

function holdings(count: number): Holdings {
  const pid = readFileSync("/run/keelson/node.pid", "utf8").split(" ")[0] ?? "";
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const lines = (...command: readonly [string, ...string[]]): number =>
    execFileSync(command[0], command.slice(1), { encoding: "utf8" }).split("\n").length - 1;
  return {
    pods: count,
    rssMb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    netns: lines("sh", "-c", "ls /var/run/netns /run/docker/netns 2>/dev/null || true"),
    links: lines("ip", "-o", "link"),
    cgroups: lines("sh", "-c", "find /sys/fs/cgroup -type d -path '*kubepods*'"),
    folders: lines("sh", "-c", "ls /var/lib/kubelet/pods /var/log/pods /var/log/containers"),
  };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(250, undefined, { signal });
}
