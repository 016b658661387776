import t from "tap";
import type { EndpointSlice, Pod, Service } from "#api/generated/kubernetes.ts";
import { planSlices, type SlicePlan, sliceLimit } from "./endpoint-slices.ts";
import { planEndpoints } from "./endpoint-subsets.ts";
import { podEndpoints } from "./service-endpoints.ts";

const trigger = "2026-01-01T00:00:00Z";
const web: Service = {
  metadata: { name: "web", namespace: "default", uid: "s1", labels: { team: "a" } },
  spec: {
    clusterIP: "10.96.0.5",
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: "web" }],
  },
};

interface Facts {
  readonly ready?: boolean;
  readonly deleting?: boolean;
  readonly phase?: string;
  readonly port?: number;
  readonly hostname?: string;
  readonly subdomain?: string;
}

function pod(at: number, facts: Facts = {}): Pod {
  const { ready = true, deleting = false, phase = "Running", port = 8080, hostname, subdomain } = facts;
  return {
    metadata: {
      name: `p${at}`,
      namespace: "default",
      uid: `u${at}`,
      ...(deleting ? { deletionTimestamp: trigger } : {}),
    },
    spec: {
      nodeName: "n1",
      containers: [{ name: "c", ports: [{ name: "web", containerPort: port }] }],
      ...(hostname === undefined ? {} : { hostname }),
      ...(subdomain === undefined ? {} : { subdomain }),
    },
    status: {
      phase,
      podIP: `10.244.${Math.floor(at / 250)}.${at % 250}`,
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}

function plan(
  pods: readonly Pod[],
  existing: readonly EndpointSlice[] = [],
  service: Service = web,
): SlicePlan {
  return planSlices(service, podEndpoints(service, pods), existing, () => "z1", trigger);
}

/** The slices after a plan, with the names and versions the API would give. */
function applied(
  existing: readonly EndpointSlice[],
  { create, update, delete: gone }: SlicePlan,
): EndpointSlice[] {
  const named = create.map((slice, at) => ({
    ...slice,
    metadata: { ...slice.metadata, name: `web-${existing.length + at}` },
  }));
  const kept = existing
    .filter((slice) => !gone.includes(slice))
    .map((slice) => update.find(({ metadata }) => metadata?.name === slice.metadata?.name) ?? slice);
  return [...kept, ...named];
}

t.test("a slice says where each pod is and whether it is ready", async (t) => {
  const { create } = plan([pod(1), pod(2, { ready: false })]);
  t.match(create, [
    {
      addressType: "IPv4",
      metadata: {
        generateName: "web-",
        labels: {
          "kubernetes.io/service-name": "web",
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
          team: "a",
        },
        annotations: { "endpoints.kubernetes.io/last-change-trigger-time": trigger },
        ownerReferences: [{ kind: "Service", uid: "s1", controller: true }],
      },
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
      endpoints: [
        {
          addresses: ["10.244.0.1"],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: "n1",
          zone: "z1",
          targetRef: { kind: "Pod", name: "p1", uid: "u1" },
        },
        { addresses: ["10.244.0.2"], conditions: { ready: false, serving: false, terminating: false } },
      ],
    },
  ]);
});

const cases: readonly {
  readonly name: string;
  readonly pod: Pod;
  readonly service?: Service;
  readonly endpoints: readonly unknown[];
}[] = [
  {
    name: "a terminating pod serves but is not ready",
    pod: pod(1, { deleting: true }),
    endpoints: [{ conditions: { ready: false, serving: true, terminating: true } }],
  },
  { name: "a finished pod is no endpoint", pod: pod(1, { phase: "Succeeded" }), endpoints: [] },
  {
    name: "publishNotReadyAddresses makes everything ready",
    pod: pod(1, { ready: false }),
    service: { ...web, spec: { ...web.spec, publishNotReadyAddresses: true } },
    endpoints: [{ conditions: { ready: true, serving: false } }],
  },
  {
    name: "the hostname stands only in its own subdomain",
    pod: pod(1, { hostname: "db-0", subdomain: "web" }),
    endpoints: [{ hostname: "db-0" }],
  },
];
for (const { name, pod: only, service, endpoints } of cases) {
  t.test(name, async (t) => t.match(plan([only], [], service).create[0]?.endpoints, endpoints));
}

t.test("a change of one pod writes one slice, and no change writes none", async (t) => {
  const pods = Array.from({ length: 250 }, (_, at) => pod(at));
  const first = plan(pods);
  t.same(
    first.create.map(({ endpoints }) => endpoints?.length),
    [sliceLimit, sliceLimit, 50],
  );
  const slices = applied([], first);
  t.same(plan(pods, slices), { create: [], update: [], delete: [] });
  const changed = pods.with(120, pod(120, { ready: false }));
  const second = plan(changed, slices);
  t.same([second.create.length, second.update.length, second.delete.length], [0, 1, 0]);
  t.equal(second.update[0]?.metadata?.name, "web-1");
});

t.test("new pods fill the room that others left, and an empty slice goes", async (t) => {
  const pods = Array.from({ length: 150 }, (_, at) => pod(at));
  const slices = applied([], plan(pods));
  const fewer = plan([...pods.slice(0, 90), pod(200)], slices);
  t.same([fewer.create.length, fewer.update.length, fewer.delete.length], [0, 1, 1]);
  t.equal(fewer.update[0]?.endpoints?.length, 91);
});

t.test("pods with another number under the same port name get a slice of their own", async (t) => {
  t.same(
    plan([pod(1), pod(2, { port: 9090 })]).create.map(({ ports }) => ports?.[0]?.port),
    [8080, 9090],
  );
});

t.test("a Service without pods has one empty slice", async (t) => {
  const slices = applied([], plan([]));
  t.same(
    slices.map(({ endpoints }) => endpoints),
    [[]],
  );
  t.same(plan([], slices), { create: [], update: [], delete: [] });
});

t.test("Endpoints tell ready from not ready and leave terminating pods out", async (t) => {
  const pods = [pod(2), pod(1), pod(3, { ready: false }), pod(4, { deleting: true })];
  const next = planEndpoints(web, podEndpoints(web, pods), undefined, trigger);
  t.match(next?.subsets, [
    {
      addresses: [{ ip: "10.244.0.1" }, { ip: "10.244.0.2" }],
      notReadyAddresses: [{ ip: "10.244.0.3" }],
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    },
  ]);
  t.equal(
    planEndpoints(web, podEndpoints(web, pods), next, "2026-02-02T00:00:00Z"),
    undefined,
    "no change, no write",
  );
});
