import type {
  LimitRange,
  Namespace,
  Pod,
  PriorityClass,
  RuntimeClass,
  ServiceAccount,
  StorageClass,
} from "#api/generated/kubernetes.ts";
import type { KubeObject } from "#api/meta.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { systemClock } from "#lib/clock.ts";
import t from "tap";
import { resourceTable } from "../apiserver/content/resources.ts";
import type { AdmissionRequest, StoredObject, Subresource, User } from "../model.ts";
import type { Lister, Lookup } from "../observe/lookup.ts";
import { admissionChain, choosePlugins, defaultPlugins } from "./chain.ts";
import type { AdmissionPorts } from "./plugin.ts";

const signal = AbortSignal.timeout(30_000);
const admin: User = { name: "admin", groups: ["system:masters"] };
const node: User = { name: "system:node:n1", groups: ["system:nodes"] };

class Things<T extends KubeObject> implements Lister<T> {
  readonly all = new Map<string, T>();
  readonly lookup: Lookup<T> = (namespace, name) => Promise.resolve(this.get(keyText({ namespace, name })));
  get(key: string): T | undefined {
    return this.all.get(key);
  }
  values(): Iterable<T> {
    return this.all.values();
  }
  add(object: T): void {
    this.all.set(keyText(keyOf(object)), object);
  }
}

function world() {
  const namespaces = new Things<Namespace>();
  const accounts = new Things<ServiceAccount>();
  const pods = new Things<Pod>();
  const priorities = new Things<PriorityClass>();
  const limitRanges = new Things<LimitRange>();
  namespaces.add({ metadata: { name: "d" }, status: { phase: "Active" } });
  namespaces.add({ metadata: { name: "dying" }, status: { phase: "Terminating" } });
  accounts.add({ metadata: { name: "default", namespace: "d" }, imagePullSecrets: [{ name: "registry" }] });
  const ports: AdmissionPorts = {
    namespace: namespaces.lookup,
    serviceAccount: accounts.lookup,
    pod: pods.lookup,
    priorityClass: priorities.lookup,
    runtimeClass: new Things<RuntimeClass>().lookup,
    priorityClasses: priorities,
    storageClasses: new Things<StorageClass>(),
    limitRanges,
    clock: { ...systemClock, sleep: () => Promise.resolve() },
    random: () => 0,
  };
  const plugins = admissionChain(choosePlugins(defaultPlugins).run, ports);
  const admit = async (
    operation: AdmissionRequest["operation"],
    plural: string,
    object: object | undefined,
    more: { namespace?: string; user?: User; before?: object; subresource?: Subresource; name?: string } = {},
  ): Promise<Record<string, never> | undefined> => {
    const resource = resourceTable().find((one) => one.plural === plural);
    if (resource === undefined) throw new Error(`no ${plural}`);
    const metadata = object === undefined ? {} : ((object as KubeObject).metadata ?? {});
    let current = object as StoredObject | undefined;
    for (const plugin of plugins) {
      current = await plugin.admit(
        {
          operation,
          user: more.user ?? admin,
          resource,
          subresource: more.subresource ?? "",
          namespace: more.namespace ?? (resource.namespaced ? "d" : ""),
          name: more.name ?? (metadata as { name?: string }).name ?? "",
          object: current,
          before: more.before as StoredObject | undefined,
          dryRun: false,
        },
        signal,
      );
    }
    return current as Record<string, never> | undefined;
  };
  return { admit, pods, accounts, priorities, limitRanges };
}

const pod = (spec: object = {}, metadata: object = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "d", ...metadata },
  spec: { containers: [{ name: "c", image: "i" }], ...spec },
});

