import type { ApiClient } from "#api/client.ts";

/** Reads one object, as the API's client does. */
export type ObjectReader = Pick<ApiClient, "get">;
