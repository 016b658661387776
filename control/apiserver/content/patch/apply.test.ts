import t from "tap";
import { type Json, record } from "../json.ts";
import { applyConfiguration } from "./apply.ts";
import { fieldsOf, fromFieldsV1, toFieldsV1 } from "./field-set.ts";
import { clearsManaged, trackUpdate } from "./managed-fields.ts";

const deployment = (spec: Json, metadata: Json = {}): Json => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "d", ...metadata },
  spec,
});
const pods = (...containers: readonly Json[]) => ({ template: { spec: { containers } } });
const writer = { apiVersion: "apps/v1", time: "2026-01-01T00:00:00Z", subresource: "" };
const apply = (live: Json | undefined, applied: Json, manager = "a", force = false) =>
  applyConfiguration({ model: "Deployment", live, applied, manager, force, ...writer });
const update = (before: Json | undefined, after: Json, manager = "b") =>
  trackUpdate("Deployment", before, after, { ...writer, manager });
const spec = (object: Json) => record(object["spec"]);
const managers = (object: Json) => JSON.stringify(record(object["metadata"])["managedFields"]);

t.test("fields are counted as Kubernetes counts them, and written as FieldsV1", async (t) => {
  const object = deployment(
    {
      replicas: 1,
      selector: { matchLabels: { a: "b" } },
      ...pods({ name: "c", image: "i", ports: [{ containerPort: 80 }], args: ["x"] }),
    },
    { labels: { app: "web" }, finalizers: ["a/b"], uid: "u" },
  );
  const fields = toFieldsV1(fieldsOf("Deployment", object).keys());
  t.same(fields, {
    "f:metadata": { "f:labels": { "f:app": {} }, "f:finalizers": { 'v:"a/b"': {} } },
    "f:spec": {
      "f:replicas": {},
      "f:selector": {},
      "f:template": {
        "f:spec": {
          "f:containers": {
            'k:{"name":"c"}': {
              ".": {},
              "f:name": {},
              "f:image": {},
              "f:args": {},
              "f:ports": { 'k:{"containerPort":80,"protocol":"TCP"}': { ".": {}, "f:containerPort": {} } },
            },
          },
        },
      },
    },
  });
  t.same([...fromFieldsV1(fields)].toSorted(), [...fieldsOf("Deployment", object).keys()].toSorted());
});

t.test("what is applied first is the object; the same again changes nothing", async (t) => {
  const first = apply(undefined, deployment({ replicas: 1 }));
  t.match(record(first["metadata"])["managedFields"], [
    {
      manager: "a",
      operation: "Apply",
      fieldsType: "FieldsV1",
      fieldsV1: { "f:spec": { "f:replicas": {} } },
    },
  ]);
  t.equal(apply(first, deployment({ replicas: 1 })), first);
});

t.test("what is applied no more goes, unless another owns it too", async (t) => {
  const one = apply(
    undefined,
    deployment({ replicas: 1, paused: true, ...pods({ name: "c", image: "i" }, { name: "d", image: "j" }) }),
  );
  const shared = apply(one, deployment({ paused: true }), "other");
  const less = apply(shared, deployment(pods({ name: "c", image: "i" })));
  t.notOk("replicas" in spec(less), "only its manager had it");
  t.equal(spec(less)["paused"], true, "another manager has it too");
  t.same(record(record(spec(less)["template"])["spec"])["containers"], [{ name: "c", image: "i" }]);
});

t.test("what others own stays, in lists as well", async (t) => {
  const one = apply(undefined, deployment(pods({ name: "c", image: "i" })));
  const sidecar = apply(one, deployment(pods({ name: "s", image: "j" })), "injector");
  const again = apply(sidecar, deployment(pods({ name: "c", image: "i:2" })));
  t.same(record(record(spec(again)["template"])["spec"])["containers"], [
    { name: "c", image: "i:2" },
    { name: "s", image: "j" },
  ]);
});

t.test("another's value is a conflict that names manager and field; force takes it", async (t) => {
  const live = update(undefined, deployment({ replicas: 1 }), "kubectl");
  t.throws(() => apply(live, deployment({ replicas: 2 })), {
    code: 409,
    reason: "Conflict",
    message: 'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas',
    details: { causes: [{ reason: "FieldManagerConflict", field: ".spec.replicas" }] },
  });
  const taken = apply(live, deployment({ replicas: 2 }), "a", true);
  t.equal(spec(taken)["replicas"], 2);
  t.notMatch(managers(taken), /kubectl/);
  t.equal(spec(apply(live, deployment({ replicas: 1 })))["replicas"], 1, "the same value is shared");
});

t.test("an object that nobody tracked belongs to those before", async (t) => {
  t.throws(() => apply(deployment({ replicas: 1 }), deployment({ replicas: 2 })), {
    code: 409,
    message: /before-first-apply/,
  });
});

t.test("updates take what they change and leave the rest", async (t) => {
  const applied = apply(undefined, deployment({ replicas: 1, paused: true }));
  const scaled = update(
    applied,
    deployment({ replicas: 5, paused: true }, record(applied["metadata"])),
    "scaler",
  );
  t.match(record(scaled["metadata"])["managedFields"], [
    { manager: "a", fieldsV1: { "f:spec": { "f:paused": {} } } },
    { manager: "scaler", operation: "Update", fieldsV1: { "f:spec": { "f:replicas": {} } } },
  ]);
  t.same(update(scaled, scaled, "nobody"), scaled, "no change, no owner");
});

t.test("many updaters are summed up", async (t) => {
  let object = deployment({});
  for (let index = 0; index < 13; index += 1) {
    const labels = { ...record(record(object["metadata"])["labels"]), [`l${index}`]: "x" };
    object = trackUpdate(
      "Deployment",
      index === 0 ? undefined : object,
      deployment({}, { ...record(object["metadata"]), labels }),
      {
        ...writer,
        manager: `m${index}`,
        time: `2026-01-01T00:00:${String(index).padStart(2, "0")}Z`,
      },
    );
  }
  t.match(managers(object), /ancient-changes/);
  t.equal(managers(object).match(/"manager"/g)?.length, 11);
});

t.test("managedFields cannot be applied, and can be cleared", async (t) => {
  t.throws(() => apply(undefined, deployment({}, { managedFields: [{ manager: "x" }] })), { code: 400 });
  t.ok(clearsManaged(deployment({}, { managedFields: [{}] })));
  t.notOk(clearsManaged(deployment({})));
});
