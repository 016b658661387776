import type { Status } from "#api/generated/kubernetes.ts";
import type { FieldError } from "./model.ts";

/** A refusal that is answered as a Kubernetes `Status`: HTTP code, reason, message, details. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: number;
  readonly reason: string;
  readonly details: Status["details"];
  readonly metadata: NonNullable<Status["metadata"]>;

  /** @param options `metadata` goes into the Status: a list that expired offers a new `continue` there. */
  constructor(
    code: number,
    reason: string,
    message: string,
    details?: Status["details"],
    options: ErrorOptions & { readonly metadata?: Status["metadata"] } = {},
  ) {
    super(message, options);
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.metadata = options.metadata ?? {};
  }

  /** The JSON a client gets. */
  get status(): Status {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: this.metadata,
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

/** `group` and `plural` as messages name them: `pods`, `deployments.apps`. */
export interface Named {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

const qualified = (of: Named): string => (of.group === "" ? of.plural : `${of.plural}.${of.group}`);
const detailsOf = (of: Named, name: string): NonNullable<Status["details"]> => ({
  name,
  ...(of.group === "" ? {} : { group: of.group }),
  kind: of.plural,
});

export const notFound = (of: Named, name: string): ApiError =>
  new ApiError(404, "NotFound", `${qualified(of)} "${name}" not found`, detailsOf(of, name));

export const alreadyExists = (of: Named, name: string): ApiError =>
  new ApiError(409, "AlreadyExists", `${qualified(of)} "${name}" already exists`, detailsOf(of, name));

export const conflict = (of: Named, name: string, why: string): ApiError =>
  new ApiError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(of)} "${name}": ${why}`,
    detailsOf(of, name),
  );

export const forbidden = (of: Named, name: string, why: string): ApiError =>
  new ApiError(
    403,
    "Forbidden",
    name === "" ? `${qualified(of)} is forbidden: ${why}` : `${qualified(of)} "${name}" is forbidden: ${why}`,
    detailsOf(of, name),
  );

/** 422, with one cause a field. */
export function invalid(of: Named, name: string, errors: readonly FieldError[]): ApiError {
  const lines = errors.map((error) => `${error.field}: ${error.detail}`);
  const text = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const kind = of.group === "" ? of.kind : `${of.kind}.${of.group}`;
  return new ApiError(422, "Invalid", `${kind} "${name}" is invalid: ${text}`, {
    ...detailsOf(of, name),
    kind: of.kind,
    causes: errors.map((error) => ({ reason: error.reason, message: error.detail, field: error.field })),
  });
}

export const badRequest = (message: string, options?: ErrorOptions): ApiError =>
  new ApiError(400, "BadRequest", message, undefined, options);

export const expired = (message: string): ApiError => new ApiError(410, "Expired", message);

export const notAllowed = (method: string, path: string): ApiError =>
  new ApiError(405, "MethodNotAllowed", `the server does not allow ${method} on "${path}"`);

export const unknownPath = (): ApiError =>
  new ApiError(404, "NotFound", "the server could not find the requested resource", { causes: [] });
