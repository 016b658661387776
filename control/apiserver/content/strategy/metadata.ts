import type { FieldError, StoredObject } from "../../../model.ts";
import { list, record, text } from "../json.ts";
import { forbidden, immutable, invalid, required, tooLong } from "./errors.ts";
import type { KindTraits } from "./generic.ts";
import { isDnsLabel, labelKeyFaults, labelValueFaults, nameFaults } from "./names.ts";

const maxAnnotationBytes = 256 * 1024;

/** Name, namespace, labels, annotations, owners and finalizers of any object. */
export function validateMetadata(object: StoredObject, traits: KindTraits): readonly FieldError[] {
  const { metadata } = object;
  const errors: FieldError[] = [];
  const { generateName } = metadata;
  if (generateName !== undefined && generateName !== "") {
    // A prefix may end in a dash: five letters and digits follow it.
    for (const fault of nameFaults(traits.nameRule, generateName.replace(/-+$/, "a"))) {
      errors.push(invalid("metadata.generateName", generateName, fault));
    }
  }
  if (text(metadata.name) === "") {
    if (generateName === undefined || generateName === "") {
      errors.push(required("metadata.name", "name or generateName is required"));
    }
  } else {
    for (const fault of nameFaults(traits.nameRule, metadata.name)) {
      errors.push(invalid("metadata.name", metadata.name, fault));
    }
  }
  if (traits.namespaced) {
    if (text(metadata.namespace) === "") errors.push(required("metadata.namespace"));
    else if (!isDnsLabel(text(metadata.namespace))) {
      for (const fault of nameFaults("label", text(metadata.namespace))) {
        errors.push(invalid("metadata.namespace", text(metadata.namespace), fault));
      }
    }
  } else if (text(metadata.namespace) !== "") {
    errors.push(forbidden("metadata.namespace", "not allowed on this type"));
  }
  errors.push(...validateLabels(metadata.labels, "metadata.labels"));
  errors.push(...validateAnnotations(metadata.annotations, "metadata.annotations"));
  errors.push(...validateOwners(metadata.ownerReferences, "metadata.ownerReferences"));
  errors.push(...validateFinalizers(metadata.finalizers));
  return errors;
}

/** @param field where the labels stand: `metadata.labels`, `spec.selector`, ... */
export function validateLabels(labels: unknown, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(record(labels))) {
    for (const fault of labelKeyFaults(key)) errors.push(invalid(field, key, fault));
    for (const fault of labelValueFaults(text(value))) errors.push(invalid(field, text(value), fault));
  }
  return errors;
}

export function validateAnnotations(annotations: unknown, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(record(annotations))) {
    for (const fault of labelKeyFaults(key.toLowerCase())) errors.push(invalid(field, key, fault));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(text(value));
  }
  if (bytes > maxAnnotationBytes) errors.push(tooLong(field, maxAnnotationBytes));
  return errors;
}

function validateOwners(owners: unknown, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const controllers: string[] = [];
  for (const [index, each] of list(owners).entries()) {
    const owner = record(each);
    const here = `${field}[${index}]`;
    for (const key of ["apiVersion", "kind", "name", "uid"]) {
      if (text(owner[key]) === "") {
        const what = key === "apiVersion" ? "version" : key;
        errors.push(invalid(`${here}.${key}`, "", `${what} must not be empty`));
      }
    }
    if (owner["apiVersion"] === "v1" && owner["kind"] === "Event") {
      errors.push(invalid(here, "v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner"));
    }
    if (owner["controller"] === true) controllers.push(text(owner["name"]));
  }
  if (controllers.length > 1) {
    const [first = "", second = ""] = controllers;
    errors.push(
      invalid(
        field,
        list(owners),
        `Only one reference can have Controller set to true. Found "true" in references for ${first} and ${second}`,
      ),
    );
  }
  return errors;
}

function validateFinalizers(finalizers: unknown): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, each] of list(finalizers).entries()) {
    const name = text(each);
    const faults = labelKeyFaults(name);
    for (const fault of faults) errors.push(invalid("metadata.finalizers", name, fault));
    const standard = ["foregroundDeletion", "orphan", "kubernetes"].includes(name);
    if (faults.length === 0 && !name.includes("/") && !standard) {
      errors.push(
        invalid(
          `metadata.finalizers[${index}]`,
          name,
          "name is neither a standard finalizer name nor is it fully qualified",
        ),
      );
    }
  }
  return errors;
}

/** What an update may not touch. Server-owned fields are put back before by the engine. */
export function validateMetadataUpdate(next: StoredObject, before: StoredObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (next.metadata.name !== before.metadata.name) {
    errors.push(immutable("metadata.name", next.metadata.name));
  }
  if ((next.metadata.namespace ?? "") !== (before.metadata.namespace ?? "")) {
    errors.push(immutable("metadata.namespace", next.metadata.namespace ?? ""));
  }
  if (before.metadata.deletionTimestamp !== undefined) {
    const had = new Set(list(before.metadata.finalizers).map(text));
    const added = list(next.metadata.finalizers)
      .map(text)
      .filter((name) => !had.has(name));
    if (added.length > 0) {
      errors.push(
        forbidden(
          "metadata.finalizers",
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added
            .map((name) => JSON.stringify(name))
            .join(", ")}}`,
        ),
      );
    }
  }
  return errors;
}
