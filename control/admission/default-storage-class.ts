import type { PersistentVolumeClaim, StorageClass } from "#api/generated/kubernetes.ts";
import { typed } from "./plan/typed.ts";
import { type PluginFactory, pluginFor } from "./plugin.ts";

const annotation = "storageclass.kubernetes.io/is-default-class";

/** A claim that names no class gets the default one; of several, the newest. "" asks for none. */
export const defaultStorageClass: PluginFactory = (ports) =>
  pluginFor(
    "DefaultStorageClass",
    { operations: ["CREATE"], resource: "persistentvolumeclaims" },
    (_request, object) => {
      const spec = typed<PersistentVolumeClaim>(object).spec ?? {};
      if (spec.storageClassName !== undefined) return object;
      const created = (one: StorageClass): string => one.metadata?.creationTimestamp ?? "";
      const newest = [...ports.storageClasses.values()]
        .filter((one) => one.metadata?.annotations?.[annotation] === "true")
        .sort((a, b) => created(b).localeCompare(created(a)))[0];
      const storageClassName = newest?.metadata?.name;
      return storageClassName === undefined ? object : { ...object, spec: { ...spec, storageClassName } };
    },
  );
