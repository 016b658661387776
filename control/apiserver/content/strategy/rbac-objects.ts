import type { FieldError, StoredObject } from "../../../model.ts";
import { type Json, list, record, records, sameMeaning, text } from "../json.ts";
import { invalid, notSupported, required } from "./errors.ts";
import { each, fill, within } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { nameFaults } from "./names.ts";

const group = "rbac.authorization.k8s.io";

function validateRules(object: StoredObject, namespaced: boolean): readonly FieldError[] {
  return records(object["rules"]).flatMap((rule, index) => {
    const field = `rules[${index}]`;
    const paths = list(rule["nonResourceURLs"]);
    const resources = list(rule["resources"]);
    const errors: FieldError[] = [];
    if (list(rule["verbs"]).length === 0)
      errors.push(required(`${field}.verbs`, "verbs must contain at least one value"));
    if (paths.length > 0) {
      if (namespaced)
        errors.push(
          invalid(`${field}.nonResourceURLs`, paths, "namespaced rules cannot apply to non-resource URLs"),
        );
      if (list(rule["apiGroups"]).length + resources.length + list(rule["resourceNames"]).length > 0) {
        errors.push(
          invalid(
            `${field}.nonResourceURLs`,
            paths,
            "rules cannot apply to both regular resources and non-resource URLs",
          ),
        );
      }
      return errors;
    }
    if (list(rule["apiGroups"]).length === 0)
      errors.push(required(`${field}.apiGroups`, "resource rules must supply at least one api group"));
    if (resources.length === 0)
      errors.push(required(`${field}.resources`, "resource rules must supply at least one resource"));
    return errors;
  });
}

export const roleRules: KindRules = {
  allowCreateOnUpdate: true,
  validate: (object) => validateRules(object, true),
};
export const clusterRoleRules: KindRules = {
  allowCreateOnUpdate: true,
  validate: (object) => validateRules(object, false),
};

function subjectDefaults(subject: Json): Json {
  return ["User", "Group"].includes(text(subject["kind"])) ? fill(subject, { apiGroup: group }) : subject;
}

function bindingRules(roleKinds: readonly string[], namespaced: boolean): KindRules {
  return {
    allowCreateOnUpdate: true,
    defaults: (object) => {
      const withRef = within({ roleRef: object["roleRef"], subjects: object["subjects"] }, "roleRef", (ref) =>
        fill(ref, { apiGroup: group }),
      );
      const { roleRef, subjects } = each(withRef, "subjects", subjectDefaults);
      return {
        ...object,
        ...(roleRef === undefined ? {} : { roleRef }),
        ...(subjects === undefined ? {} : { subjects }),
      };
    },
    validate: (object) => {
      const ref = record(object["roleRef"]);
      const name = text(ref["name"]);
      return [
        ...(text(ref["apiGroup"]) === group
          ? []
          : [notSupported("roleRef.apiGroup", text(ref["apiGroup"]), [group])]),
        ...(roleKinds.includes(text(ref["kind"]))
          ? []
          : [notSupported("roleRef.kind", text(ref["kind"]), roleKinds)]),
        ...(name === ""
          ? [required("roleRef.name")]
          : nameFaults("path-segment", name).map((fault) => invalid("roleRef.name", name, fault))),
        ...records(object["subjects"]).flatMap((subject, index) =>
          validateSubject(subject, `subjects[${index}]`, namespaced),
        ),
      ];
    },
    validateUpdate: (next, before) =>
      sameMeaning(next["roleRef"], before["roleRef"])
        ? []
        : [invalid("roleRef", next["roleRef"], "cannot change roleRef")],
  };
}

function validateSubject(subject: Json, field: string, namespaced: boolean): readonly FieldError[] {
  const name = text(subject["name"]);
  const kind = text(subject["kind"]);
  return [
    ...(name === "" ? [required(`${field}.name`)] : []),
    ...(["Group", "ServiceAccount", "User"].includes(kind)
      ? []
      : [notSupported(`${field}.kind`, kind, ["Group", "ServiceAccount", "User"])]),
    ...(kind === "ServiceAccount" && name !== ""
      ? nameFaults("subdomain", name).map((fault) => invalid(`${field}.name`, name, fault))
      : []),
    ...(kind === "ServiceAccount" && !namespaced && text(subject["namespace"]) === ""
      ? [required(`${field}.namespace`)]
      : []),
  ];
}

export const roleBindingRules: KindRules = bindingRules(["ClusterRole", "Role"], true);
export const clusterRoleBindingRules: KindRules = bindingRules(["ClusterRole"], false);
