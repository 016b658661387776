import type { Column, StoredObject } from "../../../model.ts";
import { at, list, records, scalar, text } from "../json.ts";
import { ageColumn, column, nameColumn, textAt, wide } from "./cells.ts";

const shortModes: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const accessModes = (path: string): Column =>
  column("Access Modes", (object) =>
    list(at(object, path))
      .map((mode) => shortModes[text(mode)] ?? text(mode))
      .join(","),
  );
const attributesClass = column("VolumeAttributesClass", textAt("spec.volumeAttributesClassName", "<unset>"));
const isDefault = (object: StoredObject): boolean =>
  ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"].some(
    (key) => object.metadata.annotations?.[key] === "true",
  );
const flag = (name: string, path: string): Column =>
  column(name, (object) => at(object, path) === true, "boolean");

/** Kind -> columns of volumes and what serves them. */
export const storageColumns: Readonly<Record<string, readonly Column[]>> = {
  PersistentVolume: [
    nameColumn,
    column("Capacity", textAt("spec.capacity.storage", "")),
    accessModes("spec.accessModes"),
    column("Reclaim Policy", textAt("spec.persistentVolumeReclaimPolicy", "")),
    column("Status", (volume) =>
      volume.metadata.deletionTimestamp === undefined ? text(at(volume, "status.phase")) : "Terminating",
    ),
    column("Claim", (volume) =>
      at(volume, "spec.claimRef") === undefined
        ? ""
        : `${text(at(volume, "spec.claimRef.namespace"))}/${text(at(volume, "spec.claimRef.name"))}`,
    ),
    column("StorageClass", textAt("spec.storageClassName", "")),
    attributesClass,
    column("Reason", textAt("status.reason", "")),
    ageColumn,
    wide("VolumeMode", textAt("spec.volumeMode", "<unset>")),
  ],
  PersistentVolumeClaim: [
    nameColumn,
    column("Status", (claim) =>
      claim.metadata.deletionTimestamp === undefined ? text(at(claim, "status.phase")) : "Terminating",
    ),
    column("Volume", textAt("spec.volumeName", "")),
    column("Capacity", textAt("status.capacity.storage", "")),
    accessModes("status.accessModes"),
    column("StorageClass", textAt("spec.storageClassName", "")),
    attributesClass,
    ageColumn,
    wide("VolumeMode", textAt("spec.volumeMode", "<unset>")),
  ],
  StorageClass: [
    { ...nameColumn, cell: (object) => `${object.metadata.name}${isDefault(object) ? " (default)" : ""}` },
    column("Provisioner", textAt("provisioner", "")),
    column("ReclaimPolicy", textAt("reclaimPolicy", "Delete")),
    column("VolumeBindingMode", textAt("volumeBindingMode", "Immediate")),
    flag("AllowVolumeExpansion", "allowVolumeExpansion"),
    ageColumn,
  ],
  VolumeAttachment: [
    nameColumn,
    column("Attacher", textAt("spec.attacher", "")),
    column("PV", textAt("spec.source.persistentVolumeName", "")),
    column("Node", textAt("spec.nodeName", "")),
    flag("Attached", "status.attached"),
    ageColumn,
  ],
  CSINode: [
    nameColumn,
    column("Drivers", (object) => records(at(object, "spec.drivers")).length, "integer"),
    ageColumn,
  ],
  CSIDriver: [
    nameColumn,
    flag("AttachRequired", "spec.attachRequired"),
    flag("PodInfoOnMount", "spec.podInfoOnMount"),
    flag("StorageCapacity", "spec.storageCapacity"),
    column(
      "TokenRequests",
      (object) =>
        records(at(object, "spec.tokenRequests"))
          .map((each) => text(each["audience"]))
          .join(",") || "<unset>",
    ),
    flag("RequiresRepublish", "spec.requiresRepublish"),
    column(
      "Modes",
      (object) => list(at(object, "spec.volumeLifecycleModes")).map(scalar).join(",") || "<none>",
    ),
    ageColumn,
  ],
};
