import { ApiError, badRequest } from "../../../api-error.ts";

/** The patch is well formed but does not fit the object: 422, worded as upstream words it. */
export const doesNotApply = (why: string): ApiError =>
  new ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {
    causes: [{ reason: "UnexpectedServerResponse", message: why }],
  });

/** The patch itself is malformed: 400. */
export const badPatch = (why: string): ApiError => badRequest(why);

export const tooManyOperations = (max: number, count: number): ApiError =>
  new ApiError(
    413,
    "RequestEntityTooLarge",
    `The allowed maximum operations in a JSON patch is ${max}, got ${count}`,
  );