t.test("a Pod gets its account, the account's token, priority and tolerations", async (t) => {
  const { admit } = world();
  const admitted = await admit("CREATE", "pods", pod());
  t.match(admitted?.["spec"], {
    serviceAccountName: "default",
    serviceAccount: "default",
    priority: 0,
    preemptionPolicy: "PreemptLowerPriority",
    imagePullSecrets: [{ name: "registry" }],
    tolerations: [
      {
        key: "node.kubernetes.io/not-ready",
        operator: "Exists",
        effect: "NoExecute",
        tolerationSeconds: 300,
      },
      { key: "node.kubernetes.io/unreachable", tolerationSeconds: 300 },
    ],
    volumes: [
      {
        name: "kube-api-access-bbbbb",
        projected: {
          defaultMode: 420,
          sources: [
            { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
            { configMap: { name: "kube-root-ca.crt" } },
            { downwardAPI: { items: [{ path: "namespace" }] } },
          ],
        },
      },
    ],
    containers: [
      {
        volumeMounts: [
          {
            name: "kube-api-access-bbbbb",
            readOnly: true,
            mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
          },
        ],
      },
    ],
  });
});

t.test("a Pod without an account is refused in the words that people search for", async (t) => {
  const { admit, accounts } = world();
  accounts.all.clear();
  await t.rejects(admit("CREATE", "pods", pod()), {
    code: 403,
    message:
      'pods "p" is forbidden: error looking up service account d/default: serviceaccount "default" not found',
  });
});

t.test("no token is mounted where the Pod or the account says so", async (t) => {
  const { admit, accounts } = world();
  t.equal(
    (await admit("CREATE", "pods", pod({ automountServiceAccountToken: false })))?.["spec"]?.["volumes"],
    undefined,
  );
  accounts.add({ metadata: { name: "quiet", namespace: "d" }, automountServiceAccountToken: false });
  t.equal(
    (await admit("CREATE", "pods", pod({ serviceAccountName: "quiet" })))?.["spec"]?.["volumes"],
    undefined,
  );
});

t.test("nothing new in a namespace that is missing or going; the cluster's own stay", async (t) => {
  const { admit } = world();
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" } };
  await t.rejects(admit("CREATE", "configmaps", map, { namespace: "none" }), {
    code: 404,
    message: 'namespaces "none" not found',
  });
  await t.rejects(admit("CREATE", "configmaps", map, { namespace: "dying" }), {
    code: 403,
    message:
      'configmaps "c" is forbidden: unable to create new content in namespace dying because it is being terminated',
    details: { causes: [{ reason: "NamespaceTerminating" }] },
  });
  await t.rejects(admit("DELETE", "namespaces", undefined, { name: "kube-system" }), {
    code: 403,
    message: 'namespaces "kube-system" is forbidden: this namespace may not be deleted',
  });
});

t.test("priority classes are numbers; the system's exist from the start", async (t) => {
  const { admit, priorities } = world();
  t.equal(
    (await admit("CREATE", "pods", pod({ priorityClassName: "system-node-critical" })))?.["spec"]?.[
      "priority"
    ],
    2_000_001_000,
  );
  await t.rejects(admit("CREATE", "pods", pod({ priorityClassName: "gold" })), {
    message: /no PriorityClass with name gold was found/,
  });
  priorities.add({ metadata: { name: "low" }, value: -5, globalDefault: true, preemptionPolicy: "Never" });
  t.match((await admit("CREATE", "pods", pod()))?.["spec"], {
    priority: -5,
    priorityClassName: "low",
    preemptionPolicy: "Never",
  });
  await t.rejects(admit("CREATE", "pods", pod({ priority: 7 })), {
    message: /priority admission controller computed -5/,
  });
});

t.test("a LimitRange fills in what is open and refuses what is too much", async (t) => {
  const { admit, limitRanges } = world();
  limitRanges.add({
    metadata: { name: "l", namespace: "d" },
    spec: {
      limits: [
        { type: "Container", default: { cpu: "500m" }, defaultRequest: { cpu: "100m" }, max: { cpu: "1" } },
      ],
    },
  });
  const admitted = await admit("CREATE", "pods", pod());
  t.match(admitted, {
    metadata: { annotations: { "kubernetes.io/limit-ranger": /cpu request for container c/ } },
    spec: { containers: [{ resources: { limits: { cpu: "500m" }, requests: { cpu: "100m" } } }] },
  });
  const greedy = pod({ containers: [{ name: "c", resources: { limits: { cpu: "1500m" } } }] });
  await t.rejects(admit("CREATE", "pods", greedy), {
    code: 403,
    message: 'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 1500m',
  });
});

t.test("a new node is tainted until it is seen ready", async (t) => {
  const admitted = await world().admit("CREATE", "nodes", { metadata: { name: "n1" } }, { user: node });
  t.same(admitted?.["spec"], { taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }] });
});

const nodeCases: readonly {
  name: string;
  refused: RegExp | undefined;
  write: Parameters<ReturnType<typeof world>["admit"]>;
}[] = [
  { name: "makes itself", refused: undefined, write: ["CREATE", "nodes", { metadata: { name: "n1" } }] },
  {
    name: "makes another",
    refused: /node "n1" is not allowed to modify node "n2"/,
    write: ["CREATE", "nodes", { metadata: { name: "n2" } }],
  },
  {
    name: "takes its taints away",
    refused: /not allowed to modify taints/,
    write: [
      "UPDATE",
      "nodes",
      { metadata: { name: "n1" }, spec: {} },
      { before: { metadata: { name: "n1" }, spec: { taints: [{ key: "k", effect: "NoSchedule" }] } } },
    ],
  },
  {
    name: "calls itself a control plane",
    refused: /not allowed to modify labels: node-role.kubernetes.io\/control-plane/,
    write: [
      "CREATE",
      "nodes",
      { metadata: { name: "n1", labels: { "node-role.kubernetes.io/control-plane": "" } } },
    ],
  },
  {
    name: "makes an ordinary Pod",
    refused: /can only create mirror pods/,
    write: ["CREATE", "pods", pod({ nodeName: "n1" })],
  },
  {
    name: "mirrors a static Pod",
    refused: undefined,
    write: [
      "CREATE",
      "pods",
      pod({ nodeName: "n1" }, { annotations: { "kubernetes.io/config.mirror": "h" } }),
    ],
  },
  {
    name: "reports on another node's Pod",
    refused: /can only update pod status for pods with spec.nodeName set to itself/,
    write: ["UPDATE", "pods", pod(), { subresource: "status", before: pod({ nodeName: "n2" }) }],
  },
  {
    name: "takes another's lease",
    refused: /same name as the requesting node/,
    write: ["UPDATE", "leases", { metadata: { name: "n2" } }, { namespace: "kube-node-lease" }],
  },
];
for (const { name, refused, write } of nodeCases) {
  t.test(`a node ${name}: ${refused === undefined ? "allowed" : "refused"}`, async (t) => {
    const [operation, plural, object, more] = write;
    const admitted = world().admit(operation, plural, object, { ...more, user: node });
    if (refused === undefined) await t.resolves(admitted);
    else await t.rejects(admitted, { code: 403, message: refused });
  });
}

t.test(
  "plugins run in upstream's order whatever the order they are listed in; unknown names are refused",
  async (t) => {
    t.same(choosePlugins(["ServiceAccount", "ResourceQuota", "NamespaceLifecycle"]), {
      run: ["NamespaceLifecycle", "ServiceAccount"],
      passedOver: ["ResourceQuota"],
    });
    t.throws(() => choosePlugins(["NameSpaceLifecycle"]), /"NameSpaceLifecycle" is none/);
  },
);
